package peer

import (
	"net/netip"
	"sync"

	"github.com/libp2p/go-libp2p"
	"github.com/libp2p/go-libp2p/core/connmgr"
	"github.com/libp2p/go-libp2p/core/control"
	"github.com/libp2p/go-libp2p/core/network"
	"github.com/libp2p/go-libp2p/core/peer"
	ma "github.com/multiformats/go-multiaddr"

	"github.com/byway-chat/byway/peer/delivery"
	"github.com/byway-chat/byway/peer/route"
)

// gate is what libp2p asks about each connection: whether the policies of both sides allow it. So a device that is to learn no address of ours gets no
// connection, in whichever direction, and nothing that libp2p tells on one. Until there is a core, which is while the first sign-in looks for its rendezvous,
// nobody comes in. Any goroutine may ask it.
type gate struct {
	before   connmgr.ConnectionGater // of the configuration, asked too; nil: there is none. Immutable once the host runs
	networks func() []netip.Prefix   // that this device is in; immutable

	mu         sync.Mutex    // guards the following
	rendezvous peer.ID       // always passes; empty: there is no core yet
	refused    func(peer.ID) // told of a device that has come in vain; does not block
	others     route.Ways    // what devices may use for which nothing is set
	known      map[peer.ID]route.Ways
}

func newGate(networks func() []netip.Prefix) *gate {
	return &gate{networks: networks, known: map[peer.ID]route.Ways{}}
}

// option puts the gate into a host, after whatever the other options have put there.
func (g *gate) option(cfg *libp2p.Config) error {
	g.before, cfg.ConnectionGater = cfg.ConnectionGater, g
	return nil
}

// begin says that there is a core from now on.
func (g *gate) begin(rendezvous peer.ID, refused func(peer.ID)) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.rendezvous, g.refused = rendezvous, refused
}

// set says which ways a device may use.
func (g *gate) set(id peer.ID, allowed route.Ways) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.known[id] = allowed
}

// setOthers says which ways devices may use that nothing is known of.
func (g *gate) setOthers(allowed route.Ways) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.others = allowed
}

// everybody returns the ways that devices may use of which nothing is known: what everybody may learn.
func (g *gate) everybody() route.Ways {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.others
}

// allowed returns the ways between this and a device.
func (g *gate) allowed(id peer.ID) route.Ways {
	g.mu.Lock()
	defer g.mu.Unlock()
	if id == g.rendezvous || g.rendezvous == "" {
		return route.Auto.Ways()
	}
	if w, ok := g.known[id]; ok {
		return w
	}
	return g.others
}

// permits reports whether a connection between this and a device may go over an address of that. The ways direct and punched are one here: what a connection
// is called depends on who has dialled.
func (g *gate) permits(id peer.ID, a ma.Multiaddr) bool {
	w := g.allowed(id)
	return w.Has(delivery.WayDirect) || w.Has(delivery.WayLAN) && g.onLAN(a)
}

// onLAN reports whether an address lies on this machine or in a network that it is in. A private one elsewhere does not: what is sent there leaves the LAN.
func (g *gate) onLAN(a ma.Multiaddr) bool {
	ip, ok := ipOf(a)
	return ok && wayOver(a) == WayLAN && route.Sort([]netip.Addr{ip}, g.networks()).Common
}

// shut reports whether nobody at all may connect.
func (g *gate) shut() bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.rendezvous == "" {
		return true
	}
	for _, w := range g.known {
		if w.Has(delivery.WayLAN) {
			return false
		}
	}
	return !g.others.Has(delivery.WayLAN)
}

// InterceptPeerDial decides before a device is dialled at all.
func (g *gate) InterceptPeerDial(id peer.ID) bool {
	return g.allowed(id).Has(delivery.WayLAN) && (g.before == nil || g.before.InterceptPeerDial(id))
}

// InterceptAddrDial decides about each address.
func (g *gate) InterceptAddrDial(id peer.ID, a ma.Multiaddr) bool {
	return g.permits(id, a) && (g.before == nil || g.before.InterceptAddrDial(id, a))
}

// InterceptAccept decides before it is known who comes.
func (g *gate) InterceptAccept(c network.ConnMultiaddrs) bool {
	return !g.shut() && (g.before == nil || g.before.InterceptAccept(c))
}

// InterceptSecured decides when it is known, in either direction: a policy may have changed while we dialled.
func (g *gate) InterceptSecured(dir network.Direction, id peer.ID, c network.ConnMultiaddrs) bool {
	if !g.permits(id, c.RemoteMultiaddr()) {
		g.mu.Lock()
		refused := g.refused
		g.mu.Unlock()
		if dir == network.DirInbound && refused != nil {
			refused(id)
		}
		return false
	}
	return g.before == nil || g.before.InterceptSecured(dir, id, c)
}

// InterceptUpgraded has nothing to add.
func (g *gate) InterceptUpgraded(c network.Conn) (bool, control.DisconnectReason) {
	if g.before == nil {
		return true, 0
	}
	return g.before.InterceptUpgraded(c)
}
