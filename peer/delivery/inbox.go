package delivery

import (
	"maps"
	"slices"
	"time"
)

// Arrived handles a payload, no bundle, that a device of the given account has sealed for us. The way is the one that it came by.
func (e *Engine) Arrived(now time.Time, from Account, d Device, w Way, p *Payload) {
	a, r := e.account(from), e.remote(from, d)
	switch p.Kind {
	case KindText:
		e.text(now, r, w, p.Text)
	case KindAck:
		e.acked(now, a, r, p.Ack)
	case KindLow:
		e.low(now, r, p.Low)
	case KindRead:
		e.read(a, p.Read)
	case KindReset:
		e.notice(NoticeReset{Device: d, Session: p.Reset.Session})
		if r.next > 0 {
			e.ackDue[d] = r // what we have acknowledged it may not have heard
		}
		e.forget(now, a, r)
	case KindPing:
		e.reply(r, w, Payload{Kind: KindPong, Pong: &Pong{Token: p.Ping.Token, Way: w}})
	case KindPong:
		e.notice(NoticePong{From: from, Device: d, Token: p.Pong.Token, Way: w})
	case KindPunch:
		if w == WayRelay {
			e.notice(NoticePunch{From: from, Device: d, Punch: p.Punch})
		}
	case KindTerms: // for the owner, before anything else of its envelope
	case KindBundle: // the owner hands its parts over one by one
	}
}

// text takes a message: once, and in the order of its number.
func (e *Engine) text(now time.Time, r *remote, w Way, t *Text) {
	e.meet(r, t.Start, t.Low, t.Base)
	held, duplicate := r.held[t.N]
	foreign := duplicate && t.Renumbered && held.ID != t.ID // of a life that its sender has forgotten
	if duplicate = duplicate && !foreign || t.N < r.next; !duplicate {
		if !e.room(r, t) {
			return // not acknowledged, so it comes again
		}
		if t.Renumbered && t.N > max(t.Low, r.next) {
			return // in its turn, so that it is known by then what of it has come before
		}
		if foreign {
			e.drop(r, held)
		}
		if t.Renumbered {
			e.goOn(r, t)
		}
		if t.N == r.next && t.Prev != r.tip {
			duplicate = true // not what it goes on from: the acknowledgement says what we have
		} else {
			e.accept(now, r, w, t)
		}
	}
	e.skipTo(r, t.Low, t.Base)
	e.miss(r, now)
	e.ackDue[r.device], r.came = r, w
	if !duplicate {
		r.receipt(Receipt{N: t.N, Count: 1, Way: w, Arrived: now})
	}
}

// accept stores a message that may be taken. One that has come under another number only counts.
func (e *Engine) accept(now time.Time, r *remote, w Way, t *Text) {
	if !t.Renumbered || !e.had(r, t.ID) {
		e.store(now, r, w, t)
		return
	}
	r.advance(t.ID)
	e.release(r)
	e.op(OpNext{Device: r.device, Next: r.next, Tip: r.tip})
}

// meet begins the numbers of a device from which nothing has come yet.
func (e *Engine) meet(r *remote, start, low uint64, base Link) {
	if r.next == 0 {
		r.next = start
		e.op(OpNext{Device: r.device, Next: r.next})
	}
	if r.next == low && r.next > 1 && r.tip == (Link{}) {
		r.tip = base
		e.op(OpNext{Device: r.device, Next: r.next, Tip: r.tip})
	}
}

// receipt remembers how a message came, until the next acknowledgement. One too many is left out: the number alone acknowledges too.
func (r *remote) receipt(x Receipt) {
	if i := len(r.receipts) - 1; i >= 0 {
		last := &r.receipts[i]
		if last.Way == x.Way && last.N+last.Count == x.N && last.Arrived.UnixMilli() == x.Arrived.UnixMilli() {
			last.Count++
			return
		}
	}
	if len(r.receipts) < maxReceipts {
		r.receipts = append(r.receipts, x)
	}
}

// room reports whether a message that is not the next may be held. What is next once the sender's lowest number is known is always taken: it
// frees the others.
func (e *Engine) room(r *remote, t *Text) bool {
	ahead := t.N - max(t.Low, r.next)
	if ahead == 0 {
		return true
	}
	return ahead < uint64(e.limits.Reorder) && r.heldSize+len(t.Body) <= e.limits.ReorderSize
}

func (e *Engine) store(now time.Time, r *remote, w Way, t *Text) {
	m := Incoming{From: r.account, Device: r.device, N: t.N, ID: t.ID, Prev: t.Prev, Body: t.Body, Sent: t.Sent, Received: now, Way: w}
	if r.account == e.self {
		m.CopyOf = t.CopyOf // only our own devices may say that we wrote something
	}
	if t.N != r.next {
		r.held[t.N] = &m
		r.heldSize += len(m.Body)
		e.op(OpReceive{Message: m, Held: true})
		return
	}
	e.op(OpReceive{Message: m})
	e.notice(NoticeMessage{Message: m})
	r.advance(m.ID)
	e.release(r)
	e.op(OpNext{Device: r.device, Next: r.next, Tip: r.tip})
}

// advance goes on to the next number.
func (r *remote) advance(id MessageID) { r.next, r.tip = r.next+1, r.tip.Next(id) }

// release shows the held messages that have become next.
func (e *Engine) release(r *remote) {
	for m := r.held[r.next]; m != nil; m = r.held[r.next] {
		if m.Prev != r.tip {
			e.drop(r, m)
			return
		}
		e.show(r, m)
	}
}

