package peertest_test

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/byway-chat/byway/peer"
	"github.com/byway-chat/byway/peer/peertest"
)

// TestDamagedHistoryIsToldAndRescued flips a bit of a stopped peer's history and then loses a page of it. It starts by itself, says so with the path of the
// damaged file, shows nothing that was not written, and the conversation goes on both ways.
func TestDamagedHistoryIsToldAndRescued(t *testing.T) {
	for name, edit := range map[string]func(b []byte){
		"bit": func(b []byte) { b[len(b)/2] ^= 4 },
		"page of messages": func(b []byte) {
			at := len(b) - 4096
			for b[at] != 13 || b[at+4] == 0 { // a leaf of a table with a rowid, and rows on it: only messages have such here
				at -= 4096
			}
			clear(b[at : at+4096])
		},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := peertest.New(t, 1)
				alice, bob := w.Peer("alice"), w.Peer("bob")
				for i := range 20 {
					bob.MustReach(bob.MustSend("alice", fmt.Sprint("before ", i)).ID, peer.StateDelivered)
				}
				alice.Stop()
				path := filepath.Join(alice.Home(), "history.db")
				b, err := os.ReadFile(path)
				if err != nil {
					t.Fatal(err)
				}
				edit(b)
				if err := os.WriteFile(path, b, 0o600); err != nil {
					t.Fatal(err)
				}
				if err := alice.Start(); err != nil {
					t.Fatal(err)
				}
				synctest.Wait()
				told := false
				for _, e := range alice.Events(peer.EventError) {
					if e.Code != string(peer.CodeHistoryDamaged) {
						continue
					}
					_, aside, _ := strings.Cut(e.Hint, "kept as ")
					aside, _, _ = strings.Cut(aside, ";")
					kept, err := os.ReadFile(aside)
					told = err == nil && string(kept) == string(b)
				}
				if !told {
					t.Errorf("not told: %+v", alice.Events(peer.EventError))
				}
				bob.MustReach(bob.MustSend("alice", "after").ID, peer.StateDelivered)
				alice.MustReach(alice.MustSend("bob", "after, too").ID, peer.StateDelivered)
				seen := map[string]int{}
				for _, body := range alice.Bodies() {
					seen[body]++
				}
				if seen["after"] != 1 {
					t.Errorf("shown %d times", seen["after"])
				}
			})
		})
	}
}

// TestLostPinsAreComparedAgain loses the page with what alice has pinned: nothing is pinned anew in silence. She is told what was lost and what to do about it; when she
// has done it, what bob wrote meanwhile is shown, and both go on, also after another start.
func TestLostPinsAreComparedAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx := context.Background()
		w := peertest.New(t, 1)
		alice, bob := w.Peer("alice"), w.Peer("bob")
		alice.MustReach(alice.MustSend("bob", "before").ID, peer.StateDelivered)
		bob.MustReach(bob.MustSend("alice", "one").ID, peer.StateDelivered)
		alice.Stop()
		alice.DamageContacts()
		if err := alice.Start(); err != nil {
			t.Fatal(err)
		}
		bob.MustSend("alice", "two")
		time.Sleep(10 * time.Second)
		_, err := alice.Send(ctx, "bob", "too early", peer.SendOptions{})
		if peer.CodeOf(err) != peer.CodeKeyChanged || !strings.Contains(err.Error(), "lost") {
			t.Errorf("before the keys are accepted: got %v", err)
		}
		if diff := cmp.Diff(alice.Bodies(), []string{"one"}); diff != "" {
			t.Errorf("shown before the keys are accepted (-got +want):\n%s", diff)
		}
		if _, err := alice.Verify(ctx, "bob", true); err != nil {
			t.Fatal(err)
		}
		alice.MustReach(alice.MustSend("bob", "after").ID, peer.StateDelivered)
		bob.MustReach(bob.MustSend("alice", "three").ID, peer.StateDelivered)
		alice.Stop()
		if err := alice.Start(); err != nil {
			t.Fatal(err)
		}
		alice.MustReach(alice.MustSend("bob", "once more").ID, peer.StateDelivered)
		bob.MustReach(bob.MustSend("alice", "four").ID, peer.StateDelivered)
		if diff := cmp.Diff(alice.Bodies(), []string{"one", "two", "three", "four"}); diff != "" {
			t.Errorf("shown (-got +want):\n%s", diff)
		}
		for _, e := range alice.Events(peer.EventMessage) {
			if e.From != "bob" {
				t.Errorf("%q is said to be from %q", *e.Body, e.From)
			}
		}
		if diff := cmp.Diff(bob.Bodies(), []string{"before", "after", "once more"}); diff != "" {
			t.Errorf("shown to bob (-got +want):\n%s", diff)
		}
	})
}
