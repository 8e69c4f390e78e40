package peertest_test

import (
	"fmt"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/byway-chat/byway/peer"
	"github.com/byway-chat/byway/peer/peertest"
)

// TestHomeFromABackup puts a home back to an old copy of itself. What it accepts from then on must be shown, once, whether the other side is there
// or comes back later, and however much it had sent before.
func TestHomeFromABackup(t *testing.T) {
	for _, row := range []struct {
		name         string
		lost, after  int
		bobThere     bool
		bobIsSetBack bool
	}{
		{"fewer than before", 6, 3, true, false},
		{"more than before", 3, 8, true, false},
		{"fewer than before, into the mailbox", 6, 3, false, false},
		{"more than before, into the mailbox", 3, 8, false, false},
		{"the receiver", 6, 3, true, true},
	} {
		t.Run(row.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := peertest.New(t, 1)
				alice, bob := w.Peer("alice"), w.Peer("bob")
				var want []string
				send := func(what string, count int, reach peer.State) {
					var last peer.Receipt
					for i := range count {
						body := fmt.Sprint(what, " ", i)
						last = alice.MustSend("bob", body)
						want = append(want, body)
					}
					alice.MustReach(last.ID, reach)
				}
				send("before", 4, peer.StateDelivered)
				old := alice
				if row.bobIsSetBack {
					old = bob
				}
				back := old.Backup()
				send("lost", row.lost, peer.StateDelivered)
				old.Stop()
				back()
				if err := old.Start(); err != nil {
					t.Fatalf("start from the backup: %v", err)
				}
				if row.bobThere {
					send("after", row.after, peer.StateDelivered)
				} else {
					bob.Stop()
					time.Sleep(15 * time.Second) // until it is known to be away
					send("after", row.after, peer.StateStored)
					if err := bob.Start(); err != nil {
						t.Fatalf("start bob: %v", err)
					}
				}
				time.Sleep(2 * time.Minute)
				if row.bobIsSetBack {
					return // what it was shown before is not in its history any more; that it goes on is what counts
				}
				if got := bob.Bodies(); !slices.Equal(got, want) {
					t.Errorf("bob was shown %q, want %q", got, want)
				}
			})
		})
	}
}
