package delivery

import "time"

// The reasons of messages that wait because the rendezvous takes no more. They are codes of its own.
const (
	MailboxFull = "mailbox-full" // it keeps no more for the account
	RateLimited = "rate-limited" // this account sends too fast
)

const (
	// presentProbe is the wait between two probes of the mailbox of a device that is online, and so empties it.
	presentProbe = time.Second
	// heldPiece is how many messages one step tells of that they are held, and heldPause the time between two steps: who reads the notices keeps up.
	heldPiece = 256
	heldPause = 10 * time.Millisecond
)

// ofOne has the refusals that say something of one message, or of a device whatever is sent to it. All others, also those that are not known, would meet whatever
// comes after it as well.
var ofOne = map[string]bool{
	"bad-request": true, "too-large": true, "no-such-device": true, "no-such-user": true, "no-key-published": true,
}

// refusal stands while the rendezvous takes nothing for a device. What would go by it is held, so that it takes no room in the window, and a single message is
// sent now and then as a probe. When one gets through, all may go. It ends too when nothing is held any more.
type refusal struct {
	reason string
	turn   uint64    // of the latest attempt when it began: those after it are probes
	probe  time.Time // when the next may be sent
	vain   int       // probes that were refused in a row
	untold *outgoing // from here on nobody was told of what is held
	tellAt time.Time // when more of them are told; zero: nothing is left to tell
}

// Refused says that the rendezvous did not take the copy for a device. It stays in the outbox and is tried again after the wait, at least. A full mailbox is tried
// each second while its owner is online.
func (e *Engine) Refused(now time.Time, to Account, d Device, n uint64, reason string, wait time.Duration) {
	a, o, c := e.copyOf(to, d, n)
	if c == nil || c.phase == Stored || c.phase == kept || c.phase == Sent && c.via.IsDirect() { // the last: only its double was refused
		return
	}
	if ofOne[reason] {
		c.phase = Waiting
		e.setDue(c, now.Add(max(wait, e.backOff(c.attempts))))
		if reason == "no-such-device" {
			e.notice(NoticeStale{Account: to})
		}
		e.tellReason(o, reason)
		return
	}
	e.wait(c)
	r := c.to
	if f := r.refused; f != nil && c.turn <= f.turn {
		e.tellHeld(o, f.reason) // it was on its way when the first was refused
		return
	}
	e.hold(now, r, reason, wait)
	r.rewind()
	e.pump(now, a, r)
}

// hold begins a refusal, or goes on with it after a probe in vain.
func (e *Engine) hold(now time.Time, r *remote, reason string, wait time.Duration) {
	f := r.refused
	if f == nil {
		f = &refusal{turn: r.turns}
		r.refused = f
		e.refusing[r] = struct{}{}
	} else {
		f.vain++
	}
	f.reason, f.untold, f.tellAt = reason, r.lowest(), now
	switch {
	case r.online && reason == MailboxFull: // the answer may be of the time when it was away, and ask for more patience
		f.probe = now.Add(presentProbe)
	case r.online:
		f.probe = now.Add(max(wait, presentProbe))
	default:
		f.probe = now.Add(max(wait, e.backOff(f.vain)))
	}
}

// backOff is the wait after so many attempts before.
func (e *Engine) backOff(attempts int) time.Duration {
	return min(e.limits.Resend<<min(attempts, 10), maxResend)
}

// refuses reports whether nothing may go to a device by a way now, because the rendezvous refuses it.
func (r *remote) refuses(now time.Time, via Way) bool {
	return via == WayRelay && r.refused != nil && now.Before(r.refused.probe)
}

// letGo ends a refusal.
func (e *Engine) letGo(r *remote) {
	r.refused = nil
	delete(e.refusing, r)
	r.rewind()
}

// through ends a refusal where a probe has got through.
func (e *Engine) through(c *copyState) {
	if c.probes() {
		e.letGo(c.to)
	}
}

