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
	case len(a.outbox) >= e.limits.Outbox || a.size+len(m.Body) > e.limits.OutboxSize:
		return m, ErrOutboxFull
	}
	m.N = a.next
	a.next++
	m.Devices = slices.Clone(a.devices)
	o := &outgoing{Message: m, copies: make(map[Device]*copyState, len(m.Devices))}
	for _, d := range m.Devices {
		o.copies[d] = &copyState{}
		if r := e.remote(m.To, d); r.start == 0 {
			r.start = m.N
			e.op(OpStart{To: m.To, Device: d, Start: m.N})
		}
	}
	a.outbox = append(a.outbox, o)
	a.size += len(m.Body)
	e.op(OpEnqueue{Message: m})
	e.notice(NoticeProgress{To: m.To, N: m.N, ID: m.ID, CopyOf: m.CopyOf, Progress: o.progress})
	for _, d := range m.Devices {
		e.pump(now, a, e.devices[d])
	}
	return m, nil
}

// pump sends what waits for a device, as far as a way is open and the window allows.
func (e *Engine) pump(now time.Time, a *account, r *remote) {
	inFlight, wanted, first := 0, false, true
	var unawaited []*outgoing // given up before anything later was sent: the next message will say that they are not held
	for _, o := range a.outbox {
		c := o.copies[r.device]
		if c == nil || c.phase == Acked {
			continue
		}
		lowest := first
		first = false
		if o.Void && !lowest {
			continue // it has its turn when what stands before it is acknowledged
		}
		if o.Void && o.N > r.top {
			unawaited = append(unawaited, o)
			first = true
			continue
		}
		wanted = wanted || o.Policy != RelayOnly && !o.Void
		if c.phase == Stored && c.due.IsZero() {
			continue // the rendezvous answers for it: it takes no room in the window
		}
		if inFlight++; inFlight > e.limits.Window {
			break
		}
		if c.phase != Waiting || now.Before(c.due) {
			continue
		}
		if via := e.choose(o.policy(), r); via != "" {
			e.attempt(now, a, o, r, c, via)
		}
	}
	for _, o := range unawaited {
		delete(o.copies, r.device)
		e.settleIfDone(now, a, o, "")
	}
	if wanted && r.direct == "" {
		e.notice(NoticeWanted{Account: a.name, Device: r.device})
	}
}

// policy is that of the message. That one was given up may be told by any way: a later message has gone its own.
func (o *outgoing) policy() Policy {
	if o.Void {
		return Auto
	}
	return o.Policy
}

// choose returns the best way that is open and allowed, or none.
func (e *Engine) choose(p Policy, r *remote) Way {
	if r.direct != "" && p != RelayOnly {
		return r.direct
	}
	if e.relayUp && p != DirectOnly {
		return WayRelay
	}
	return ""
}

func (e *Engine) attempt(now time.Time, a *account, o *outgoing, r *remote, c *copyState, via Way) {
	c.phase, c.via = Sent, via
	c.due = now.Add(min(e.limits.Resend<<min(c.attempts, 10), maxResend))
	c.attempts++
	r.top = max(r.top, o.N)
	if o.Void {
		low := e.lowest(a, r.device)
		e.send(Send{To: a.name, Device: r.device, Via: via, Payload: Payload{Kind: KindLow, Low: &Low{Low: low, Start: min(r.start, low)}}, N: o.N})
		return
	}
	e.send(Send{To: a.name, Device: r.device, Via: via, N: o.N, Payload: Payload{Kind: KindText, Text: &Text{
		ID: o.ID, N: o.N, Low: e.lowest(a, r.device), Start: min(r.start, o.N), Sent: o.Sent, CopyOf: o.CopyOf, Body: o.Body,
	}}})
}

// lowest returns the lowest number held for a device, what was given up aside. It is at most the number of any message being sent to it.
func (e *Engine) lowest(a *account, d Device) uint64 {
	for _, o := range a.outbox {
		if c := o.copies[d]; c != nil && c.phase != Acked && !o.Void {
			return o.N
		}
	}
	return a.next
}

func (a *account) find(n uint64) *outgoing {
	i, ok := slices.BinarySearchFunc(a.outbox, n, func(o *outgoing, n uint64) int { return int(int64(o.N - n)) })
	if !ok {
		return nil
	}
	return a.outbox[i]
}

