package peer

import (
	"context"
	"errors"
	"testing"

	"github.com/byway-chat/byway/peer/delivery"
	"github.com/byway-chat/byway/peer/history"
)

// TestCallsThatEndEarly: what a call asked of the core may run after the call has returned, and then writes to nothing that its caller has (the race
// detector looks on).
func TestCallsThatEndEarly(t *testing.T) {
	c, _ := desk(t)
	if err := c.learn(now(t), records(t, c, 1, 1)); err != nil {
		t.Fatal(err)
	}
	p := &Peer{core: c, user: "alice", host: c.host, hub: c.hub, state: stateUp}
	for _, call := range []func(context.Context) error{
		func(ctx context.Context) error {
			s, err := p.status(ctx)
			if s.User != "" {
				t.Errorf("got %+v with an error", s)
			}
			return err
		},
		func(ctx context.Context) error { _, err := p.connected(ctx); return err },
		func(ctx context.Context) error { _, err := c.keyStates(ctx, make([]history.Entry, 1)); return err },
	} {
		ctx, cancel := context.WithCancel(t.Context())
		ended := make(chan error)
		go func() { ended <- call(ctx) }()
		late := <-c.inbox
		cancel()
		if err := <-ended; !errors.Is(err, context.Canceled) {
			t.Errorf("got %v", err)
		}
		late()
	}
}

// TestReplayedKeys wants a replayed message to tell what is known of its sender's keys.
func TestReplayedKeys(t *testing.T) {
	c, _ := desk(t)
	if err := c.learn(now(t), records(t, c, 1, 1)); err != nil {
		t.Fatal(err)
	}
	fp := fingerprint(1)
	m := delivery.Incoming{From: "bob", Device: fp, N: 1, ID: delivery.MessageID{1}, Body: "hello", Sent: now(t), Received: now(t)}
	batch := history.Batch{Ops: []delivery.Op{delivery.OpReceive{Message: m}}}
	if err := c.store.Commit(t.Context(), &batch); err != nil {
		t.Fatal(err)
	}
	for _, verified := range []bool{false, true} {
		c.contacts["bob"].Verified = verified
		served := make(chan struct{})
		go func() {
			defer close(served)
			(<-c.inbox)()
		}()
		events, err := c.unseenEvents(t.Context(), 0)
		<-served
		want := KeyPinned
		if verified {
			want = KeyVerified
		}
		if err != nil || len(events) != 1 || events[0].Key != want {
			t.Errorf("got %+v and %v, want one message with key %s", events, err, want)
		}
	}
}
