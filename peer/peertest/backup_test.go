package peertest_test

import (
	"errors"
	"fmt"
	"os"
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

// TestCopiedHomeInTurns runs a home and a copy of it in turns, as somebody does who has moved to another machine and back. Neither knows the sessions of
// the other, and each gives numbers that the other has given, to messages that take two ways; and yet what either writes, and what is written to it, is shown as soon as it runs.
func TestCopiedHomeInTurns(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := peertest.New(t, 1)
		alice, bob := w.Peer("alice"), w.Peer("bob")
		alice.MustReach(alice.MustSend("bob", "before").ID, peer.StateDelivered)
		alice.Backup()
		home, copied, aside := alice.Home(), alice.Home()+".backup", alice.Home()+".aside"
		want := []string{"before"}
		for turn := range 20 {
			alice.Stop()
			for _, move := range [][2]string{{home, aside}, {copied, home}, {aside, copied}} {
				if err := os.Rename(move[0], move[1]); err != nil {
					t.Fatal(err)
				}
			}
			if err := alice.Start(); err != nil {
				t.Fatalf("start copy %d: %v", turn, err)
			}
			began := time.Now()
			var last [2]peer.Receipt
			for i := range 6 {
				body := fmt.Sprint("turn ", turn, " ", i)
				want = append(want, body)
				var errs [2]error
				way := peer.SendOptions{Way: []string{"auto", "relay"}[i%2]}
				last[0], errs[0] = alice.Send(t.Context(), "bob", body, way)
				last[1], errs[1] = bob.Send(t.Context(), "alice", body, way)
				if err := errors.Join(errs[:]...); err != nil {
					t.Fatal(err)
				}
			}
			alice.MustReach(last[0].ID, peer.StateDelivered)
			bob.MustReach(last[1].ID, peer.StateDelivered)
			if took := time.Since(began); took > turnTime {
				t.Errorf("turn %d takes %v", turn, took)
			}
			time.Sleep(3 * time.Second) // a session that is hardly older than its link would be given up with it, and none be unknown
		}
		if got := bob.Bodies(); !slices.Equal(got, want) {
			t.Errorf("bob was shown %q, want %q", got, want)
		}
		if got := alice.Bodies(); !slices.Equal(got, want[1:]) {
			t.Errorf("alice was shown %q, want %q", got, want[1:])
		}
	})
}

// turnTime is half a second in which the opening of a session is waited for that never comes, and some round trips.
const turnTime = time.Second
