package main

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/byway-chat/byway/cmd/internal/version"
	"github.com/byway-chat/byway/rendezvous/server"
)

// loopback is a rendezvous of our own in this process, and a directory for it and its peers that is removed at the end. Nothing in it is simulated, and
// nothing of it leaves the machine.
type loopback struct {
	p       *program
	dir     string
	listen  string // where it listens, the same after each start
	node    *server.Server
	stop    context.CancelFunc // of the rendezvous; nil while none runs
	stopped chan error         // its end; buffered
}

func (p *program) newLoopback() (*loopback, error) {
	dir, err := os.MkdirTemp("", "byway-")
	if err != nil {
		return nil, fmt.Errorf("making a temporary directory: %w", err)
	}
	return &loopback{p: p, dir: dir, listen: "/ip4/127.0.0.1/tcp/0"}, nil
}

// start starts the rendezvous, also again on what it had before, and returns when it is accepting.
func (l *loopback) start(ctx context.Context) error {
	node, err := server.New(ctx, server.Config{
		Data: filepath.Join(l.dir, "rendezvous"), Listen: []string{l.listen}, NoMDNS: true, Version: version.String(),
	})
	if err != nil {
		return err
	}
	serving, stop := context.WithCancel(context.WithoutCancel(ctx))
	l.node, l.stop, l.stopped = node, stop, make(chan error, 1)
	go func() { l.stopped <- node.Run(serving) }()
	select {
	case <-node.Ready():
		l.listen, _, _ = strings.Cut(l.address(), "/p2p/")
		return nil
	case err := <-l.stopped:
		l.stopped <- err
		return fmt.Errorf("the rendezvous ended: %w", err)
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// halt stops the rendezvous, if it runs, and waits for it.
func (l *loopback) halt() error {
	if l.stop == nil {
		return nil
	}
	l.stop()
	l.stop = nil
	return <-l.stopped
}

func (l *loopback) address() string { return l.node.Address().Addrs[0] }

// close stops the rendezvous and removes the directory. The peers must have left.
func (l *loopback) close() error { return errors.Join(l.halt(), os.RemoveAll(l.dir)) }

// newActor prepares a person's home and a password that nobody needs to know.
func (l *loopback) newActor(name string) (*actor, error) {
	file := filepath.Join(l.dir, name+".password")
	if err := os.WriteFile(file, []byte(rand.Text()), 0o600); err != nil {
		return nil, fmt.Errorf("writing a password: %w", err)
	}
	p := &program{stdin: l.p.stdin, stdout: l.p.stdout, stderr: l.p.stderr, getenv: l.p.getenv, leave: l.p.leave, lines: l.p.lines}
	p.flags = flags{
		home: filepath.Join(l.dir, name), user: name, rendezvous: l.address(), passwordFile: file, noMDNS: true,
		listen: []string{"/ip4/127.0.0.1/tcp/0"}, logLevel: l.p.flags.logLevel, logFormat: l.p.flags.logFormat,
	}
	return &actor{p: p}, nil
}
