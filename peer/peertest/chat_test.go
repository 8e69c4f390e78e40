package peertest_test

import (
	"context"
	"fmt"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/byway-chat/byway/peer"
	"github.com/byway-chat/byway/peer/peertest"
)

// shown fails the test unless a node has shown exactly these texts, in this order.
func shown(t *testing.T, who string, n *peertest.Node, want ...string) {
	t.Helper()
	if diff := cmp.Diff(want, n.Bodies()); diff != "" {
		t.Errorf("%s was shown (-want +got):\n%s", who, diff)
	}
}

func TestChat(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := peertest.New(t, 1)
		alice, bob := w.Peer("alice"), w.Peer("bob")
		r := alice.MustSend("bob", "hello bob")
		if got := alice.MustReach(r.ID, peer.StateDelivered); got.Way != peer.WayLAN {
			t.Errorf("first message went by %q, want lan", got.Way)
		}
		r = bob.MustSend("alice", "hello alice")
		if got := bob.MustReach(r.ID, peer.StateDelivered); got.Way != peer.WayLAN {
			t.Errorf("answer went by %q, want lan", got.Way)
		}
		time.Sleep(time.Second)
		shown(t, "bob", bob, "hello bob")
		shown(t, "alice", alice, "hello alice")
	})
}

func TestRelayWhereThereIsNoDirectWay(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := peertest.New(t, 1)
		alice, bob := w.Peer("alice"), w.Peer("bob")
		w.Split(alice, bob, true)
		r := alice.MustSend("bob", "over the relay")
		if got := alice.MustReach(r.ID, peer.StateDelivered); got.Way != peer.WayRelay {
			t.Errorf("message went by %q, want relay", got.Way)
		}
		shown(t, "bob", bob, "over the relay")

		w.Split(alice, bob, false)
		time.Sleep(2 * time.Minute)
		r = alice.MustSend("bob", "directly")
		if got := alice.MustReach(r.ID, peer.StateDelivered); got.Way != peer.WayLAN {
			t.Errorf("later message went by %q, want lan", got.Way)
		}
	})
}

func TestMailbox(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := peertest.New(t, 1)
		alice, bob := w.Peer("alice"), w.Peer("bob")
		bob.Stop()
		time.Sleep(15 * time.Second)
		var want []string
		var last peer.Receipt
		for i := range 100 {
			want = append(want, fmt.Sprint("message ", i))
			last = alice.MustSend("bob", want[i])
		}
		if got := alice.MustReach(last.ID, peer.StateStored); got.Way != peer.WayMailbox {
			t.Errorf("stored by %q, want mailbox", got.Way)
		}
		w.StopRendezvous()
		w.StartRendezvous()
		if err := bob.Start(); err != nil {
			t.Fatal(err)
		}
		if got := alice.MustReach(last.ID, peer.StateDelivered); got.Way != peer.WayMailbox {
			t.Errorf("delivered by %q, want mailbox", got.Way)
		}
		shown(t, "bob", bob, want...)
	})
}

func TestSenderLeavesBeforeDelivery(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := peertest.New(t, 1)
		alice, bob := w.Peer("alice"), w.Peer("bob")
		bob.Stop()
		time.Sleep(15 * time.Second)
		r := alice.MustSend("bob", "for later")
		alice.MustReach(r.ID, peer.StateStored)
		alice.Stop()
		if err := bob.Start(); err != nil {
			t.Fatal(err)
		}
		time.Sleep(10 * time.Second)
		shown(t, "bob", bob, "for later")
		bob.Stop()
		if err := alice.Start(); err != nil {
			t.Fatal(err)
		}
		if got := alice.MustReach(r.ID, peer.StateDelivered); got.Way != peer.WayMailbox {
			t.Errorf("delivered by %q, want mailbox", got.Way)
		}
	})
}

func TestRendezvousAway(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := peertest.New(t, 1)
		alice, bob := w.Peer("alice"), w.Peer("bob")
		r := alice.MustSend("bob", "one")
		alice.MustReach(r.ID, peer.StateDelivered)
		w.CutRendezvous(true)
		time.Sleep(time.Minute)
		r = alice.MustSend("bob", "two")
		if got := alice.MustReach(r.ID, peer.StateDelivered); got.Way != peer.WayLAN {
			t.Errorf("without rendezvous it went by %q, want lan", got.Way)
		}
		w.CutRendezvous(false)
		began := time.Now()
		w.Split(alice, bob, true)
		r = alice.MustSend("bob", "three")
		got := alice.MustReach(r.ID, peer.StateDelivered)
		t.Logf("after the way changed: %s after %v", got.Way, time.Since(began))
		shown(t, "bob", bob, "one", "two", "three")
	})
}

