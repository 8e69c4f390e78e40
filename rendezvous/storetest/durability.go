package storetest

import (
	"fmt"
	"testing"

	"github.com/byway-chat/byway/rendezvous"
	"github.com/byway-chat/byway/rendezvous/directory"
	"github.com/byway-chat/byway/rendezvous/relay"
)

func runDurability(t *testing.T, f Factory) {
	t.Run("reopen", func(t *testing.T) {
		dir := t.TempDir()
		s := f.Open(t, dir)
		fillForRestart(t, s)
		must(t, s.Close())
		must(t, s.Close())
		checkAfterRestart(t, f.open(t, dir))
	})
	t.Run("kill", func(t *testing.T) {
		if f.Crash == nil {
			t.Skip("this store cannot be copied while it is open")
		}
		dir, after := t.TempDir(), t.TempDir()
		s := f.open(t, dir)
		fillForRestart(t, s)
		f.Crash(t, dir, after)
		checkAfterRestart(t, f.open(t, after))
	})
	t.Run("kill between batches", func(t *testing.T) {
		if f.Crash == nil {
			t.Skip("this store cannot be copied while it is open")
		}
		dir := t.TempDir()
		s := f.open(t, dir)
		for i := range 20 {
			apply(t, s, relay.Batch{Puts: []*relay.Put{put(alice, bob, fmt.Sprint(i, "a")), put(alice, bob, fmt.Sprint(i, "b"))}})
			after := t.TempDir()
			f.Crash(t, dir, after)
			restarted := f.Open(t, after)
			if got := len(everything(t, restarted, bob)); got != 2*(i+1) {
				t.Errorf("after %d acknowledged batches %d envelopes are left, want %d", i+1, got, 2*(i+1))
			}
			must(t, restarted.Close())
		}
	})
}

func fillForRestart(t testing.TB, s Store) {
	t.Helper()
	must(t, s.AddInvite(t.Context(), directory.Invite{ID: directory.InviteID{1}, Created: epoch, Uses: 2, Left: 2}))
	must(t, s.Create(t.Context(), account("alice", 2), &directory.InviteID{1}))
	record := []byte("record")
	must(t, s.UpdateDevices(t.Context(), directory.DeviceChange{Device: fingerprint("alice/1"), PeerRecord: &record, Withheld: &[]rendezvous.Username{"bob", "carol"}}))
	b := apply(t, s, relay.Batch{Puts: []*relay.Put{put(alice, bob, "1"), put(alice, bob, "2"), put(alice, bob, "3")}})
	apply(t, s, relay.Batch{Deletions: []relay.Deletion{{To: bob, ID: b.Puts[1].ID, From: "alice", Size: 1}}})
}

func checkAfterRestart(t testing.TB, s Store) {
	t.Helper()
	want := account("alice", 2)
	want.Devices[1].PeerRecord = []byte("record")
	wantAccount(t, s, want)
	wantWithheld(t, s, "alice/1", "bob", "carol")
	wantShown(t, s, "bob", want, 1)
	if i, err := s.Invite(t.Context(), directory.InviteID{1}); err != nil || i.Left != 1 {
		t.Errorf("invitation: got %+v, %v", i, err)
	}
	wantBodies(t, "mailbox", everything(t, s, bob), "1", "3")
	// What is put now lies behind what was there, and the quota knows what was there.
	quota := relay.Quota{Account: relay.Usage{Messages: 3, Bytes: 100}, Pair: relay.Usage{Messages: 3, Bytes: 100}}
	b := apply(t, s, relay.Batch{Quota: quota, Puts: []*relay.Put{put(alice, bob, "4"), put(alice, bob, "5")}})
	if b.Puts[0].Refused || !b.Puts[1].Refused {
		t.Errorf("quota after a restart: got %+v and %+v", b.Puts[0], b.Puts[1])
	}
	wantBodies(t, "mailbox", everything(t, s, bob), "1", "3", "4")
}
