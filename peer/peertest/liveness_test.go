package peertest_test

import (
	"context"
	"fmt"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/byway-chat/byway/peer"
	"github.com/byway-chat/byway/peer/peertest"
)

// lastOf returns the newest event of a type about a user, or of any for none.
func lastOf(n *peertest.Node, kind peer.EventType, user string) *peer.Event {
	events := n.Events(kind)
	for _, e := range slices.Backward(events) {
		if user == "" || e.User == user {
			return &e
		}
	}
	return nil
}

// within waits until something is so, and fails the test when that takes longer than a time.
func within(t *testing.T, what string, limit time.Duration, done func() bool) {
	t.Helper()
	began := time.Now()
	for !done() {
		if time.Since(began) > 10*limit {
			t.Fatalf("%s: not at all", what)
		}
		time.Sleep(10 * time.Millisecond)
	}
	if took := time.Since(began); took > limit {
		t.Errorf("%s: after %v, want %v at most", what, took, limit)
	}
}

func connected(n *peertest.Node) func() bool {
	return func() bool {
		e := lastOf(n, peer.EventRendezvous, "")
		return e == nil || *e.Connected
	}
}

func online(n *peertest.Node, user string, want bool) func() bool {
	return func() bool {
		e := lastOf(n, peer.EventPresence, user)
		return e != nil && *e.Online == want
	}
}

// TestVanishedAtAnyMoment: whenever within the heartbeat a peer vanishes, its watchers know within 12 s.
func TestVanishedAtAnyMoment(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := peertest.New(t, 1)
		alice, bob := w.Peer("alice"), w.Peer("bob")
		for i := range 11 {
			time.Sleep(30*time.Second + time.Duration(i)*487*time.Millisecond)
			w.Cut(bob, true)
			within(t, fmt.Sprint("offline ", i), 12*time.Second, online(alice, "bob", false))
			w.Cut(bob, false)
			within(t, fmt.Sprint("online again ", i), 20*time.Second, online(alice, "bob", true))
		}
	})
}

// TestKilledRendezvous: one that was killed with -9 and comes back is used again within 3 s of that, by every peer, whenever it comes.
func TestKilledRendezvous(t *testing.T) {
	for seed := range uint64(3) {
		synctest.Test(t, func(t *testing.T) {
			w := peertest.New(t, seed)
			alice, bob := w.Peer("alice"), w.Peer("bob")
			for _, away := range []time.Duration{16 * time.Second, 20300 * time.Millisecond, 31 * time.Second, 47700 * time.Millisecond, 2 * time.Minute} {
				time.Sleep(10 * time.Second)
				w.KillRendezvous()
				time.Sleep(away)
				if connected(alice)() || connected(bob)() {
					t.Fatalf("away for %v: somebody has not noticed", away)
				}
				w.StartRendezvous()
				within(t, fmt.Sprint("away for ", away), 3*time.Second, func() bool { return connected(alice)() && connected(bob)() })
			}
		})
	}
}

// TestPartitionHeals: what was sent while nobody could reach anybody arrives within 5 s after that ends, directly where there is no rendezvous.
func TestPartitionHeals(t *testing.T) {
	for _, away := range []time.Duration{20 * time.Second, 77 * time.Second, 6*time.Minute + 300*time.Millisecond} {
		for _, alone := range []bool{false, true} {
			synctest.Test(t, func(t *testing.T) {
				w := peertest.New(t, 1)
				alice, bob := w.Peer("alice"), w.Peer("bob")
				alice.MustReach(alice.MustSend("bob", "before").ID, peer.StateDelivered)
				w.CutRendezvous(true)
				w.Split(alice, bob, true)
				time.Sleep(away / 2)
				r := alice.MustSend("bob", "meanwhile")
				time.Sleep(away / 2)
				if !alone {
					w.CutRendezvous(false)
				}
				w.Split(alice, bob, false)
				within(t, fmt.Sprintf("after %v, alone %v", away, alone), 5*time.Second, func() bool { return len(bob.Bodies()) == 2 })
				alice.MustReach(r.ID, peer.StateDelivered)
				shown(t, "bob", bob, "before", "meanwhile")
			})
		}
	}
}

// TestDoubtfulWay: a direct way that has gone quiet does not hold a conversation up. While it is in doubt messages arrive by the relay, once and in order.
func TestDoubtfulWay(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := peertest.New(t, 1)
		alice, bob := w.Peer("alice"), w.Peer("bob")
		if got := alice.MustReach(alice.MustSend("bob", "0").ID, peer.StateDelivered); got.Way != peer.WayLAN {
			t.Fatalf("went by %q, want lan", got.Way)
		}
		time.Sleep(17300 * time.Millisecond)
		w.Split(alice, bob, true)
		want := []string{"0"}
		var last peer.Receipt
		for i := range 30 {
			want = append(want, fmt.Sprint(i+1))
			last = alice.MustSend("bob", want[i+1])
			if i == 0 {
				within(t, "the first message in doubt", 2*time.Second, func() bool { return len(bob.Bodies()) == 2 })
				continue
			}
			within(t, fmt.Sprint("message ", i), 200*time.Millisecond, func() bool { return len(bob.Bodies()) == i+2 })
			time.Sleep(300 * time.Millisecond)
		}
		if got := alice.MustReach(last.ID, peer.StateDelivered); got.Way != peer.WayRelay {
			t.Errorf("went by %q, want relay", got.Way)
		}
		w.Split(alice, bob, false)
		time.Sleep(30 * time.Second)
		want = append(want, "directly")
		if got := alice.MustReach(alice.MustSend("bob", "directly").ID, peer.StateDelivered); got.Way != peer.WayLAN {
			t.Errorf("30 s after the direct way was back it went by %q, want lan", got.Way)
		}
		shown(t, "bob", bob, want...)
	})
}

// TestNoDialStorm: in an outage of everything, with messages for many people waiting, a peer dials at most twice a second, whatever for.
func TestNoDialStorm(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := peertest.New(t, 1)
		alice, dials := w.Peer("alice"), new(peertest.Dials)
		alice.Stop()
		if err := alice.Start(dials.Count); err != nil {
			t.Fatal(err)
		}
		var others []*peertest.Node
		for i := range 5 {
			others = append(others, w.Peer(fmt.Sprint("friend", i)))
			alice.MustReach(alice.MustSend(fmt.Sprint("friend", i), "before").ID, peer.StateDelivered)
		}
		time.Sleep(30 * time.Second)
		w.Cut(alice, true)
		for i := range others {
			_, err := alice.Send(context.Background(), fmt.Sprint("friend", i), "meanwhile", peer.SendOptions{})
			if err != nil {
				t.Fatal(err)
			}
		}
		time.Sleep(20 * time.Second)
		began, before := time.Now(), len(dials.Times())
		time.Sleep(5 * time.Minute)
		outage := dials.Times()[before:]
		if n, most := len(outage), int(time.Since(began).Seconds())*2; n > most || n < most/10 {
			t.Errorf("%d dials in %v, want at most %d and some", n, time.Since(began), most)
		}
		for i := range outage {
			if i >= 6 && outage[i].Sub(outage[i-6]) < time.Second {
				t.Fatalf("7 dials within %v", outage[i].Sub(outage[i-6]))
			}
		}
		w.Cut(alice, false)
		within(t, "all messages", 5*time.Second, func() bool {
			return !slices.ContainsFunc(others, func(n *peertest.Node) bool { return len(n.Bodies()) != 2 })
		})
	})
}