// show takes the next message out of those held.
func (e *Engine) show(r *remote, m *Incoming) {
	delete(r.held, m.N)
	r.heldSize -= len(m.Body)
	e.op(OpRelease{Device: r.device, N: m.N})
	e.notice(NoticeMessage{Message: *m})
	r.advance(m.ID)
}

// low handles that the sender has given messages up.
func (e *Engine) low(now time.Time, r *remote, l *Low) {
	e.meet(r, l.Start, l.Low, l.Base)
	e.skipTo(r, l.Low, l.Base)
	e.miss(r, now)
	e.ackDue[r.device] = r
}

// skipTo gives up the numbers below low, which the sender does not hold any more, and shows them as gaps.
func (e *Engine) skipTo(r *remote, low uint64, base Link) {
	if low <= r.next {
		return
	}
	for _, n := range append(r.heldBelow(low), low) {
		if n > r.next {
			g := NoticeGap{From: r.account, Device: r.device, First: r.next, Last: n - 1}
			e.op(OpGap(g))
			e.notice(g)
		}
		r.next = n
		if n < low {
			e.show(r, r.held[n])
		}
	}
	r.tip = base
	e.release(r)
	e.op(OpNext{Device: r.device, Next: r.next, Tip: r.tip})
}

// heldBelow returns the numbers held below low, in order.
func (r *remote) heldBelow(low uint64) []uint64 {
	return slices.DeleteFunc(slices.Sorted(maps.Keys(r.held)), func(n uint64) bool { return n >= low })
}

// miss notes since when messages are held behind one that is missing.
func (e *Engine) miss(r *remote, since time.Time) {
	switch {
	case len(r.held) == 0:
		r.missed = 0
		delete(e.missing, r)
	case r.missed != r.next:
		r.missed, r.tellAt = r.next, since.Add(e.limits.Missing)
		e.missing[r] = struct{}{}
	}
}

// tellMissing tells of what has been missing for long enough, once for each number that others wait for.
func (e *Engine) tellMissing(now time.Time) {
	for r := range e.missing {
		if now.Before(r.tellAt) {
			continue
		}
		delete(e.missing, r)
		lowest := slices.Min(slices.Collect(maps.Keys(r.held)))
		e.notice(NoticeWaiting{From: r.account, Device: r.device, First: r.next, Last: lowest - 1, Held: len(r.held)})
	}
}

// acknowledge writes what is due to a device by the best way open, and keeps it due while none is.
func (e *Engine) acknowledge(r *remote) {
	if r.direct == "" && !e.relays(r) {
		return
	}
	ack := &Ack{Next: r.next, Tip: r.tip, Ranges: ranges(r.held), Receipts: r.receipts}
	delete(e.ackDue, r.device)
	r.receipts = nil
	e.reply(r, r.came, Payload{Kind: KindAck, Ack: ack})
}

// ranges turns the held numbers into at most maxRanges runs, lowest first.
func ranges(held map[uint64]*Incoming) []Range {
	var out []Range
	for _, n := range slices.Sorted(maps.Keys(held)) {
		if last := len(out) - 1; last >= 0 && out[last].First+out[last].Count == n {
			out[last].Count++
			continue
		}
		if len(out) == maxRanges {
			break
		}
		out = append(out, Range{First: n, Count: 1})
	}
	return out
}

// reply sends an unnumbered payload: by the wanted way where it is open, else by the best one.
func (e *Engine) reply(r *remote, want Way, p Payload) {
	via := e.choose(Auto, r)
	relays := e.relays(r) || e.relayUp && p.Kind == KindReset
	if relays && (via == "" || want == WayRelay || want == WayMailbox) {
		via = WayRelay
	}
	if via == "" {
		return
	}
	e.send(Send{To: r.account, Device: r.device, Via: via, Payload: p, LiveOnly: p.Kind == KindPing || p.Kind == KindPong})
	if p.Kind == KindAck && via.IsDirect() && r.doubt && e.relays(r) {
		e.send(Send{To: r.account, Device: r.device, Via: WayRelay, Payload: p})
	}
}

// Ping sends a ping by the given way, or by the best one for none. It reports false when that way is not open.
func (e *Engine) Ping(name Account, d Device, w Way, ping Ping) bool {
	r := e.remote(name, d)
	if w == "" {
		w = e.choose(Auto, r)
	}
	open := (w == WayRelay && e.relays(r)) || (w.IsDirect() && r.direct == w)
	if !open {
		return false
	}
	e.send(Send{To: name, Device: d, Via: w, LiveOnly: true, Payload: Payload{Kind: KindPing, Ping: &ping}})
	return true
}

// Reset tells a device that one of its sessions, of which something has come by a way, cannot be opened here. It goes back by the rendezvous where that
// has come by it, as an acknowledgement does: the direct way may be dead.
func (e *Engine) Reset(name Account, d Device, came Way, session [16]byte) {
	e.reply(e.remote(name, d), came, Payload{Kind: KindReset, Reset: &Reset{Session: session}})
}

// Seen tells all devices of an account that a person has seen what each of them has sent so far.
func (e *Engine) Seen(name Account) {
	for _, d := range e.account(name).devices {
		if r := e.devices[d]; r.next > 1 {
			e.reply(r, "", Payload{Kind: KindRead, Read: &Read{Upto: r.next - 1}})
		}
	}
}

// read handles that a person has seen our messages, also those that have left the outbox.
func (e *Engine) read(a *account, read *Read) {
	upto := min(read.Upto, a.next-1)
	e.op(OpRead{To: a.name, Upto: upto})
	e.notice(NoticeRead{To: a.name, Upto: upto})
}
