package peertest_test

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"github.com/byway-chat/byway/peer"
	"github.com/byway-chat/byway/peer/peertest"
)

// TestByRelayAlone has two who could reach each other directly, and who both run all the time, write by relay alone: neither of them looks for the other, in ten minutes and
// over restarts. The first message that may take any way is the control.
func TestByRelayAlone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := peertest.New(t, 1)
		alice, bob := w.Peer("alice"), w.Peer("bob")
		relayed := func(from *peertest.Node, to string) {
			t.Helper()
			r, err := from.Send(context.Background(), to, "apart", peer.SendOptions{Way: "relay"})
			if err != nil {
				t.Fatal(err)
			}
			if r = from.MustReach(r.ID, peer.StateDelivered); r.Way != peer.WayRelay {
				t.Errorf("it went by %s", r.Way)
			}
		}
		relayed(alice, "bob")
		relayed(bob, "alice")
		time.Sleep(5 * time.Minute)
		relayed(alice, "bob")
		for _, n := range []*peertest.Node{alice, bob} {
			n.Stop()
			if err := n.Start(); err != nil {
				t.Fatal(err)
			}
			time.Sleep(time.Minute)
		}
		relayed(bob, "alice")
		time.Sleep(5 * time.Minute)
		if n := w.Passed(alice, bob); n > 0 {
			t.Errorf("%d packets passed between the two", n)
		}
		alice.MustReach(alice.MustSend("bob", "any way").ID, peer.StateDelivered)
		time.Sleep(time.Minute)
		if w.Passed(alice, bob) == 0 {
			t.Error("nothing passed between them either when it might")
		}
	})
}

// TestDirectWithin has a message that may only go directly be given up when its time is over: where nothing answers while a way is looked for, and where a way is open that
// nothing passes any more. It is never delivered later.
func TestDirectWithin(t *testing.T) {
	for name, met := range map[string]bool{"no way": false, "a dead way": true} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := peertest.New(t, 1)
				alice, bob := w.Peer("alice"), w.Peer("bob")
				if met {
					alice.MustReach(alice.MustSend("bob", "hello").ID, peer.StateDelivered)
					time.Sleep(5 * time.Second)
				}
				w.Split(alice, bob, true)
				begun := time.Now()
				r, err := alice.Send(context.Background(), "bob", "in time", peer.SendOptions{Way: "direct", Within: 3 * time.Second})
				if err == nil {
					r, err = alice.Wait(context.Background(), r.ID, peer.StateDelivered)
					if err != nil || r.State != peer.StateFailed {
						t.Errorf("got %+v, %v", r, err)
					}
				} else if peer.CodeOf(err) != peer.CodeUnreachable {
					t.Errorf("got %v", err)
				}
				if took := time.Since(begun); took > 3100*time.Millisecond {
					t.Errorf("given up after %v", took)
				}
				w.Split(alice, bob, false)
				time.Sleep(time.Minute)
				for _, body := range bob.Bodies() {
					if body == "in time" {
						t.Error("it was delivered later")
					}
				}
			})
		})
	}
}
