package peer

import (
	"net"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestAddressesAt(t *testing.T) {
	var interfaces []net.IP
	for _, s := range []string{"127.0.0.1", "192.168.1.7", "fe80::7", "2a45::7"} {
		interfaces = append(interfaces, net.ParseIP(s))
	}
	for _, tc := range []struct{ name, listening, known, want string }{
		{
			"everywhere, one address is old and one the router's", "/ip4/0.0.0.0/tcp/5 /ip6/::/udp/5/quic-v1",
			"/ip4/192.168.1.3/tcp/5 /ip4/192.168.1.7/tcp/5 /ip4/45.0.0.1/tcp/777",
			"/ip4/127.0.0.1/tcp/5 /ip4/192.168.1.7/tcp/5 /ip6/2a45::7/udp/5/quic-v1 /ip4/45.0.0.1/tcp/777",
		},
		{"one address, as in a simulated network", "/ip4/1.0.0.1/udp/8000/quic-v1", "/ip4/1.0.0.1/udp/8000/quic-v1", "/ip4/1.0.0.1/udp/8000/quic-v1"},
		{"nowhere", "", "", ""},
	} {
		t.Run(tc.name, func(t *testing.T) {
			got := texts(addressesAt(parseAddrs(strings.Fields(tc.listening)), parseAddrs(strings.Fields(tc.known)), interfaces))
			if diff := cmp.Diff(tc.want, strings.Join(got, " ")); diff != "" {
				t.Error(diff)
			}
		})
	}
}
