package peertest_test

import (
	"context"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/byway-chat/byway/peer"
	"github.com/byway-chat/byway/peer/peertest"
)

func keyEvents(n *peertest.Node, user string, change peer.KeyChange) []peer.Event {
	return slices.DeleteFunc(n.Events(peer.EventKey), func(e peer.Event) bool { return e.User != user || e.Change != change })
}

// TestSecondDevice: a contact who has pinned the account is told of the new device and seals for it only after accepting it; one who comes later reaches both.
func TestSecondDevice(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := peertest.New(t, 1)
		ctx := context.Background()
		alice, bob := w.Peer("alice"), w.Peer("bob")
		alice.MustReach(alice.MustSend("bob", "one").ID, peer.StateDelivered)

		phone := w.Peer("bob")
		time.Sleep(5 * time.Second)
		added := keyEvents(alice, "bob", peer.KeyDeviceAdded)
		if len(added) != 1 || !*added[0].Blocked {
			t.Fatalf("alice was told %+v, want one blocked device-added", added)
		}
		alice.MustReach(alice.MustSend("bob", "two").ID, peer.StateDelivered)
		phone.MustSend("alice", "from an unknown device")
		time.Sleep(10 * time.Second)
		shown(t, "phone", phone)
		shown(t, "alice", alice)

		v, err := alice.Verify(ctx, "bob", true)
		if err != nil || len(v.Fingerprints) != 2 || len(v.Pending) != 0 || v.Key != peer.KeyVerified {
			t.Fatalf("verify: got %+v, %v", v, err)
		}
		alice.MustReach(alice.MustSend("bob", "three").ID, peer.StateDelivered)
		time.Sleep(time.Minute)
		shown(t, "alice", alice, "from an unknown device")
		shown(t, "bob", bob, "one", "two", "three")
		shown(t, "phone", phone, "three")

		carol := w.Peer("carol")
		carol.MustReach(carol.MustSend("bob", "both").ID, peer.StateDelivered)
		time.Sleep(10 * time.Second)
		shown(t, "bob", bob, "one", "two", "three", "both")
		shown(t, "phone", phone, "three", "both")
	})
}

// TestSafetyNumbersAgree: both sides see the same 60 digits.
func TestSafetyNumbersAgree(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := peertest.New(t, 1)
		ctx := context.Background()
		alice, bob := w.Peer("alice"), w.Peer("bob")
		a, err := alice.Verify(ctx, "bob", false)
		if err != nil {
			t.Fatal(err)
		}
		b, err := bob.Verify(ctx, "alice", false)
		if err != nil {
			t.Fatal(err)
		}
		digits := 0
		for _, r := range a.SafetyNumber {
			if r >= '0' && r <= '9' {
				digits++
			}
		}
		if a.SafetyNumber != b.SafetyNumber || digits != 60 {
			t.Errorf("alice sees %q, bob sees %q", a.SafetyNumber, b.SafetyNumber)
		}
		if a.Key != peer.KeyPinned {
			t.Errorf("key is %q before verification, want pinned", a.Key)
		}
	})
}

// TestOwnDevicesShareWhatIsSent: what one device of an account sends is seen by the other one that it knows.
func TestOwnDevicesShareWhatIsSent(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := peertest.New(t, 1)
		desk := w.Peer("alice")
		phone := w.Peer("alice")
		w.Peer("bob")
		time.Sleep(5 * time.Second)
		if _, err := desk.Verify(context.Background(), "alice", true); err != nil {
			t.Fatal(err)
		}
		r := phone.MustSend("bob", "from the phone")
		phone.MustReach(r.ID, peer.StateDelivered)
		time.Sleep(10 * time.Second)
		shown(t, "desk", desk, "from the phone")
		entries, err := desk.History(context.Background(), peer.HistoryQuery{User: "bob"})
		if err != nil || len(entries) != 1 || entries[0].From != "alice" || entries[0].To != "bob" {
			t.Errorf("desk's history with bob: got %+v, %v", entries, err)
		}
	})
}

// TestKeyRotation: after a week a peer has a new encryption key, and both old and new contacts reach it.
func TestKeyRotation(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := peertest.New(t, 1)
		alice, bob := w.Peer("alice"), w.Peer("bob")
		alice.MustReach(alice.MustSend("bob", "before").ID, peer.StateDelivered)
		bob.Stop()
		alice.MustReach(alice.MustSend("bob", "sealed to the old key").ID, peer.StateStored)
		alice.Stop()
		time.Sleep(8 * 24 * time.Hour)
		for _, n := range []*peertest.Node{bob, alice} {
			if err := n.Start(); err != nil {
				t.Fatal(err)
			}
		}
		alice.MustReach(alice.MustSend("bob", "sealed to the new key").ID, peer.StateDelivered)
		carol := w.Peer("carol")
		carol.MustReach(carol.MustSend("bob", "from a new contact").ID, peer.StateDelivered)
		shown(t, "bob", bob, "before", "sealed to the old key", "sealed to the new key", "from a new contact")
		if got := keyEvents(alice, "bob", peer.KeyDeviceAdded); len(got) != 0 {
			t.Errorf("a rotated key was told as %+v: it is silent under the same identity", got)
		}
	})
}

// TestLostSessions: a home that has lost its sessions asks for new ones, and nothing that was sent into the old ones is lost or late.
func TestLostSessions(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := peertest.New(t, 1)
		alice, bob := w.Peer("alice"), w.Peer("bob")
		alice.MustReach(alice.MustSend("bob", "one").ID, peer.StateDelivered)
		bob.Stop()
		bob.LoseSessions()
		if err := bob.Start(); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Second)
		began := time.Now()
		alice.MustReach(alice.MustSend("bob", "two").ID, peer.StateDelivered)
		if took := time.Since(began); took > time.Second {
			t.Errorf("recovered after %v, want within a second", took)
		}
		shown(t, "bob", bob, "one", "two")
	})
}

// TestLostContacts: what comes in a session of somebody who is not known any more waits for the directory's word on them, as at first contact.
func TestLostContacts(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := peertest.New(t, 1)
		alice, bob := w.Peer("alice"), w.Peer("bob")
		alice.MustReach(alice.MustSend("bob", "one").ID, peer.StateDelivered)
		bob.Stop()
		bob.LoseContacts()
		two := alice.MustSend("bob", "two").ID
		alice.MustReach(two, peer.StateStored)
		if err := bob.Start(); err != nil {
			t.Fatal(err)
		}
		alice.MustReach(two, peer.StateDelivered)
		time.Sleep(time.Second)
		shown(t, "bob", bob, "one", "two")
		if got := keyEvents(bob, "alice", peer.KeyFirstSeen); len(got) != 2 {
			t.Errorf("got %+v, want to be told of a second first contact", got)
		}
	})
}

// TestLostHistory: an enrolled home without its history does not begin its numbers again.
func TestLostHistory(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := peertest.New(t, 1)
		alice := w.Peer("alice")
		alice.Stop()
		alice.LoseHistory()
		if err := alice.Start(); peer.CodeOf(err) != peer.CodeFailed {
			t.Errorf("start: got %v, want a refusal", err)
		}
	})
}
