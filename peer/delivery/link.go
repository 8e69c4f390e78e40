package delivery

import (
	"crypto/sha256"
	"slices"
	"time"
)

// Link stands for all the messages of one device to one account up to a number: the first 8 bytes of SHA-256 over the link before it and the id of
// the message. Before the first message it is zero. It guards against one thing: a home that is put back from a backup, or of which two
// copies run, gives numbers a second time, and the other side would take its messages for duplicates. An acknowledgement brings the
// link of the last number that it is for; where it is not ours, everything in the outbox gets new numbers (setBack, renumber). A receiver takes
// nothing that does not go on from its own link, so that what gets new numbers is not overtaken.
type Link [8]byte

// Next returns the link after one more message.
func (l Link) Next(id MessageID) Link {
	var b [8 + 16]byte
	copy(b[:], l[:])
	copy(b[8:], id[:])
	sum := sha256.Sum256(b[:])
	return Link(sum[:8])
}

// maxJump bounds how far a device can push our numbers at once.
const maxJump = 1 << 40

// setBack reports whether a device has other messages under numbers of ours that it acknowledges.
func (e *Engine) setBack(a *account, r *remote, ack *Ack) bool {
	lowest := r.lowest()
	if lowest == nil || ack.Next < lowest.N || r.start == 0 {
		return false // nothing depends on it
	}
	if ack.Next > a.next {
		return ack.Next < a.next+maxJump
	}
	if ack.Next == a.next {
		return ack.Tip != a.tip
	}
	o := a.outbox.byN[ack.Next]
	return o != nil && ack.Tip != o.Prev
}

// renumber gives everything in the outbox of an account new numbers, above next and all of ours. What was given up is forgotten: its number means another
// message to the other side.
func (e *Engine) renumber(now time.Time, a *account, next uint64) {
	a.next = max(a.next, next) + 1 // so that an answer to the old ones cannot be taken for one to the new
	first := a.next
	for o := a.outbox.first; o != nil; o = o.next {
		if o.Void {
			for i := range o.copies {
				if c := &o.copies[i]; c.open() {
					e.end(c, dropped)
				}
			}
			e.settleIfDone(now, a, o, "")
			continue
		}
		delete(a.outbox.byN, o.N)
		e.op(OpRenumber{To: a.name, Old: o.N, New: a.next, Prev: a.tip})
		o.N, o.Prev, o.Renumbered = a.next, a.tip, true
		a.outbox.byN[o.N] = o
		a.next, a.tip = a.next+1, a.tip.Next(o.ID)
		for i := range o.copies {
			if c := &o.copies[i]; c.open() {
				e.wait(c)
			}
		}
	}
	for _, r := range a.remotes {
		r.top = max(r.top, first-1)
		r.rewind()
		e.pump(now, a, r)
	}
}

// inTurn reports whether a message may go to a device by a way. One that has another number is taken there only in its turn, so what stands before
// it must be there, or have gone by the same way, which keeps the order.
func (r *remote) inTurn(o *outgoing, via Way) bool {
	if !o.Renumbered {
		return true
	}
	for p := o.prev; p != nil; p = p.prev {
		if c := p.copyFor(r); c != nil && !p.Void {
			return c.phase == kept || c.phase == Sent && c.via == via || c.phase == Stored && via == WayRelay
		}
	}
	return true
}

// turn has those looked at again that wait for their turn, when something that stands before them has come further.
func (r *remote) turn() {
	if o := r.lowest(); o != nil && o.Renumbered {
		r.rewind()
	}
}

// goOn goes on with new numbers, where a message has one. The numbers before the lowest that the sender holds are no gap: they were given again. Of
// what was held, that which was accepted after this message comes again under a new number; the rest is of a life that its sender has
// forgotten, and nobody has it but we.
func (e *Engine) goOn(r *remote, t *Text) {
	for _, n := range r.heldBelow(t.Low) {
		if m := r.held[n]; m.Sent.Before(t.Sent) {
			r.next = n
			e.show(r, m)
		} else {
			e.drop(r, m)
		}
	}
	if r.next <= t.Low {
		r.next, r.tip = t.Low, t.Base
		e.op(OpNext{Device: r.device, Next: r.next, Tip: r.tip})
	}
}

// drop forgets a held message.
func (e *Engine) drop(r *remote, m *Incoming) {
	delete(r.held, m.N)
	r.heldSize -= len(m.Body)
	e.op(OpDrop{Device: r.device, N: m.N})
}

// had reports whether a message has come before: it is in the history, or will be with this batch.
func (e *Engine) had(r *remote, id MessageID) bool {
	fresh := slices.ContainsFunc(e.out.Notices, func(n Notice) bool {
		m, ok := n.(NoticeMessage)
		return ok && m.Message.Device == r.device && m.Message.ID == id
	})
	return fresh || e.past.Has(r.device, id)
}
