package peer

import (
	"context"
	"time"

	ma "github.com/multiformats/go-multiaddr"

	"github.com/byway-chat/byway/peer/delivery"
	"github.com/byway-chat/byway/peer/route"
	"github.com/byway-chat/byway/peer/trace"
	"github.com/byway-chat/byway/rendezvous/client"
)

// Times of asking from where this device is seen.
const (
	observeTime = 1500 * time.Millisecond
	observedFor = time.Minute // after it the router may have given the address to somebody else
	// blockedFor takes its place where UDP has not come through: it may have been lost.
	blockedFor = 10 * time.Second
)

// observe calls then in the core, later, when it is known from where the rendezvous sees this device. It asks at most once at a time, and not where it has
// just been told. There must be a connection.
func (c *core) observe(now time.Time, then func()) {
	h := &c.here
	fresh := observedFor
	if h.network.UDP == route.UDPBlocked {
		fresh = blockedFor
	}
	if h.of == c.conn && now.Sub(h.at) < fresh {
		c.later(then)
		return
	}
	h.waiting = append(h.waiting, then)
	if len(h.waiting) > 1 {
		return
	}
	conn := c.conn
	c.spawn(func() {
		ctx, cancel := context.WithTimeout(c.dialCtx, observeTime)
		defer cancel()
		seen, asked := conn.Observe(ctx)
		c.post(func() { c.observed(conn, seen, asked) })
	})
}

// observed takes in what the rendezvous has said.
func (c *core) observed(conn *client.Conn, seen []client.Sighting, askedUDP bool) {
	h := &c.here
	h.of, h.at = conn, time.Now()
	h.network.UDP, h.network.Ports = judge(seen, askedUDP)
	h.addrs, h.own = c.seenAt(seen)
	c.trace.Add(trace.Step{What: trace.Here, Network: networkOf(h.network, false), Addrs: sightings(seen)})
	waiting := h.waiting
	h.waiting = nil
	for _, then := range waiting {
		then()
	}
}

// judge says what a network does to UDP and to ports.
func judge(seen []client.Sighting, askedUDP bool) (route.UDP, route.Ports) {
	udp, ports := route.UDPUnknown, route.PortsUnknown
	if askedUDP && len(seen) > 0 {
		udp = route.UDPBlocked
	}
	for _, s := range seen {
		if s.UDP() {
			udp = route.UDPWorks
		}
		if portOf(s.Local) != portOf(s.Seen) {
			ports = route.PortsChanging
		} else if ports == route.PortsUnknown {
			ports = route.PortsKept
		}
	}
	return udp, ports
}

// portOf returns the port of TCP or UDP as text.
func portOf(a ma.Multiaddr) string {
	for _, transport := range []int{ma.P_TCP, ma.P_UDP} {
		if port, err := a.ValueForProtocol(transport); err == nil {
			return port
		}
	}
	return ""
}

// seenAt returns the addresses to which a contact may send at the same moment as we to it: those that sockets which we listen on are seen at, and our own
// public ones. Those of an interface here are returned once more.
func (c *core) seenAt(seen []client.Sighting) (out, ours []ma.Multiaddr) {
	add := func(a ma.Multiaddr) {
		if dialable(a) && !ma.Contains(out, a) && len(out) < delivery.MaxAddrs {
			out = append(out, a)
		}
	}
	for _, s := range seen {
		if c.listensOn(s) {
			add(s.Seen)
		}
	}
	own, _ := c.host.Network().InterfaceListenAddresses()
	for _, a := range own {
		if wayOver(a) == WayDirect {
			add(a)
		}
	}
	for _, a := range out {
		if ma.Contains(own, a) {
			ours = append(ours, a)
		}
	}
	return out, ours
}

// listensOn reports whether a sighting is of a port that we listen on: one made for the question alone is gone with it.
func (c *core) listensOn(s client.Sighting) bool {
	for _, a := range c.host.Network().ListenAddresses() {
		_, err := a.ValueForProtocol(ma.P_UDP)
		if (err == nil) == s.UDP() && portOf(a) == portOf(s.Local) {
			return true
		}
	}
	return false
}
