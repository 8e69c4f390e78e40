package peer

import (
	"context"
	"errors"
	"iter"
	"sync"

	"github.com/byway-chat/byway/peer/delivery"
	"github.com/byway-chat/byway/peer/history"
)

// ringSize is how many events a subscriber may be behind before it loses some.
const ringSize = 4096

// hub gives every subscriber every event, in order, from a ring that never waits for a slow one.
type hub struct {
	mu      sync.Mutex
	ring    [ringSize]Event                                         // guarded by mu; the event with seq s is at s % ringSize
	last    uint64                                                  // guarded by mu; seq of the newest, 0: none
	ready   *Event                                                  // guarded by mu; what a late subscriber is told first
	changed chan struct{}                                           // guarded by mu; closed and replaced with each event
	closed  bool                                                    // guarded by mu
	unseen  func(ctx context.Context, after int64) ([]Event, error) // guarded by mu; nil until the history is open
}

func newHub() *hub { return &hub{changed: make(chan struct{})} }

// publish numbers an event and hands it out.
func (h *hub) publish(e Event) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.closed {
		return
	}
	h.last++
	e.V, e.Seq = 1, h.last
	h.ring[h.last%ringSize] = e
	switch e.Type {
	case EventReady:
		h.ready = &e
	case EventRendezvous:
		if h.ready != nil && h.ready.Rendezvous != nil && e.Connected != nil {
			ready := *h.ready
			ready.Rendezvous = &Rendezvous{PeerID: ready.Rendezvous.PeerID, Connected: *e.Connected}
			h.ready = &ready
		}
	}
	h.wakeLocked()
}

func (h *hub) wakeLocked() {
	close(h.changed)
	h.changed = make(chan struct{})
}

// open says where messages that no face has shown are found.
func (h *hub) open(unseen func(ctx context.Context, after int64) ([]Event, error)) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.unseen = unseen
	h.wakeLocked()
}

func (h *hub) close() {
	h.mu.Lock()
	defer h.mu.Unlock()
	if !h.closed {
		h.closed = true
		h.wakeLocked()
	}
}

// Subscription is one reader's place in the stream of events. It is for one goroutine; Close may be called from any.
type Subscription struct {
	hub     *hub
	next    uint64 // seq of the next event to yield
	unshown bool   // the backlog is still to be yielded
	told    bool   // ready has been yielded
	replay  []Event
	shown   int64 // order of the newest message of the backlog: not yielded again
	once    sync.Once
	done    chan struct{}
}

func (h *hub) subscribe(o EventOptions) *Subscription {
	h.mu.Lock()
	defer h.mu.Unlock()
	s := &Subscription{hub: h, next: h.last + 1, unshown: o.Unshown, done: make(chan struct{})}
	if o.After > 0 && o.After <= h.last {
		s.next, s.told = o.After+1, true
	}
	return s
}

// Close ends the subscription; Events then ends too.
func (s *Subscription) Close() { s.once.Do(func() { close(s.done) }) }

// errSubscriptionEnd ends Events without an error for the caller.
var errSubscriptionEnd = errors.New("subscription has ended")

// Events yields, in this order: ready (at once where the peer is up, else when it comes up), the messages that no face has shown if the options ask
// for them (with Seq 0), and then every event since Subscribe. It ends when ctx does, and after Close of the subscription or the
// peer. A reader that is more than 4,096 events behind gets an error event with code "events-lost" in place of what it has missed.
func (s *Subscription) Events(ctx context.Context) iter.Seq2[Event, error] {
	return func(yield func(Event, error) bool) {
		for {
			e, err := s.wait(ctx)
			if errors.Is(err, errSubscriptionEnd) {
				return
			}
			if !yield(e, err) || err != nil {
				return
			}
		}
	}
}

func (s *Subscription) wait(ctx context.Context) (Event, error) {
	for {
		select { // also while there is always something to yield
		case <-s.done:
			return Event{}, errSubscriptionEnd
		default:
		}
		if err := ctx.Err(); err != nil {
			return Event{}, err
		}
		e, ok, changed, err := s.take(ctx)
		if err != nil || ok {
			return e, err
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return Event{}, ctx.Err()
		case <-s.done:
			return Event{}, errSubscriptionEnd
		}
	}
}

// take returns the next event if there is one, else a channel that is closed when there may be.
func (s *Subscription) take(ctx context.Context) (Event, bool, <-chan struct{}, error) {
	if len(s.replay) > 0 {
		e := s.replay[0]
		s.replay = s.replay[1:]
		s.shown = e.order
		return e, true, nil, nil
	}
	s.hub.mu.Lock()
	defer s.hub.mu.Unlock()
	h := s.hub
	if !s.told && h.ready != nil {
		s.told = true
		return *h.ready, true, nil, nil
	}
	if s.told && s.unshown && h.unseen != nil {
		load := h.unseen
		h.mu.Unlock()
		events, err := load(ctx, s.shown)
		h.mu.Lock()
		s.replay, s.unshown = events, len(events) > 0
		if err != nil || len(events) > 0 {
			return Event{}, false, closedChannel, err
		}
	}
	for s.next <= h.last {
		if h.last-s.next >= ringSize {
			s.next = h.last - ringSize + 1
			return Event{V: 1, Type: EventError, Code: "events-lost", Message: "this reader was too slow and has missed events"}, true, nil, nil
		}
		e := h.ring[s.next%ringSize]
		if e.Type != EventReady && !s.told {
			break // ready comes first
		}
		s.next++
		if e.Type == EventReady && s.told || e.Type == EventMessage && e.order <= s.shown {
			continue
		}
		s.told = s.told || e.Type == EventReady
		return e, true, nil, nil
	}
	if h.closed {
		return Event{}, false, nil, errSubscriptionEnd
	}
	return Event{}, false, h.changed, nil
}

var closedChannel = func() chan struct{} { c := make(chan struct{}); close(c); return c }()

// unseenPage is how many unshown messages are read at once.
const unseenPage = 256

// unseenEvents reads the messages that no face has shown, oldest first.
func (c *core) unseenEvents(ctx context.Context, after int64) ([]Event, error) {
	entries, err := c.store.Find(ctx, history.Query{Unseen: true, After: after, Limit: unseenPage})
	if err != nil {
		return nil, err
	}
	out := make([]Event, len(entries))
	for i, e := range entries {
		m := delivery.Incoming{
			From: e.From, Device: e.Device, N: e.N, ID: e.ID, CopyOf: e.CopyOf, Body: e.Body, Sent: e.Sent, Received: e.Received, Way: e.Progress.Way,
		}
		out[i] = messageEvent(m, KeyPinned)
		out[i].V, out[i].order = 1, e.Order
	}
	return out, nil
}

// messageEvent is how a message is told, live or from the history.
func messageEvent(m delivery.Incoming, key KeyState) Event {
	return Event{
		Type: EventMessage, ID: m.ID.String(), From: string(m.From), To: string(m.CopyOf), Device: m.Device.Device(), N: m.N,
		Body: &m.Body, Sent: &m.Sent, Received: &m.Received, Way: m.Way, Key: key,
	}
}
