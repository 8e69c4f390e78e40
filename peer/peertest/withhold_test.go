package peertest_test

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"github.com/libp2p/go-libp2p/core/host"
	libp2ppeer "github.com/libp2p/go-libp2p/core/peer"
	"github.com/libp2p/go-libp2p/core/record"

	"github.com/byway-chat/byway/crypto/identity/identitytest"
	"github.com/byway-chat/byway/peer"
	"github.com/byway-chat/byway/peer/peertest"
	"github.com/byway-chat/byway/peer/trace"
	"github.com/byway-chat/byway/rendezvous"
	"github.com/byway-chat/byway/rendezvous/client"
)

// looker is a user whose program does nothing but to ask the directory.
type looker struct {
	t    *testing.T
	w    *peertest.World
	name string
	host host.Host
	conn *client.Conn
}

// newLooker registers a name, with the n-th of the fixed keys.
func newLooker(t *testing.T, w *peertest.World, name string, n int) *looker {
	t.Helper()
	l := &looker{t: t, w: w, name: name, host: w.Stranger()}
	l.dial()
	t.Cleanup(func() { _ = l.conn.Close() })
	now, keys, at := time.Now().Truncate(time.Millisecond), identitytest.Keyring(n), l.rendezvous().ID
	entry := &rendezvous.Entry{
		Rendezvous: at, Username: rendezvous.Username(name), Seq: 1, Issued: now,
		Devices: []rendezvous.EntryDevice{{Key: keys.Identity.Public(), PeerID: l.host.ID(), Added: now}},
	}
	bundle := &rendezvous.Bundle{
		Rendezvous: at, Username: rendezvous.Username(name), PeerID: l.host.ID(), Seq: 1, NotBefore: now.Add(-time.Hour), NotAfter: now.Add(7 * 24 * time.Hour),
		Key: keys.Encryption[0].Public(),
	}
	r := &rendezvous.Register{Username: name, Password: peertest.Password}
	var err error
	if r.Entry, err = entry.Sign(keys.Identity); err != nil {
		t.Fatal(err)
	}
	if r.Bundle, err = bundle.Sign(keys.Identity); err != nil {
		t.Fatal(err)
	}
	if r.Possession, err = rendezvous.SignPossession(keys.Identity, at, rendezvous.Username(name), l.host.ID(), l.conn.Welcome().GetNonce()); err != nil {
		t.Fatal(err)
	}
	if _, err := l.conn.Register(context.Background(), r); err != nil {
		t.Fatal(err)
	}
	return l
}

func (l *looker) rendezvous() libp2ppeer.AddrInfo {
	l.t.Helper()
	a, err := rendezvous.ParseAddress(l.w.Address())
	if err != nil {
		l.t.Fatal(err)
	}
	return a.AddrInfo()
}

func (l *looker) dial() {
	l.t.Helper()
	conn, err := client.Dial(context.Background(), client.Options{Host: l.host, Rendezvous: l.rendezvous()})
	if err != nil {
		l.t.Fatal(err)
	}
	l.conn = conn
	go func() {
		for range conn.Pushes() { // what alice tells of her policies, which she means for a program
		}
	}()
}

// comeBack signs in again.
func (l *looker) comeBack() {
	l.t.Helper()
	_ = l.conn.Close()
	_ = l.host.Network().ClosePeer(l.rendezvous().ID) // it may be dead
	l.dial()
	if _, err := l.conn.Resume(context.Background(), l.name); err != nil {
		l.t.Fatal(err)
	}
}

// sees returns the addresses of all devices of a user that the directory tells.
func (l *looker) sees(user string) []string {
	l.t.Helper()
	addrs, err := l.ask(user)
	if err != nil {
		l.t.Fatal(err)
	}
	return addrs
}

