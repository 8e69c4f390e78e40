package peertest_test

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/byway-chat/byway/peer"
	"github.com/byway-chat/byway/peer/peertest"
)

// TestWaitingIsTold has a message that may go only by the rendezvous, which is away, hold up the later ones: both sides are told, also one that was started again
// meanwhile, and everything is shown in order when the rendezvous is back.
func TestWaitingIsTold(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := peertest.New(t, 1)
		alice, bob := w.Peer("alice"), w.Peer("bob")
		alice.MustReach(alice.MustSend("bob", "one").ID, peer.StateDelivered)
		time.Sleep(5 * time.Second)
		w.StopRendezvous()
		time.Sleep(5 * time.Second)
		if _, err := alice.Send(context.Background(), "bob", "two", peer.SendOptions{Way: "relay"}); err != nil {
			t.Fatal(err)
		}
		alice.MustReach(alice.MustSend("bob", "three").ID, peer.StateDelivered)
		alice.MustReach(alice.MustSend("bob", "four").ID, peer.StateDelivered)
		if told := bob.Events(peer.EventWaiting); len(told) > 0 {
			t.Errorf("told at once: %+v", told)
		}
		wantTold := func(times int) {
			t.Helper()
			time.Sleep(6 * time.Second)
			told := bob.Events(peer.EventWaiting)
			if len(told) != times {
				t.Fatalf("told %d times, want %d: %+v", len(told), times, told)
			}
			got := told[times-1]
			want := peer.Event{V: 1, Seq: got.Seq, Type: peer.EventWaiting, From: "alice", Device: got.Device, First: 2, Last: 2, Held: 2}
			if diff := cmp.Diff(got, want); diff != "" {
				t.Errorf("told something else (-got +want):\n%s", diff)
			}
		}
		wantTold(1)
		bob.Stop()
		if err := bob.Start(); err != nil {
			t.Fatal(err)
		}
		wantTold(2)
		time.Sleep(time.Minute)
		w.StartRendezvous()
		time.Sleep(time.Minute)
		if diff := cmp.Diff(bob.Bodies(), []string{"one", "two", "three", "four"}); diff != "" {
			t.Errorf("shown (-got +want):\n%s", diff)
		}
	})
}