// probes reports whether the latest attempt was to find out whether a refusal is over.
func (c *copyState) probes() bool {
	f := c.to.refused
	return f != nil && c.via == WayRelay && c.turn > f.turn
}

// Taken says that a device has taken the copy for it live, off the rendezvous. That it is on its disk only its acknowledgement says.
func (e *Engine) Taken(now time.Time, to Account, d Device, n uint64) {
	if a, _, c := e.copyOf(to, d, n); c != nil && c.to.refused != nil {
		e.through(c)
		e.pump(now, a, c.to)
	}
}

// retryNow has tried at once what waits for its time, because a device has come online or a way to it has opened.
func (e *Engine) retryNow(now time.Time, r *remote) {
	for o := r.lowest(); o != nil; o = o.next {
		if c := o.copyFor(r); c != nil && c.phase == Waiting && !c.due.IsZero() {
			e.wait(c)
		}
	}
	if f := r.refused; f != nil {
		f.probe, f.vain = now, 0
	}
	r.rewind()
	e.pump(now, e.account(r.account), r)
}

// probeDue sends the probes that are due, and tells what is still to be told.
func (e *Engine) probeDue(now time.Time) {
	for r := range e.refusing {
		if !e.relays(r) {
			continue // a way that opens has everything looked at
		}
		a, f := e.account(r.account), r.refused
		if !now.Before(f.probe) {
			r.rewind()
			e.pump(now, a, r)
			if !now.Before(f.probe) { // nothing is there to be sent
				e.letGo(r)
				e.pump(now, a, r)
				continue
			}
		}
		e.tellAllHeld(now, r)
	}
}

// tellAllHeld tells of the messages that are held, a piece at a time.
func (e *Engine) tellAllHeld(now time.Time, r *remote) {
	f := r.refused
	if f == nil || now.Before(f.tellAt) {
		return
	}
	f.tellAt = time.Time{}
	for told := 0; f.untold != nil; f.untold = f.untold.next {
		if told == heldPiece {
			f.tellAt = now.Add(heldPause)
			return
		}
		if e.tellHeld(f.untold, f.reason) {
			told++
		}
	}
}

// tellHeld tells why a message waits, where every copy of it that is left to do is held.
func (e *Engine) tellHeld(o *outgoing, reason string) bool {
	return e.isHeld(o) && e.tellReason(o, reason)
}

// isHeld reports whether every copy of a message that is left to do is held, or tries whether the next may go.
func (e *Engine) isHeld(o *outgoing) bool {
	for i := range o.copies {
		c := &o.copies[i]
		if c.open() && !(c.phase == Sent && c.probes()) && (c.phase != Waiting || c.to.refused == nil || e.choose(o.policy(), c.to) != WayRelay) {
			return false
		}
	}
	return true
}

// tellReason tells why a message waits, once.
func (e *Engine) tellReason(o *outgoing, reason string) bool {
	if o.progress.Stage != StageAccepted || o.progress.Reason == reason {
		return false
	}
	o.progress.Reason = reason
	e.notice(NoticeProgress{To: o.To, N: o.N, ID: o.ID, CopyOf: o.CopyOf, Progress: o.progress})
	return true
}

// Refusal returns why the rendezvous takes nothing for a device for now, or nothing where it does or that is not known.
func (e *Engine) Refusal(d Device) string {
	if r := e.devices[d]; r != nil && r.refused != nil {
		return r.refused.reason
	}
	return ""
}

// Waits returns why a message that is only on this disk does not leave, or nothing where that is not known.
func (e *Engine) Waits(to Account, n uint64) string {
	if a := e.accounts[to]; a != nil {
		o := a.outbox.byN[n]
		if o != nil && o.progress.Stage == StageAccepted && (ofOne[o.progress.Reason] || e.isHeld(o)) { // what held it may be over
			return o.progress.Reason
		}
	}
	return ""
}
