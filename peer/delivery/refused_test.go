package delivery

import (
	"slices"
	"testing"
	"time"
)

// fill has a sender's first messages stored and the rest of count refused for want of room, as an answer to their first attempt.
func fill(t *testing.T, e *Engine, stored, count int) {
	t.Helper()
	for range count {
		accept(t, e, Message{})
	}
	for n := 1; n <= count; {
		sent := numbers(e.Take(t0), bob1)
		if len(sent) == 0 {
			return
		}
		for _, n = range sent {
			if n <= stored {
				e.Stored(t0, "bob", bob1, uint64(n))
			} else {
				e.Refused(t0, "bob", bob1, uint64(n), MailboxFull, time.Minute)
			}
		}
	}
}

// TestFullMailboxIsToldToAll: not only what was refused hears of it, but also what stands behind that, and what is accepted later.
func TestFullMailboxIsToldToAll(t *testing.T) {
	e := newSender(Limits{Window: 4}, bob1)
	fill(t, e, 5, 5)
	e.Take(t0)
	for range 600 { // far more than the window has room for
		accept(t, e, Message{})
	}
	told := map[uint64]int{}
	note := func(out Effects) {
		for _, n := range pick[NoticeProgress](out.Notices) {
			if n.Progress == (Progress{Reason: MailboxFull}) {
				told[n.N]++
			}
		}
	}
	out := e.Take(t0)
	equal(t, "sent", numbers(out, bob1), []int{6, 7, 8, 9})
	for n := uint64(6); n <= 9; n++ {
		e.Refused(t0, "bob", bob1, n, MailboxFull, time.Minute)
	}
	out = e.Take(t0)
	equal(t, "sent while it is full", numbers(out, bob1), []int(nil))
	if n := len(out.Notices); n > heldPiece+4 {
		t.Errorf("got %d notices at once, want at most a piece", n)
	}
	note(out)
	now := t0
	for range 5 {
		if next := e.NextTick(); next.Before(t0.Add(time.Second)) {
			now = next
			e.Tick(now)
			note(e.Take(now))
		}
	}
	accept(t, e, Message{}) // number 606
	note(e.Take(now))
	for n := uint64(6); n <= 606; n++ {
		if told[n] != 1 {
			t.Fatalf("message %d was told %d times that the mailbox is full, want once", n, told[n])
		}
	}
	equal(t, "why 606 waits", e.Waits("bob", 606), MailboxFull)
	equal(t, "the refusal", e.Refusal(bob1), MailboxFull)
}

// TestOneProbe: a full mailbox is asked by one message at a time, and when that gets through all go.
func TestOneProbe(t *testing.T) {
	for _, row := range []struct {
		name    string
		answer  func(e *Engine, now time.Time)
		present bool
		waits   []time.Duration // between the probes, in seconds
		then    []int           // what goes when a probe has got through
	}{
		{
			name:   "away",
			answer: func(e *Engine, now time.Time) { e.Stored(now, "bob", bob1, 3) },
			waits:  []time.Duration{60, 60, 60}, then: []int{4, 5, 6},
		},
		{
			name: "present", present: true,
			answer: func(e *Engine, now time.Time) { e.Taken(now, "bob", bob1, 3) },
			waits:  []time.Duration{0, 1, 1, 1}, then: []int{4, 5, 6},
		},
		{
			name: "acknowledged", present: true,
			answer: func(e *Engine, now time.Time) { e.Arrived(now, "bob", bob1, WayRelay, ackOf(4)) },
			waits:  []time.Duration{0, 1, 1}, then: []int{4, 5, 6},
		},
	} {
		t.Run(row.name, func(t *testing.T) {
			e := newSender(Limits{}, bob1)
			fill(t, e, 2, 6)
			e.Take(t0)
			now := t0
			if row.present {
				now = t0.Add(20 * time.Second)
				e.Online(now, "bob", bob1, true)
			}
			for _, wait := range row.waits {
				if wait > 0 {
					equal(t, "next probe", e.NextTick().Sub(now), wait*time.Second)
					now = e.NextTick()
					e.Tick(now)
				}
				sent := slices.DeleteFunc(numbers(e.Take(now), bob1), func(n int) bool { return n <= 2 }) // those stored, of which no word has come
				equal(t, "probe", sent, []int{3})
				e.Refused(now, "bob", bob1, 3, MailboxFull, time.Minute)
				equal(t, "sent after a probe in vain", numbers(e.Take(now), bob1), []int(nil))
			}
			now = e.NextTick()
			e.Tick(now)
			e.Take(now)
			row.answer(e, now)
			sent := slices.DeleteFunc(numbers(e.Take(now), bob1), func(n int) bool { return n <= 2 })
			equal(t, "sent when a probe has got through", sent, row.then)
			equal(t, "the refusal", e.Refusal(bob1), "")
		})
	}
}

// TestDirectWayPastFullMailbox: a direct way has nothing to do with a mailbox, and afterwards nothing is tried for nothing.
func TestDirectWayPastFullMailbox(t *testing.T) {
	e := newSender(Limits{}, bob1)
	fill(t, e, 1, 4)
	e.Take(t0)
	now := t0.Add(time.Second)
	e.DirectUp(now, "bob", bob1, WayLAN)
	equal(t, "sent directly", numbers(e.Take(now), bob1), []int{2, 3, 4})
	accept(t, e, Message{})
	equal(t, "sent directly afterwards", numbers(e.Take(now), bob1), []int{5})
	e.Arrived(now, "bob", bob1, WayLAN, ackOf(6))
	e.Take(now)
	for range 3 {
		if next := e.NextTick(); !next.IsZero() {
			e.Tick(next)
		}
	}
	if next := e.NextTick(); !next.IsZero() || !e.out.Empty() {
		t.Errorf("got a tick at %v and %+v with nothing left to do", next, e.out)
	}
	equal(t, "the refusal", e.Refusal(bob1), "")
}

