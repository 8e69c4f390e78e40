// Command byway is a person's program: chat, send, listen, bot, who, route, ping, verify. Every verb talks to a peer
// through its local API (package peer/api): to the one that runs for the home, or to one that this process starts and stops.
package main

import (
	"context"
	"os"
)

func main() {
	ctx, stop := interruptible(context.Background())
	p := program{stdin: os.Stdin, stdout: os.Stdout, stderr: os.Stderr, getenv: os.Getenv}
	code := p.Run(ctx, os.Args[1:])
	stop()
	os.Exit(code)
}
