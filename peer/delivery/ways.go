package delivery

import (
	"slices"
	"time"
)

// DirectUp says that a direct way to a device is open, or another one than before: what that carried without an acknowledgement goes by the new one.
func (e *Engine) DirectUp(now time.Time, name Account, d Device, w Way) {
	r := e.remote(name, d)
	r.direct, r.doubt = w, false
	e.again(now, e.account(name), r, func(c *copyState) bool {
		return c.phase == Sent && c.via.IsDirect() || c.phase == Waiting && !c.due.IsZero() // what waited for its time has its way now
	})
}

// DirectDown says that the direct way to a device is closed. What it carried without an acknowledgement goes by the next way.
func (e *Engine) DirectDown(now time.Time, name Account, d Device) {
	r := e.remote(name, d)
	r.direct, r.doubt = "", false
	e.again(now, e.account(name), r, func(c *copyState) bool { return c.phase == Sent && c.via.IsDirect() })
}

// DirectDoubt says that nobody has answered over the direct way to a device for a while, or that somebody has again. In doubt everything goes by
// the relay as well, also what has gone already: duplicates cost nothing, silence costs a conversation.
func (e *Engine) DirectDoubt(now time.Time, d Device, doubtful bool) {
	r := e.devices[d]
	if r == nil || r.direct == "" || r.doubt == doubtful {
		return
	}
	r.doubt = doubtful
	a := e.account(r.account)
	for o := r.lowest(); doubtful && o != nil; o = o.next {
		if c := o.copyFor(r); c != nil && c.phase == Sent && c.via.IsDirect() && e.twice(o, r) {
			e.send(e.letter(a, o, r, WayRelay))
		}
	}
}

// twice reports whether what goes directly goes by the relay too.
func (e *Engine) twice(o *outgoing, r *remote) bool {
	return r.doubt && e.mayRelay(o, r)
}

// mayRelay reports whether a message may go to a device by the relay now.
func (e *Engine) mayRelay(o *outgoing, r *remote) bool {
	return e.relays(r) && o.policy().allows(WayRelay)
}

// RelayUp says that the rendezvous takes envelopes.
func (e *Engine) RelayUp(now time.Time) {
	e.relayUp = true
	for _, r := range e.devices {
		if r.refused != nil {
			r.refused.probe = now // perhaps it takes again what it has refused on another connection
		}
		r.rewind()
		e.pump(now, e.account(r.account), r)
	}
}

// RelayDown says that the rendezvous is gone, and with it its answers to what was submitted.
func (e *Engine) RelayDown(now time.Time) {
	e.relayUp = false
	for _, r := range e.devices {
		r.online = false
		e.again(now, e.account(r.account), r, func(c *copyState) bool { return c.phase == Sent && c.via == WayRelay })
	}
}

// Relayed says whether what is for a device may go by the rendezvous, as the policies of both sides have it; at first it may. Where it may not any more,
// what was on its way there waits for a direct way. What says nothing of messages, a reset of a session, may go all the same.
func (e *Engine) Relayed(now time.Time, name Account, d Device, allowed bool) {
	r := e.remote(name, d)
	if r.barred == !allowed {
		return
	}
	r.barred = !allowed
	e.again(now, e.account(name), r, func(c *copyState) bool { return r.barred && c.phase == Sent && c.via == WayRelay })
}

// Online says whether a device is connected to the rendezvous. One that has come back and does not acknowledge what was stored
// for it is sent it again: the mailbox may have been lost. What was refused is tried again at once.
func (e *Engine) Online(now time.Time, name Account, d Device, online bool) {
	r := e.remote(name, d)
	came := online && !r.online
	r.online = online
	if came {
		for o := r.lowest(); o != nil; o = o.next {
			if c := o.copyFor(r); c != nil && c.phase == Stored {
				e.setDue(c, now.Add(2*e.limits.Resend))
			}
		}
		e.retryNow(now, r)
	}
}

