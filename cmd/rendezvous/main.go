// Command rendezvous is the operator's program: it serves a rendezvous, and asks one that serves. See docs/operating.md.
package main

import (
	"log/slog"
	"os"

	"github.com/libp2p/go-libp2p/gologshim"
)

func main() {
	quiet()
	p := program{in: os.Stdin, out: os.Stdout, err: os.Stderr, getenv: os.Getenv}
	os.Exit(p.run(os.Args[1:]))
}

// quiet keeps libraries from writing to standard error by themselves, between the lines of our log; what matters of it the server says in its
// own words. GOLOG_LOG_LEVEL still shows libp2p's own log.
func quiet() {
	slog.SetDefault(slog.New(slog.DiscardHandler))
	if os.Getenv("GOLOG_LOG_LEVEL") == "" {
		gologshim.SetDefaultHandler(slog.DiscardHandler)
	}
}