func TestVanishedPeerIsOffline(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := peertest.New(t, 1)
		alice, bob := w.Peer("alice"), w.Peer("bob")
		time.Sleep(time.Minute)
		w.Cut(bob, true)
		began := time.Now()
		for range 120 {
			time.Sleep(100 * time.Millisecond)
			gone := slices.ContainsFunc(alice.Events(peer.EventPresence), func(e peer.Event) bool { return e.User == "bob" && !*e.Online })
			if gone {
				t.Logf("offline after %v", time.Since(began))
				w.Cut(bob, false)
				return
			}
		}
		t.Errorf("bob is still online 12 s after he has vanished")
	})
}

func TestUnknownUser(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := peertest.New(t, 1)
		alice := w.Peer("alice")
		_, err := alice.Send(context.Background(), "nobody", "hello", peer.SendOptions{})
		if peer.CodeOf(err) != peer.CodeNoSuchUser {
			t.Errorf("got %v, want no-such-user", err)
		}
	})
}

// TestDirectOnly: such a message never touches the relay. Where no direct way opens it is refused and not kept.
func TestDirectOnly(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := peertest.New(t, 1)
		alice, bob := w.Peer("alice"), w.Peer("bob")
		ctx := context.Background()
		w.Split(alice, bob, true)
		_, err := alice.Send(ctx, "bob", "refused", peer.SendOptions{Way: "direct"})
		if peer.CodeOf(err) != peer.CodeUnreachable {
			t.Errorf("got %v, want unreachable", err)
		}
		w.Split(alice, bob, false)
		r, err := alice.Send(ctx, "bob", "direct", peer.SendOptions{Way: "direct"})
		if err != nil {
			t.Fatal(err)
		}
		if got := alice.MustReach(r.ID, peer.StateDelivered); got.Way != peer.WayLAN || got.N != 1 {
			t.Errorf("got %+v, want the first message by lan", got)
		}
		r, err = alice.Send(ctx, "bob", "relayed", peer.SendOptions{Way: "relay"})
		if err != nil {
			t.Fatal(err)
		}
		if got := alice.MustReach(r.ID, peer.StateDelivered); got.Way != peer.WayRelay {
			t.Errorf("went by %q, want relay", got.Way)
		}
		bob.Stop()
		time.Sleep(15 * time.Second)
		if _, err := alice.Send(ctx, "bob", "nobody there", peer.SendOptions{Way: "direct"}); peer.CodeOf(err) != peer.CodeUnreachable {
			t.Errorf("got %v, want unreachable", err)
		}
		shown(t, "bob", bob, "direct", "relayed")
	})
}

// TestPingAndRoute: both say by which way, and a peer that is away is unreachable.
func TestPingAndRoute(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := peertest.New(t, 1)
		alice, bob := w.Peer("alice"), w.Peer("bob")
		ctx := context.Background()
		alice.MustReach(alice.MustSend("bob", "hello").ID, peer.StateDelivered)
		for way, want := range map[string]peer.Way{"": peer.WayLAN, "direct": peer.WayLAN, "relay": peer.WayRelay} {
			p, err := alice.Ping(ctx, "bob", way)
			if err != nil || p.Lost || p.Way != want || *p.RTT < 9 {
				t.Errorf("ping by %q: got %+v, %v", way, p, err)
			}
		}
		routes, err := alice.Route(ctx, "bob")
		if err != nil || len(routes) != 5 || !routes[0].InUse || routes[0].Way != peer.WayLAN {
			t.Errorf("routes: got %+v, %v", routes, err)
		}
		w.Cut(bob, true)
		if p, err := alice.Ping(ctx, "bob", ""); err != nil || !p.Lost || p.RTT != nil {
			t.Errorf("lost ping: got %+v, %v; want no round trip at all", p, err)
		}
		w.Cut(bob, false)
		time.Sleep(20 * time.Second)
		bob.Stop()
		time.Sleep(15 * time.Second)
		if _, err := alice.Ping(ctx, "bob", ""); peer.CodeOf(err) != peer.CodeUnreachable {
			t.Errorf("ping of one who is away: got %v, want unreachable", err)
		}
		who, err := alice.Who(ctx)
		if err != nil || len(who) != 1 || who[0].Name != "bob" || who[0].Online || who[0].Way != peer.WayMailbox {
			t.Errorf("who: got %+v, %v", who, err)
		}
	})
}

