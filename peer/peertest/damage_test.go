package peertest_test

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"

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
