package main

import (
	"bytes"
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"strings"

	"github.com/byway-chat/byway/peer"
	"github.com/byway-chat/byway/rendezvous/admin"
)

// shownCiphertext is how many bytes of an envelope the demo prints.
const shownCiphertext = 96

// byRelay sends through the rendezvous while its operator watches, and shows both views of the same message.
func (d *demo) byRelay(ctx context.Context) error {
	const text = "this one goes through the rendezvous, which cannot read it"
	watch, err := d.watch(ctx)
	if err != nil {
		return err
	}
	defer watch.stop()
	got, r, err := d.deliver(ctx, text, "relay")
	if err != nil {
		return err
	}
	if got.Way != peer.WayRelay || r.Way != peer.WayRelay {
		return fmt.Errorf("it went by %s, as its receipt says by %s", got.Way, r.Way)
	}
	seen, err := watch.find(ctx, "alice", "bob")
	if err != nil {
		return err
	}
	if bytes.Contains(seen.Bytes, []byte(text[:16])) {
		return errors.New("the rendezvous saw the text")
	}
	if err := d.conversation("a message by relay", &got, &r); err != nil {
		return err
	}
	if err := d.show("the rendezvous sees (rendezvous watch --bytes)  %s -> %s, %d bytes, %s:", clean(seen.From), clean(seen.To), seen.Size, clean(seen.Delivery)); err != nil {
		return err
	}
	for line := range hexLines(seen.Bytes[:min(len(seen.Bytes), shownCiphertext)]) {
		if err := d.show("    %s", line); err != nil {
			return err
		}
	}
	return nil
}

// hexLines yields 32 bytes a line in groups of four.
func hexLines(data []byte) func(yield func(string) bool) {
	return func(yield func(string) bool) {
		for len(data) > 0 {
			row := data[:min(32, len(data))]
			data = data[len(row):]
			var groups []string
			for len(row) > 0 {
				n := min(4, len(row))
				groups = append(groups, hex.EncodeToString(row[:n]))
				row = row[n:]
			}
			if !yield(strings.Join(groups, " ")) {
				return
			}
		}
	}
}

// tap is the operator's view of envelopes as they pass. Its goroutine ends at stop.
type tap struct {
	envelopes chan admin.Envelope
	ended     chan error // buffered
	stop      func()     // waits for the goroutine
}

// watch returns when nothing is missed any more.
func (d *demo) watch(ctx context.Context) (*tap, error) {
	c := d.operator()
	watching, cancel := context.WithCancel(ctx)
	t := &tap{envelopes: make(chan admin.Envelope, 64), ended: make(chan error, 1)}
	ready, done := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(done)
		t.ended <- c.Watch(watching, true, func() { close(ready) }, func(e admin.Envelope) error {
			select {
			case t.envelopes <- e:
			case <-watching.Done():
			}
			return nil
		})
	}()
	t.stop = func() {
		cancel()
		<-done
		c.Close()
	}
	select {
	case <-ready:
		return t, nil
	case err := <-t.ended:
		t.stop()
		return nil, fmt.Errorf("watching the rendezvous: %w", err)
	case <-ctx.Done():
		t.stop()
		return nil, context.Cause(ctx)
	}
}

// find waits for an envelope from one to the other.
func (t *tap) find(ctx context.Context, from, to string) (admin.Envelope, error) {
	for {
		select {
		case e := <-t.envelopes:
			if e.From == from && e.To == to {
				return e, nil
			}
		case err := <-t.ended:
			return admin.Envelope{}, fmt.Errorf("watching the rendezvous: %w", err)
		case <-ctx.Done():
			return admin.Envelope{}, fmt.Errorf("waiting for an envelope: %w", context.Cause(ctx))
		}
	}
}
