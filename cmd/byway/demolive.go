package main

import (
	"context"
	"fmt"
	"sync"
	"time"

	"github.com/byway-chat/byway/peer"
)

// live ends the demo in a chat with bob, who repeats what he gets and says how it came.
func (d *demo) live(ctx context.Context) error {
	if err := d.p.say("\nNow type to bob: bob: hello. Try /way bob relay, /route bob, /ping bob, /help. Ctrl-D leaves, nothing is kept."); err != nil {
		return err
	}
	echoing, stop := context.WithCancel(ctx)
	var both sync.WaitGroup
	both.Go(func() { d.bob.echo(echoing) })
	both.Go(func() { d.alice.forget(echoing) })
	defer func() {
		stop()
		both.Wait()
	}()
	c := &chat{p: d.alice.p, s: d.alice.session, marks: d.p.marks(), outgoing: newOutgoing()}
	c.last.choose("bob")
	return c.run(ctx)
}

// echo answers every message until ctx ends.
func (a *actor) echo(ctx context.Context) {
	for {
		select {
		case e := <-a.events:
			if e.Type != peer.EventMessage {
				continue
			}
			_ = a.session.current().Shown(ctx, e.ID)
			how := string(e.Way)
			if d, ok := travelled(&e); ok {
				how += " in " + inWords(d.Round(100*time.Microsecond))
			}
			// What fails here shows: alice waits for an answer that does not come.
			_, _ = a.send(ctx, e.From, fmt.Sprintf("you said: %s (it came by %s)", text(e.Body), how), "auto")
		case <-ctx.Done():
			return
		}
	}
}

// forget takes events that a chat prints from its own subscription.
func (a *actor) forget(ctx context.Context) {
	for {
		select {
		case <-a.events:
		case <-ctx.Done():
			return
		}
	}
}
