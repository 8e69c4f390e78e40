package peertest_test

import (
	"context"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/byway-chat/byway/peer"
	"github.com/byway-chat/byway/peer/peertest"
	"github.com/byway-chat/byway/peer/trace"
)

// told returns what a peer remembers of the ways.
func told(t *testing.T, n *peertest.Node, user string) []trace.Step {
	t.Helper()
	r, err := n.Trace(trace.Options{User: user, Held: true})
	if err != nil {
		t.Fatal(err)
	}
	var out []trace.Step
	for step, err := range r.Events(context.Background()) {
		if err != nil {
			t.Fatal(err)
		}
		out = append(out, step)
	}
	return out
}

// inOrder fails the test where these things did not happen after one another, whatever else happened between.
func inOrder(t *testing.T, steps []trace.Step, want ...trace.What) {
	t.Helper()
	var got []trace.What
	for _, s := range steps {
		got = append(got, s.What)
	}
	at := 0
	for _, w := range want {
		i := slices.Index(got[at:], w)
		if i < 0 {
			t.Fatalf("no %s after the first %d of %q", w, at, got)
		}
		at += i + 1
	}
}

// The story of a conversation whose direct way dies and comes back, and of its rendezvous, which does too.
func TestTraceTellsTheStory(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := peertest.New(t, 1)
		alice, bob := w.Peer("alice"), w.Peer("bob")
		live, err := alice.Trace(trace.Options{New: true})
		if err != nil {
			t.Fatal(err)
		}
		alice.MustReach(alice.MustSend("bob", "before, and nothing of this text").ID, peer.StateDelivered)
		w.Split(alice, bob, true)
		alice.MustReach(alice.MustSend("bob", "by the relay").ID, peer.StateDelivered)
		time.Sleep(15 * time.Second) // until it is dialled again in vain
		w.Split(alice, bob, false)
		time.Sleep(time.Minute)
		w.KillRendezvous()
		time.Sleep(30 * time.Second)
		w.StartRendezvous()
		time.Sleep(30 * time.Second)

		steps := told(t, alice, "bob")
		inOrder(t, steps, trace.RendezvousUp, trace.Addresses, trace.Dial, trace.LinkUp, trace.Way, trace.Doubt, trace.LinkDown, trace.Way,
			trace.Dial, trace.DialFailed, trace.Dial, trace.LinkUp, trace.Way, trace.RendezvousDown, trace.RendezvousDial, trace.RendezvousFailed, trace.RendezvousUp)
		inOrder(t, told(t, bob, ""), trace.RendezvousUp, trace.LinkUp, trace.LinkDown, trace.LinkUp, trace.RendezvousDown, trace.RendezvousUp)
		for _, s := range steps {
			changes := s.What == trace.Way || s.What == trace.LinkUp || s.What == trace.LinkDown
			if changes && (s.MS == nil || s.Why == "" || s.User != "bob" || s.Device == "") {
				t.Errorf("got %+v", s)
			}
			if s.What == trace.DialFailed && (s.Error == "" || (s.Addr == "" || s.Way != peer.WayLAN) && len(s.Addrs) == 0) {
				t.Errorf("got %+v", s)
			}
			if strings.Contains(cmp.Diff("", s), "nothing of this text") {
				t.Errorf("a body is told: %+v", s)
			}
		}
		alice.Stop()
		var seen []trace.Step
		for step, err := range live.Events(context.Background()) {
			if err != nil {
				t.Fatal(err)
			}
			if step.User == "" || step.User == "bob" {
				seen = append(seen, step)
			}
		}
		i := slices.IndexFunc(steps, func(s trace.Step) bool { return s.Seq == seen[0].Seq })
		if diff := cmp.Diff(steps[i:], seen[:min(len(seen), len(steps)-i)]); diff != "" {
			t.Errorf("what was told live is not what is remembered (-remembered +live):\n%s", diff)
		}
	})
}

// A policy is told with what it was before.
func TestTracePolicy(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := peertest.New(t, 1)
		alice := w.Peer("alice")
		w.Peer("bob")
		alice.MustReach(alice.MustSend("bob", "hi").ID, peer.StateDelivered)
		if err := alice.SetWay(context.Background(), "bob", "relay"); err != nil {
			t.Fatal(err)
		}
		steps := told(t, alice, "bob")
		inOrder(t, steps, trace.LinkUp, trace.Policy, trace.LinkDown, trace.Way)
		for _, s := range steps {
			if s.What == trace.Policy && (s.Old != "auto" || s.New != "relay") {
				t.Errorf("got %+v", s)
			}
		}
		if _, err := alice.Trace(trace.Options{User: "a b"}); peer.CodeOf(err) != peer.CodeNoSuchUser {
			t.Errorf("got %v for what is no name", err)
		}
	})
}

// The peer says what only it can know: how it is connected, what its network does, and why somebody is relayed.
func TestCheckup(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := peertest.New(t, 1)
		alice, bob := w.Peer("alice"), w.Peer("bob")
		alice.MustReach(alice.MustSend("bob", "hi").ID, peer.StateDelivered)
		time.Sleep(time.Second)
		check := func() peer.Checkup {
			t.Helper()
			got, err := alice.Checkup(context.Background())
			if err != nil {
				t.Fatal(err)
			}
			return got
		}
		got := check()
		if !got.Rendezvous.Connected || got.RTT == nil || len(got.Listening) == 0 || got.Network == nil || got.Network.UDP != "works" || len(got.Contacts) != 1 {
			t.Fatalf("got %+v", got)
		}
		if c := got.Contacts[0]; c.User != "bob" || !c.Online || c.Way != peer.WayLAN || c.Reason != "" || c.HeardWay != peer.WayLAN {
			t.Errorf("directly: got %+v", c)
		}
		w.Split(alice, bob, true)
		alice.MustReach(alice.MustSend("bob", "by the relay").ID, peer.StateDelivered)
		time.Sleep(30 * time.Second)
		if c := check().Contacts[0]; c.Way != peer.WayRelay || c.Reason != "same-lan-unreachable" || c.Sentence == "" || c.Remedy == "" {
			t.Errorf("relayed: got %+v", c)
		}
		if _, err := alice.Ping(context.Background(), "bob", "lan"); peer.CodeOf(err) != peer.CodeUnreachable || !strings.Contains(err.Error(), "same-lan-unreachable: ") {
			t.Errorf("a ping that cannot be: got %v", err)
		}
		w.KillRendezvous()
		time.Sleep(30 * time.Second)
		if got = check(); got.Rendezvous.Connected || got.Reason == "" || got.Contacts[0].Way != "" {
			t.Errorf("alone: got %+v", got)
		}
	})
}
