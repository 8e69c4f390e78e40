package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/byway-chat/byway/peer"
)

// How long a chat that was left waits for its messages to be stored or delivered. A person who leaves does not want to wait, and a terminal in raw
// mode cannot interrupt it.
const (
	chatLinger     = 10 * time.Second
	terminalLinger = 2 * time.Second
)

// chat is the conversation in plain lines. One goroutine reads and carries out lines, one prints events.
type chat struct {
	p        *program
	s        *session
	console  console
	marks    marks
	outgoing *outgoing
	last     correspondent
	underWay underWayTexts
	comings  *comings
}

// chat runs until the end of input, q!, Ctrl-C, or SIGTERM, which is success as for everything that runs until it is stopped.
func (p *program) chat(ctx context.Context) (err error) {
	if p.flags.json {
		return usage("a chat is not JSON", "byway bot, or byway listen --json")
	}
	s, err := p.open(ctx, need{enrol: true})
	if err != nil {
		return drained(ctx, err)
	}
	defer s.closeInto(&err)
	c := &chat{p: p, s: s, marks: p.marks(), outgoing: newOutgoing()}
	return c.run(ctx)
}

func (c *chat) run(ctx context.Context) (err error) {
	ready, err := c.s.ready(ctx)
	if err != nil {
		return drained(ctx, err)
	}
	work, cancel := context.WithCancel(context.WithoutCancel(ctx))
	defer cancel()
	shown, err := c.s.show(context.WithoutCancel(work), &ready)
	if err != nil {
		return err
	}
	f, err := c.s.subscribe(work, shown)
	if err != nil {
		return errors.Join(err, shown.Close())
	}
	c.console, err = c.p.newConsole("> ")
	if err != nil {
		f.Close()
		return errors.Join(err, shown.Close())
	}
	defer func() { err = errors.Join(err, c.console.Close()) }()
	if err := c.say("%s", greeting(&ready)); err != nil {
		f.Close()
		return errors.Join(err, shown.Close())
	}
	c.comings = newComings(func(line string) { _ = c.say("%s", line) })
	defer c.comings.stop()
	ended := make(chan error, 1)
	over, finish := context.WithCancel(work)
	go func() {
		defer finish()
		ended <- c.print(work, shown, f)
	}()
	why := c.read(ctx, work, over)
	if why == nil {
		c.linger(ctx, over)
	}
	cancel()
	if failed := <-ended; failed != nil && !errors.Is(failed, context.Canceled) {
		return failed
	}
	return drained(ctx, why)
}

func greeting(ready *peer.Event) string {
	where := "the rendezvous is connected"
	if !ready.Rendezvous.Connected {
		where = "the rendezvous is not connected: messages wait here, or go directly on the LAN"
	}
	return fmt.Sprintf("you are %s, device %s; %s. /help tells what to type, q! leaves.", clean(ready.User), clean(ready.Device), where)
}

// read carries out lines until the person leaves, ctx ends or the events end.
func (c *chat) read(ctx, work, over context.Context) error {
	lines, stop := make(chan string), make(chan struct{})
	failed := make(chan error, 1)
	defer close(stop)
	go c.input(lines, failed, stop)
	for {
		select {
		case line := <-lines:
			if quit := c.obey(work, line); quit {
				return nil
			}
		case err := <-failed:
			if errors.Is(err, io.EOF) {
				return nil
			}
			if l, ok := errors.AsType[leave](err); ok {
				c.p.leave(l)
			}
			return err
		case <-over.Done():
			return nil
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
}

// input reads lines until stop or an error. Blocked in a read it ends with the console.
func (c *chat) input(lines chan<- string, failed chan<- error, stop <-chan struct{}) {
	for {
		line, err := c.console.ReadLine()
		if err != nil {
			failed <- err
			return
		}
		select {
		case lines <- line:
		case <-stop:
			return
		}
	}
}

// linger waits for what was sent to reach another disk. On this one it is already.
func (c *chat) linger(ctx, over context.Context) {
	limit := chatLinger
	if isTerminal(c.p.stdin) {
		limit = terminalLinger
	}
	timed, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	stop := context.AfterFunc(over, cancel)
	defer stop()
	if left := c.outgoing.wait(timed); left > 0 {
		_ = c.say("%d messages are queued here: they leave when byway runs and finds a way", left)
	}
}

// print shows events as they come.
func (c *chat) print(work context.Context, shown *shower, f *feed) error {
	return showEvents(work, shown, f, c.outgoing, func(e *peer.Event, ours bool) error {
		if line := c.eventLine(e, ours); line != "" {
			if err := c.console.Message(line+"\n", markOf(e)); err != nil {
				return err
			}
		}
		if e.Type == peer.EventMessage && e.To == "" {
			c.last.suggest(e.From)
		}
		return nil
	})
}

// say prints one line.
func (c *chat) say(format string, args ...any) error {
	return c.console.Print(fmt.Sprintf(format, args...) + "\n")
}

// complain prints an error where the person looks: a chat's errors are part of the conversation.
func (c *chat) complain(err error) {
	hint := ""
	if e, ok := errors.AsType[*peer.Error](err); ok {
		hint = e.Hint
	}
	_ = c.say("%s", trouble(err.Error(), hint))
}
