package peer

import (
	"context"
	"errors"
	"testing"

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
