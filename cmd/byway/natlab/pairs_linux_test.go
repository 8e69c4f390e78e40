package natlab

import (
	"testing"

	"github.com/byway-chat/byway/cmd/byway/stage"
)

// town is a rendezvous and the two places that talk, as namespaces.
type town struct {
	rendezvous, alice, bob string
	listen                 []string // addresses of the rendezvous
	mdns                   bool     // the peers may use it
}

// pair is one pair of networks and what must come of it.
type pair struct {
	name    string
	build   func(w *internet) town
	want    string // the way that is found
	because string // why the relay is used, as alice is told; empty: it is not
	about   string // the way of which she is told that; punched where not said otherwise
	way     string // alice's policy for bob, where not auto
}

// apart is a rendezvous on the internet, and two places.
func apart(w *internet, alice, bob string) town {
	return town{rendezvous: w.host("rdv", rendezvous4), alice: alice, bob: bob, listen: []string{rendezvous4}}
}

// routers is a machine behind each of two routers.
func routers(a, b router) func(w *internet) town {
	return func(w *internet) town { return apart(w, w.behind("a", a).host("alice"), w.behind("b", b).host("bob")) }
}

// together is a LAN with everybody on it.
func together(w *internet) (*lan, town) {
	l := w.lan()
	return l, town{rendezvous: l.host("rdv"), alice: l.host("alice"), bob: l.host("bob"), listen: []string{"192.168.77.1"}, mdns: true}
}

var pairs = []pair{
	{name: "one LAN", want: "lan", build: func(w *internet) town {
		_, t := together(w)
		return t
	}},
	{name: "one LAN, multicast filtered", want: "lan", build: func(w *internet) town {
		_, t := together(w)
		w.deafen(t.alice)
		w.deafen(t.bob)
		return t
	}},
	{name: "one LAN, clients isolated", want: "relay", because: "same-lan-unreachable", about: "lan", build: func(w *internet) town {
		l, t := together(w)
		l.isolate("alice", true)
		l.isolate("bob", true)
		return t
	}},
	{name: "one LAN behind a router", want: "lan", build: func(w *internet) town {
		s := w.behind("a", cone)
		return apart(w, s.host("alice"), s.host("bob"))
	}},
	{name: "public - public", want: "direct", build: func(w *internet) town { return apart(w, w.public("alice"), w.public("bob")) }},
	{name: "public - cone", want: "direct", build: func(w *internet) town {
		return apart(w, w.public("alice"), w.behind("b", cone).host("bob"))
	}},
	{name: "symmetric - public", want: "direct", build: func(w *internet) town {
		return apart(w, w.behind("a", symmetric).host("alice"), w.public("bob"))
	}},
	{name: "cone - cone", want: "punched", build: routers(cone, cone)},
	{name: "cone - cone, one private range", want: "punched", build: routers(router{network: "192.168.1"}, router{network: "192.168.1"})},
	{name: "cone - cone, both without UDP", want: "punched", build: routers(coneWithout, coneWithout)},
	{name: "cone - cone, one without UDP", want: "punched", build: routers(cone, coneWithout)},
	{name: "firewalled - firewalled", want: "direct", build: func(w *internet) town {
		return apart(w, w.firewalled("alice"), w.firewalled("bob"))
	}},
	{name: "symmetric - cone", want: "relay", because: "symmetric-nat-here", build: routers(symmetric, cone)},
	{name: "cone - symmetric", want: "relay", because: "symmetric-nat-there", build: routers(cone, symmetric)},
	{name: "symmetric - symmetric", want: "relay", because: "symmetric-nat-both", build: routers(symmetric, symmetric)},
	{name: "symmetric with NAT-PMP - symmetric", want: "direct", build: routers(mapsByPMP, symmetric)},
	{name: "symmetric - symmetric with UPnP", want: "direct", build: routers(symmetric, mapsByUPnP)},
	{name: "IPv6, firewalled - firewalled", want: "direct", build: func(w *internet) town {
		return town{
			rendezvous: w.host("rdv", rendezvous4, rendezvous6), alice: w.shut(w.host("alice", "2a45::2")), bob: w.shut(w.host("bob", "2a45::3")),
			listen: []string{rendezvous4, rendezvous6},
		}
	}},
	{name: "symmetric - symmetric, both with IPv6", want: "direct", build: func(w *internet) town {
		t := routers(symmetric, symmetric)(w)
		w.fabric.Plug(w.net, t.alice, "2a45::2")
		w.fabric.Plug(w.net, t.bob, "2a45::3")
		w.shut(t.alice)
		w.shut(t.bob)
		return t
	}},
	{name: "symmetric with IPv6 - symmetric", want: "relay", because: "symmetric-nat-both", build: func(w *internet) town {
		t := routers(symmetric, symmetric)(w)
		w.fabric.Plug(w.net, t.alice, "2a45::2")
		return t
	}},
	{name: "IPv6 only - IPv4 only", want: "relay", because: "ipv6-one-side", build: func(w *internet) town {
		return town{
			rendezvous: w.host("rdv", rendezvous4, rendezvous6), alice: w.host("alice", "2a45::2"), bob: w.public("bob"),
			listen: []string{rendezvous4, rendezvous6},
		}
	}},
	{name: "public - public, relay wanted", want: "relay", because: "policy-here", way: "relay", build: func(w *internet) town {
		return apart(w, w.public("alice"), w.public("bob"))
	}},
}

// TestPairs has two peers in each pair of networks find the best way to each other.
func TestPairs(t *testing.T) {
	t.Parallel()
	for i, p := range pairs {
		t.Run(p.name, func(t *testing.T) {
			roll.Begin(t, stage.Linking, translating)
			r := row{order: i, networks: p.name, want: p.want, because: p.because}
			defer func() { results.add(r) }() // also where the peers did not come so far
			w := newInternet(t)
			place := p.build(w)
			w.run()
			c := meet(t, place)
			r.found, r.given, r.took = c.settle(p)
			if !r.right() {
				t.Errorf("found %q because %q, want %q because %q\n%s", r.found, r.given, r.want, r.because, c.story())
			}
		})
	}
}

// multiaddrs are the listen flags of a rendezvous at these addresses.
func multiaddrs(addresses []string) []string {
	var flags []string
	for _, a := range addresses {
		for _, transport := range []string{"/tcp/29929", "/udp/29929/quic-v1"} {
			flags = append(flags, "--listen", family(a)+a+transport)
		}
	}
	return flags
}

// serve starts the rendezvous of a town.
func serve(t testing.TB, place town) *stage.Operator {
	return stage.Serve(t, place.rendezvous, append(multiaddrs(place.listen), "--no-mdns")...)
}
