package peer

import (
	"context"
	"errors"
	"iter"
	"maps"
	"slices"
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
	there   map[string]bool                                         // guarded by mu; users who are online as far as readers know
	changed chan struct{}                                           // guarded by mu; closed and replaced with each event
	closed  bool                                                    // guarded by mu
	unseen  func(ctx context.Context, after int64) ([]Event, error) // guarded by mu; nil until the history is open
}

func newHub() *hub { return &hub{changed: make(chan struct{}), there: map[string]bool{}} }

// publish numbers events and hands them out.
func (h *hub) publish(events ...Event) {
	if len(events) == 0 {
		return
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	for i := range events {
		h.numberLocked(&events[i])
	}
	h.wakeLocked()
}

func (h *hub) publishLocked(e Event) {
	h.numberLocked(&e)
	h.wakeLocked()
}

func (h *hub) numberLocked(e *Event) {
	if h.closed {
		return
	}
	h.last++
	e.V, e.Seq = 1, h.last
	h.ring[h.last%ringSize] = *e
	switch e.Type {
	case EventReady:
		ready := *e
		h.ready = &ready
	case EventRendezvous:
		if h.ready != nil && h.ready.Rendezvous != nil && e.Connected != nil {
			ready := *h.ready
			ready.Rendezvous = &Rendezvous{PeerID: ready.Rendezvous.PeerID, Connected: *e.Connected}
			h.ready = &ready
		}
	}
}

// present tells whether a user is online, where readers do not know it yet. What they know outlives the connection to the
// rendezvous: after an outage they are told what has changed, not all again.
func (h *hub) present(user string, online bool) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.there[user] == online || online && len(h.there) >= maxPresent {
		return
	}
	if online {
		h.there[user] = true
	} else {
		delete(h.there, user)
	}
	h.publishLocked(Event{Type: EventPresence, User: user, Online: &online})
}

// assume records that readers know without being told that a user is online: they ask who is.
func (h *hub) assume(user string) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if len(h.there) < maxPresent {
		h.there[user] = true
	}
}

// retain tells of all users whom still does not report that they are not online any more.
func (h *hub) retain(still func(user string) bool) {
	h.mu.Lock()
	defer h.mu.Unlock()
	online := false
	for _, user := range slices.Sorted(maps.Keys(h.there)) {
		if !still(user) {
			delete(h.there, user)
			h.publishLocked(Event{Type: EventPresence, User: user, Online: &online})
		}
	}
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
	backlog bool   // its reader wants what no face has shown; immutable
	unshown bool   // there may be some of that still to be yielded
	told    bool   // ready has been yielded
	replay  []Event
	before  []Event         // what comes before all else: keys that were first seen with a message, and the message
	met     map[string]bool // fingerprints of which it was told that they were first seen
	until   int64           // order of a message: of those that no face has shown only what is before it is yielded beside the ring; 0: all
	shown   int64           // order of the newest message yielded: neither it nor what stands before it is yielded again
	once    sync.Once
	done    chan struct{}
}

func (h *hub) subscribe(o EventOptions) *Subscription {
	h.mu.Lock()
	defer h.mu.Unlock()
	s := &Subscription{hub: h, next: h.last + 1, backlog: o.Unshown, unshown: o.Unshown, met: map[string]bool{}, done: make(chan struct{})}
	switch {
	case o.Lost || o.After > h.last || h.last-o.After > ringSize && o.After > 0:
		s.beginAnewLocked()
	case o.After > 0:
		s.next, s.told = o.After+1, true
		for seq := h.last - min(h.last, ringSize) + 1; seq <= o.After; seq++ {
			s.meets(&h.ring[seq%ringSize])
		}
	}
	return s
}

// beginAnewLocked begins with an error, and then what the ring has, with the messages before it that no face has shown.
func (s *Subscription) beginAnewLocked() {
	h := s.hub
	s.next = h.last - min(h.last, ringSize) + 1
	s.backlog, s.unshown = true, true
	for seq := s.next; seq <= h.last && s.until == 0; seq++ {
		s.until = h.ring[seq%ringSize].Order
	}
	s.before = []Event{{
		V: 1, Type: EventError, Code: codeEventsLost,
		Message: "what this reader has read last is not here any more: events are missing, and some messages may come again",
	}}
}

// codeEventsLost tells a reader that it has missed events.
const codeEventsLost = "events-lost"

// Close ends the subscription; Events then ends too.
func (s *Subscription) Close() { s.once.Do(func() { close(s.done) }) }

// errSubscriptionEnd ends Events without an error for the caller.
var errSubscriptionEnd = errors.New("subscription has ended")

