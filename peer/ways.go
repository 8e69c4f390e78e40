package peer

import (
	"net"
	"net/netip"
	"slices"
	"time"

	"github.com/libp2p/go-libp2p/core/host"
	ma "github.com/multiformats/go-multiaddr"
	manet "github.com/multiformats/go-multiaddr/net"

	"github.com/byway-chat/byway/peer/delivery"
	"github.com/byway-chat/byway/peer/route"
	"github.com/byway-chat/byway/rendezvous/client"
)

// here is what this device knows about the network it is in. Owned by the core. The zero value knows nothing.
type here struct {
	network route.Network
	exposed bool           // it has a public address of its own; one of its router is not known here
	addrs   []ma.Multiaddr // where the rendezvous sees us: others may find us there
	own     []ma.Multiaddr // those of addrs that are of an interface here
	of      *client.Conn   // on which that was learnt
	at      time.Time      // and when
	waiting []func()       // called when the question under way is answered

	prefixes []netip.Prefix // of our interfaces, each with our own address
	moved    bool           // they have changed, and improve does not know it yet
	read     time.Time      // when they were read
}

// prefixesFor is how long the addresses of the interfaces are believed.
const prefixesFor = 5 * time.Second

// surroundings is what holds for the ways to all contacts.
func (c *core) surroundings() route.Surroundings {
	here := c.here.network
	here.Mapping = mapping(c.mapper)
	return route.Surroundings{Here: here, Rendezvous: c.conn != nil, Hidden: c.private, Exposed: c.here.exposed || here.Mapping == route.Mapped, Multicast: c.multicast()}
}

// look returns the table of the ways to a device, brought up to date.
func (c *core) look(d *device) *route.Table {
	var addrs []netip.Addr
	for _, t := range c.targets(time.Now(), d) {
		addrs = append(addrs, t.ip)
	}
	d.ways.Addresses = route.Sort(addrs, c.networks(time.Now()))
	d.ways.Near = d.heard(time.Now())
	d.ways.Online = c.online[d.contact.Name][d.Fingerprint]
	d.ways.Policy = c.policy(d.contact.Name)
	d.ways.Full = c.engine.Refusal(d.Fingerprint) == delivery.MailboxFull
	return &d.ways
}

func ipOf(a ma.Multiaddr) (netip.Addr, bool) {
	ip, err := manet.ToIP(a)
	if err != nil {
		return netip.Addr{}, false
	}
	addr, ok := netip.AddrFromSlice(ip)
	return addr.Unmap(), ok
}

// networksOf returns the networks that a host is in. An address that it listens on and no interface has, as in a simulated network, counts as one of a
// network of 256.
func networksOf(h host.Host) []netip.Prefix {
	found, known := []netip.Prefix{}, map[netip.Addr]bool{}
	add := func(p netip.Prefix) {
		if a := p.Addr(); !a.IsLoopback() && !a.IsLinkLocalUnicast() && !known[a] {
			known[a] = true
			found = append(found, p)
		}
	}
	addrs, _ := net.InterfaceAddrs() // without them no network is known
	for _, a := range addrs {
		if n, ok := a.(*net.IPNet); ok {
			if p, err := netip.ParsePrefix(n.String()); err == nil {
				add(p)
			}
		}
	}
	for _, a := range h.Network().ListenAddresses() {
		if ip, ok := ipOf(a); ok && ip.Is4() && !ip.IsUnspecified() {
			add(netip.PrefixFrom(ip, 24))
		}
	}
	slices.SortFunc(found, netip.Prefix.Compare) // a host lists what it listens on in no certain order
	return found
}

// networks returns the networks that this device is in.
func (c *core) networks(now time.Time) []netip.Prefix {
	h := &c.here
	if h.prefixes != nil && now.Sub(h.read) < prefixesFor {
		return h.prefixes
	}
	before := h.prefixes
	h.prefixes, h.read = networksOf(c.host), now
	if before != nil && !slices.Equal(before, h.prefixes) {
		c.ears.heard, c.ears.deaf = time.Time{}, time.Time{} // of another network
		h.moved = true
	}
	h.network.IPv4, h.network.IPv6, h.exposed = false, false, false
	for _, p := range h.prefixes {
		h.exposed = h.exposed || len(route.Sort([]netip.Addr{p.Addr()}, nil).Public) > 0
		h.network.IPv4 = h.network.IPv4 || p.Addr().Is4()
		h.network.IPv6 = h.network.IPv6 || p.Addr().Is6() && !p.Addr().IsPrivate()
	}
	return h.prefixes
}