// TestReadReceipt: the sender learns that a person has seen the message.
func TestReadReceipt(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := peertest.New(t, 1)
		alice, bob := w.Peer("alice"), w.Peer("bob")
		r := alice.MustSend("bob", "seen?")
		alice.MustReach(r.ID, peer.StateDelivered)
		if err := bob.Read(context.Background(), "alice"); err != nil {
			t.Fatal(err)
		}
		alice.MustReach(r.ID, peer.StateRead)
	})
}

// TestNoReadReceipt: one who does not want contacts to know what was read tells nobody, also after a restart, until it is wanted again.
func TestNoReadReceipt(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := peertest.New(t, 1)
		alice, bob := w.Peer("alice"), w.Peer("bob")
		ctx := context.Background()
		r := alice.MustSend("bob", "seen?")
		alice.MustReach(r.ID, peer.StateDelivered)
		if err := bob.SetReadReceipts(ctx, false); err != nil {
			t.Fatal(err)
		}
		for range 2 {
			if err := bob.Read(ctx, "alice"); err != nil {
				t.Fatal(err)
			}
			time.Sleep(time.Minute)
			if got, err := alice.Receipt(ctx, r.ID); err != nil || got.State != peer.StateDelivered {
				t.Errorf("alice knows %+v, %v; want delivered and no more", got, err)
			}
			bob.Stop()
			if err := bob.Start(); err != nil {
				t.Fatal(err)
			}
		}
		if st, err := bob.Status(ctx); err != nil || st.ReadReceipts {
			t.Errorf("status: got %+v, %v; want no read receipts", st, err)
		}
		if err := bob.SetReadReceipts(ctx, true); err != nil {
			t.Fatal(err)
		}
		if err := bob.Read(ctx, "alice"); err != nil {
			t.Fatal(err)
		}
		alice.MustReach(r.ID, peer.StateRead)
	})
}

// TestRelayOnlyTellsNoAddress: a contact who is written to by relay only gets no connection from us, also while the peer stays up.
func TestRelayOnlyTellsNoAddress(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := peertest.New(t, 1)
		alice, bob := w.Peer("alice"), w.Peer("bob")
		ctx := context.Background()
		if err := alice.SetWay(ctx, "bob", "relay"); err != nil {
			t.Fatal(err)
		}
		r := alice.MustSend("bob", "from nowhere")
		if got := alice.MustReach(r.ID, peer.StateDelivered); got.Way != peer.WayRelay {
			t.Errorf("went by %q, want relay", got.Way)
		}
		time.Sleep(time.Minute)
		for _, n := range []*peertest.Node{alice, bob} {
			for _, e := range n.Events(peer.EventRoute) {
				if e.New == peer.WayLAN {
					t.Errorf("a direct way was opened: %+v", e)
				}
			}
		}
	})
}

// TestHistoryShowsGaps: a message that expired before its recipient came back is missing in its place.
func TestHistoryShowsGaps(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := peertest.New(t, 1)
		alice, bob := w.Peer("alice"), w.Peer("bob")
		ctx := context.Background()
		alice.MustReach(alice.MustSend("bob", "one").ID, peer.StateDelivered)
		bob.Stop()
		time.Sleep(15 * time.Second)
		w.StopRendezvous()
		alice.MustSend("bob", "two") // stays on her own disk
		alice.Stop()
		time.Sleep(14*24*time.Hour + time.Hour)
		w.StartRendezvous()
		w.CutRendezvous(true)
		if err := alice.Start(); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Minute) // it is given up while nothing can carry it
		w.CutRendezvous(false)
		if err := bob.Start(); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Minute)
		alice.MustReach(alice.MustSend("bob", "three").ID, peer.StateDelivered)
		want := []string{"one", "gap 2-2 of alice", "three"}
		for _, tt := range []struct {
			q    peer.HistoryQuery
			want []string
		}{
			{peer.HistoryQuery{}, want},
			{peer.HistoryQuery{User: "alice", Limit: 3}, want},
			{peer.HistoryQuery{User: "alice", Limit: 2}, want},
			{peer.HistoryQuery{User: "alice", Limit: 1}, want[2:]},
			{peer.HistoryQuery{Search: "o"}, want[:1]},
		} {
			list, err := bob.History(ctx, tt.q)
			if err != nil {
				t.Fatal(err)
			}
			var got []string
			for _, h := range list {
				if h.Gap != nil {
					h.Body = fmt.Sprintf("gap %d-%d of %s", h.Gap.First, h.Gap.Last, h.Gap.From)
				}
				got = append(got, h.Body)
			}
			if diff := cmp.Diff(tt.want, got); diff != "" {
				t.Errorf("%+v (-want +got):\n%s", tt.q, diff)
			}
		}
	})
}