func (l *looker) ask(user string) (addrs []string, err error) {
	records, err := l.conn.Lookup(context.Background(), user)
	if err != nil {
		return nil, err
	}
	for _, d := range records[0].GetDevices() {
		if len(d.GetPeerRecord()) == 0 {
			continue
		}
		var r libp2ppeer.PeerRecord
		if _, err := record.ConsumeTypedEnvelope(d.GetPeerRecord(), &r); err != nil {
			return nil, err
		}
		for _, a := range r.Addrs {
			addrs = append(addrs, a.String())
		}
	}
	return addrs, nil
}

// during asks the directory over and over while f runs and for a while after, and wants to be told nothing of the user.
func (l *looker) during(user string, f func()) {
	l.t.Helper()
	done := make(chan struct{})
	stopped := make(chan struct{})
	go func() {
		defer close(stopped)
		for n := 0; ; n++ {
			if got, err := l.ask(user); len(got) > 0 || err != nil {
				l.t.Errorf("look %d: the directory tells %s of %q, %v", n, l.name, got, err)
				return
			}
			select {
			case <-done:
				return
			case <-time.After(25 * time.Millisecond): // more is refused
			}
		}
	}()
	f()
	time.Sleep(3 * time.Second)
	close(done)
	<-stopped
}

// addressOf is where a node would dial a user. It looks for a way there.
func addressOf(t *testing.T, n *peertest.Node, user string) string {
	t.Helper()
	list, err := n.Route(context.Background(), user)
	if err != nil {
		t.Fatal(err)
	}
	return list[0].Addr
}

// lastTold returns the addresses of a user that a node was told last, since it was started.
func lastTold(t *testing.T, n *peertest.Node, user string) (addrs []string) {
	t.Helper()
	for _, step := range told(t, n, user) {
		if step.What == trace.Addresses {
			addrs = step.Addrs
		}
	}
	return addrs
}

func restart(t *testing.T, n *peertest.Node) {
	t.Helper()
	n.Stop()
	if err := n.Start(); err != nil {
		t.Fatal(err)
	}
}

// TestAddressIsWithheldFromOne has alice keep her address from eve, who asks the directory by hand and all the time, and from nobody else: while both, and the
// rendezvous, start anew, while alice is away, and until she takes the policy back.
func TestAddressIsWithheldFromOne(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := peertest.New(t, 1)
		alice := w.Peer("alice")
		eve, carol := newLooker(t, w, "eve", 6), newLooker(t, w, "carol", 7)
		want := func(when string, withheld bool) {
			t.Helper()
			if got := eve.sees("alice"); (len(got) == 0) != withheld {
				t.Errorf("%s eve sees %q", when, got)
			}
			if got := carol.sees("alice"); len(got) == 0 {
				t.Errorf("%s carol sees nothing", when)
			}
		}
		want("at first", false)
		setWay(t, alice, "eve", "relay")
		want("when SetWay has returned", true)
		eve.during("alice", func() { restart(t, alice) })
		want("after alice's restart", true)
		eve.comeBack()
		want("after eve's", true)

		alice.Stop()
		want("while alice is away", true)
		w.KillRendezvous()
		w.StartRendezvous()
		eve.comeBack()
		carol.comeBack()
		want("after the rendezvous's restart, without alice", true)
		eve.during("alice", func() {
			if err := alice.Start(); err != nil {
				t.Fatal(err)
			}
		})

		eve.during("alice", func() { setWay(t, alice, "default", "relay") })
		if got := carol.sees("alice"); len(got) > 0 {
			t.Errorf("under relay for all carol sees %q", got)
		}
		eve.during("alice", func() { setWay(t, alice, "default", "auto") })
		want("when others may know again", true)
		setWay(t, alice, "eve", "lan")
		want("under lan", false)
		setWay(t, alice, "eve", "relay")
		want("under relay again", true)
		setWay(t, alice, "eve", "default")
		want("when it is taken back", false)
	})
}