// TestDirectWayTakesWhatWaitsForItsTime: a back-off is for the way that it began on.
func TestDirectWayTakesWhatWaitsForItsTime(t *testing.T) {
	e := newSender(Limits{}, bob1)
	accept(t, e, Message{})
	e.Take(t0)
	e.Refused(t0, "bob", bob1, 1, "no-such-device", time.Minute)
	e.Take(t0)
	e.DirectUp(t0, "bob", bob1, WayLAN)
	equal(t, "sent directly", numbers(e.Take(t0), bob1), []int{1})
}

// TestFullMailboxOfOneDevice: what another device may still take is not called held.
func TestFullMailboxOfOneDevice(t *testing.T) {
	e := newSender(Limits{}, bob1, bob2)
	accept(t, e, Message{})
	e.Take(t0)
	e.Refused(t0, "bob", bob1, 1, MailboxFull, time.Minute)
	equal(t, "progress", stages(e.Take(t0)), []Progress(nil))
	e.Refused(t0, "bob", bob2, 1, MailboxFull, time.Minute)
	equal(t, "progress when the other has refused too", stages(e.Take(t0)), []Progress{{Reason: MailboxFull}})
}

// TestWaitsWhileItIsHeld: a message carries the reason of a refusal only until it is let go, for whichever of its devices that is.
func TestWaitsWhileItIsHeld(t *testing.T) {
	for _, row := range []struct {
		name    string
		devices []Device
		reason  string
		then    func(e *Engine, now time.Time)
		want    string
	}{
		{"refused", []Device{bob1}, MailboxFull, func(*Engine, time.Time) {}, MailboxFull},
		{"a probe has got through", []Device{bob1}, MailboxFull, func(e *Engine, now time.Time) { e.Stored(now, "bob", bob1, 1) }, ""},
		{"a probe was refused again", []Device{bob1}, MailboxFull, func(e *Engine, now time.Time) {
			e.Refused(now, "bob", bob1, 1, MailboxFull, time.Minute)
		}, MailboxFull},
		{"one device of two let go", []Device{bob1, bob2}, MailboxFull, func(e *Engine, now time.Time) { e.Stored(now, "bob", bob2, 1) }, ""},
		{"a direct way", []Device{bob1}, MailboxFull, func(e *Engine, now time.Time) { e.DirectUp(now, "bob", bob1, WayLAN) }, ""},
		{"no way at all", []Device{bob1}, MailboxFull, func(e *Engine, now time.Time) { e.RelayDown(now) }, ""},
		{"of this message alone", []Device{bob1}, "no-such-device", func(e *Engine, now time.Time) { e.Stored(now, "bob", bob1, 1) }, "no-such-device"},
	} {
		t.Run(row.name, func(t *testing.T) {
			e := newSender(Limits{}, row.devices...)
			accept(t, e, Message{})
			accept(t, e, Message{})
			e.Take(t0)
			for _, d := range row.devices {
				for n := range uint64(2) {
					e.Refused(t0, "bob", d, n+1, row.reason, time.Minute)
				}
			}
			e.Take(t0)
			equal(t, "why it waits at first", e.Waits("bob", 2), row.reason)
			now := t0.Add(2 * time.Minute)
			e.Tick(now)
			e.Take(now)
			row.then(e, now)
			e.Take(now)
			equal(t, "why it waits then", e.Waits("bob", 2), row.want)
		})
	}
}

// TestUnsentProbe: a probe that could not be sent has found out nothing and goes again soon. What was on its way when the refusal came is no probe, and has the
// rendezvous asked no earlier.
func TestUnsentProbe(t *testing.T) {
	const resend = 10 * time.Second
	e := newSender(Limits{Resend: resend}, bob1)
	accept(t, e, Message{})
	accept(t, e, Message{})
	out := e.Take(t0)
	e.Refused(t0, "bob", bob1, 1, RateLimited, time.Minute)
	e.Unsent(t0, out.Sends[1])
	e.Take(t0)
	e.Tick(t0.Add(resend / 10))
	equal(t, "sent before its time", numbers(e.Take(t0.Add(resend/10)), bob1), []int(nil))

	now := t0.Add(time.Minute)
	e.Tick(now)
	out = e.Take(now)
	equal(t, "probe", numbers(out, bob1), []int{1})
	e.Unsent(now, out.Sends[0])
	now = now.Add(resend / 10)
	equal(t, "next probe", e.NextTick(), now)
	e.Tick(now)
	equal(t, "probe in place of the unsent", numbers(e.Take(now), bob1), []int{1})
}

// TestRelayBackProbes: a new connection to the rendezvous has new answers.
func TestRelayBackProbes(t *testing.T) {
	e := newSender(Limits{}, bob1)
	fill(t, e, 0, 3)
	e.Take(t0)
	now := t0.Add(time.Second)
	e.RelayDown(now)
	if next := e.NextTick(); !next.IsZero() {
		t.Errorf("got a tick at %v with no way open", next)
	}
	e.RelayUp(now)
	equal(t, "probe", numbers(e.Take(now), bob1), []int{1})
}
