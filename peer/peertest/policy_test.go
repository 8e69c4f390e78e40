package peertest_test

import (
	"context"
	"errors"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/byway-chat/byway/peer"
	"github.com/byway-chat/byway/peer/peertest"
)

func setWay(t *testing.T, n *peertest.Node, user, way string) {
	t.Helper()
	if err := n.SetWay(context.Background(), user, way); err != nil {
		t.Fatalf("set the way to %s to %s: %v", user, way, err)
	}
}

// wantRefused wants a message to be refused at once, for a reason.
func wantRefused(t *testing.T, n *peertest.Node, to, way, reason string) {
	t.Helper()
	_, err := n.Send(context.Background(), to, "too much", peer.SendOptions{Way: way})
	refused, ok := errors.AsType[*peer.Error](err)
	if !ok || refused.Code != peer.CodeUnreachable || refused.Reason != reason || refused.Hint == "" || !strings.Contains(refused.Message, reason) {
		t.Errorf("by %q to %s: got %+v, want %s with a remedy", way, to, err, reason)
	}
}

// ways returns what a node says of the ways to a user.
func ways(t *testing.T, n *peertest.Node, user string) peer.WayPolicy {
	t.Helper()
	list, err := n.Ways(context.Background(), user)
	if err != nil || len(list) != 1 {
		t.Fatalf("the ways to %q: %+v, %v", user, list, err)
	}
	return list[0]
}

// links counts the direct ways that a node has told of.
func links(n *peertest.Node) (count int) {
	for _, e := range n.Events(peer.EventRoute) {
		if e.New == peer.WayLAN || e.New == peer.WayDirect || e.New == peer.WayPunched {
			count++
		}
	}
	return count
}

// TestPoliciesAreAgreed sets policies on both sides, in all pairs, and wants messages of both to go by what both allow, or to be refused with whose
// policy it is. It ends with both at auto.
func TestPoliciesAreAgreed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := peertest.New(t, 1)
		alice, bob := w.Peer("alice"), w.Peer("bob")
		alice.MustReach(alice.MustSend("bob", "hello").ID, peer.StateDelivered)
		for _, tt := range []struct {
			alice, bob string
			way        peer.Way // of a message; empty: it is refused
			why        string   // told to each
		}{
			{"relay", "auto", peer.WayRelay, ""},
			{"relay", "relay", peer.WayRelay, ""},
			{"relay", "lan", "", "policy-there"},
			{"relay", "direct", "", "policy-there"},
			{"lan", "direct", peer.WayLAN, ""},
			{"lan", "relay", "", "policy-there"},
			{"direct", "lan", peer.WayLAN, ""},
			{"auto", "direct", peer.WayLAN, ""},
			{"auto", "relay", peer.WayRelay, ""},
			{"auto", "auto", peer.WayLAN, ""},
		} {
			setWay(t, alice, "bob", tt.alice)
			setWay(t, bob, "alice", tt.bob)
			time.Sleep(time.Minute) // they tell each other, and what was tried in vain may be tried again
			for _, ends := range []struct {
				from *peertest.Node
				to   string
			}{{alice, "bob"}, {bob, "alice"}} {
				if tt.way == "" {
					wantRefused(t, ends.from, ends.to, "auto", tt.why)
					if got := ways(t, ends.from, ends.to); len(got.Ways) > 0 || got.Reason != tt.why {
						t.Errorf("%s and %s leave %+v", tt.alice, tt.bob, got)
					}
					continue
				}
				r := ends.from.MustSend(ends.to, tt.alice+" and "+tt.bob)
				if got := ends.from.MustReach(r.ID, peer.StateDelivered); got.Way != tt.way {
					t.Errorf("%s and %s: to %s by %s, want %s", tt.alice, tt.bob, ends.to, got.Way, tt.way)
				}
			}
		}
	})
}

// TestWayOfAMessageCannotAllowMore: --way picks among what the policies leave.
func TestWayOfAMessageCannotAllowMore(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := peertest.New(t, 1)
		alice, bob := w.Peer("alice"), w.Peer("bob")
		ctx := context.Background()
		setWay(t, alice, "bob", "relay")
		wantRefused(t, alice, "bob", "direct", "policy-here")
		wantRefused(t, alice, "bob", "lan", "policy-here")
		r, err := alice.Send(ctx, "bob", "by what is left", peer.SendOptions{Way: "auto"})
		if err != nil || alice.MustReach(r.ID, peer.StateDelivered).Way != peer.WayRelay {
			t.Errorf("auto: %+v, %v; want the relay", r, err)
		}
		time.Sleep(time.Second)
		wantRefused(t, bob, "alice", "direct", "policy-there")
		setWay(t, alice, "bob", "direct")
		time.Sleep(time.Second)
		wantRefused(t, alice, "bob", "relay", "policy-here")
		wantRefused(t, bob, "alice", "relay", "policy-there")
		if r, err = alice.Send(ctx, "bob", "over the LAN", peer.SendOptions{Way: "lan"}); err != nil || alice.MustReach(r.ID, peer.StateDelivered).Way != peer.WayLAN {
			t.Errorf("lan: %+v, %v", r, err)
		}
		if _, err := alice.Ping(ctx, "bob", "relay"); peer.CodeOf(err) != peer.CodeUnreachable {
			t.Errorf("a ping by the relay: %v", err)
		}
	})
}

