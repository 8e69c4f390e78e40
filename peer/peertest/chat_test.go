package peertest_test

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/byway-chat/byway/peer"
	"github.com/byway-chat/byway/peer/peertest"
)

func TestChat(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := peertest.New(t, 1)
		alice, bob := w.Peer("alice"), w.Peer("bob")
		r := alice.MustSend("bob", "hello bob")
		got := alice.MustReach(r.ID, peer.StateDelivered)
		if got.Way != peer.WayLAN {
			t.Errorf("first message went by %q, want lan", got.Way)
		}
		r = bob.MustSend("alice", "hello alice")
		bob.MustReach(r.ID, peer.StateDelivered)
		time.Sleep(time.Second)
		if diff := cmp.Diff([]string{"hello bob"}, bob.Bodies()); diff != "" {
			t.Errorf("bob was shown (-want +got):\n%s", diff)
		}
		if diff := cmp.Diff([]string{"hello alice"}, alice.Bodies()); diff != "" {
			t.Errorf("alice was shown (-want +got):\n%s", diff)
		}
	})
}
