package main

import (
	"bytes"
	"context"
	"strings"
	"sync"
	"testing"

	"github.com/byway-chat/byway/rendezvous/server"
)

func TestConsole(t *testing.T) {
	dir := t.TempDir()
	ctx, stop := context.WithCancel(t.Context())
	node, err := server.New(ctx, server.Config{Data: dir, Listen: []string{"/ip4/127.0.0.1/tcp/0"}, NoMDNS: true, Version: "v1"})
	if err != nil {
		t.Fatal(err)
	}
	var served sync.WaitGroup
	served.Go(func() {
		if err := node.Run(ctx); err != nil {
			t.Errorf("run: %v", err)
		}
	})
	defer served.Wait()
	defer stop()
	<-node.Ready()

	var out, errs bytes.Buffer
	p := program{out: &out, err: &errs, getenv: func(string) string { return "" }}
	p.greet(node.Address(), false)
	quits := 0
	c := &console{
		in:  strings.NewReader("help\nusers\nDB\nactive\n/status\n\nkick\nkick a b\nquit now\nkick zoe\nwatch\n\nwatch carefully\ndance \x1b[31m\nquit\n"),
		out: &out, err: &errs, data: dir, quit: func() { quits++ }, getenv: p.getenv,
	}
	c.run(ctx)
	for _, want := range []string{
		"/ip4/127.0.0.1/tcp/", "To join from this machine", "byway --rendezvous 'byway://127.0.0.1:", "users, db", "kick NAME", "end a user's connections",
		"NAME  ONLINE", "TRANSPORT", "health", "watching; Enter ends it",
	} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("the output misses %q:\n%s", want, out.String())
		}
	}
	for _, want := range []string{
		"rendezvous: error: kick wants a user name", `rendezvous: error: there is no user "zoe"`, "rendezvous: hint: run `rendezvous users`",
		`rendezvous: error: "a b" is no user name`, "rendezvous: error: quit takes no more words",
		"rendezvous: error: watch takes nothing", `rendezvous: error: "dance" is not a command here; type help`,
	} {
		if !strings.Contains(errs.String(), want) {
			t.Errorf("the errors miss %q:\n%s", want, errs.String())
		}
	}
	if strings.Contains(out.String()+errs.String(), "\x1b") {
		t.Error("an escape character reached the terminal")
	}
	if quits != 1 {
		t.Errorf("quit was done %d times", quits)
	}
}