// Events yields, in this order: ready (at once where the peer is up, else when it comes up), the messages that no face has shown if the options ask
// for them (with Seq 0), and then every event since Subscribe. What has told that a key was first seen comes before the message with which it was, also
// where that was told before Subscribe (then with Seq 0). It ends when ctx does, and after Close of the subscription or the
// peer. Where it cannot go on after the event that the options name, it begins with an error event with code "events-lost", and then ready, the messages that no
// face has shown, and every event that is still here. A reader that is more than 4,096 events behind gets an error event with code "events-lost" in place of what it has missed; if it asked
// for what no face has shown, the messages among it follow, with Seq 0.
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
	if len(s.before) > 0 {
		e := s.before[0]
		s.before = s.before[1:]
		return e, true, nil, nil
	}
	if len(s.replay) > 0 {
		e := s.replay[0]
		s.replay = s.replay[1:]
		s.shown = e.Order
		return s.introduced(e), true, nil, nil
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
		if rest := slices.IndexFunc(events, func(e Event) bool { return s.until > 0 && e.Order >= s.until }); rest >= 0 {
			events = events[:rest]
		}
		s.replay, s.unshown = events, len(events) > 0
		if err != nil || len(events) > 0 {
			return Event{}, false, closedChannel, err
		}
	}
	for s.next <= h.last {
		if h.last-s.next >= ringSize {
			s.next, s.unshown, s.until = h.last-ringSize+1, s.backlog, 0
			return Event{V: 1, Type: EventError, Code: codeEventsLost, Message: "this reader was too slow and has missed events"}, true, nil, nil
		}
		e := h.ring[s.next%ringSize]
		if e.Type != EventReady && !s.told {
			break // ready comes first
		}
		s.next++
		if e.Type == EventReady && s.told || e.Type == EventMessage && e.Order <= s.shown || !s.meets(&e) {
			continue
		}
		s.told = s.told || e.Type == EventReady
		s.shown = max(s.shown, e.Order)
		return s.introduced(e), true, nil, nil
	}
	if h.closed {
		return Event{}, false, nil, errSubscriptionEnd
	}
	return Event{}, false, h.changed, nil
}

// meets notes that the reader is told of a key that is first seen, and reports whether that is news.
func (s *Subscription) meets(e *Event) bool {
	if e.Type != EventKey || e.Change != KeyFirstSeen {
		return true
	}
	known := s.met[e.Fingerprint]
	s.met[e.Fingerprint] = true
	return !known
}

// introduced puts the keys that were first seen with a message before it, with Seq 0, where the reader was not told of them: they were told before it
// came, perhaps to another process.
func (s *Subscription) introduced(e Event) Event {
	var list []Event
	for _, key := range e.Introduced {
		if s.meets(&key) {
			list = append(list, key)
		}
	}
	list = append(list, e)
	s.before = list[1:]
	return list[0]
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
	keys, err := c.keyStates(ctx, entries)
	if err != nil {
		return nil, err
	}
	out := make([]Event, len(entries))
	for i, e := range entries {
		m := delivery.Incoming{
			From: e.From, Device: e.Device, N: e.N, ID: e.ID, CopyOf: e.CopyOf, Body: e.Body, Sent: e.Sent, Received: e.Received, Way: e.Progress.Way,
		}
		out[i] = messageEvent(m)
		out[i].V, out[i].Order, out[i].Key, out[i].Introduced = 1, e.Order, keys[i].state, keys[i].firsts
	}
	return out, nil
}

// keyNews is what is told of the keys of whom a message is from.
type keyNews struct {
	state  KeyState
	firsts []Event // of a message with which they were first seen: what has told of them
}

// keyStates asks the core, from another goroutine, what is known of the keys of those who have sent the entries.
func (c *core) keyStates(ctx context.Context, entries []history.Entry) ([]keyNews, error) {
	if len(entries) == 0 {
		return nil, nil
	}
	news := make([]keyNews, len(entries))
	err := c.do(ctx, func() {
		for i, e := range entries {
			news[i] = c.keyOf(e.From, e.ID)
		}
	})
	if err != nil {
		return nil, err // and not news, which the core may still be writing
	}
	return news, nil
}

// messageEvent is how a message is told, live or from the history, but for what is known of the keys.
func messageEvent(m delivery.Incoming) Event {
	return Event{
		Type: EventMessage, ID: m.ID.String(), From: string(m.From), To: string(m.CopyOf), Device: m.Device.Device(), N: m.N,
		Body: &m.Body, Sent: &m.Sent, Received: &m.Received, Way: m.Way,
	}
}