// TestPolicySurvives restarts both sides: each knows its own policy and the other's, also while the rendezvous is away.
func TestPolicySurvives(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := peertest.New(t, 1)
		alice, bob := w.Peer("alice"), w.Peer("bob")
		bob.MustReach(bob.MustSend("alice", "hello").ID, peer.StateDelivered)
		setWay(t, alice, "default", "direct")
		setWay(t, alice, "bob", "relay")
		time.Sleep(time.Second)
		before := ways(t, bob, "alice")
		alice.Stop()
		bob.Stop()
		w.StopRendezvous()
		for _, n := range []*peertest.Node{alice, bob} {
			if err := n.Start(); err != nil {
				t.Fatal(err)
			}
		}
		want := peer.WayPolicy{User: "alice", Policy: "auto", PolicyThere: []string{"relay"}, Ways: []peer.Way{peer.WayRelay, peer.WayMailbox}}
		if diff := cmp.Diff(want, before); diff != "" {
			t.Errorf("before (-want +got):\n%s", diff)
		}
		if diff := cmp.Diff(want, ways(t, bob, "alice")); diff != "" {
			t.Errorf("after (-want +got):\n%s", diff)
		}
		all, err := alice.Ways(context.Background(), "")
		if diff := cmp.Diff([]peer.WayPolicy{
			{User: "default", Policy: "direct", Own: true, Ways: []peer.Way{peer.WayLAN, peer.WayDirect, peer.WayPunched}},
			{User: "bob", Policy: "relay", Own: true, Ways: []peer.Way{peer.WayRelay, peer.WayMailbox}},
		}, all); diff != "" || err != nil {
			t.Errorf("%v (-want +got):\n%s", err, diff)
		}
		had := links(bob)
		r := bob.MustSend("alice", "while nothing can carry it")
		time.Sleep(time.Minute)
		w.StartRendezvous()
		if got := bob.MustReach(r.ID, peer.StateDelivered); got.Way != peer.WayRelay || links(bob) != had {
			t.Errorf("went by %s, %d links", got.Way, links(bob)-had)
		}
		setWay(t, alice, "bob", "default")
		time.Sleep(time.Second)
		if got := ways(t, bob, "alice"); !cmp.Equal(got.PolicyThere, []string{"direct"}) {
			t.Errorf("bob knows %+v, want what holds for all", got)
		}
	})
}

// TestPolicyIsToldLater sets a policy while the contact is away: it hears of it when it comes back.
func TestPolicyIsToldLater(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := peertest.New(t, 1)
		alice, bob := w.Peer("alice"), w.Peer("bob")
		alice.MustReach(alice.MustSend("bob", "hello").ID, peer.StateDelivered)
		bob.Stop()
		time.Sleep(20 * time.Second)
		setWay(t, alice, "default", "relay")
		time.Sleep(time.Minute)
		if err := bob.Start(); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Second)
		had := links(bob)
		r := bob.MustSend("alice", "and back")
		if got := bob.MustReach(r.ID, peer.StateDelivered); got.Way != peer.WayRelay {
			t.Errorf("went by %s", got.Way)
		}
		time.Sleep(time.Minute)
		if got := ways(t, bob, "alice"); !cmp.Equal(got.PolicyThere, []string{"relay"}) || links(bob) != had {
			t.Errorf("bob knows %+v, and has %d more links", got, links(bob)-had)
		}
	})
}

// TestNewContactsAreTold has people write for the first time to somebody who keeps to direct ways, one of them on a device that she accepts later: all are told.
func TestNewContactsAreTold(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := peertest.New(t, 1)
		alice := w.Peer("alice")
		setWay(t, alice, "default", "direct")
		bob := w.Peer("bob")
		time.Sleep(time.Minute)
		first := func(n *peertest.Node) {
			t.Helper()
			if _, err := n.Send(context.Background(), "alice", "hello", peer.SendOptions{Way: "relay"}); err != nil {
				t.Fatal(err)
			}
			time.Sleep(10 * time.Second)
		}
		first(bob)
		other := w.Peer("bob") // another device
		first(other)
		if _, err := alice.Verify(context.Background(), "bob", true); err != nil {
			t.Fatal(err)
		}
		time.Sleep(10 * time.Second)
		for i, n := range []*peertest.Node{bob, other} {
			if got := ways(t, n, "alice"); !cmp.Equal(got.PolicyThere, []string{"direct"}) {
				t.Errorf("device %d knows %+v", i, got)
			}
			wantRefused(t, n, "alice", "relay", "policy-there")
		}
	})
}

