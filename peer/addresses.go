package peer

import (
	"context"
	"net"
	"slices"
	"time"

	ma "github.com/multiformats/go-multiaddr"
	manet "github.com/multiformats/go-multiaddr/net"
)

// addressCheck is how often the addresses of the interfaces are looked at. libp2p believes what it has seen for a minute: so long a device that has moved would tell
// others where it was.
const addressCheck = 2 * time.Second

// addresses returns where this device can be dialled now: what it listens on, at each address that its interfaces have, and what libp2p knows besides, the
// port of a router for one. Addresses that no interface has any more are left out.
func (p *Peer) addresses() []ma.Multiaddr {
	list, err := net.InterfaceAddrs()
	if err != nil {
		return p.host.Addrs()
	}
	var interfaces []net.IP
	for _, a := range list {
		if n, ok := a.(*net.IPNet); ok {
			interfaces = append(interfaces, n.IP)
		}
	}
	listening := p.host.Network().ListenAddresses()
	slices.SortFunc(listening, func(a, b ma.Multiaddr) int { return a.Compare(b) })
	return addressesAt(listening, p.host.Addrs(), interfaces)
}

func addressesAt(listening, known []ma.Multiaddr, interfaces []net.IP) []ma.Multiaddr {
	var out []ma.Multiaddr
	add := func(a ma.Multiaddr) {
		if !ma.Contains(out, a) {
			out = append(out, a)
		}
	}
	wild := false
	for _, l := range listening {
		ip, err := manet.ToIP(l)
		if err != nil || !ip.IsUnspecified() {
			add(l)
			continue
		}
		wild = true
		for _, own := range interfaces {
			head, err := manet.FromIP(own)
			if err == nil && (own.To4() != nil) == (ip.To4() != nil) && !own.IsLinkLocalUnicast() {
				add(slices.Concat(head, l[1:]))
			}
		}
	}
	for _, k := range known {
		// A private one that no interface has is old: a router's is public.
		if !wild || wayOver(k) == WayDirect {
			add(k)
		}
	}
	return out
}

// watchAddresses calls moved whenever the addresses have changed, until ctx ends.
func (p *Peer) watchAddresses(ctx context.Context, moved func()) {
	before := p.addresses()
	for ctx.Err() == nil {
		pause(ctx, addressCheck)
		now := p.addresses()
		if !slices.EqualFunc(before, now, func(a, b ma.Multiaddr) bool { return a.Equal(b) }) {
			before = now
			moved()
		}
	}
}
