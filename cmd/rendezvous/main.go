// Command rendezvous is the operator's program: it serves a rendezvous, and asks one that serves. See docs/operating.md.
package main

import "os"

func main() {
	p := program{in: os.Stdin, out: os.Stdout, err: os.Stderr, getenv: os.Getenv}
	os.Exit(p.run(os.Args[1:]))
}
