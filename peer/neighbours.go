package peer

import (
	"cmp"
	"context"
	"log/slog"
	"net/netip"
	"slices"
	"time"

	"github.com/libp2p/go-libp2p/core/network"
	ma "github.com/multiformats/go-multiaddr"
	manet "github.com/multiformats/go-multiaddr/net"
	"golang.org/x/time/rate"

	"github.com/byway-chat/byway/peer/delivery"
	"github.com/byway-chat/byway/peer/history"
	"github.com/byway-chat/byway/peer/lan"
	"github.com/byway-chat/byway/peer/route"
)

// Bounds of what is remembered of where contacts are, besides what they publish.
const (
	maxNearby  = 8               // addresses of one device that were heard or named
	maxReached = 4               // addresses at which it has answered, kept on the disk
	maxTried   = 16              // addresses that one dial tries
	nearFor    = 3 * time.Minute // an announcement is repeated each minute
	// renewApart is how often what is heard of one device makes us dial it at once. Anybody can repeat an announcement.
	renewApart = 5 * time.Second
	// aloneContacts is how many of the contacts that were talked to last are looked for while the rendezvous is away, though nothing waits for them.
	aloneContacts = 8
	// announcementsPerSecond is how many announcements are compared with those known. The rest is dropped: all are repeated.
	announcementsPerSecond = 50
	// deafAfter is how long after a link over the LAN a device that announces itself should have been heard.
	deafAfter = 5 * time.Second
)

// How a device was found.
const (
	foundByMDNS  = "mdns"
	foundBySweep = "sweep"
	foundTyped   = "typed"
)

// nearby is one address of a device that somebody other than its owner has told.
type nearby struct {
	target
	how string
	at  time.Time
}

// lasts reports whether it still counts: an announcement is repeated.
func (n *nearby) lasts(now time.Time) bool { return n.how != foundByMDNS || now.Sub(n.at) < nearFor }

// place is what is known of where a device is besides what it publishes. Owned by the core.
type place struct {
	nearby  []nearby      // where it was heard or named, the latest last
	renewed time.Time     // when one of them last made us dial at once
	cards   *rate.Limiter // of those that it shows; nil until the first
	// announces says that it announces itself on its network, so that we should hear it where ours is the same; beside is when a link over such a one was opened.
	announces bool
	beside    time.Time
}

// ears is what this device knows of multicast on its network. Owned by the core.
type ears struct {
	on    bool      // we announce ourselves and listen
	heard time.Time // the latest announcement of anybody
	deaf  time.Time // when a device on our network was found not to have been heard; zero: none was
}

// joinNeighbours announces this peer to its contacts on the LAN and listens for theirs until ctx ends. Where it listens on loopback alone, nothing leaves this machine;
// where the policy for all is relay, it listens and tells nothing, as to the directory.
func (p *Peer) joinNeighbours(ctx context.Context) {
	if p.cfg.NoMDNS || p.cfg.Private || !p.beyondLoopback() {
		return
	}
	p.core.post(func() { p.core.ears.on = true })
	self := p.host.ID()
	withdraw := lan.Announce(self, p.announce, p.log)
	defer withdraw()
	heard, stop := lan.Neighbours(ctx, self, p.log)
	defer stop()
	pace := rate.NewLimiter(announcementsPerSecond, announcementsPerSecond)
	for a := range heard {
		if !pace.Allow() {
			p.log.Debug("too many announcements on the network: one is not looked at")
			continue
		}
		p.core.post(func() { p.core.announced(time.Now(), a) })
	}
}

// announce returns what this peer listens on, as far as everybody on the LAN may know it. It runs outside the core.
func (p *Peer) announce() []ma.Multiaddr {
	told := p.gate.everybody().Has(WayLAN)
	p.announcing.Store(told)
	if !told {
		return nil
	}
	return p.host.Network().ListenAddresses()
}

// beyondLoopback reports whether anybody off this machine could dial us.
func (p *Peer) beyondLoopback() bool {
	return slices.ContainsFunc(p.host.Network().ListenAddresses(), func(a ma.Multiaddr) bool { return !manet.IsIPLoopback(a) })
}

// announced takes in an announcement: of a contact, or of somebody else, which says only that the network carries multicast.
func (c *core) announced(now time.Time, a lan.Announcement) {
	c.ears.heard, c.ears.deaf = now, time.Time{}
	for _, d := range c.devices {
		if d.Fingerprint != c.self.Fingerprint && d.Trust == history.Accepted && a.Tag.Of(d.id) {
			c.log.Debug("a contact is on the network", slog.String("device", d.Fingerprint.Device()), slog.Int("addresses", len(a.Addrs)))
			c.sighted(now, d, foundByMDNS, a.Addrs...)
			c.welcome(now, d)
		}
	}
}

// sighted notes where a device may be.
func (c *core) sighted(now time.Time, d *device, how string, addrs ...ma.Multiaddr) {
	tried := c.candidates(d)
	news := false
	for _, a := range addrs {
		t, ok := targetOf(a)
		if !ok {
			continue
		}
		news = news || !ma.Contains(tried, a)
		d.nearby = slices.DeleteFunc(d.nearby, func(n nearby) bool { return n.addr.Equal(a) })
		d.nearby = append(d.nearby, nearby{target: t, how: how, at: now})
	}
	d.nearby = d.nearby[max(0, len(d.nearby)-maxNearby):]
	if (news || d.link == nil) && now.Sub(d.renewed) >= renewApart {
		d.renewed = now
		d.ways.Renewed()
	}
}

