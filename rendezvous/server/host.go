package server

import (
	"cmp"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"time"

	"github.com/libp2p/go-libp2p"
	"github.com/libp2p/go-libp2p/core/connmgr"
	"github.com/libp2p/go-libp2p/core/crypto"
	"github.com/libp2p/go-libp2p/core/host"
	"github.com/libp2p/go-libp2p/p2p/muxer/yamux"
	"github.com/libp2p/go-libp2p/p2p/protocol/identify"
	libp2pquic "github.com/libp2p/go-libp2p/p2p/transport/quic"
	"github.com/libp2p/go-libp2p/p2p/transport/tcp"
	ma "github.com/multiformats/go-multiaddr"
	manet "github.com/multiformats/go-multiaddr/net"

	"github.com/byway-chat/byway/rendezvous"
)

// DefaultListen is every interface, TCP and QUIC.
func DefaultListen() []string {
	var addrs []string
	for _, ip := range []string{"/ip4/0.0.0.0", "/ip6/::"} {
		addrs = append(addrs, fmt.Sprintf("%s/tcp/%d", ip, rendezvous.DefaultPort), fmt.Sprintf("%s/udp/%d/quic-v1", ip, rendezvous.DefaultPort))
	}
	return addrs
}

// newHost builds the libp2p host and listens.
func (s *Server) newHost(key crypto.PrivKey) (host.Host, error) {
	manager, err := resourceManager(s.cfg.MaxPeers, s.collected)
	if err != nil {
		return nil, err
	}
	options := []libp2p.Option{
		libp2p.Identity(key),
		libp2p.NoListenAddrs,
		libp2p.ResourceManager(manager),
		libp2p.ConnectionManager(connmgr.NullConnMgr{}),
		libp2p.ForceReachabilityPublic(),
		libp2p.DisableRelay(),
		libp2p.DisableMetrics(),
		libp2p.DisableIdentifyAddressDiscovery(),
		libp2p.UserAgent("byway-rendezvous"),
		libp2p.Muxer(yamux.ID, muxer()),
	}
	options = append(options, libp2p.Transport(libp2pquic.NewTransport))
	if s.cfg.HostOptions == nil {
		// Without SO_REUSEPORT: with it, a second rendezvous would share the port in silence.
		options = append(options, libp2p.Transport(tcp.NewTCPTransport, tcp.DisableReuseport()))
	}
	h, err := libp2p.New(append(options, s.cfg.HostOptions...)...)
	if err != nil {
		return nil, fmt.Errorf("start the network host: %w", err)
	}
	// What peers would push by identify, the rendezvous has no use for; see resourceManager.
	h.RemoveStreamHandler(identify.IDPush)
	if err := listen(h, s.cfg.Listen); err != nil {
		_ = h.Close()
		return nil, err
	}
	return h, nil
}

// muxer is yamux without what an idle connection would pay for and not use. The heartbeat of the control stream notices a dead peer, and a
// connection without a control stream is closed anyway, so yamux pings nobody.
func muxer() *yamux.Transport {
	config := *yamux.DefaultTransport
	config.EnableKeepAlive = false
	config.MeasureRTTInterval = time.Hour // the measurement at the beginning is what windows grow by
	config.AcceptBacklog = 32             // streams that wait to be accepted: a slot for each is allocated
	config.ConnectionWriteTimeout = 5 * time.Second
	return &config
}

// listen opens each address by itself, because libp2p is content when one of many works.
func listen(h host.Host, addrs []string) error {
	defaults := len(addrs) == 0
	if defaults {
		addrs = DefaultListen()
	}
	for _, text := range addrs {
		m, err := ma.NewMultiaddr(text)
		if err != nil {
			return &SetupError{
				Problem: fmt.Sprintf("%q is not a listen address", text), Usage: true,
				Hint: "for example --listen /ip4/0.0.0.0/tcp/29929 --listen /ip4/0.0.0.0/udp/29929/quic-v1",
			}
		}
		err = h.Network().Listen(m)
		switch {
		case err == nil:
		case strings.Contains(err.Error(), "address already in use"):
			return &SetupError{
				Problem: fmt.Sprintf("the port of %s is in use", text),
				Hint:    "another rendezvous may be running here; stop it, or choose another port with --listen",
			}
		case defaults && strings.HasPrefix(text, "/ip6/"):
			// A machine without IPv6 is served over IPv4 alone.
		default:
			return &SetupError{Problem: "cannot listen on " + text, Hint: "check that the address is one of this machine", Err: err}
		}
	}
	return nil
}

// reachable returns where h really listens, with interfaces and ports filled in: addresses for other machines first, TCP first.
func reachable(h host.Host) []ma.Multiaddr {
	addrs, err := h.Network().InterfaceListenAddresses()
	if err != nil || len(addrs) == 0 {
		addrs = h.Addrs()
	}
	addrs = slices.Clone(addrs)
	slices.SortStableFunc(addrs, func(a, b ma.Multiaddr) int { return cmp.Compare(rank(a), rank(b)) })
	return addrs
}

func rank(a ma.Multiaddr) int {
	r := 0
	if manet.IsIPLoopback(a) {
		r += 8
	}
	if manet.IsIP6LinkLocal(a) {
		r += 4
	}
	if _, err := a.ValueForProtocol(ma.P_IP6); err == nil {
		r += 2
	}
	if _, err := a.ValueForProtocol(ma.P_TCP); err != nil {
		r++
	}
	return r
}

// loopbackOnly reports whether no other machine can reach any of addrs.
func loopbackOnly(addrs []ma.Multiaddr) bool {
	return !slices.ContainsFunc(addrs, func(a ma.Multiaddr) bool { return !manet.IsIPLoopback(a) })
}

// remoteIP returns the address at the other end, invalid when the transport has none.
func remoteIP(a ma.Multiaddr) netip.Addr {
	ip, err := manet.ToIP(a)
	if err != nil {
		return netip.Addr{}
	}
	addr, _ := netip.AddrFromSlice(ip)
	return addr.Unmap()
}

// transportName says by which transport a connection came, for `active`.
func transportName(a ma.Multiaddr) string {
	if _, err := a.ValueForProtocol(ma.P_QUIC_V1); err == nil {
		return "quic"
	}
	if _, err := a.ValueForProtocol(ma.P_TCP); err == nil {
		return "tcp"
	}
	return "other"
}
