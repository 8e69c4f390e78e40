package lan

import (
	"fmt"
	"net/netip"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/libp2p/go-libp2p/core/peer"
)

const (
	peerA = "12D3KooWGC6TvWhfapngX6wvJHMYvKpDMXPb3ZnCZ6dMoaMtimQ5"
	peerB = "12D3KooWEyoppNCUx8Yx66oV9fJnriXwCcXwDDUA2kj6vnc6iDEp"
)

func mustID(t testing.TB, s string) peer.ID {
	t.Helper()
	id, err := peer.Decode(s)
	if err != nil {
		t.Fatal(err)
	}
	return id
}

func TestCandidates(t *testing.T) {
	a, b := "/p2p/"+peerA, "/p2p/"+peerB
	own := []netip.Addr{netip.MustParseAddr("192.168.1.7"), netip.MustParseAddr("127.0.0.1")}
	for _, tc := range []struct {
		name  string
		texts []string
		want  []string
	}{
		{"nothing", nil, nil},
		{
			"TCP and QUIC",
			[]string{"dnsaddr=/ip4/192.168.1.5/tcp/1" + a, "dnsaddr=/ip6/fd00::5/udp/1/quic-v1" + a},
			[]string{peerA + " /ip4/192.168.1.5/tcp/1 /ip6/fd00::5/udp/1/quic-v1"},
		},
		{"twice the same", []string{"dnsaddr=/ip4/192.168.1.5/tcp/1" + a, "dnsaddr=/ip4/192.168.1.5/tcp/1" + a}, []string{peerA + " /ip4/192.168.1.5/tcp/1"}},
		{
			"two in one",
			[]string{"dnsaddr=/ip4/192.168.1.5/tcp/1" + a, "dnsaddr=/ip4/192.168.1.6/tcp/1" + b},
			[]string{peerA + " /ip4/192.168.1.5/tcp/1", peerB + " /ip4/192.168.1.6/tcp/1"},
		},
		{"address without DHCP", []string{"dnsaddr=/ip4/169.254.3.4/tcp/1" + a}, []string{peerA + " /ip4/169.254.3.4/tcp/1"}},
		{"loopback of another machine", []string{"dnsaddr=/ip4/127.0.0.1/tcp/22" + a, "dnsaddr=/ip4/192.168.1.5/tcp/1" + a}, []string{peerA + " /ip4/192.168.1.5/tcp/1"}},
		{"loopback alone", []string{"dnsaddr=/ip4/127.0.0.1/tcp/22" + a, "dnsaddr=/ip6/::1/tcp/22" + a}, nil},
		{"mapped loopback", []string{"dnsaddr=/ip6/::ffff:127.0.0.1/tcp/22" + a}, nil},
		{
			"loopback of this machine",
			[]string{"dnsaddr=/ip4/127.0.0.1/tcp/1" + a, "dnsaddr=/ip4/192.168.1.7/tcp/1" + a},
			[]string{peerA + " /ip4/127.0.0.1/tcp/1 /ip4/192.168.1.7/tcp/1"},
		},
		{"unfit", []string{
			"dnsaddr=/ip4/0.0.0.0/tcp/1" + a, "dnsaddr=/ip4/224.0.0.251/udp/5353/quic-v1" + a, "dnsaddr=/ip4/169.254.169.254/tcp/80" + a,
			"dnsaddr=/ip6/fe80::1/tcp/1" + a, "dnsaddr=/dns4/evil.example/tcp/1" + a, "dnsaddr=/ip4/192.168.1.5/tcp/1/ws" + a,
			"dnsaddr=/ip4/192.168.1.5/udp/1" + a, "dnsaddr=/ip4/192.168.1.5/tcp/0" + a, "dnsaddr=/ip4/192.168.1.5/tcp/1" + b + "/p2p-circuit" + a,
			"dnsaddr=/ip4/192.168.1.5/tcp/1", "dnsaddr=" + a, "dnsaddr=\x1b[2J", "/ip4/192.168.1.5/tcp/1" + a, "",
		}, nil},
	} {
		t.Run(tc.name, func(t *testing.T) {
			if diff := cmp.Diff(tc.want, lines(candidates(tc.texts, "", own))); diff != "" {
				t.Errorf("candidates (-want +got):\n%s", diff)
			}
		})
	}
}

func TestCandidatesOmitsSelf(t *testing.T) {
	if got := candidates([]string{"dnsaddr=/ip4/192.168.1.5/tcp/1/p2p/" + peerA}, mustID(t, peerA), nil); got != nil {
		t.Errorf("got %v, want nothing", got)
	}
}

func TestCandidatesAreBounded(t *testing.T) {
	var texts []string
	for i := range 1000 {
		texts = append(texts, fmt.Sprintf("dnsaddr=/ip4/192.168.1.5/tcp/%d/p2p/%s", i+1, peerA))
	}
	got := candidates(texts, "", nil)
	if len(got) != 1 || len(got[0].Addrs) != maxAddrs {
		t.Errorf("got %d candidates with %d addresses, want 1 with %d", len(got), len(got[0].Addrs), maxAddrs)
	}
	if got := candidates([]string{"dnsaddr=" + strings.Repeat("/ip4/192.168.1.5/tcp/1", 100)}, "", nil); got != nil {
		t.Errorf("an oversized record gives %v", got)
	}
}

// lines writes each candidate as its PeerID and addresses.
func lines(found []peer.AddrInfo) []string {
	var s []string
	for _, c := range found {
		l := c.ID.String()
		for _, m := range c.Addrs {
			l += " " + m.String()
		}
		s = append(s, l)
	}
	return s
}

func FuzzCandidates(f *testing.F) {
	f.Add("dnsaddr=/ip4/192.168.1.5/tcp/1/p2p/" + peerA)
	f.Add("dnsaddr=/ip6/fd00::5/udp/1/quic-v1/p2p/" + peerA + "\ndnsaddr=/ip4/127.0.0.1/tcp/1/p2p/" + peerB)
	own := []netip.Addr{netip.MustParseAddr("192.168.1.7")}
	f.Fuzz(func(t *testing.T, s string) {
		found := candidates(strings.Split(s, "\n"), "", own)
		if len(found) > maxIDs {
			t.Fatalf("%d candidates", len(found))
		}
		for _, c := range found {
			if c.ID == "" || len(c.Addrs) == 0 || len(c.Addrs) > maxAddrs {
				t.Fatalf("bad candidate %v", c)
			}
			for _, m := range c.Addrs {
				if ip := hostOf(m); !ip.IsValid() || ip == metadataAddress {
					t.Fatalf("address %s", m)
				}
			}
		}
	})
}
