package peer

import (
	"context"
	"maps"
	"slices"
	"sync"
)

// hub gives every subscriber every event, in order, from rings that never wait for a slow one. Messages have a ring of their own: who asked for what no
// face has shown gets from the history those that the ring has no more, so a flood of them costs nobody another event.
type hub struct {
	mu      sync.Mutex
	letters ring                                                    // guarded by mu; messages
	others  ring                                                    // guarded by mu; all other events
	faces   int                                                     // guarded by mu; readers who want what no face has shown
	kept    []notice                                                // guarded by mu; what no face was there to read: at most maxKept
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

// maxKept is how many events wait for a face; older ones go.
const maxKept = 4

// notice is what a person must be told. told is called when a face is there to read it: with the hub locked, it must not wait.
type notice struct {
	event Event
	seq   uint64 // in the rings
	told  func()
}

// tellFace publishes what somebody tells again until told was called. Where no face is there it is kept for the next, in place of an older one with the same code.
func (h *hub) tellFace(e Event, told func()) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.publishLocked(e)
	if h.faces > 0 {
		told()
		return
	}
	e.V = 1
	h.kept = slices.DeleteFunc(h.kept, func(n notice) bool { return n.event.Code == e.Code })
	h.kept = append(h.kept[max(0, len(h.kept)-maxKept+1):], notice{e, h.last, told})
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
	if e.Type == EventMessage {
		h.letters.put(*e)
		return
	}
	h.others.put(*e)
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
