package peer

import (
	"context"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	ma "github.com/multiformats/go-multiaddr"

	"github.com/byway-chat/byway/peer/portmap"
	"github.com/byway-chat/byway/peer/route"
	"github.com/byway-chat/byway/peer/trace"
)

// yielding is a router that maps whatever is asked.
type yielding struct{}

func (yielding) Protocol() string { return "test" }

func (yielding) External(context.Context) (netip.Addr, error) {
	return netip.MustParseAddr("45.0.0.7"), nil
}

func (yielding) Map(_ context.Context, p portmap.Port, _ uint16, lease time.Duration) (uint16, time.Duration, error) {
	return p.Number, lease, nil
}

func (yielding) Unmap(context.Context, portmap.Port, uint16) error { return nil }

// TestPolicyEndsMapping: the router leads nobody here while the policy for all lets nobody come from outside, from the first moment on.
func TestPolicyEndsMapping(t *testing.T) {
	c, _ := desk(t)
	gateway := netip.MustParseAddr("192.168.1.1")
	c.mapper = portmap.Start(portmap.Options{
		Ports: []portmap.Port{{Number: 4001}}, Off: true,
		Gateway: func() (netip.Addr, netip.Addr, error) { return gateway, gateway.Next(), nil },
		Finders: []portmap.Finder{func(context.Context, netip.Addr, netip.Addr) (portmap.Router, error) { return yielding{}, nil }},
	})
	defer c.mapper.Close()
	for _, tt := range []struct {
		policy route.Policy
		want   portmap.State
	}{
		{route.Relay, portmap.StateOff}, {route.Auto, portmap.StateMapped}, {route.LAN, portmap.StateOff}, {route.Direct, portmap.StateMapped}, {noPolicy, portmap.StateOff},
	} {
		c.standing.policy = tt.policy
		c.obeyAll(time.Now())
		deadline := time.Now().Add(20 * time.Second)
		for c.mapper.Status().State != tt.want && time.Now().Before(deadline) {
			<-time.After(time.Millisecond)
		}
		if s := c.mapper.Status(); s.State != tt.want || (len(mappedAddrs(c.mapper.Status())) > 0) != (tt.want == portmap.StateMapped) {
			t.Errorf("%v: %+v", tt.policy, s)
		}
	}
}

// TestPortsOf: what nobody else can reach is not mapped, and each port once.
func TestPortsOf(t *testing.T) {
	for _, tt := range []struct {
		name   string
		listen []string
		want   []portmap.Port
	}{
		{"loopback", []string{"/ip4/127.0.0.1/tcp/4001", "/ip4/127.0.0.1/udp/4001/quic-v1", "/ip6/::1/tcp/4001"}, nil},
		{"all", []string{"/ip4/0.0.0.0/tcp/4001", "/ip4/0.0.0.0/udp/4002/quic-v1", "/ip6/::/tcp/4003"}, []portmap.Port{{Number: 4001}, {UDP: true, Number: 4002}}},
		{"one port, two addresses", []string{"/ip4/10.0.0.1/tcp/4001", "/ip4/10.0.0.2/tcp/4001"}, []portmap.Port{{Number: 4001}}},
	} {
		var listening []ma.Multiaddr
		for _, a := range tt.listen {
			listening = append(listening, ma.StringCast(a))
		}
		if diff := cmp.Diff(tt.want, portsOf(listening)); diff != "" {
			t.Errorf("%s (-want +got):\n%s", tt.name, diff)
		}
	}
}

// TestMappingIsTold: the story tells of a mapping also while there is no rendezvous to publish it.
func TestMappingIsTold(t *testing.T) {
	p := &Peer{trace: trace.New(), remapped: make(chan struct{}, 1)}
	p.mapsOthers(portmap.Status{State: portmap.StateMapped, Mappings: []portmap.Mapping{{Port: portmap.Port{Number: 1}, External: netip.MustParseAddrPort("45.0.0.7:9")}}})
	p.mapsOthers(portmap.Status{State: portmap.StateNoAnswer})
	var got []string
	for e, err := range p.trace.Follow(trace.Options{Held: true}).Events(t.Context()) {
		if err != nil {
			t.Fatal(err)
		}
		got = append(got, strings.Join(append([]string{string(e.What), e.New}, e.Addrs...), " "))
	}
	if diff := cmp.Diff([]string{"port-mapping mapped /ip4/45.0.0.7/tcp/9", "port-mapping no-answer"}, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	if len(p.remapped) != 1 {
		t.Error("it is not published")
	}
}
