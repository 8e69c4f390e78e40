package delivery

import "time"

// outgoing is a message with how far it has come. It stands in its account's outbox until no copy is left to do.
type outgoing struct {
	Message
	progress Progress
	copies   []copyState // one for each of Message.Devices
	prev     *outgoing
	next     *outgoing // also after it was taken out, so that whoever walks the outbox can go on
}

// copyState is how far the copy for one device has come.
type copyState struct {
	to       *remote
	phase    Phase
	via      Way       // of the latest attempt
	due      time.Time // when to try again; zero: only when something changes. Set by Engine.setDue
	attempts int
	turn     uint64 // of the latest attempt, among all for the device
	flying   bool   // it takes room in the window: attempted, and neither acknowledged nor stored since
}

// Phases that no disk knows.
const (
	dropped Phase = 255 // the device will not get it
	kept    Phase = 254 // the device has it on its disk, but not yet what comes before it
)

// open reports whether the device may still need the copy.
func (c *copyState) open() bool { return c.phase != Acked && c.phase != dropped }

// copyFor returns the open copy for a device, or nil.
func (o *outgoing) copyFor(r *remote) *copyState {
	for i := range o.copies {
		if c := &o.copies[i]; c.to == r && c.open() {
			return c
		}
	}
	return nil
}

// policy is that of the message. That one was given up may be told by any way: a later message has gone its own.
func (o *outgoing) policy() Policy {
	if o.Void {
		return Auto
	}
	return o.Policy
}

// outbox is the messages to one account by rising n.
type outbox struct {
	first, last *outgoing
	byN         map[uint64]*outgoing
	size        int // bytes of bodies
}

func newOutbox() outbox { return outbox{byN: map[uint64]*outgoing{}} }

func (b *outbox) add(o *outgoing) {
	o.prev, o.next = b.last, nil
	if b.last != nil {
		b.last.next = o
	} else {
		b.first = o
	}
	b.last = o
	b.byN[o.N] = o
	b.size += len(o.Body)
}

func (b *outbox) remove(o *outgoing) {
	if o.prev != nil {
		o.prev.next = o.next
	} else {
		b.first = o.next
	}
	if o.next != nil {
		o.next.prev = o.prev
	} else {
		b.last = o.prev
	}
	delete(b.byN, o.N)
	b.size -= len(o.Body)
}

// account is our sending side towards one account.
type account struct {
	name    Account
	next    uint64
	tip     Link // of next - 1
	outbox  outbox
	expiry  time.Time // nothing in the outbox is to be given up before; zero: nothing ever
	remotes []*remote // all devices of the account that were ever met
	// devices are those that new messages are sealed for.
	devices []Device
}

// remote is what is known of one device, of a contact or of our own.
type remote struct {
	device  Device
	account Account
	direct  Way  // open direct way, or none
	doubt   bool // nobody has answered over the direct way of late: what goes by it goes by the relay too
	online  bool
	barred  bool   // nothing that people write, and no word of it, may go by the rendezvous
	start   uint64 // where we began to write to it; 0: never yet
	top     uint64 // highest number that was sent to it; after a restart the highest that may have been

	// Our sending side. What stands before low is done with; what stands from at on has not been looked at since something changed.
	low, at *outgoing
	refused *refusal  // nil: as far as is known the rendezvous takes what is for it
	flying  int       // copies that take room in the window
	turns   uint64    // attempts made
	hole    uint64    // lowest number before at that found no way; 0: none
	timed   int       // copies that are due at some time
	timer   time.Time // none of them is due before

	next     uint64 // next number expected from it; 0: nothing has ever come
	tip      Link   // of next - 1
	held     map[uint64]*Incoming
	heldSize int       // bytes of bodies in held
	missed   uint64    // number for which those in held wait, told or about to be; 0: none
	tellAt   time.Time // when that is told
	receipts []Receipt
	came     Way // by which the latest message came: the acknowledgement goes back that way, which is known to work
}

// lowest returns the first message that the device may still need, given up or not, or nil.
func (r *remote) lowest() *outgoing {
	for r.low != nil && r.low.copyFor(r) == nil {
		r.low = r.low.next
	}
	return r.low
}

// rewind has everything looked at again: something has changed that may let it go.
func (r *remote) rewind() { r.at, r.hole = r.lowest(), 0 }

// holds returns the lowest number held for a device, what was given up aside, and the link before it. The number is at most that of any
// message being sent to the device.
func (a *account) holds(r *remote) (uint64, Link) {
	for o := r.lowest(); o != nil; o = o.next {
		if !o.Void && o.copyFor(r) != nil {
			return o.N, o.Prev
		}
	}
	return a.next, a.tip
}

// append puts a message at the end of the outbox and before every device.
func (e *Engine) append(a *account, o *outgoing) {
	a.outbox.add(o)
	e.holding[a] = struct{}{}
	a.expireAt(o.deadline(e.limits.Direct))
	for _, r := range a.remotes {
		if r.low == nil {
			r.low = o
		}
		if r.at == nil {
			r.at = o
		}
		if r.refused != nil && r.refused.untold == nil {
			r.refused.untold = o
		}
	}
}

// take removes a message for which nothing is left to do.
func (e *Engine) take(a *account, o *outgoing) {
	a.outbox.remove(o)
	for _, r := range a.remotes {
		if r.low == o {
			r.low = o.next
		}
		if r.at == o {
			r.at = o.next
		}
		if r.refused != nil && r.refused.untold == o {
			r.refused.untold = o.next
		}
	}
	if a.outbox.first == nil {
		a.expiry = time.Time{}
		delete(e.holding, a)
	}
}

// deadline is when a message is given up, or zero.
func (o *outgoing) deadline(direct time.Duration) time.Time {
	if o.Policy.mustBeDirect() && !o.Void {
		return sooner(o.Expires, o.Sent.Add(direct))
	}
	return o.Expires
}

func (a *account) expireAt(t time.Time) { a.expiry = sooner(a.expiry, t) }

// sooner returns the earlier of two times, where zero is never.
func sooner(a, b time.Time) time.Time {
	if a.IsZero() || !b.IsZero() && b.Before(a) {
		return b
	}
	return a
}

// setDue says when a copy is to be tried again; zero: not by time.
func (e *Engine) setDue(c *copyState, t time.Time) {
	r := c.to
	if was, is := !c.due.IsZero(), !t.IsZero(); was != is {
		if is {
			r.timed++
		} else {
			r.timed--
		}
	}
	c.due = t
	if r.timed == 0 {
		r.timer = time.Time{}
		delete(e.timed, r)
		return
	}
	if r.timed == 1 && !t.IsZero() {
		r.timer = t
	} else {
		r.timer = sooner(r.timer, t)
	}
	e.timed[r] = struct{}{}
}

// land frees the room that a copy takes in the window.
func (c *copyState) land() {
	if c.flying {
		c.flying = false
		c.to.flying--
	}
}

// end closes a copy as acknowledged or dropped.
func (e *Engine) end(c *copyState, phase Phase) {
	c.land()
	e.setDue(c, time.Time{})
	c.phase = phase
}

// wait makes a copy wait from now on, as if it had never been sent.
func (e *Engine) wait(c *copyState) {
	c.land()
	e.setDue(c, time.Time{})
	c.phase, c.attempts = Waiting, 0
}
