package peertest_test

import (
	"bytes"
	"database/sql"
	"os"
	"path/filepath"
	"testing"
	"testing/synctest"
	"time"

	libp2ppeer "github.com/libp2p/go-libp2p/core/peer"

	"github.com/byway-chat/byway/peer"
	"github.com/byway-chat/byway/peer/peertest"
)

// TestLostDevicesComeBack overwrites the pages on which the stopped rendezvous has its users' devices and keys. The conversation goes on at once, and
// somebody who has never met them can write to them: they have published their keys again.
func TestLostDevicesComeBack(t *testing.T) {
	for name, restarted := range map[string]bool{"peers run on": false, "peers start later": true} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := peertest.New(t, 1)
				alice, bob, carol := w.Peer("alice"), w.Peer("bob"), w.Peer("carol")
				bob.MustReach(bob.MustSend("alice", "before").ID, peer.StateDelivered)
				var ids [][]byte
				for _, n := range []*peertest.Node{alice, bob} {
					id, err := libp2ppeer.Decode(n.Events(peer.EventReady)[0].PeerID)
					if err != nil {
						t.Fatal(err)
					}
					ids = append(ids, []byte(id))
				}
				if restarted {
					alice.Stop()
					bob.Stop()
				}
				w.StopRendezvous()
				loseDevices(t, w, ids)
				w.StartRendezvous()
				if restarted {
					if err := alice.Start(); err != nil {
						t.Fatal(err)
					}
					if err := bob.Start(); err != nil {
						t.Fatal(err)
					}
				}
				time.Sleep(10 * time.Second)
				bob.MustReach(bob.MustSend("alice", "after").ID, peer.StateDelivered)
				alice.MustReach(alice.MustSend("bob", "after, too").ID, peer.StateDelivered)
				for _, to := range []string{"alice", "bob"} {
					carol.MustReach(carol.MustSend(to, "hello").ID, peer.StateDelivered)
				}
			})
		})
	}
}

// loseDevices overwrites each page of a table that has one of these PeerIDs on it and no password: that is a row of devices.
func loseDevices(t *testing.T, w *peertest.World, ids [][]byte) {
	t.Helper()
	path := filepath.Join(w.Data(), "rendezvous.db")
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	lost := 0
	for at := 4096; at < len(b); at += 4096 {
		page := b[at : at+4096]
		for _, id := range ids {
			if page[0] == 13 && bytes.Contains(page, id) && !bytes.Contains(page, []byte("$argon2")) {
				copy(page, bytes.Repeat([]byte{0xaa}, 512))
				lost++
			}
		}
	}
	if lost < len(ids) {
		t.Fatalf("%d pages of devices", lost)
	}
	if err := os.WriteFile(path, b, 0o600); err != nil {
		t.Fatal(err)
	}
}

// TestLostAccountIsTold has the rendezvous forget an account altogether. Its peer says so, once, and what can be done.
func TestLostAccountIsTold(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := peertest.New(t, 1)
		alice := w.Peer("alice")
		w.StopRendezvous()
		path := filepath.Join(w.Data(), "rendezvous.db")
		db, err := sql.Open("sqlite", path)
		if err != nil {
			t.Fatal(err)
		}
		for _, statement := range []string{"DELETE FROM devices", "DELETE FROM accounts"} {
			if _, err := db.Exec(statement); err != nil {
				t.Fatal(err)
			}
		}
		if err := db.Close(); err != nil {
			t.Fatal(err)
		}
		for _, suffix := range []string{".sums", ".mark"} { // as for a file that was restored without them
			if err := os.Remove(path + suffix); err != nil {
				t.Fatal(err)
			}
		}
		w.StartRendezvous()
		time.Sleep(10 * time.Minute)
		told := alice.Events(peer.EventError)
		if len(told) != 1 || told[0].Code != string(peer.CodeNotSignedIn) || told[0].Reason != "not-enrolled" || told[0].Hint == "" {
			t.Errorf("told %+v, want one error with a reason and a hint", told)
		}
	})
}
