package peertest_test

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"github.com/byway-chat/byway/peer"
	"github.com/byway-chat/byway/peer/peertest"
)

// contactOf returns what who says of a user.
func contactOf(t *testing.T, n *peertest.Node, name string) peer.Contact {
	t.Helper()
	list, err := n.Who(context.Background())
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range list {
		if c.Name == name {
			return c
		}
	}
	t.Fatalf("%s is not in %+v", name, list)
	return peer.Contact{}
}

// wayOf returns what route says of a way.
func wayOf(t *testing.T, n *peertest.Node, name string, w peer.Way) peer.RouteEntry {
	t.Helper()
	list, err := n.Route(context.Background(), name)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range list {
		if e.Way == w {
			return e
		}
	}
	t.Fatalf("%s is not in %+v", w, list)
	return peer.RouteEntry{}
}

// TestPresenceIsEvidence: that somebody is there rests on what was heard of them, by which way and when; and it ages when nothing is heard.
func TestPresenceIsEvidence(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := peertest.New(t, 1)
		alice, bob := w.Peer("alice"), w.Peer("bob")
		time.Sleep(time.Second)
		if c := contactOf(t, alice, "bob"); !c.Online || c.HeardBy != peer.SignPresence || c.HeardWay != "" || !c.Heard.Equal(time.Now()) {
			t.Errorf("never talked to: got %+v", c)
		}
		alice.MustReach(alice.MustSend("bob", "hi").ID, peer.StateDelivered)
		time.Sleep(time.Minute)
		c := contactOf(t, alice, "bob")
		if c.HeardBy != peer.SignHeartbeat || c.HeardWay != peer.WayLAN || time.Since(*c.Heard) > 6*time.Second {
			t.Errorf("over a link: got %+v", c)
		}
		if e := wayOf(t, alice, "bob", peer.WayLAN); e.Heard == nil || e.Tried == nil || time.Since(*e.Tried) < time.Minute || len(e.Addrs) != 1 || e.Addr != e.Addrs[0] {
			t.Errorf("got %+v", e)
		}
		w.Split(alice, bob, true)
		alice.MustReach(alice.MustSend("bob", "by the relay").ID, peer.StateDelivered)
		by := time.Now()
		time.Sleep(20 * time.Second)
		if c = contactOf(t, alice, "bob"); c.HeardWay != peer.WayRelay || c.HeardBy == peer.SignHeartbeat || c.Heard.Before(by.Add(-time.Second)) {
			t.Errorf("by the relay: got %+v after %v", c, by)
		}
		if e := wayOf(t, alice, "bob", peer.WayLAN); e.Error == "" || e.State == "open" || time.Since(*e.Tried) > 30*time.Second || e.Heard == nil {
			t.Errorf("after a dial that failed: got %+v", e)
		}
		if e := wayOf(t, alice, "bob", peer.WayRelay); len(e.Addrs) != 1 || e.Tried == nil || e.Here == nil {
			t.Errorf("the relay: got %+v", e)
		}
		bob.Stop()
		time.Sleep(time.Minute)
		if c = contactOf(t, alice, "bob"); c.Online || c.Heard == nil || time.Since(*c.Heard) < time.Minute {
			t.Errorf("gone: got %+v", c)
		}
	})
}
