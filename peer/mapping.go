package peer

import (
	"strconv"

	ma "github.com/multiformats/go-multiaddr"
	manet "github.com/multiformats/go-multiaddr/net"

	"github.com/byway-chat/byway/peer/portmap"
	"github.com/byway-chat/byway/peer/route"
	"github.com/byway-chat/byway/peer/trace"
)

// PortMapping is what the router of this network has been asked for.
type PortMapping struct {
	State    string   `json:"state"` // "off", "searching", "no-gateway", "no-answer", "refused", "not-public", "mapped"
	Gateway  string   `json:"gateway,omitempty"`
	Protocol string   `json:"protocol,omitempty"` // "nat-pmp" or "upnp"
	Addrs    []string `json:"addrs"`              // at which everybody can dial this device because of it
}

// PortMapping tells whether the router leads connections from outside to this peer. The state is "off" where nothing is asked for: with Config.NoPortMap,
// where this peer listens on loopback alone, or while the policy for all lets nobody come directly.
func (p *Peer) PortMapping() (PortMapping, error) {
	if err := p.up(); err != nil {
		return PortMapping{}, err
	}
	return p.portMapping(), nil
}

func (p *Peer) portMapping() PortMapping {
	s := p.mapper.Status()
	out := PortMapping{State: string(s.State), Protocol: s.Protocol, Addrs: []string{}}
	if s.Gateway.IsValid() {
		out.Gateway = s.Gateway.String()
	}
	for _, a := range mappedAddrs(s) {
		out.Addrs = append(out.Addrs, a.String())
	}
	return out
}

// mapPorts prepares to keep mappings of what this peer listens on, once the core has said that the policy for all is not against it. Nothing leaves a machine
// on which it listens on loopback alone, nor one in a simulated network.
func (p *Peer) mapPorts() {
	if p.cfg.NoPortMap || p.cfg.Private || p.cfg.HostOptions != nil {
		return
	}
	if ports := portsOf(p.host.Network().ListenAddresses()); len(ports) > 0 {
		p.mapper = portmap.Start(portmap.Options{Ports: ports, Off: true, Logger: p.log, Changed: p.mapsOthers})
	}
}

// mapsOthers is told when the router maps other ports than before. It tells it at once, and has it published while the rendezvous is there.
func (p *Peer) mapsOthers(now portmap.Status) {
	p.trace.Add(trace.Step{What: trace.PortMapping, New: string(now.State), Addrs: texts(mappedAddrs(now))})
	select {
	case p.remapped <- struct{}{}:
	default:
	}
}

// portsOf returns the ports of IPv4 that others can reach, each once.
func portsOf(listening []ma.Multiaddr) []portmap.Port {
	var ports []portmap.Port
	known := map[portmap.Port]bool{}
	for _, a := range listening {
		if _, err := a.ValueForProtocol(ma.P_IP4); err != nil || manet.IsIPLoopback(a) {
			continue
		}
		for transport, udp := range map[int]bool{ma.P_TCP: false, ma.P_UDP: true} {
			text, err := a.ValueForProtocol(transport)
			if err != nil {
				continue
			}
			if n, err := strconv.ParseUint(text, 10, 16); err == nil && !known[portmap.Port{UDP: udp, Number: uint16(n)}] {
				known[portmap.Port{UDP: udp, Number: uint16(n)}] = true
				ports = append(ports, portmap.Port{UDP: udp, Number: uint16(n)})
			}
		}
	}
	return ports
}

// mappedAddrs returns where everybody can dial this device because its router maps ports.
func mappedAddrs(s portmap.Status) []ma.Multiaddr {
	var out []ma.Multiaddr
	for _, x := range s.Mappings {
		if a := x.Multiaddr(); a != nil && dialable(a) {
			out = append(out, a)
		}
	}
	return out
}

// mapping is what is told of it among the findings.
func mapping(m *portmap.Mapper) route.Mapping {
	switch m.Status().State {
	case portmap.StateMapped:
		return route.Mapped
	case portmap.StateOff, portmap.StateSearching:
		return route.MappingUnknown
	default:
		return route.NotMapped
	}
}
