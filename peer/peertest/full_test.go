package peertest_test

import (
	"context"
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/byway-chat/byway/peer"
	"github.com/byway-chat/byway/peer/peertest"
)

// pairQuota is how many messages the rendezvous keeps from one account for another.
const pairQuota = 5000

// fillMailbox has a node send more than the rendezvous keeps for an absent user, and returns the receipt of the first that it does not keep.
func fillMailbox(t *testing.T, from *peertest.Node, to string, beyond int) peer.Receipt {
	t.Helper()
	var first peer.Receipt
	for i := range pairQuota + beyond {
		if r := from.MustSend(to, fmt.Sprint(i)); i == pairQuota {
			first = r
		}
	}
	return first
}

// wantFull has a node send one more message, which is told at once to be held by the full mailbox.
func wantFull(t *testing.T, from *peertest.Node, to, body string) peer.Receipt {
	t.Helper()
	began := time.Now()
	r := from.MustSend(to, body)
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	got, err := from.WaitUnless(ctx, r.ID, peer.StateStored, peer.ReasonMailboxFull)
	if err != nil || got.State != peer.StateAccepted || got.Reason != peer.ReasonMailboxFull {
		t.Fatalf("got %+v, %v, want that the mailbox is full", got, err)
	}
	if took := time.Since(began); took > time.Second {
		t.Errorf("it was told after %v, want at once", took)
	}
	if again, err := from.Receipt(t.Context(), r.ID); err != nil || again.Reason != peer.ReasonMailboxFull {
		t.Errorf("got receipt %+v, %v, want the reason in it", again, err)
	}
	return r
}

// TestFullMailbox fills a mailbox. Whoever sends more is told, by the same process and by the next one; when the recipient is back all comes within seconds and in
// order, and its reader loses nothing.
func TestFullMailbox(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := peertest.New(t, 1)
		alice, bob := w.Peer("alice"), w.Peer("bob")
		w.Split(alice, bob, true)
		alice.MustReach(alice.MustSend("bob", "we have met").ID, peer.StateDelivered)
		bob.Stop()
		time.Sleep(5 * time.Second)
		const beyond = 600 // more than the window of one device
		first := fillMailbox(t, alice, "bob", beyond)
		if r, err := alice.WaitUnless(t.Context(), first.ID, peer.StateStored, peer.ReasonMailboxFull); err != nil || r.Reason != peer.ReasonMailboxFull {
			t.Fatalf("got %+v, %v, want that the mailbox is full", r, err)
		}
		wantFull(t, alice, "bob", "one more")
		alice.Stop()
		if err := alice.Start(); err != nil {
			t.Fatal(err)
		}
		last := wantFull(t, alice, "bob", "the last")
		wantRoute(t, alice, "bob", "closed", "mailbox-full")
		time.Sleep(10 * time.Minute) // so that all back-off has grown
		if err := bob.Start(); err != nil {
			t.Fatal(err)
		}
		began := time.Now()
		alice.MustReach(last.ID, peer.StateDelivered)
		if took := time.Since(began); took > 5*time.Second {
			t.Errorf("the last was delivered %v after its recipient had come back, want within 5 s", took)
		}
		time.Sleep(time.Second)
		bodies := bob.Bodies()
		if n := pairQuota + beyond + 3; len(bodies) != n {
			t.Fatalf("got %d messages, want %d", len(bodies), n)
		}
		for i := range pairQuota + beyond {
			if bodies[i+1] != fmt.Sprint(i) {
				t.Fatalf("got %q in place %d", bodies[i+1], i+1)
			}
		}
		codes := map[string]int{}
		for _, e := range bob.Events(peer.EventError) {
			codes[e.Code]++
		}
		if codes["events-lost"] > 0 || codes["mailbox-full"] == 0 {
			t.Errorf("bob is told %v, want that the mailbox was full and of nothing lost", codes)
		}
		wantRoute(t, alice, "bob", "open", "better-way-open")
	})
}

// wantRoute checks what is said of the mailbox of a user.
func wantRoute(t *testing.T, n *peertest.Node, user, state, reason string) {
	t.Helper()
	list, err := n.Route(t.Context(), user)
	if err != nil || len(list) == 0 {
		t.Fatalf("route: %v, %v", list, err)
	}
	mailbox := list[len(list)-1]
	if mailbox.Way != peer.WayMailbox || mailbox.State != state || mailbox.Reason != reason || mailbox.Sentence == "" {
		t.Errorf("got %+v, want the mailbox %s with %s", mailbox, state, reason)
	}
}