// welcome looks for a direct way to a device that has just been heard on the LAN, where one is wanted: with a rendezvous for those who are talked to, without
// one for everybody, because nothing else says who is there.
func (c *core) welcome(now time.Time, d *device) {
	if c.conn == nil || now.Sub(d.contact.Direct) <= talking {
		c.dial(now, d)
	}
}

// heard reports whether a device has announced itself here lately.
func (d *device) heard(now time.Time) bool {
	return slices.ContainsFunc(d.nearby, func(n nearby) bool { return n.how == foundByMDNS && now.Sub(n.at) < nearFor })
}

// onThisMachine reports whether the rendezvous is on this machine, as far as is known.
func (c *core) onThisMachine() bool {
	if c.conn != nil {
		return c.near
	}
	return c.local
}

// rememberReached notes on the disk where a device has answered, or, where it has dialled us or we have met, where it should answer: at the same host, on the ports that it has published.
func (c *core) rememberReached(d *device, conn network.Conn, dialled bool) {
	there := conn.RemoteMultiaddr()
	if w := d.linkWay; w != WayLAN && w != WayDirect {
		return
	}
	addrs := []ma.Multiaddr{there}
	if !dialled || ma.Contains(d.told, there) { // at an address of a punch nobody listens
		addrs = nil
		for _, a := range parseAddrs(d.Addrs) {
			if moved := slices.Concat(ma.Multiaddr{there[0]}, a[1:]); moved[0].Protocol().Code == a[0].Protocol().Code && !ma.Contains(addrs, moved) {
				addrs = append(addrs, moved)
			}
		}
	}
	var list []string
	for _, a := range append(addrs, parseAddrs(d.Reached)...) {
		if s := a.String(); dialable(a) && !slices.Contains(list, s) && len(list) < maxReached {
			list = append(list, s)
		}
	}
	if !slices.Equal(list, d.Reached) {
		d.Reached = list
		c.batch.Contacts = append(c.batch.Contacts, d.contact.Contact)
	}
}

// linked is called when a link to a device is open.
func (c *core) linked(now time.Time, d *device, conn network.Conn, dialled bool) {
	c.rememberReached(d, conn, dialled)
	d.beside = time.Time{}
	if ip, ok := ipOf(conn.RemoteMultiaddr()); ok && d.linkWay == WayLAN && !ip.IsLoopback() {
		if slices.ContainsFunc(c.networks(now), func(n netip.Prefix) bool { return n.Contains(ip) && n.Addr().Unmap() != ip }) {
			d.beside = now
		}
	}
	c.showCard(d)
	c.tellThere(d.contact)
}

// tellThere tells whether a contact is there, where a link is what says so.
func (c *core) tellThere(ct *contact) {
	if string(ct.Name) != c.self.Name {
		c.hub.present(string(ct.Name), c.there(ct.Name))
	}
}

// there reports whether an account is online at the rendezvous, or one of its devices answers here.
func (c *core) there(name delivery.Account) bool {
	if len(c.online[name]) > 0 {
		return true
	}
	if ct := c.contacts[name]; ct != nil {
		for _, d := range ct.devices {
			if d.link != nil {
				return true
			}
		}
	}
	return false
}

// settleIn tries all ways again when this device has come to another network.
func (c *core) settleIn(now time.Time) {
	c.networks(now)
	if !c.here.moved {
		return
	}
	c.here.moved = false
	for _, d := range c.devices {
		d.ways.Renewed()
	}
}

// alone looks, while the rendezvous is away, for those on our own networks that were talked to last: a person wants to see who is there. It runs every second.
func (c *core) alone(now time.Time) {
	if c.conn != nil || c.private {
		return
	}
	var likely []*contact
	for _, ct := range c.contacts {
		for _, d := range ct.devices {
			if d.link == nil && c.sharesNetwork(now, d) {
				likely = append(likely, ct)
				break
			}
		}
	}
	slices.SortFunc(likely, func(a, b *contact) int { return cmp.Or(b.Direct.Compare(a.Direct), cmp.Compare(a.Name, b.Name)) })
	for _, ct := range likely[:min(len(likely), aloneContacts)] {
		for _, d := range ct.devices {
			if c.look(d).Addresses.Common {
				c.dial(now, d)
			}
		}
	}
}

// listen judges whether the network carries multicast: it does not where a device that answers here, and announces itself, was never heard.
func (c *core) listen(now time.Time) {
	if !c.ears.on || !c.ears.heard.IsZero() {
		return
	}
	for _, d := range c.devices {
		if d.link != nil && d.announces && !d.beside.IsZero() && now.Sub(d.beside) >= deafAfter {
			c.ears.deaf = now
		}
	}
}

// multicast returns what is known of multicast here.
func (c *core) multicast() route.Multicast {
	switch {
	case !c.ears.deaf.IsZero():
		return route.MulticastIsFiltered
	case !c.ears.heard.IsZero():
		return route.MulticastWorks
	}
	return route.MulticastUnknown
}
