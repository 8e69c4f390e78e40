package main

import (
	"context"
	"errors"
	"iter"

	"github.com/byway-chat/byway/peer"
	"github.com/byway-chat/byway/peer/api"
)

// maxRecent is how many messages a feed remembers, so that none is told twice when it begins anew.
const maxRecent = 8192

// feed is the event stream of a session. It begins with the messages that no face has shown, and goes on when the process that
// owned the peer leaves.
type feed struct {
	s     *session
	shown *shower // nil: nothing of it is printed

	// owned by whoever ranges over Events
	moved  func(*api.Client) []peer.Event // told of each peer after the first, returns what the one before did not tell; nil: nobody asks
	client *api.Client
	sub    *api.Subscription
	last   uint64 // seq of the last event of client; 0: none yet
	recent *recent
}

// subscribe opens the feed: what happens after it has returned is in it. shown knows what was printed before; nil where nothing is.
func (s *session) subscribe(ctx context.Context, shown *shower) (*feed, error) {
	f := &feed{s: s, shown: shown, recent: newRecent(maxRecent)}
	if err := f.resume(ctx); err != nil {
		return nil, err
	}
	return f, nil
}

// resume subscribes with the current client. Another process's events have other numbers: there it begins anew, with what nobody has shown.
func (f *feed) resume(ctx context.Context) error {
	for {
		client := f.s.current()
		if client != f.client {
			f.last = 0
		}
		var sub *api.Subscription
		err := f.settle(ctx, client)
		if err == nil {
			sub, err = client.Subscribe(ctx, peer.EventOptions{After: f.last, Unshown: true})
		}
		if err == nil {
			f.client, f.sub = client, sub
			return nil
		}
		if !errors.Is(err, api.ErrGone) || ctx.Err() != nil {
			return err
		}
		if err := f.s.replace(ctx, client); err != nil {
			return err
		}
	}
}

// settle tells client what was printed, so that it is not among what nobody has shown.
func (f *feed) settle(ctx context.Context, client *api.Client) error {
	if f.shown == nil {
		return nil
	}
	return f.shown.settle(ctx, client)
}

// Close ends the feed, where Events has not been ranged.
func (f *feed) Close() { f.sub.Close() }

// Events yields events until ctx ends or the feed cannot be kept up. The peer's own first event is not among them: see ready.
func (f *feed) Events(ctx context.Context) iter.Seq2[peer.Event, error] {
	return func(yield func(peer.Event, error) bool) {
		defer func() { f.sub.Close() }()
		for {
			why, more := f.drain(yield)
			if !more {
				return
			}
			if ctx.Err() != nil {
				yield(peer.Event{}, context.Cause(ctx))
				return
			}
			// The owner has left, or it took us for dead because standard output was blocked. Only the first needs a new peer.
			f.sub.Close()
			if !errors.Is(why, api.ErrGone) {
				yield(peer.Event{}, why)
				return
			}
			if err := f.resume(ctx); err != nil {
				yield(peer.Event{}, err)
				return
			}
			if !f.makeUp(yield) {
				return
			}
		}
	}
}

// makeUp yields what the peer before should have told; more is false when the caller wants no more.
func (f *feed) makeUp(yield func(peer.Event, error) bool) (more bool) {
	if f.moved == nil {
		return true
	}
	for _, e := range f.moved(f.client) {
		if !yield(e, nil) {
			return false
		}
	}
	return true
}

// drain yields the events of one subscription and returns why it ended; more is false when the caller wants no more.
func (f *feed) drain(yield func(peer.Event, error) bool) (why error, more bool) {
	for e, err := range f.sub.Events() {
		if err != nil {
			return err, true
		}
		if e.Type == peer.EventReady {
			continue
		}
		f.last = max(f.last, e.Seq) // a message told again has none
		if e.Type == peer.EventMessage && !f.recent.add(e.ID) {
			continue
		}
		if !yield(e, nil) {
			return nil, false
		}
	}
	return api.ErrGone, true
}

// recent is a set of the last so many strings.
type recent struct {
	set  map[string]struct{}
	ring []string
	next int
}

func newRecent(size int) *recent {
	return &recent{set: map[string]struct{}{}, ring: make([]string, size)}
}

// add says whether s is new.
func (r *recent) add(s string) bool {
	if _, ok := r.set[s]; ok {
		return false
	}
	if old := r.ring[r.next]; old != "" {
		delete(r.set, old)
	}
	r.ring[r.next], r.next = s, (r.next+1)%len(r.ring)
	r.set[s] = struct{}{}
	return true
}

// ready is the first event of a face, made from the peer's status: whoever comes to a running peer has missed its own.
func (s *session) ready(ctx context.Context) (peer.Event, error) {
	st, err := do(ctx, s, func(c *api.Client) (peer.Status, error) { return c.Status(ctx) })
	if err != nil {
		return peer.Event{}, err
	}
	if st.Addrs == nil {
		st.Addrs = []string{}
	}
	return peer.Event{
		V: 1, Type: peer.EventReady, User: st.User, Device: st.Device, PeerID: st.PeerID,
		Addrs: st.Addrs, Rendezvous: &st.Rendezvous,
	}, nil
}
