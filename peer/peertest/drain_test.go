package peertest_test

import (
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/byway-chat/byway/peer"
	"github.com/byway-chat/byway/peer/peertest"
)

// TestDrain: a rendezvous that has said goodbye counts as away at once, and is found soon after it has come back.
func TestDrain(t *testing.T) {
	for seed := range uint64(5) {
		synctest.Test(t, func(t *testing.T) {
			w := peertest.New(t, seed)
			alice := w.Peer("alice")
			w.Peer("bob")
			time.Sleep(time.Second)
			last := func() (connected bool) {
				events := alice.Events(peer.EventRendezvous)
				if len(events) == 0 {
					return true
				}
				return *events[len(events)-1].Connected
			}
			w.StopRendezvous()
			time.Sleep(100 * time.Millisecond)
			if last() {
				t.Error("alice still counts on the rendezvous")
			}
			w.StartRendezvous()
			time.Sleep(3 * time.Second)
			if !last() {
				t.Error("alice has not come back after 3 s")
			}
			time.Sleep(3 * time.Second)
			told := slices.DeleteFunc(alice.Events(peer.EventPresence), func(e peer.Event) bool { return e.User != "bob" })
			if n := len(told); n == 0 || !*told[n-1].Online {
				t.Errorf("got %+v, want bob online in the end", told)
			}
		})
	}
}
