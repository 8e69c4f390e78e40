package peer

import (
	"testing"

	ma "github.com/multiformats/go-multiaddr"

	"github.com/byway-chat/byway/peer/route"
	"github.com/byway-chat/byway/rendezvous/client"
)

func TestJudge(t *testing.T) {
	sighting := func(local, seen string) client.Sighting {
		return client.Sighting{Local: ma.StringCast(local), Seen: ma.StringCast(seen)}
	}
	tcp := sighting("/ip4/10.1.0.2/tcp/4001", "/ip4/45.0.0.2/tcp/4001")
	otherTCP := sighting("/ip4/10.1.0.2/tcp/4001", "/ip4/45.0.0.2/tcp/61001")
	udp := sighting("/ip4/0.0.0.0/udp/4002/quic-v1", "/ip4/45.0.0.2/udp/4002/quic-v1")
	otherUDP := sighting("/ip4/0.0.0.0/udp/4002/quic-v1", "/ip4/45.0.0.2/udp/61002/quic-v1")
	for _, tt := range []struct {
		name  string
		seen  []client.Sighting
		asked bool
		udp   route.UDP
		ports route.Ports
	}{
		{"nothing was answered", nil, true, route.UDPUnknown, route.PortsUnknown},
		{"both kept", []client.Sighting{tcp, udp}, true, route.UDPWorks, route.PortsKept},
		{"UDP did not come back", []client.Sighting{tcp}, true, route.UDPBlocked, route.PortsKept},
		{"the rendezvous has no UDP", []client.Sighting{tcp}, false, route.UDPUnknown, route.PortsKept},
		{"other ports", []client.Sighting{otherTCP, otherUDP}, true, route.UDPWorks, route.PortsChanging},
		{"another port of UDP alone", []client.Sighting{tcp, otherUDP}, true, route.UDPWorks, route.PortsChanging},
		{"another port of TCP alone", []client.Sighting{otherTCP, udp}, true, route.UDPWorks, route.PortsChanging},
	} {
		if u, p := judge(tt.seen, tt.asked); u != tt.udp || p != tt.ports {
			t.Errorf("%s: UDP %d, ports %d; want %d, %d", tt.name, u, p, tt.udp, tt.ports)
		}
	}
}
