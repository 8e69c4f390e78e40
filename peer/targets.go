package peer

import (
	"iter"
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

// whereabouts yields every address that may be one of a device, the likeliest first: where it has answered, what it has published, and where it was heard or named lately, the
// latest first.
func (c *core) whereabouts(now time.Time, d *device) iter.Seq[target] {
	here := c.onThisMachine()
	return func(yield func(target) bool) {
		for _, list := range [][]target{d.reached.of(d.Reached), d.published.of(d.Addrs)} {
			for _, t := range list {
				if (here || !t.ip.IsLoopback()) && !yield(t) {
					return
				}
			}
		}
		for _, n := range slices.Backward(d.nearby) {
			if n.lasts(now) && (here || !n.ip.IsLoopback()) && !yield(n.target) {
				return
			}
		}
	}
}

// targets returns where a device may be dialled: see candidates.
func (c *core) targets(now time.Time, d *device) []target {
	var out []target
	for t := range c.whereabouts(now, d) {
		same := func(o target) bool { return o.addr.Equal(t.addr) }
		if len(out) < maxTried && !slices.ContainsFunc(out, same) {
			out = append(out, t)
		}
	}
	return out
}

// sharesNetwork reports whether a device may be in a network that this one is in too.
func (c *core) sharesNetwork(now time.Time, d *device) bool {
	ours := c.networks(now)
	for t := range c.whereabouts(now, d) {
		if route.Common(t.ip, ours) {
			return true
		}
	}
	return false
}
