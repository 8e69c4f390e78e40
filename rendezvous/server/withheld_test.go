package server

import (
	"fmt"
	"strings"
	"testing"

	libpeer "github.com/libp2p/go-libp2p/core/peer"
	"github.com/libp2p/go-libp2p/core/record"
	ma "github.com/multiformats/go-multiaddr"

	"github.com/byway-chat/byway/rendezvous"
)

// where is a device's signed peer record.
func (d *device) where(seq uint64) []byte {
	d.w.t.Helper()
	r := &libpeer.PeerRecord{PeerID: d.host.ID(), Seq: seq, Addrs: []ma.Multiaddr{ma.StringCast("/ip4/192.0.2.7/tcp/4001")}}
	envelope, err := record.Seal(r, d.host.Peerstore().PrivKey(d.host.ID()))
	if err != nil {
		d.w.t.Fatal(err)
	}
	b, err := envelope.Marshal()
	if err != nil {
		d.w.t.Fatal(err)
	}
	return b
}

// TestWithheldAddresses has alice withhold her addresses from bob: he is told that something has changed and finds none, carol still finds them.
func TestWithheldAddresses(t *testing.T) {
	w := start(t, Config{}, false)
	alice, bob, carol := w.registered("alice", 0), w.registered("bob", 1), w.registered("carol", 2)
	if got := alice.conn.Welcome().GetMaxWithheld(); got != rendezvous.MaxWithheld {
		t.Errorf("Welcome says %d, want %d", got, rendezvous.MaxWithheld)
	}
	publish := func(p *rendezvous.Publish) {
		t.Helper()
		if err := alice.conn.Publish(t.Context(), p); err != nil {
			t.Fatal(err)
		}
		bob.next(func(f *rendezvous.Frame) bool {
			for _, c := range f.GetPresence().GetChanges() {
				if c.GetKind() == rendezvous.Change_KEYS && c.GetUsername() == "alice" {
					return true
				}
			}
			return false
		})
	}
	sees := func(d *device) bool {
		t.Helper()
		records, err := d.conn.Lookup(t.Context(), "carol", "alice")
		if err != nil {
			t.Fatal(err)
		}
		return len(records[1].GetDevices()[0].GetPeerRecord()) > 0
	}
	if err := bob.conn.Watch(t.Context()); err != nil {
		t.Fatal(err)
	}
	publish(&rendezvous.Publish{PeerRecord: alice.where(1)})
	for i, step := range []struct {
		publish *rendezvous.Publish
		bob     bool
	}{
		{&rendezvous.Publish{Withheld: &rendezvous.Withheld{Usernames: []string{"bob"}}}, false},
		{&rendezvous.Publish{PeerRecord: alice.where(2)}, false},
		{&rendezvous.Publish{Withheld: &rendezvous.Withheld{}}, true},
		{&rendezvous.Publish{PeerRecord: alice.where(3), Withheld: &rendezvous.Withheld{Usernames: []string{"zoe", "bob"}}}, false},
	} {
		publish(step.publish)
		if got := sees(bob); got != step.bob || !sees(carol) {
			t.Errorf("step %d: bob sees them: %v, want %v; carol: %v", i, got, step.bob, sees(carol))
		}
	}
}

// TestLongestWithheldFits publishes as many of the longest names as may be withheld from, in one frame.
func TestLongestWithheldFits(t *testing.T) {
	w := start(t, Config{}, false)
	alice := w.registered("alice", 0)
	names := make([]string, rendezvous.MaxWithheld)
	for i := range names {
		number := []rune(fmt.Sprintf("%04d", i))
		for j := range number {
			number[j] += '\U000104A0' - '0' // digits of Osmanya, of four bytes each
		}
		names[i] = strings.Repeat("\U00010480", 28) + string(number)
		if len(names[i]) != 128 {
			t.Fatalf("%q has %d bytes", names[i], len(names[i]))
		}
	}
	p := &rendezvous.Publish{PeerRecord: alice.where(1), Withheld: &rendezvous.Withheld{Usernames: names}}
	if err := alice.conn.Publish(t.Context(), p); err != nil {
		t.Fatal(err)
	}
	p.Withheld.Usernames = append(names, "bob")
	if err := alice.conn.Publish(t.Context(), p); rendezvous.CodeOf(err) != rendezvous.CodeTooLarge {
		t.Errorf("one more: %v", err)
	}
}
