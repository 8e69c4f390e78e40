// Command byway is a person's program: chat, send, listen, bot, who, route, ping, verify. Every verb talks to a peer
// through its local API (package peer/api): to the one that runs for the home, or to one that this process starts and stops.
package main

import (
	"context"
	"log/slog"
	"os"

	"github.com/libp2p/go-libp2p/gologshim"
)

func main() {
	quiet()
	ctx, stop := interruptible(context.Background())
	p := program{stdin: os.Stdin, stdout: os.Stdout, stderr: os.Stderr, getenv: os.Getenv}
	code := p.Run(ctx, os.Args[1:])
	stop()
	os.Exit(code)
}

// quiet keeps libraries from writing to standard error by themselves, which a person's screen or a script reads; what matters of it the peer
// says in its own words. GOLOG_LOG_LEVEL still shows libp2p's own log.
func quiet() {
	slog.SetDefault(slog.New(slog.DiscardHandler))
	if os.Getenv("GOLOG_LOG_LEVEL") == "" {
		gologshim.SetDefaultHandler(slog.DiscardHandler)
	}
}
