package client

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/libp2p/go-libp2p/core/network"
	"github.com/libp2p/go-libp2p/p2p/net/swarm"
	ma "github.com/multiformats/go-multiaddr"
	manet "github.com/multiformats/go-multiaddr/net"
	multistream "github.com/multiformats/go-multistream"

	"github.com/byway-chat/byway/rendezvous"
)

// maxAsked is how many of the rendezvous's UDP addresses are tried.
const maxAsked = 2

// UDP is waited for as long as its round trips take, three of them, twice over, and at least udpPatience.
const udpPatience = 400 * time.Millisecond

// Sighting is from where the rendezvous sees a connection of this host to come.
type Sighting struct {
	Local ma.Multiaddr // this end, as this host sees it; the IP address may be unspecified
	Seen  ma.Multiaddr // this end, as the rendezvous sees it
}

// UDP reports whether it is one of QUIC.
func (s Sighting) UDP() bool { return isUDP(s.Seen) }

func isUDP(a ma.Multiaddr) bool {
	_, err := a.ValueForProtocol(ma.P_UDP)
	return err == nil
}

// Observe asks the rendezvous from where it sees this host. It makes a QUIC connection for that beside the one of the control stream, where that is over
// TCP, and closes it again. What does not answer soon, and before ctx ends, is left out: so UDP is, where it is blocked. askedUDP says whether the rendezvous has an address of UDP.
func (c *Conn) Observe(ctx context.Context) (seen []Sighting, askedUDP bool) {
	conn := c.stream.Conn()
	if stream, err := conn.NewStream(ctx); err == nil {
		if s, err := sight(ctx, stream, conn); err == nil {
			seen = append(seen, s)
		}
	}
	if isUDP(conn.RemoteMultiaddr()) {
		return seen, true
	}
	ctx, cancel := context.WithTimeout(ctx, max(udpPatience, 6*c.RTT()))
	defer cancel()
	addrs := c.udpAddrs()
	for _, a := range addrs[:min(len(addrs), maxAsked)] {
		if s, err := c.sightUDP(ctx, a); err == nil {
			return append(seen, s), true
		}
	}
	return seen, len(addrs) > 0
}

// udpAddrs returns the rendezvous's addresses of QUIC, first those at the IP address that the control stream goes to.
func (c *Conn) udpAddrs() []ma.Multiaddr {
	conn := c.stream.Conn()
	there, _ := manet.ToIP(conn.RemoteMultiaddr())
	var near, far []ma.Multiaddr
	for _, a := range append(slices.Clone(c.others), c.host.Peerstore().Addrs(conn.RemotePeer())...) {
		if !isUDP(a) || ma.Contains(near, a) || ma.Contains(far, a) {
			continue
		}
		if ip, err := manet.ToIP(a); err == nil && ip.Equal(there) {
			near = append(near, a)
		} else {
			far = append(far, a)
		}
	}
	return append(near, far...)
}

// sightUDP asks over a connection of its own, which the host's network does not know: that keeps one to a peer.
func (c *Conn) sightUDP(ctx context.Context, a ma.Multiaddr) (Sighting, error) {
	sw, ok := c.host.Network().(*swarm.Swarm)
	if !ok {
		return Sighting{}, fmt.Errorf("dial %s: the network has no transports", a)
	}
	transport := sw.TransportForDialing(a)
	if transport == nil {
		return Sighting{}, fmt.Errorf("dial %s: there is no transport for it", a)
	}
	conn, err := transport.Dial(ctx, a, c.stream.Conn().RemotePeer())
	if err != nil {
		return Sighting{}, fmt.Errorf("dial %s: %w", a, err)
	}
	defer func() { _ = conn.Close() }()
	stream, err := conn.OpenStream(ctx)
	if err != nil {
		return Sighting{}, fmt.Errorf("ask for our address: %w", err)
	}
	return sight(ctx, stream, conn)
}

// sight asks on a fresh stream, and ends it.
func sight(ctx context.Context, stream network.MuxedStream, conn network.ConnMultiaddrs) (Sighting, error) {
	defer func() { _ = stream.Reset() }()
	if deadline, ok := ctx.Deadline(); ok {
		_ = stream.SetDeadline(deadline)
	} else {
		_ = stream.SetDeadline(time.Now().Add(helloTimeout))
	}
	stop := context.AfterFunc(ctx, func() { _ = stream.Reset() })
	defer stop()
	if err := multistream.SelectProtoOrFail(rendezvous.ObservedProtocolID, stream); err != nil {
		return Sighting{}, fmt.Errorf("ask for our address: %w", err)
	}
	a, err := rendezvous.ReadObserved(stream)
	if err != nil {
		return Sighting{}, err
	}
	return Sighting{Local: conn.LocalMultiaddr(), Seen: a}, nil
}