func (e *Engine) copyOf(to Account, d Device, n uint64) (*account, *outgoing, *copyState) {
	a := e.accounts[to]
	if a == nil {
		return nil, nil, nil
	}
	o := a.find(n)
	if o == nil {
		return nil, nil, nil
	}
	return a, o, o.copies[d]
}

// Stored says that the rendezvous has the copy for a device on its disk.
func (e *Engine) Stored(now time.Time, to Account, d Device, n uint64) {
	a, o, c := e.copyOf(to, d, n)
	if c == nil || c.phase == Acked {
		return
	}
	c.phase, c.due, c.attempts = Stored, time.Time{}, 0
	e.op(OpCopy{To: to, N: n, Device: d, Phase: Stored})
	r := e.devices[d]
	if r.online {
		c.due = now.Add(2 * e.limits.Resend)
	}
	if !o.Void {
		e.advance(now, o, Progress{Stage: StageStored, Way: WayMailbox})
	}
	e.pump(now, a, r)
}

// Refused says that the rendezvous did not take the copy for a device. It stays in the outbox and is tried again after the wait.
func (e *Engine) Refused(now time.Time, to Account, d Device, n uint64, reason string, wait time.Duration) {
	_, o, c := e.copyOf(to, d, n)
	if c == nil || c.phase == Acked || c.phase == Stored {
		return
	}
	c.phase = Waiting
	c.due = now.Add(max(wait, min(e.limits.Resend<<min(c.attempts, 10), maxResend)))
	if reason == "no-such-device" {
		e.notice(NoticeStale{Account: to})
	}
	if o.progress.Stage == StageAccepted && o.progress.Reason != reason {
		o.progress.Reason = reason
		e.notice(NoticeProgress{To: o.To, N: o.N, ID: o.ID, CopyOf: o.CopyOf, Progress: o.progress})
	}
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
	has := func(n uint64) bool {
		return n < ack.Next || slices.ContainsFunc(ack.Ranges, func(g Range) bool { return n >= g.First && n-g.First < g.Count })
	}
	for _, o := range slices.Clone(a.outbox) {
		c := o.copies[r.device]
		if c == nil || c.phase == Acked || !has(o.N) {
			continue
		}
		p := Progress{Stage: StageDelivered, Way: c.via}
		if c.phase == Stored {
			p.Way = WayMailbox
		}
		arrived := false // its text has, not only the word that it was given up
		for _, receipt := range ack.Receipts {
			if receipt.N == o.N {
				arrived = true
				p.Way = cmp.Or(receipt.Way, p.Way)
			}
		}
		c.phase = Acked
		e.op(OpCopy{To: a.name, N: o.N, Device: r.device, Phase: Acked})
		if !o.Void || arrived {
			e.advance(now, o, p)
		}
		e.settleIfDone(now, a, o, "")
	}
	e.pump(now, a, r)
}

// settleIfDone takes a message out of the outbox when each copy is acknowledged or gone.
func (e *Engine) settleIfDone(now time.Time, a *account, o *outgoing, reason string) {
	for _, c := range o.copies {
		if c.phase != Acked {
			return
		}
	}
	if o.progress.Stage < StageDelivered {
		e.advance(now, o, Progress{Stage: StageFailed, Reason: reason})
	}
	e.op(OpSettle{To: a.name, N: o.N})
	i := slices.Index(a.outbox, o)
	a.outbox = slices.Delete(a.outbox, i, i+1)
	a.size -= len(o.Body)
}

// expire gives a message up for the devices that have not acknowledged it. Those that have seen later numbers wait for this one: its number
// stays, without its text, until they know. When it has been kept for long enough as a number, that is forgotten too.
func (e *Engine) expire(now time.Time, a *account, o *outgoing, reason string) {
	if o.Void {
		for d, c := range o.copies {
			if c.phase != Acked {
				delete(o.copies, d)
			}
		}
		e.settleIfDone(now, a, o, reason)
		return
	}
	if o.progress.Stage < StageDelivered {
		e.advance(now, o, Progress{Stage: StageFailed, Reason: reason})
	}
	a.size -= len(o.Body)
	o.Void, o.Body, o.Expires = true, "", now.Add(voidLife)
	for _, c := range o.copies {
		if c.phase != Acked {
			c.phase, c.due, c.attempts = Waiting, time.Time{}, 0
		}
	}
	e.op(OpVoid{To: a.name, N: o.N, Expires: o.Expires})
}
