package main

import (
	"cmp"
	"context"
	"crypto/rand"
	"fmt"
	"slices"
	"strings"
	"sync"

	"github.com/byway-chat/byway/peer"
	"github.com/byway-chat/byway/peer/api"
)

// outgoing knows which messages of this face are still only on this disk. Several faces may use one peer, and their commands'
// ids may be equal: each face marks its own with a prefix. A peer that ends takes the marks with it, and what it had not told yet: from then on
// messages are known by their own ids.
type outgoing struct {
	prefix string // immutable

	mu      sync.Mutex // guards the following
	count   uint64
	waiting map[string]*sent // by ref: messages neither stored, delivered nor failed
	byID    map[string]*sent // those of them that a peer has accepted
	owner   *api.Client      // whose events are being read
	changed chan struct{}    // closed and replaced when waiting shrinks
}

// sent is a message on its way. Owned by outgoing.
type sent struct {
	ref     string
	receipt peer.Receipt // zero: not accepted yet, as far as is known
	by      *api.Client  // who accepted it
	told    bool         // an event has said that it is accepted, or more
}

func newOutgoing() *outgoing {
	return &outgoing{prefix: rand.Text()[:12], waiting: map[string]*sent{}, byID: map[string]*sent{}, changed: make(chan struct{})}
}

// begin returns the ref for a message that answers the command id. The message counts as waiting from now on.
func (o *outgoing) begin(id string) string {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.count++
	ref := fmt.Sprintf("%s:%d:%s", o.prefix, o.count, id)
	o.waiting[ref] = &sent{ref: ref}
	return ref
}

// accepted notes that a peer has accepted the message of ref. Where the peer whose events are read is already another, nobody else tells it: the event to be
// shown is returned.
func (o *outgoing) accepted(ref string, r peer.Receipt, by *api.Client) *peer.Event {
	o.mu.Lock()
	defer o.mu.Unlock()
	m := o.waiting[ref]
	if m == nil {
		return nil // its events were faster
	}
	m.receipt, m.by = r, by
	o.byID[r.ID] = m
	return m.untoldBy(o.owner)
}

// follow says whose events are read from now on. It returns those that the peer before cannot tell any more, with their refs.
func (o *outgoing) follow(owner *api.Client) []peer.Event {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.owner = owner
	var untold []peer.Event
	for _, m := range o.waiting {
		if e := m.untoldBy(owner); e != nil {
			untold = append(untold, *e)
		}
	}
	slices.SortFunc(untold, func(a, b peer.Event) int { return cmp.Or(strings.Compare(a.To, b.To), cmp.Compare(a.N, b.N)) })
	return untold
}

// untoldBy returns the event that another peer than owner owes, and counts it as told.
func (m *sent) untoldBy(owner *api.Client) *peer.Event {
	if m.told || m.by == nil || m.by == owner {
		return nil
	}
	m.told = true
	r := m.receipt
	return &peer.Event{V: 1, Type: peer.EventState, Re: m.ref, ID: r.ID, To: r.To, N: r.N, State: peer.StateAccepted, MS: new(float64)}
}

// end tells that the message of ref waits no more.
func (o *outgoing) end(ref string) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if m, ok := o.waiting[ref]; ok {
		delete(o.waiting, ref)
		delete(o.byID, m.receipt.ID)
		close(o.changed)
		o.changed = make(chan struct{})
	}
}

// claim replaces a ref in e by the id of the command, and says whether the message is of this face, and its ref. Another face's ref is taken off.
func (o *outgoing) claim(e *peer.Event) (ref string, ours bool) {
	o.mu.Lock()
	defer o.mu.Unlock()
	ref, e.Re = e.Re, ""
	if m := o.byID[e.ID]; m != nil && ref == "" && e.Type == peer.EventState {
		ref = m.ref // of a peer that does not know it
	}
	rest, ours := strings.CutPrefix(ref, o.prefix+":")
	if !ours {
		return "", false
	}
	if m := o.waiting[ref]; m != nil {
		m.told = true
	}
	_, e.Re, _ = strings.Cut(rest, ":")
	return ref, true
}

// settled says whether a state needs no more waiting: another disk has the message, or nothing ever will.
func settled(s peer.State) bool { return s != peer.StateAccepted }

// wait returns when nothing waits, or ctx ends; the result is how many messages still wait.
func (o *outgoing) wait(ctx context.Context) int {
	for {
		o.mu.Lock()
		left, changed := len(o.waiting), o.changed
		o.mu.Unlock()
		if left == 0 {
			return 0
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return left
		}
	}
}
