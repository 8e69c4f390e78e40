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

func disturb(t *testing.T, n *peertest.Node, user string, d peer.Disturbance) {
	t.Helper()
	if err := n.Disturb(context.Background(), user, d); err != nil {
		t.Fatalf("disturb %+v: %v", d, err)
	}
}

// TestDisturb: a direct way whose frames are all lost is left for the relay and taken again; a share that is lost on every way is mended. Everything arrives once
// and in order, and the disturbance ends by itself.
func TestDisturb(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := peertest.New(t, 1)
		alice, bob := w.Peer("alice"), w.Peer("bob")
		var sent []string
		send := func() peer.Receipt {
			sent = append(sent, fmt.Sprint(len(sent)))
			return alice.MustSend("bob", sent[len(sent)-1])
		}
		way := func(what string, want peer.Way, limit time.Duration) {
			t.Helper()
			if r := alice.MustReach(send().ID, peer.StateDelivered); r.Way != want || milliseconds(r.MS) > limit {
				t.Errorf("%s: got by %s in %v ms, want %s in %v at most", what, r.Way, r.MS, want, limit)
			}
		}
		way("at first", peer.WayLAN, time.Second)
		disturb(t, alice, "bob", peer.Disturbance{Way: "direct", Loss: 1, For: 20 * time.Second})
		way("dropped", peer.WayRelay, 2*time.Second)
		time.Sleep(12 * time.Second) // the link is given up, and a new one gets no answer to its Hello
		way("still dropped", peer.WayRelay, 2*time.Second)
		time.Sleep(40 * time.Second)
		way("restored by itself", peer.WayLAN, time.Second)

		disturb(t, alice, "bob", peer.Disturbance{Way: "relay", Loss: 1, For: time.Minute})
		if p, err := alice.Ping(context.Background(), "bob", "relay"); err != nil || !p.Lost {
			t.Errorf("ping by a dropped relay: got %+v, %v, want it lost", p, err)
		}
		disturb(t, alice, "bob", peer.Disturbance{Way: "relay"})
		if p, err := alice.Probe(context.Background(), "bob", "relay", 60_000); err != nil || p.Lost || p.Way != peer.WayRelay {
			t.Errorf("large probe by the restored relay: got %+v, %v", p, err)
		}

		disturb(t, alice, "bob", peer.Disturbance{Loss: 0.3, For: 2 * time.Minute})
		var last peer.Receipt
		for range 100 {
			last = send()
			time.Sleep(300 * time.Millisecond)
		}
		alice.MustReach(last.ID, peer.StateDelivered)
		time.Sleep(3 * time.Minute)
		shown(t, "bob", bob, sent...)
	})
}

// TestInterrupt: the connection to the rendezvous is cut for a time, and comes back by itself or when that is asked for.
func TestInterrupt(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := peertest.New(t, 1)
		alice := w.Peer("alice")
		ctx := context.Background()
		there := func() bool {
			st, err := alice.Status(ctx)
			return err == nil && st.Rendezvous.Connected
		}
		for _, ask := range []bool{false, true} {
			if err := alice.Interrupt(ctx, 30*time.Second); err != nil {
				t.Fatal(err)
			}
			time.Sleep(15 * time.Second)
			if there() {
				t.Error("the rendezvous is there, and was to be kept away")
			}
			if ask {
				if err := alice.Interrupt(ctx, 0); err != nil {
					t.Fatal(err)
				}
			} else {
				time.Sleep(15 * time.Second)
			}
			within(t, "the rendezvous is back", 4*time.Second, there)
		}
	})
}

// TestWrongExperiments: what makes no sense is refused as a mistake of whoever asks.
func TestWrongExperiments(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := peertest.New(t, 1)
		alice, _ := w.Peer("alice"), w.Peer("bob")
		ctx := context.Background()
		for _, d := range []peer.Disturbance{
			{Way: "owl", Loss: 1, For: time.Second},
			{Way: "mailbox", Loss: 1, For: time.Second},
			{Loss: 1},
			{Loss: -0.1, For: time.Second},
			{Loss: 1.1, For: time.Second},
			{Loss: 1, For: time.Hour},
			{For: -1},
		} {
			if err := alice.Disturb(ctx, "bob", d); peer.CodeOf(err) != peer.CodeUsage {
				t.Errorf("disturb %+v: got %v", d, err)
			}
		}
		if err := alice.Disturb(ctx, "nobody", peer.Disturbance{Loss: 1, For: time.Second}); peer.CodeOf(err) != peer.CodeNoSuchUser {
			t.Errorf("disturb nobody: got %v", err)
		}
		if err := alice.Interrupt(ctx, time.Hour); peer.CodeOf(err) != peer.CodeUsage {
			t.Errorf("interrupt: got %v", err)
		}
		if _, err := alice.Probe(ctx, "bob", "", 1<<20); peer.CodeOf(err) != peer.CodeTooLarge {
			t.Errorf("probe: got %v", err)
		}
	})
}

func milliseconds(ms float64) time.Duration { return time.Duration(ms * float64(time.Millisecond)) }
