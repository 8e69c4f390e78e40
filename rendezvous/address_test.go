package rendezvous

import (
	"errors"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	ma "github.com/multiformats/go-multiaddr"
)

const (
	testPeer      = "12D3KooWGC6TvWhfapngX6wvJHMYvKpDMXPb3ZnCZ6dMoaMtimQ5"
	testOtherPeer = "12D3KooWEyoppNCUx8Yx66oV9fJnriXwCcXwDDUA2kj6vnc6iDEp"
)

func TestParseAddress(t *testing.T) {
	for _, tc := range []struct {
		name, in string
		addrs    []string
		invite   string
	}{
		{"tcp", "/ip4/10.0.0.1/tcp/29929/p2p/" + testPeer, []string{"/ip4/10.0.0.1/tcp/29929"}, ""},
		{"ipfs is the old spelling", "/ip4/10.0.0.1/tcp/29929/ipfs/" + testPeer, []string{"/ip4/10.0.0.1/tcp/29929"}, ""},
		{"quic", "/ip6/fd00::1/udp/1/quic-v1/p2p/" + testPeer, []string{"/ip6/fd00::1/udp/1/quic-v1"}, ""},
		{"zone", "/ip6zone/eth0/ip6/fe80::1/tcp/1/p2p/" + testPeer, []string{"/ip6zone/eth0/ip6/fe80::1/tcp/1"}, ""},
		{"dns", "/dns4/chat.example/tcp/443/p2p/" + testPeer, []string{"/dns4/chat.example/tcp/443"}, ""},
		{
			"several", " /ip4/10.0.0.1/tcp/1/p2p/" + testPeer + ", /ip4/10.0.0.1/udp/1/quic-v1/p2p/" + testPeer +
				"\n/ip4/10.0.0.1/tcp/1/p2p/" + testPeer + " ",
			[]string{"/ip4/10.0.0.1/tcp/1", "/ip4/10.0.0.1/udp/1/quic-v1"},
			"",
		},
		{"link", "byway://10.0.0.1:4000/" + testPeer, []string{"/ip4/10.0.0.1/tcp/4000", "/ip4/10.0.0.1/udp/4000/quic-v1"}, ""},
		{"link without port", "byway://chat.example/" + testPeer, []string{"/dns/chat.example/tcp/29929", "/dns/chat.example/udp/29929/quic-v1"}, ""},
		{"link in capitals", "BYWAY://Chat.example/" + testPeer, []string{"/dns/Chat.example/tcp/29929", "/dns/Chat.example/udp/29929/quic-v1"}, ""},
		{"link to IPv6", "byway://[fd00::1]:7/" + testPeer, []string{"/ip6/fd00::1/tcp/7", "/ip6/fd00::1/udp/7/quic-v1"}, ""},
		{"link with invitation", "byway://h:7/" + testPeer + "?i=abc-DEF_123", []string{"/dns/h/tcp/7", "/dns/h/udp/7/quic-v1"}, "abc-DEF_123"},
		{"link of a later version", "byway://h:7/" + testPeer + "/?x=1&i=t", []string{"/dns/h/tcp/7", "/dns/h/udp/7/quic-v1"}, "t"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			a, err := ParseAddress(tc.in)
			if err != nil {
				t.Fatal(err)
			}
			if a.ID.String() != testPeer || a.Invite != tc.invite {
				t.Errorf("ID %s, invite %q; want %s, %q", a.ID, a.Invite, testPeer, tc.invite)
			}
			if diff := cmp.Diff(tc.addrs, texts(a.Addrs)); diff != "" {
				t.Errorf("addresses (-want +got):\n%s", diff)
			}
		})
	}
}

