package peertest_test

import (
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/byway-chat/byway/peer"
	"github.com/byway-chat/byway/peer/peertest"
)

// switching is a stream of messages from one node to another, ten a second, while the direct way between them comes and goes.
type switching struct {
	t        *testing.T
	w        *peertest.World
	from, to *peertest.Node
	sent     map[string]time.Time // by id
	bodies   []string
}

// write sends for a while.
func (s *switching) write(d time.Duration) {
	s.t.Helper()
	for end := time.Now().Add(d); time.Now().Before(end); time.Sleep(100 * time.Millisecond) {
		body := fmt.Sprint(len(s.bodies) + 1)
		s.bodies = append(s.bodies, body)
		s.sent[s.from.MustSend("bob", body).ID] = time.Now()
	}
}

// check wants every message to be shown once, in order and in time, and its sender to know that in time too.
func (s *switching) check(limit time.Duration) {
	s.t.Helper()
	shown(s.t, "bob", s.to, s.bodies...)
	var there, known time.Duration
	for _, e := range s.to.Events(peer.EventMessage) {
		there = max(there, e.Received.Sub(s.sent[e.ID]))
	}
	for _, e := range s.from.Events(peer.EventState) {
		if e.State == peer.StateDelivered {
			known = max(known, time.Duration(*e.MS*float64(time.Millisecond)))
		}
	}
	s.t.Logf("%d messages: shown within %v, known to be within %v", len(s.bodies), there, known)
	if there > limit || known > limit {
		s.t.Errorf("a message was shown %v after it was sent, and known to be after %v; want %v at most", there, known, limit)
	}
}

// way is the one that the sender uses.
func (s *switching) way() peer.Way {
	s.t.Helper()
	entries, err := s.from.Route(s.t.Context(), "bob")
	if err != nil {
		s.t.Fatal(err)
	}
	for _, e := range entries {
		if e.InUse {
			return e.Way
		}
	}
	return ""
}

func switchOver(t *testing.T) *switching {
	w := peertest.New(t, 1)
	s := &switching{t: t, w: w, from: w.Peer("alice"), to: w.Peer("bob"), sent: map[string]time.Time{}}
	s.write(5 * time.Second)
	if got := s.way(); got != peer.WayLAN {
		t.Fatalf("the way is %q, want lan", got)
	}
	return s
}

// TestSwitchOver: however often and for how long the direct way is cut, each message arrives within a second, and the way is in use again within ten
// of its return.
func TestSwitchOver(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := switchOver(t)
		for _, away := range []time.Duration{
			3 * time.Second, 4 * time.Second, 3 * time.Second, 9 * time.Second, 700 * time.Millisecond, 10500 * time.Millisecond,
			13 * time.Second, 17 * time.Second, 24 * time.Second, 40 * time.Second, 95 * time.Second,
		} {
			s.w.Split(s.from, s.to, true)
			s.write(away)
			s.w.Split(s.from, s.to, false)
			s.write(10 * time.Second)
			last := s.from.MustReach(s.from.MustSend("bob", "last").ID, peer.StateDelivered)
			s.bodies = append(s.bodies, "last")
			if last.Way != peer.WayLAN {
				t.Errorf("10 s after a cut of %v messages go by %q, want lan", away, last.Way)
			}
			s.sent[last.ID] = time.Now()
		}
		s.check(time.Second)
	})
}

// TestLostOpening: the opening of a session is lost with the way, and what follows by the relay can be opened all the same.
func TestLostOpening(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := switchOver(t)
		s.from.Stop()
		if err := s.from.Start(); err != nil {
			t.Fatal(err)
		}
		time.Sleep(2 * time.Second)
		if got := s.way(); got != peer.WayLAN {
			t.Fatalf("the way is %q, want lan", got)
		}
		s.w.Split(s.from, s.to, true)
		s.write(5 * time.Second)
		s.check(time.Second)
	})
}

// TestHalfDead: a way on which only one of the two is heard holds nothing up for long either.
func TestHalfDead(t *testing.T) {
	for _, both := range []bool{false, true} {
		for _, mute := range []bool{false, true} {
			synctest.Test(t, func(t *testing.T) {
				s := switchOver(t)
				if mute {
					s.w.Mute(s.from, s.to, true)
				} else {
					s.w.Mute(s.to, s.from, true)
				}
				for range 150 {
					if both {
						s.to.MustSend("alice", "and back")
					}
					s.write(100 * time.Millisecond)
				}
				time.Sleep(10 * time.Second)
				s.check(3 * time.Second)
			})
		}
	}
}
