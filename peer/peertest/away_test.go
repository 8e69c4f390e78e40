package peertest_test

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/byway-chat/byway/peer"
	"github.com/byway-chat/byway/peer/peertest"
)

// TestWeeksWithoutRendezvous has two peers use a link now and then while the rendezvous is away for longer than any key that it has published lives.
func TestWeeksWithoutRendezvous(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := peertest.New(t, 1)
		alice, bob := w.Peer("alice"), w.Peer("bob")
		alice.MustReach(alice.MustSend("bob", "we have met").ID, peer.StateDelivered)
		bob.MustReach(bob.MustSend("alice", "we have").ID, peer.StateDelivered)
		w.KillRendezvous()
		for week, pause := range []time.Duration{15, 12, 12} { // days; a key lives for 21
			alice.Stop()
			bob.Stop()
			time.Sleep(pause * 24 * time.Hour)
			for _, n := range []*peertest.Node{alice, bob} {
				if err := n.Start(); err != nil {
					t.Fatal(err)
				}
			}
			for _, r := range []struct {
				from *peertest.Node
				to   string
			}{{alice, "bob"}, {bob, "alice"}} {
				receipt := r.from.MustReach(r.from.MustSend(r.to, "still here").ID, peer.StateDelivered)
				if receipt.Way != peer.WayLAN {
					t.Errorf("after pause %d it went by %s", week, receipt.Way)
				}
			}
			time.Sleep(time.Minute)
		}
	})
}

// TestStrangerWithoutRendezvous has somebody greet under a name while nobody can be asked who that is.
func TestStrangerWithoutRendezvous(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := peertest.New(t, 1)
		alice, bob := w.Peer("alice"), w.Peer("bob")
		alice.MustReach(alice.MustSend("bob", "we have met").ID, peer.StateDelivered)
		other := w.Peer("bob") // with another key: a device of bob's account that alice has not accepted
		time.Sleep(time.Second)
		w.KillRendezvous()
		time.Sleep(30 * time.Second)
		bob.Stop()
		ctx := t.Context()
		status, err := other.Status(ctx)
		if err != nil {
			t.Fatal(err)
		}
		if f, err := alice.Connect(ctx, "bob", status.Addrs[0]); err == nil {
			t.Errorf("a device that was not accepted passes as bob: %+v", f)
		} else if peer.CodeOf(err) != peer.CodeUsage {
			t.Errorf("the address of another device: %v, want a mistake in use", err)
		}
		if _, err := other.Send(ctx, "alice", "it is me, bob", peer.SendOptions{}); err == nil {
			time.Sleep(time.Minute)
		}
		for _, body := range alice.Bodies() {
			t.Errorf("alice was shown %q", body)
		}
		if list, err := alice.Who(ctx); err != nil || list[0].Online {
			t.Errorf("bob counts as there: %+v, %v", list, err)
		}
	})
}