// again makes the copies that lost their way wait, and sends them by another that is open.
func (e *Engine) again(now time.Time, a *account, r *remote, lost func(*copyState) bool) {
	for o := r.lowest(); o != nil; o = o.next {
		if c := o.copyFor(r); c != nil && lost(c) {
			e.wait(c)
		}
	}
	r.rewind()
	e.pump(now, a, r)
}

// Forget makes everything that a device has not acknowledged be sent again: it has lost our session.
func (e *Engine) forget(now time.Time, a *account, r *remote) {
	e.again(now, a, r, func(c *copyState) bool { return c.phase == Sent || c.phase == Stored })
}

// Unsent says that a payload taken from Effects could not leave, because its way had just closed or has no room. It is tried again.
func (e *Engine) Unsent(now time.Time, s Send) {
	if _, _, c := e.copyOf(s.To, s.Device, s.N); c != nil && c.phase == Sent && c.via == s.Via {
		c.phase = Waiting
		e.setDue(c, now.Add(e.limits.Resend/10))
		if c.probes() {
			c.to.refused.probe = c.due // it has found out nothing
		}
	}
	if s.Payload.Kind == KindAck {
		r := e.remote(s.To, s.Device)
		e.ackDue[s.Device] = r
		r.receipts = append(slices.Clone(s.Payload.Ack.Receipts), r.receipts...)
		r.receipts = r.receipts[:min(len(r.receipts), maxReceipts)]
	}
}

// Tick does what has become due: resends, deadlines and expiry.
func (e *Engine) Tick(now time.Time) {
	for a := range e.holding {
		if !a.expiry.IsZero() && !now.Before(a.expiry) {
			e.expireDue(now, a)
		}
	}
	for r := range e.timed {
		if !now.Before(r.timer) {
			e.resendDue(now, r)
		}
	}
	e.probeDue(now)
	e.tellMissing(now)
}

// expireDue gives up what has come to its end, and learns when the next will.
func (e *Engine) expireDue(now time.Time, a *account) {
	a.expiry = time.Time{}
	for o := a.outbox.first; o != nil; o = o.next {
		if end := o.deadline(e.limits.Direct); !end.IsZero() && !now.Before(end) {
			reason := "expired"
			if o.Policy.mustBeDirect() && !o.Void {
				reason = "no-direct-way"
			}
			e.expire(now, a, o, reason)
		}
		if a.outbox.byN[o.N] == o {
			a.expireAt(o.deadline(e.limits.Direct))
		}
	}
	for _, r := range a.remotes {
		r.rewind()
		e.pump(now, a, r)
	}
}

// resendDue makes wait again what has had no answer in its time, and learns when the next is due.
func (e *Engine) resendDue(now time.Time, r *remote) {
	r.timer = time.Time{}
	for o := r.lowest(); o != nil; o = o.next {
		c := o.copyFor(r)
		switch {
		case c == nil || c.due.IsZero():
		case now.Before(c.due):
			r.timer = sooner(r.timer, c.due)
		default:
			c.phase = Waiting
			c.land()
			e.setDue(c, time.Time{}) // also where the window is shut: a time that has passed must not wake us again
		}
	}
	r.rewind()
	e.pump(now, e.account(r.account), r)
}

// NextTick returns when Tick may have something to do, or the zero time when nothing waits for time to pass.
func (e *Engine) NextTick() time.Time {
	var next time.Time
	for a := range e.holding {
		next = sooner(next, a.expiry)
	}
	for r := range e.timed {
		if r.direct != "" || e.relays(r) { // else nothing can be sent again, and a way that opens has everything looked at
			next = sooner(next, r.timer)
		}
	}
	for r := range e.refusing {
		if e.relays(r) {
			next = sooner(sooner(next, r.refused.probe), r.refused.tellAt)
		}
	}
	for r := range e.missing {
		next = sooner(next, r.tellAt)
	}
	return next
}
