package peer

import (
	"net/netip"
	"slices"
	"time"

	ma "github.com/multiformats/go-multiaddr"

	"github.com/byway-chat/byway/peer/route"
)

// target is an address that may be one of a contact.
type target struct {
	addr ma.Multiaddr
	ip   netip.Addr
}

// targetOf leaves out what could only be an attack or a mistake.
func targetOf(a ma.Multiaddr) (target, bool) {
	ip, ok := ipOf(a)
	return target{a, ip}, ok && dialable(a)
}

// parsed is a list of addresses as it is kept, and what may be dialled of it. It is parsed when it has changed: while the rendezvous is away those of
// everybody are looked at each second. Owned by the core.
type parsed struct {
	texts   []string
	targets []target
}

func (p *parsed) of(texts []string) []target {
	if slices.Equal(p.texts, texts) {
		return p.targets
	}
	p.texts, p.targets = slices.Clone(texts), nil
	for _, a := range parseAddrs(texts) {
		if x, ok := targetOf(a); ok {
			p.targets = append(p.targets, x)
		}
	}
	return p.targets
}

// targets returns where a device may be dialled: see candidates.
func (c *core) targets(d *device) []target {
	var out []target
	here := c.onThisMachine()
	for _, list := range [][]target{d.reached.of(d.Reached), d.published.of(d.Addrs), d.near(time.Now())} {
		for _, t := range list {
			same := func(o target) bool { return o.addr.Equal(t.addr) }
			if (here || !t.ip.IsLoopback()) && len(out) < maxTried && !slices.ContainsFunc(out, same) {
				out = append(out, t)
			}
		}
	}
	return out
}

// sharesNetwork reports whether a device may be in a network that this one is in too.
func (c *core) sharesNetwork(now time.Time, d *device) bool {
	here, ours := c.onThisMachine(), c.networks(now)
	common := func(t target) bool { return (here || !t.ip.IsLoopback()) && route.Common(t.ip, ours) }
	return slices.ContainsFunc(d.reached.of(d.Reached), common) || slices.ContainsFunc(d.published.of(d.Addrs), common) ||
		slices.ContainsFunc(d.nearby, func(n nearby) bool { return n.lasts(now) && common(n.target) })
}
