package delivery

import (
	"cmp"
	"slices"
	"time"
)

const (
	// maxResend caps the wait between two attempts by the same way.
	maxResend = time.Minute
	// voidLife is how long the number of a message that was given up is kept for devices that may still wait for it.
	voidLife = 14 * 24 * time.Hour
)

// Accept takes a message into the outbox and gives it its number. m.To, ID, Body and Sent must be set; N and Devices are filled in.
// Errors are [ErrNoDevice], [ErrOutboxFull] and [ErrTooLarge], and then nothing has changed.
func (e *Engine) Accept(now time.Time, m Message) (Message, error) {
	a := e.account(m.To)
	switch {
	case len(m.Body) > MaxBody:
		return m, ErrTooLarge
	case len(a.devices) == 0:
		return m, ErrNoDevice
	case len(a.outbox.byN) >= e.limits.Outbox || a.outbox.size+len(m.Body) > e.limits.OutboxSize:
		return m, ErrOutboxFull
	}
	m.N, m.Prev = a.next, a.tip
	a.next, a.tip = a.next+1, a.tip.Next(m.ID)
	m.Devices = a.devices // replaced as a whole when it changes
	o := &outgoing{Message: m, copies: make([]copyState, len(m.Devices))}
	for i, d := range m.Devices {
		r := e.remote(m.To, d)
		o.copies[i].to = r
		if r.start == 0 {
			r.start = m.N
			e.op(OpStart{To: m.To, Device: d, Start: m.N})
		}
	}
	e.append(a, o)
	e.op(OpEnqueue{Message: m})
	e.notice(NoticeProgress{To: m.To, N: m.N, ID: m.ID, CopyOf: m.CopyOf, Progress: o.progress})
	for i := range o.copies {
		e.pump(now, a, o.copies[i].to)
	}
	return m, nil
}

// pump sends what waits for a device, as far as a way is open and the window allows.
func (e *Engine) pump(now time.Time, a *account, r *remote) {
	e.tellVoid(now, a, r)
	wanted := false
	for ; r.at != nil; r.at = r.at.next {
		o := r.at
		if r.hole != 0 && o.N-r.hole >= uint64(e.limits.Window) {
			break // the other side could not hold so many while it waits for the one in the hole
		}
		c := o.copyFor(r)
		if c == nil || o.Void {
			continue // what was given up has its turn when what stands before it is acknowledged
		}
		wanted = wanted || o.Policy != RelayOnly
		if c.phase != Waiting || now.Before(c.due) {
			continue
		}
		if !c.flying && r.flying >= e.limits.Window {
			break
		}
		via := e.choose(o.Policy, r)
		if via == "" || !r.inTurn(o, via) || r.refuses(now, via) {
			r.hole = cmp.Or(r.hole, o.N)
			continue
		}
		e.attempt(now, a, o, c, via)
	}
	if wanted && r.direct == "" {
		e.notice(NoticeWanted{Account: a.name, Device: r.device})
	}
	e.tellAllHeld(now, r)
}

// tellVoid tells a device of what was given up and stands next to be acknowledged. What was given up before anything later was sent needs no
// word: the next message will say that it is not held.
func (e *Engine) tellVoid(now time.Time, a *account, r *remote) {
	for o := r.lowest(); o != nil && o.Void; o = r.lowest() {
		c := o.copyFor(r)
		if o.N <= r.top {
			if via := e.choose(Auto, r); via != "" && c.phase == Waiting && !now.Before(c.due) && !r.refuses(now, via) {
				e.attempt(now, a, o, c, via)
			}
			return
		}
		e.end(c, dropped)
		e.settleIfDone(now, a, o, "")
	}
}

// choose returns the best way that is open and allowed, or none.
func (e *Engine) choose(p Policy, r *remote) Way {
	if r.direct != "" && p.allows(r.direct) {
		return r.direct
	}
	if e.relays(r) && p.allows(WayRelay) {
		return WayRelay
	}
	return ""
}

// relays reports whether the rendezvous takes envelopes, and may be given those for a device.
func (e *Engine) relays(r *remote) bool { return e.relayUp && !r.barred }

