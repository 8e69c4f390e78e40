package peertest_test

import (
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/byway-chat/byway/peer"
	"github.com/byway-chat/byway/peer/peertest"
)

// TestMuchFromAStranger gives a peer that comes back more from somebody whom it does not know than the rendezvous hands out at a time: all of it must
// wait for the directory's answer, or the rest would never be handed out.
func TestMuchFromAStranger(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := peertest.New(t, 1)
		bob := w.Peer("bob")
		bob.Stop()
		alice := w.Peer("alice")
		const count = 700
		var last peer.Receipt
		for i := range count {
			r, err := alice.Send(t.Context(), "bob", fmt.Sprint(i), peer.SendOptions{Way: "relay"})
			if err != nil {
				t.Fatalf("send: %v", err)
			}
			last = r
		}
		alice.MustReach(last.ID, peer.StateStored)
		alice.Stop() // nothing is sent again
		if err := bob.Start(); err != nil {
			t.Fatalf("start bob: %v", err)
		}
		time.Sleep(5 * time.Second)
		bodies := bob.Bodies()
		if len(bodies) != count {
			t.Fatalf("bob was shown %d messages, want %d", len(bodies), count)
		}
		for i, body := range bodies {
			if body != fmt.Sprint(i) {
				t.Fatalf("message %d is %q", i, body)
			}
		}
	})
}
