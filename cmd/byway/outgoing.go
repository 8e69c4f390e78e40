package main

import (
	"context"
	"crypto/rand"
	"fmt"
	"strings"
	"sync"

	"github.com/byway-chat/byway/peer"
)

// outgoing knows which messages of this face are still only on this disk. Several faces may use one peer, and their commands'
// ids may be equal: each face marks its own with a prefix.
type outgoing struct {
	prefix string // immutable

	mu      sync.Mutex // guards the following
	count   uint64
	waiting map[string]struct{} // refs of messages neither stored, delivered nor failed
	changed chan struct{}       // closed and replaced when waiting shrinks
}

func newOutgoing() *outgoing {
	return &outgoing{prefix: rand.Text()[:12], waiting: map[string]struct{}{}, changed: make(chan struct{})}
}

// begin returns the ref for a message that answers the command id. The message counts as waiting from now on.
func (o *outgoing) begin(id string) string {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.count++
	ref := fmt.Sprintf("%s:%d:%s", o.prefix, o.count, id)
	o.waiting[ref] = struct{}{}
	return ref
}

// end tells that the message of ref waits no more.
func (o *outgoing) end(ref string) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if _, ok := o.waiting[ref]; ok {
		delete(o.waiting, ref)
		close(o.changed)
		o.changed = make(chan struct{})
	}
}

// claim replaces a ref in e by the id of the command, and says whether the message is of this face. Another face's ref is taken off.
func (o *outgoing) claim(e *peer.Event) bool {
	ref := e.Re
	e.Re = ""
	rest, ours := strings.CutPrefix(ref, o.prefix+":")
	if !ours {
		return false
	}
	_, e.Re, _ = strings.Cut(rest, ":")
	return true
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