func (e *Engine) attempt(now time.Time, a *account, o *outgoing, c *copyState, via Way) {
	r := c.to
	c.phase, c.via = Sent, via
	e.setDue(c, now.Add(e.backOff(c.attempts)))
	c.attempts++
	if via == WayRelay && r.refused != nil {
		r.refused.probe = c.due // unless its answer comes, there is no other one before
	}
	r.turns++
	c.turn = r.turns
	if !c.flying {
		c.flying = true
		r.flying++
	}
	r.top = max(r.top, o.N)
	e.send(e.letter(a, o, r, via))
	again := c.attempts > 1 // the link hears something, and yet this has had no answer
	if via.IsDirect() && (e.twice(o, r) || again && e.mayRelay(o, r)) {
		e.send(e.letter(a, o, r, WayRelay))
	}
}

// letter is what tells a device of a message, or that it was given up.
func (e *Engine) letter(a *account, o *outgoing, r *remote, via Way) Send {
	s := Send{To: a.name, Device: r.device, Via: via, N: o.N}
	low, base := a.holds(r)
	if o.Void {
		s.Payload = Payload{Kind: KindLow, Low: &Low{Low: low, Base: base, Start: min(r.start, low)}}
	} else {
		s.Payload = Payload{Kind: KindText, Text: &Text{
			ID: o.ID, N: o.N, Prev: o.Prev, Low: low, Base: base, Start: min(r.start, o.N), Sent: o.Sent, CopyOf: o.CopyOf, Body: o.Body, Renumbered: o.Renumbered,
			Apart: o.Policy == RelayOnly,
		}}
	}
	return s
}

func (e *Engine) copyOf(to Account, d Device, n uint64) (*account, *outgoing, *copyState) {
	a, r := e.accounts[to], e.devices[d]
	if a == nil || r == nil {
		return nil, nil, nil
	}
	o := a.outbox.byN[n]
	if o == nil {
		return nil, nil, nil
	}
	return a, o, o.copyFor(r)
}

// Stored says that the rendezvous has the copy for a device on its disk.
func (e *Engine) Stored(now time.Time, to Account, d Device, n uint64) {
	a, o, c := e.copyOf(to, d, n)
	if c == nil || c.phase == kept {
		return
	}
	e.through(c)
	c.land()
	c.phase, c.attempts = Stored, 0
	e.setDue(c, time.Time{})
	e.op(OpCopy{To: to, N: n, Device: d, Phase: Stored})
	if c.to.online {
		e.setDue(c, now.Add(2*e.limits.Resend))
	}
	if !o.Void {
		e.advance(now, o, Progress{Stage: StageStored, Way: WayMailbox})
	}
	c.to.turn()
	e.pump(now, a, c.to)
}

// advance raises the stage of a message; a lower or equal one is ignored. Only that it was delivered all the same undoes a failure.
func (e *Engine) advance(now time.Time, o *outgoing, p Progress) {
	late := p.Stage == StageDelivered && o.progress.Stage == StageFailed
	if p.Stage <= o.progress.Stage && !late {
		return
	}
	p.Took = max(now.Sub(o.Sent), 0)
	o.progress = p
	e.op(OpProgress{To: o.To, N: o.N, Progress: p})
	e.notice(NoticeProgress{To: o.To, N: o.N, ID: o.ID, CopyOf: o.CopyOf, Progress: p})
}

// acked handles what a device says has arrived.
func (e *Engine) acked(now time.Time, a *account, r *remote, ack *Ack) {
	if e.setBack(a, r, ack) {
		e.renumber(now, a, ack.Next)
		return
	}
	last := ack.Next
	for _, g := range ack.Ranges {
		last = max(last, g.First+g.Count)
	}
	slices.SortFunc(ack.Receipts, func(x, y Receipt) int { return cmp.Compare(x.N, y.N) })
	receipts := ack.Receipts
	stuck, newest := r.stuck(), e.witnesses(a, r, ack)
	for o := r.lowest(); o != nil && o.N < last; o = o.next {
		for len(receipts) > 0 && receipts[0].N+receipts[0].Count <= o.N {
			receipts = receipts[1:]
		}
		if c := o.copyFor(r); c != nil && ack.has(o.N) {
			var receipt *Receipt
			if len(receipts) > 0 && receipts[0].N <= o.N {
				receipt = &receipts[0]
			}
			e.arrivedThere(now, a, o, c, receipt, o.N < ack.Next, stuck)
		}
	}
	e.overtaken(r, newest, last)
	if o := r.lowest(); o != nil && o.N == ack.Next {
		if c := o.copyFor(r); c.phase == kept { // it was set back, and has it no more
			e.wait(c)
			r.rewind()
		}
	}
	r.turn()
	e.pump(now, a, r)
}

