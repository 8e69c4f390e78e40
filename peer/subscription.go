package peer

import (
	"context"
	"errors"
	"iter"
	"slices"
	"sync"
)

// Subscription is one reader's place in the stream of events. It is for one goroutine; Close may be called from any.
type Subscription struct {
	hub     *hub
	letters uint64 // place of the next message to yield in the hub's ring of them
	others  uint64 // place of the next of all other events
	backlog bool   // its reader wants what no face has shown; immutable
	unshown bool   // there may be some of that still to be yielded
	told    bool   // ready has been yielded
	behind  bool   // some of that is what the ring of messages has no more
	lost    bool   // some is, of which it has not been told
	replay  []Event
	kept    []notice        // of the hub, with Seq 0; they come after ready
	before  []Event         // what comes before all else: keys that were first seen with a message, and the message
	met     map[string]bool // fingerprints of which it was told that they were first seen
	shown   int64           // order of the newest message yielded: neither it nor what stands before it is yielded again
	once    sync.Once
	done    chan struct{}
}

func (h *hub) subscribe(o EventOptions) *Subscription {
	h.mu.Lock()
	defer h.mu.Unlock()
	s := &Subscription{
		hub: h, letters: h.letters.count, others: h.others.count, backlog: o.Unshown, unshown: o.Unshown, met: map[string]bool{}, done: make(chan struct{}),
	}
	switch {
	case o.Lost || o.After > h.last || o.After > 0 && o.After < max(h.letters.gone, h.others.gone):
		s.beginAnewLocked()
	case o.After > 0:
		s.letters, s.others, s.told = h.letters.after(o.After), h.others.after(o.After), true
		s.unshown = false // it has begun with that already
		if s.letters > h.letters.oldest() {
			s.shown = h.letters.at(s.letters - 1).Order
		}
		for place := h.others.oldest(); place < s.others; place++ {
			s.meets(h.others.at(place))
		}
	}
	if s.backlog {
		for _, n := range h.kept {
			if len(s.before) > 0 || o.After > 0 && n.seq > o.After { // it is among what this reader gets from the rings
				n.told()
			} else {
				s.kept = append(s.kept, n)
			}
		}
		h.kept = nil
		h.faces++
	}
	return s
}

// beginAnewLocked begins with an error, and then what the rings have, with the messages before it that no face has shown.
func (s *Subscription) beginAnewLocked() {
	s.letters, s.others = s.hub.letters.oldest(), s.hub.others.oldest()
	s.backlog, s.unshown = true, true
	s.before = []Event{{
		V: 1, Type: EventError, Code: codeEventsLost,
		Message: "what this reader has read last is not here any more: events are missing, and some messages may come again",
	}}
}

// codeEventsLost tells a reader that it has missed events.
const codeEventsLost = "events-lost"

// Close ends the subscription; Events then ends too.
func (s *Subscription) Close() {
	s.once.Do(func() {
		close(s.done)
		s.hub.mu.Lock()
		defer s.hub.mu.Unlock()
		if s.backlog {
			s.hub.faces--
		}
	})
}

// errSubscriptionEnd ends Events without an error for the caller.
var errSubscriptionEnd = errors.New("subscription has ended")

// Events yields, in this order: ready (at once where the peer is up, else when it comes up), the messages that no face has shown if the options ask
// for them (with Seq 0), and then every event since Subscribe. What has told that a key was first seen comes before the message with which it was, also
// where that was told before Subscribe (then with Seq 0). It ends when ctx does, and after Close of the subscription or the
// peer. Where it cannot go on after the event that the options name, it begins with an error event with code "events-lost", and then ready, the messages that no
// face has shown, and every event that is still here. A reader that is more than 4,096 messages behind gets those that it has missed from the history, with Seq 0, if it asked for what no face has shown. One
// that did not, or that is more than 4,096 other events behind, gets an error event with code "events-lost" in place of what it has missed.
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
	if s.told && len(s.kept) > 0 {
		n := s.kept[0]
		s.kept = s.kept[1:]
		n.told()
		return n.event, true, nil, nil
	}
	s.skipLocked()
	if s.told && s.unshown && h.unseen != nil {
		if e := s.besideLocked(); e != nil {
			return *e, true, nil, nil
		}
		err := s.loadLocked(ctx)
		if s.skipLocked(); err != nil || s.unshown {
			return Event{}, false, closedChannel, err
		}
	}
	if s.lost {
		s.lost = false
		return Event{V: 1, Type: EventError, Code: codeEventsLost, Message: "this reader was too slow and has missed events"}, true, nil, nil
	}
	for e := s.nextLocked(); e != nil; e = s.nextLocked() {
		if e.Type != EventReady && !s.told {
			break // ready comes first
		}
		if e.Type == EventMessage {
			s.letters++
		} else {
			s.others++
		}
		if e.Type == EventReady && s.told || e.Type == EventMessage && e.Order <= s.shown || !s.meets(e) {
			continue
		}
		s.told = s.told || e.Type == EventReady
		s.shown = max(s.shown, e.Order)
		return s.introduced(*e), true, nil, nil
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

// skipLocked goes on to what the rings still have. Messages that they have no more are in the history.
func (s *Subscription) skipLocked() {
	if oldest := s.hub.others.oldest(); s.others < oldest {
		s.others, s.lost = oldest, true
	}
	if oldest := s.hub.letters.oldest(); s.letters < oldest {
		s.letters = oldest
		s.unshown, s.behind, s.lost = s.unshown || s.backlog, s.backlog, s.lost || !s.backlog
	}
}

// besideLocked takes the next event that is no message and was told before all messages that the ring still has, where the reader has to look for others in the
// history: a history that grows as fast as it is read must hold up nothing else. It is nil where there is none.
func (s *Subscription) besideLocked() *Event {
	for s.behind && s.others < s.hub.others.count {
		e := s.hub.others.at(s.others)
		if e.Type == EventReady || e.Seq > s.hub.letters.at(s.letters).Seq {
			break
		}
		s.others++
		if s.meets(e) {
			return e
		}
	}
	return nil
}

// nextLocked returns the next event in the rings, or nil.
func (s *Subscription) nextLocked() *Event {
	var letter, other *Event
	if s.letters < s.hub.letters.count {
		letter = s.hub.letters.at(s.letters)
	}
	if s.others < s.hub.others.count {
		other = s.hub.others.at(s.others)
	}
	if letter == nil || other != nil && other.Seq < letter.Seq {
		return other
	}
	return letter
}

// loadLocked reads a page of messages from the history, up to where the ring goes on. It unlocks the hub meanwhile.
func (s *Subscription) loadLocked(ctx context.Context) error {
	h, load := s.hub, s.hub.unseen
	h.mu.Unlock()
	events, err := load(ctx, s.shown)
	h.mu.Lock()
	if s.letters < h.letters.count {
		first := h.letters.at(max(s.letters, h.letters.oldest())).Order
		if rest := slices.IndexFunc(events, func(e Event) bool { return e.Order >= first && first > 0 }); rest >= 0 {
			events = events[:rest]
		}
	}
	s.replay, s.unshown = events, len(events) > 0
	s.behind = s.behind && s.unshown
	return err
}

var closedChannel = func() chan struct{} { c := make(chan struct{}); close(c); return c }()
