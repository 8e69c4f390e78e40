package peer

import (
	"net/netip"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	ma "github.com/multiformats/go-multiaddr"

	"github.com/byway-chat/byway/peer/portmap"
	"github.com/byway-chat/byway/peer/trace"
)

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
