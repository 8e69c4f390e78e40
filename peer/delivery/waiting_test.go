package delivery

import (
	"testing"
	"time"
)

// TestWaiting wants it told once, after a while, that messages are held behind one that is missing, and again for the next that is.
func TestWaiting(t *testing.T) {
	e := New("bob", Snapshot{}, Limits{})
	e.RelayUp(t0)
	at := func(after time.Duration) []NoticeWaiting {
		e.Tick(t0.Add(after))
		return pick[NoticeWaiting](e.Take(t0).Notices)
	}
	come := func(after time.Duration, n uint64) {
		e.Arrived(t0.Add(after), "alice", alice1, WayLAN, textOf(n, 1, 1))
	}
	come(0, 1)
	if next := e.NextTick(); !next.IsZero() {
		t.Errorf("nothing is missing, and the next tick is at %v", next)
	}
	come(0, 4)
	come(time.Second, 6)
	equal(t, "next tick", e.NextTick(), t0.Add(5*time.Second))
	equal(t, "told early", at(4999*time.Millisecond), []NoticeWaiting(nil))
	equal(t, "told", at(5*time.Second), []NoticeWaiting{{From: "alice", Device: alice1, First: 2, Last: 3, Held: 2}})
	come(6*time.Second, 7)
	if next := e.NextTick(); !next.IsZero() {
		t.Errorf("it was told, and the next tick is at %v", next)
	}
	come(7*time.Second, 2)
	come(8*time.Second, 3)
	equal(t, "next tick for another number", e.NextTick(), t0.Add(13*time.Second))
	equal(t, "told of another number", at(13*time.Second), []NoticeWaiting{{From: "alice", Device: alice1, First: 5, Last: 5, Held: 2}})
	come(14*time.Second, 5)
	come(15*time.Second, 9)
	come(16*time.Second, 8)
	if next := e.NextTick(); !next.IsZero() {
		t.Errorf("everything has come, and the next tick is at %v", next)
	}
	equal(t, "told for nothing", at(time.Hour), []NoticeWaiting(nil))
}

// TestWaitingAfterRestart wants it told too where the messages were held before the process began, and not where they have been given up.
func TestWaitingAfterRestart(t *testing.T) {
	held := func(n uint64, at time.Time) Incoming {
		return Incoming{From: "alice", Device: alice1, N: n, Received: at}
	}
	s := Snapshot{Devices: []DeviceState{{
		Account: "alice", Device: alice1, Next: 1, Held: []Incoming{held(3, t0.Add(time.Second)), held(2, t0.Add(2*time.Second))},
	}}}
	e := New("bob", s, Limits{Missing: time.Minute})
	equal(t, "next tick", e.NextTick(), t0.Add(61*time.Second))
	e.Tick(t0.Add(time.Hour))
	equal(t, "told", pick[NoticeWaiting](e.Take(t0).Notices), []NoticeWaiting{{From: "alice", Device: alice1, First: 1, Last: 1, Held: 2}})

	e = New("bob", s, Limits{Missing: time.Minute})
	e.Arrived(t0, "alice", alice1, WayLAN, &Payload{Kind: KindLow, Low: &Low{Low: 4, Start: 1}})
	e.Tick(t0.Add(time.Hour))
	equal(t, "told of what is given up", pick[NoticeWaiting](e.Take(t0).Notices), []NoticeWaiting(nil))
}