// TestPolicyEndsALink changes the policy while the two talk directly: the link ends on both sides, nothing is lost, and it comes back with the policy.
func TestPolicyEndsALink(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := peertest.New(t, 1)
		alice, bob := w.Peer("alice"), w.Peer("bob")
		alice.MustReach(alice.MustSend("bob", "one").ID, peer.StateDelivered)
		if links(bob) == 0 {
			t.Fatal("there is no link to end")
		}
		setWay(t, alice, "bob", "relay")
		r := bob.MustSend("alice", "two") // at the same moment
		bob.MustReach(r.ID, peer.StateDelivered)
		time.Sleep(time.Second)
		packets := w.Passed(alice, bob)
		for _, body := range []string{"three", "four"} {
			if got := alice.MustReach(alice.MustSend("bob", body).ID, peer.StateDelivered); got.Way != peer.WayRelay {
				t.Errorf("%s went by %s", body, got.Way)
			}
		}
		time.Sleep(5 * time.Minute)
		if got := w.Passed(alice, bob); got != packets {
			t.Errorf("%d packets passed between the two after the link had ended", got-packets)
		}
		setWay(t, alice, "bob", "auto")
		time.Sleep(time.Minute)
		if got := alice.MustReach(alice.MustSend("bob", "five").ID, peer.StateDelivered); got.Way != peer.WayLAN {
			t.Errorf("the last went by %s", got.Way)
		}
		if diff := cmp.Diff([]string{"one", "three", "four", "five"}, bob.Bodies()); diff != "" {
			t.Errorf("bob saw (-want +got):\n%s", diff)
		}
	})
}

// TestPolicyStopsADial has alice dial bob, who does not answer, when she keeps to the relay: from then on no packet of hers is for him, and none that
// follows makes a link of it.
func TestPolicyStopsADial(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := peertest.New(t, 1)
		alice, bob := w.Peer("alice"), w.Peer("bob")
		dials := new(peertest.Dials)
		alice.Stop()
		if err := alice.Start(dials.Count); err != nil {
			t.Fatal(err)
		}
		alice.MustReach(alice.MustSend("bob", "one").ID, peer.StateDelivered)
		w.Split(alice, bob, true)
		time.Sleep(30 * time.Second) // the link has gone
		begun := len(dials.Times())
		for i := 0; len(dials.Times()) == begun; i++ {
			if time.Sleep(10 * time.Millisecond); i > 10_000 {
				t.Fatal("nobody dials")
			}
		}
		setWay(t, alice, "bob", "relay")
		time.Sleep(300 * time.Millisecond) // what tells bob so, and what was on its way
		w.Split(alice, bob, false)
		tried, had := w.Passed(alice, bob), links(alice)
		time.Sleep(2 * time.Minute)
		if got := w.Passed(alice, bob); got != tried || links(alice) != had {
			t.Errorf("%d packets passed, %d links came up", got-tried, links(alice)-had)
		}
	})
}

// TestDefaultRelayPublishesNothing: under it the directory tells nobody where a device is, and whoever knows from before is not let in.
func TestDefaultRelayPublishesNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := peertest.New(t, 1)
		alice, bob := w.Peer("alice"), w.Peer("bob")
		address := func(of *peertest.Node, user string) string {
			list, err := of.Route(context.Background(), user)
			if err != nil {
				t.Fatal(err)
			}
			return list[0].Addr
		}
		setWay(t, alice, "default", "relay")
		if got := address(bob, "alice"); got != "" {
			t.Errorf("the directory tells %s", got)
		}
		if got := bob.MustReach(bob.MustSend("alice", "where are you?").ID, peer.StateDelivered); got.Way != peer.WayRelay {
			t.Errorf("went by %s", got.Way)
		}
		time.Sleep(time.Minute)
		if n := w.Passed(alice, bob); n > 0 || links(bob) > 0 {
			t.Errorf("%d packets passed between the two", n)
		}
		setWay(t, alice, "bob", "auto") // he alone may know: she dials him
		time.Sleep(time.Minute)
		if got := alice.MustReach(alice.MustSend("bob", "here").ID, peer.StateDelivered); got.Way != peer.WayLAN {
			t.Errorf("to the one who may know: by %s", got.Way)
		}
		if carol := w.Peer("carol"); address(carol, "alice") != "" {
			t.Error("the directory tells of one contact what only another may know")
		}
		setWay(t, alice, "default", "auto")
		if carol2 := w.Peer("dave"); address(carol2, "alice") == "" {
			t.Error("the directory has not been told again")
		}
	})
}

// TestLANPolicyElsewhere: under lan nothing goes to a contact that is not on the LAN, by no way at all.
func TestLANPolicyElsewhere(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := peertest.New(t, 1)
		alice, far := w.Peer("alice"), w.PeerAt("bob", "10.9.0.1")
		setWay(t, alice, "bob", "lan")
		time.Sleep(time.Second) // until bob has heard of it
		wantRefused(t, alice, "bob", "", "no-common-network")
		wantRefused(t, far, "alice", "", "no-common-network")
		if n := w.Passed(alice, far); n > 0 {
			t.Errorf("%d packets passed between the two", n)
		}
	})
}