// EarlierWaits is the Reason of a message that is delivered, and cannot be shown yet: an earlier one may only go by a way that is not open, or waits in
// the mailbox. It is taken back when that one has come.
const EarlierWaits = "earlier-waits"

// stuck reports whether the first message that a device does not have is not under way to it.
func (r *remote) stuck() bool {
	o := r.lowest()
	if o == nil {
		return false
	}
	c := o.copyFor(r)
	return c != nil && (c.phase == Waiting || c.phase == Stored)
}

// arrivedThere handles that a device has a message on its disk. Only when it has all before it too, its word is final: see setBack. stuck says that
// what it does not have before it is not on its way.
func (e *Engine) arrivedThere(now time.Time, a *account, o *outgoing, c *copyState, receipt *Receipt, final, stuck bool) {
	e.through(c)
	p := Progress{Stage: StageDelivered, Way: c.via}
	if stuck && !final {
		p.Reason = EarlierWaits
	}
	if c.phase == Stored {
		p.Way = WayMailbox
	}
	if receipt != nil {
		p.Way = cmp.Or(receipt.Way, p.Way)
	}
	if !o.Void || receipt != nil { // its text has arrived, not only the word that it was given up
		e.advance(now, o, p)
	}
	if !final {
		e.end(c, kept)
		e.setDue(c, now.Add(maxResend)) // a device that was set back may wait for what it had acknowledged: then this tells it that that will not come
		return
	}
	if o.progress.Reason == EarlierWaits {
		o.progress.Reason = ""
		e.op(OpProgress{To: o.To, N: o.N, Progress: o.progress})
	}
	e.end(c, Acked)
	e.op(OpCopy{To: a.name, N: o.N, Device: c.to.device, Phase: Acked})
	e.settleIfDone(now, a, o, "")
}

func (a *Ack) has(n uint64) bool {
	return n < a.Next || slices.ContainsFunc(a.Ranges, func(g Range) bool { return n >= g.First && n-g.First < g.Count })
}

// settleIfDone takes a message out of the outbox when each copy is acknowledged or gone.
func (e *Engine) settleIfDone(now time.Time, a *account, o *outgoing, reason string) {
	for i := range o.copies {
		if o.copies[i].open() {
			return
		}
	}
	if o.progress.Stage < StageDelivered {
		e.advance(now, o, Progress{Stage: StageFailed, Reason: reason})
	}
	e.op(OpSettle{To: a.name, N: o.N})
	e.take(a, o)
}

// expire gives a message up for the devices that have not acknowledged it. Those that have seen later numbers wait for this one: its number
// stays, without its text, until they know. When it has been kept for long enough as a number, that is forgotten too.
func (e *Engine) expire(now time.Time, a *account, o *outgoing, reason string) {
	if o.Void {
		for i := range o.copies {
			if c := &o.copies[i]; c.open() {
				e.end(c, dropped)
			}
		}
		e.settleIfDone(now, a, o, reason)
		return
	}
	if o.progress.Stage < StageDelivered {
		e.advance(now, o, Progress{Stage: StageFailed, Reason: reason})
	}
	a.outbox.size -= len(o.Body)
	o.Void, o.Body, o.Expires = true, "", now.Add(voidLife)
	for i := range o.copies {
		if c := &o.copies[i]; c.open() {
			e.wait(c)
		}
	}
	e.op(OpVoid{To: a.name, N: o.N, Expires: o.Expires})
}
