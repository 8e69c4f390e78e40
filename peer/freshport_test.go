package peer

import (
	"context"
	"slices"
	"strconv"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/libp2p/go-libp2p"
	"github.com/libp2p/go-libp2p/core/host"
	"github.com/libp2p/go-libp2p/core/network"
	libpeer "github.com/libp2p/go-libp2p/core/peer"
	ma "github.com/multiformats/go-multiaddr"

	"github.com/byway-chat/byway/peer/route"
)

// TestPunchPort lets a device be dialled, in punches and otherwise, and looks from which port that comes.
func TestPunchPort(t *testing.T) {
	var ports freshPorts
	start := func(ports *freshPorts) host.Host {
		h, err := libp2p.New(libp2p.ListenAddrStrings("/ip4/127.0.0.1/tcp/0"), libp2p.Transport(newTCP(ports)), libp2p.DisableRelay())
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = h.Close() })
		return h
	}
	alice, bob := start(&ports), start(new(freshPorts))
	usual := portOf(alice.Network().ListenAddresses()[0])
	// dials returns the port from which alice dials bob.
	dials := func(ctx context.Context) string {
		t.Helper()
		if err := alice.Connect(ctx, libpeer.AddrInfo{ID: bob.ID(), Addrs: bob.Addrs()}); err != nil {
			t.Fatal(err)
		}
		port := portOf(alice.Network().ConnsToPeer(bob.ID())[0].LocalMultiaddr())
		if err := alice.Network().ClosePeer(bob.ID()); err != nil {
			t.Fatal(err)
		}
		return port
	}
	together := network.WithSimultaneousConnect(t.Context(), true, "punch")
	first := freshPort()
	second := first + 1
	done := ports.use(bob.ID(), first)
	if port := dials(t.Context()); port != usual {
		t.Errorf("from %s outside of the punch, want %s", port, usual)
	}
	if port := dials(together); port != strconv.Itoa(first) {
		t.Errorf("the first punch comes from %s, want %d", port, first)
	}
	doneToo := ports.use(bob.ID(), second)
	done()
	if port := dials(together); port != strconv.Itoa(second) {
		t.Errorf("the second punch comes from %s, want %d", port, second)
	}
	doneToo()
	if port := dials(together); port != usual {
		t.Errorf("from %s without a port of its own, want %s", port, usual)
	}
}

// TestMeetingPoints checks what is told of where this device is seen.
func TestMeetingPoints(t *testing.T) {
	seen := []ma.Multiaddr{
		ma.StringCast("/ip4/203.0.113.2/tcp/4002"), ma.StringCast("/ip4/203.0.113.2/udp/4002/quic-v1"),
		ma.StringCast("/ip4/203.0.113.2/tcp/4003"), ma.StringCast("/ip6/2001:db8::2/tcp/4002"),
	}
	told := func(kept route.Ports, p *punch) []string {
		c := &core{here: here{network: route.Network{Ports: kept}, addrs: slices.Clone(seen), own: seen[3:]}}
		return texts(c.meetingPoints(p))
	}
	for _, ports := range []route.Ports{route.PortsUnknown, route.PortsChanging} {
		p := new(punch)
		if diff := cmp.Diff(texts(seen), told(ports, p)); diff != "" || p.port != 0 {
			t.Errorf("ports %v: from %d, %s", ports, p.port, diff)
		}
	}
	drawn := map[int]bool{}
	for range 4 {
		p := new(punch)
		got := told(route.PortsKept, p)
		port := strconv.Itoa(p.port)
		want := []string{"/ip4/203.0.113.2/tcp/" + port, "/ip4/203.0.113.2/udp/4002/quic-v1", "/ip6/2001:db8::2/tcp/" + port, "/ip6/2001:db8::2/tcp/4002"}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Error(diff)
		}
		if drawn[p.port] = true; p.port < firstPort || p.port >= firstPort+ports {
			t.Errorf("a punch has port %d", p.port)
		}
	}
	if len(drawn) < 2 { // two of the same may be
		t.Errorf("all punches have the same port: %v", drawn)
	}
}

// TestPunchDialsWhatWasTold has two punches with a device come to nothing: the second dials the addresses that were told for it, and none of the first.
func TestPunchDialsWhatWasTold(t *testing.T) {
	c, d := outside(t)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	for _, told := range []string{"/ip4/203.0.113.9/tcp/4005", "/ip4/203.0.113.9/tcp/4006"} {
		if _, err := c.openTogether(ctx, d.id, []ma.Multiaddr{ma.StringCast(told)}, new(punch)); err == nil {
			t.Fatal("there is a link")
		}
		if diff := cmp.Diff([]string{told}, texts(c.host.Peerstore().Addrs(d.id))); diff != "" {
			t.Error(diff)
		}
	}
}

// metAt is a connection to an address.
type metAt struct {
	network.Conn
	there ma.Multiaddr
}

func (m metAt) RemoteMultiaddr() ma.Multiaddr { return m.there }

// TestPunchPortIsNotRemembered meets a device of the LAN in a punch: what is remembered is where it listens, not the port that it had for the punch.
func TestPunchPortIsNotRemembered(t *testing.T) {
	c, d := outside(t)
	met := ma.StringCast("/ip4/10.1.0.7/tcp/21111")
	d.Addrs, d.linkWay = []string{"/ip4/10.1.0.7/tcp/4001"}, WayLAN
	c.rememberReached(d, metAt{there: met}, true)
	if diff := cmp.Diff([]string{met.String()}, d.Reached); diff != "" {
		t.Fatal(diff)
	}
	d.Reached, d.told = nil, []ma.Multiaddr{met}
	c.rememberReached(d, metAt{there: met}, true)
	if diff := cmp.Diff(d.Addrs, d.Reached); diff != "" {
		t.Error(diff)
	}
}