func TestParseAddressRefuses(t *testing.T) {
	for _, tc := range []struct{ name, in, says string }{
		{"empty", "  ", "empty"},
		{"commas", ",,", "empty"},
		{"too long", strings.Repeat("/", 5000), "longer"},
		{"escape", "/ip4/1.2.3.4/tcp/1\x1b[2J", "0x1b"},
		{"not ASCII", "/dns/bücher.example/tcp/1/p2p/" + testPeer, "0xc3"},
		{"host and port", "10.0.0.1:29929", "not an address"},
		{"no peer", "/ip4/10.0.0.1/tcp/29929", "/p2p/PEERID is missing"},
		{"damaged peer", "/ip4/10.0.0.1/tcp/29929/p2p/12D3KooW", "not an address"},
		{"peer only", "/p2p/" + testPeer, "neither"},
		{"circuit", "/ip4/1.2.3.4/tcp/1/p2p/" + testOtherPeer + "/p2p-circuit/p2p/" + testPeer, "neither"},
		{"plain UDP", "/ip4/1.2.3.4/udp/1/p2p/" + testPeer, "neither"},
		{"websocket", "/ip4/1.2.3.4/tcp/1/ws/p2p/" + testPeer, "neither"},
		{"unix socket", "/unix/tmp/x/p2p/" + testPeer, "missing"},
		{"port 0", "/ip4/1.2.3.4/tcp/0/p2p/" + testPeer, "neither"},
		{"peer without a key", "/ip4/1.2.3.4/tcp/1/p2p/11", "not that of a rendezvous"},
		{"odd host", "/dns/a;b/tcp/1/p2p/" + testPeer, "neither"},
		{"two rendezvous", "/ip4/1.2.3.4/tcp/1/p2p/" + testPeer + ",/ip4/1.2.3.4/tcp/1/p2p/" + testOtherPeer, "two rendezvous"},
		{"17 addresses", strings.Repeat("/ip4/1.2.3.4/tcp/1/p2p/"+testPeer+" ", 17), "17 addresses"},
		{"link without host", "byway:///" + testPeer, "names no host"},
		{"link without peer", "byway://h:1/", "PeerID"},
		{"link with a peer without a key", "byway://h:1/11", "PeerID"},
		{"link without slashes", "byway:h", "form"},
		{"link with user", "byway://me@h:1/" + testPeer, "form"},
		{"link with port 0", "byway://h:0/" + testPeer, "port"},
		{"link with large port", "byway://h:65536/" + testPeer, "port"},
		{"link with zone", "byway://[fe80::1%25eth0]:1/" + testPeer, "network interface"},
		{"link with odd host", "byway://a%20b/" + testPeer, "form"},
		{"link with damaged invitation", "byway://h/" + testPeer + "?i=a%00b", "invitation"},
		{"link with long invitation", "byway://h/" + testPeer + "?i=" + strings.Repeat("a", 129), "invitation"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			a, err := ParseAddress(tc.in)
			if err == nil {
				t.Fatalf("got %s, want an error", a)
			}
			bad, ok := errors.AsType[*AddressError](err)
			if !ok || bad.Hint == "" {
				t.Fatalf("error %v (%T) brings no hint", err, err)
			}
			if !strings.Contains(err.Error(), tc.says) || !printable(err.Error()) {
				t.Errorf("error %q, want it to say %q, printably", err, tc.says)
			}
		})
	}
}

func TestLink(t *testing.T) {
	for _, tc := range []struct {
		name, invite, want string
		addrs              []string
	}{
		{"first of the LAN", "", "byway://192.168.1.5:29929/", []string{"/ip4/127.0.0.1/tcp/29929", "/ip4/192.168.1.5/tcp/29929", "/ip4/10.0.0.1/tcp/29929"}},
		{"TCP before QUIC", "", "byway://192.168.1.5:1/", []string{"/ip4/192.168.1.5/udp/2/quic-v1", "/ip4/192.168.1.5/tcp/1"}},
		{"QUIC alone", "", "byway://192.168.1.5:2/", []string{"/ip4/192.168.1.5/udp/2/quic-v1"}},
		{"loopback alone", "", "byway://127.0.0.1:3/", []string{"/ip4/127.0.0.1/tcp/3"}},
		{"IPv6", "", "byway://[2001:db8::1]:3/", []string{"/ip6/::1/tcp/3", "/ip6/fe80::1/tcp/3", "/ip6/2001:db8::1/tcp/3"}},
		{"invitation", "a_b", "byway://chat.example:3/", []string{"/dns/chat.example/tcp/3"}},
		{"nothing fits", "", "", []string{"/ip4/0.0.0.0/tcp/3"}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			a := Address{Invite: tc.invite}
			if err := a.ID.UnmarshalText([]byte(testPeer)); err != nil {
				t.Fatal(err)
			}
			for _, s := range tc.addrs {
				a.Addrs = append(a.Addrs, ma.StringCast(s))
			}
			want := tc.want
			if want != "" {
				want += testPeer
			}
			if tc.invite != "" {
				want += "?i=" + tc.invite
			}
			if got := a.Link(); got != want {
				t.Errorf("Link() = %q, want %q", got, want)
			}
		})
	}
}

func texts(addrs []ma.Multiaddr) []string {
	var s []string
	for _, a := range addrs {
		s = append(s, a.String())
	}
	return s
}

func FuzzParseAddress(f *testing.F) {
	f.Add("/ip4/10.0.0.1/tcp/29929/p2p/" + testPeer)
	f.Add("/ip4/10.0.0.1/tcp/1/p2p/" + testPeer + ",/ip6/::1/udp/1/quic-v1/p2p/" + testPeer)
	f.Add("byway://[fd00::1]:7/" + testPeer + "?i=abc")
	f.Add("byway://chat.example/" + testPeer)
	f.Add("/ip6zone/eth0/ip6/fe80::1/tcp/1/p2p/" + testPeer)
	f.Fuzz(func(t *testing.T, s string) {
		a, err := ParseAddress(s)
		if err != nil {
			if !printable(err.Error()) {
				t.Fatalf("unclean error %q for %q", err, s)
			}
			return
		}
		if a.ID == "" || len(a.Addrs) == 0 || len(a.Addrs) > maxAddresses {
			t.Fatalf("incomplete address %+v from %q", a, s)
		}
		if !printable(a.String()) || !printable(a.Link()) {
			t.Fatalf("unclean address %q or link %q from %q", a, a.Link(), s)
		}
		again, err := ParseAddress(a.String())
		if err != nil || again.String() != a.String() {
			t.Fatalf("%q gives %q gives %q, %v", s, a, again, err)
		}
		if link := a.Link(); link != "" {
			l, err := ParseAddress(link)
			if err != nil || l.ID != a.ID || l.Invite != a.Invite || l.Link() != link {
				t.Fatalf("%q gives the link %q gives %+v, %v", s, link, l, err)
			}
		}
	})
}