// TestPolicySetWithoutRendezvous sets and lifts the policy while there is no rendezvous: it hears of that with the first word of alice's peer.
func TestPolicySetWithoutRendezvous(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := peertest.New(t, 1)
		alice, bob := w.Peer("alice"), w.Peer("bob")
		alice.MustReach(alice.MustSend("bob", "hello").ID, peer.StateDelivered) // so that she knows bob
		eve := newLooker(t, w, "eve", 7)
		setWay(t, alice, "eve", "auto")
		for _, withheld := range []bool{true, false} {
			w.StopRendezvous()
			way := "auto"
			if withheld {
				way = "relay"
			}
			setWay(t, alice, "eve", way)
			w.StartRendezvous()
			time.Sleep(10 * time.Second)
			eve.comeBack()
			if got := eve.sees("alice"); (len(got) == 0) != withheld {
				t.Errorf("under %s eve sees %q", way, got)
			}
		}
		if addressOf(t, bob, "alice") == "" {
			t.Error("bob has lost alice's address")
		}
	})
}

// TestContactForgetsWithheldAddress has a contact's own program follow: it forgets the address that the directory told, on each of its devices and over restarts, and
// finds it again when the policy is taken back. None of alice's packets is for him meanwhile.
func TestContactForgetsWithheldAddress(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := peertest.New(t, 1)
		alice, bob, carol := w.Peer("alice"), w.Peer("bob"), w.Peer("carol")
		want := func(when string, withheld bool, nodes ...*peertest.Node) {
			t.Helper()
			time.Sleep(time.Second)
			for i, n := range nodes {
				if got := addressOf(t, n, "alice"); (got == "") != withheld {
					t.Errorf("%s device %d has %q", when, i, got)
				}
			}
		}
		ways(t, bob, "alice") // he looks her up, and does not dial her
		if got := lastTold(t, bob, "alice"); len(got) == 0 {
			t.Error("at first bob is told no address")
		}
		setWay(t, alice, "bob", "relay")
		time.Sleep(time.Second)
		if got := lastTold(t, bob, "alice"); len(got) > 0 {
			t.Errorf("then bob is told %q", got)
		}
		want("under relay", true, bob)
		want("under relay for another", false, carol)
		other := w.Peer("bob")
		want("on a new device", true, bob, other)
		restart(t, bob)
		restart(t, alice)
		w.StopRendezvous()
		restart(t, other)
		w.StartRendezvous()
		time.Sleep(10 * time.Second)
		want("after restarts", true, bob, other)
		if got := bob.MustReach(bob.MustSend("alice", "where are you?").ID, peer.StateDelivered); got.Way != peer.WayRelay {
			t.Errorf("went by %s", got.Way)
		}
		want("after a word", true, bob, other)
		if n := w.Passed(alice, bob) + w.Passed(alice, other); n > 0 {
			t.Errorf("%d packets passed between the two", n)
		}
		for _, n := range []*peertest.Node{bob, other} { // since their restarts
			if got := lastTold(t, n, "alice"); len(got) > 0 {
				t.Errorf("somebody has told bob %q", got)
			}
		}
		setWay(t, alice, "bob", "default")
		want("when it is taken back", false, bob)
		if got := bob.MustReach(bob.MustSend("alice", "there you are").ID, peer.StateDelivered); got.Way != peer.WayLAN {
			t.Errorf("then by %s", got.Way)
		}
	})
}

// TestManyPoliciesInARow sets more than the rendezvous takes at once: each is published when SetWay returns.
func TestManyPoliciesInARow(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := peertest.New(t, 1)
		alice := w.Peer("alice")
		eve := newLooker(t, w, "eve", 7)
		for i := range 50 {
			way := []string{"relay", "auto"}[i%2]
			setWay(t, alice, "eve", way)
			if got := eve.sees("alice"); (len(got) == 0) != (way == "relay") {
				t.Errorf("change %d: eve sees %q under %s", i, got, way)
			}
		}
	})
}
