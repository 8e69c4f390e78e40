package peer

import (
	"fmt"
	"slices"
	"time"

	"github.com/libp2p/go-libp2p"
	"github.com/libp2p/go-libp2p/core/network"
	"github.com/libp2p/go-libp2p/core/peer"
	rcmgr "github.com/libp2p/go-libp2p/p2p/host/resource-manager"
	"github.com/libp2p/go-libp2p/p2p/muxer/yamux"
	"github.com/libp2p/go-libp2p/p2p/security/noise"
	libp2pquic "github.com/libp2p/go-libp2p/p2p/transport/quic"
	"github.com/libp2p/go-libp2p/x/rate"
	ma "github.com/multiformats/go-multiaddr"
	manet "github.com/multiformats/go-multiaddr/net"
)

// perAddress is how many connections one address may have here. libp2p's default of 8 would count two people behind one
// router, or on one machine, as one.
const perAddress = 256

// Connections a second with one address, either way. libp2p's default of one in five seconds would keep us from a rendezvous that has come back: tries for it
// count, and they are bounded by a budget of our own.
const (
	connsPerSecond = 16
	connsBurst     = perAddress
)

// startHost builds the libp2p host of this peer and listens. Where listen is empty it listens on all interfaces, but on loopback only if the rendezvous
// is on loopback too: then nothing may leave this machine.
func (p *Peer) startHost() error {
	key, err := hostKey(p.keys.Host)
	if err != nil {
		return err
	}
	listen := p.cfg.Listen
	if len(listen) == 0 {
		listen = defaultListen(p.address.Addrs)
	}
	// On loopback nobody comes back to an address, and copies of one home on one machine would take each other's place at their port.
	if p.cfg.HostOptions == nil && slices.ContainsFunc(listen, func(a string) bool { return !isLoopback(a) }) {
		id, err := peer.IDFromPublicKey(key.GetPublic())
		if err != nil {
			return fmt.Errorf("read host key: %w", err)
		}
		listen = ownPort(listen, id)
	}
	options := []libp2p.Option{libp2p.Identity(key), libp2p.DisableRelay(), libp2p.DisableMetrics(), libp2p.Ping(false), libp2p.UserAgent("byway")}
	switch {
	case p.cfg.Private:
		options = append(options, libp2p.NoListenAddrs)
	default:
		options = append(options, libp2p.ListenAddrStrings(listen...))
	}
	if p.cfg.HostOptions == nil {
		manager, err := resourceManager()
		if err != nil {
			return err
		}
		options = append(options, libp2p.ResourceManager(manager), libp2p.Muxer(yamux.ID, muxer()), libp2p.Security(noise.ID, noise.New),
			libp2p.Transport(newTCP(&p.fresh)), libp2p.Transport(libp2pquic.NewTransport))
	}
	options = append(append(options, p.cfg.HostOptions...), p.gate.option)
	h, err := libp2p.New(options...)
	if err != nil {
		return &Error{
			Code: CodeFailed, Message: "the network cannot be used", Err: err,
			Hint: "an address given with --listen may be in use or not be one of this machine",
		}
	}
	p.host = h
	return nil
}

func defaultListen(rendezvous []ma.Multiaddr) []string {
	for _, a := range rendezvous {
		if !manet.IsIPLoopback(a) {
			return []string{"/ip4/0.0.0.0/tcp/0", "/ip4/0.0.0.0/udp/0/quic-v1", "/ip6/::/tcp/0", "/ip6/::/udp/0/quic-v1"}
		}
	}
	if len(rendezvous) == 0 {
		return defaultListen([]ma.Multiaddr{ma.StringCast("/ip4/0.0.0.0")})
	}
	return []string{"/ip4/127.0.0.1/tcp/0"}
}

// muxer notices a dead TCP connection within 15 s; our own heartbeats notice it before.
func muxer() *yamux.Transport {
	config := *yamux.DefaultTransport
	config.KeepAliveInterval = 10 * time.Second
	config.ConnectionWriteTimeout = 5 * time.Second
	return &config
}

func resourceManager() (network.ResourceManager, error) {
	manager, err := rcmgr.NewResourceManager(
		rcmgr.NewFixedLimiter(rcmgr.DefaultLimits.AutoScale()),
		rcmgr.WithLimitPerSubnet(
			[]rcmgr.ConnLimitPerSubnet{{PrefixLength: 32, ConnCount: perAddress}},
			[]rcmgr.ConnLimitPerSubnet{{PrefixLength: 56, ConnCount: perAddress}},
		),
		rcmgr.WithConnRateLimiters(&rate.Limiter{
			SubnetRateLimiter: rate.SubnetLimiter{
				IPv4SubnetLimits: []rate.SubnetLimit{{PrefixLength: 32, Limit: rate.Limit{RPS: connsPerSecond, Burst: connsBurst}}},
				IPv6SubnetLimits: []rate.SubnetLimit{{PrefixLength: 56, Limit: rate.Limit{RPS: connsPerSecond, Burst: connsBurst}}},
				GracePeriod:      time.Minute,
			},
		}),
	)
	if err != nil {
		return nil, fmt.Errorf("set network limits: %w", err)
	}
	return manager, nil
}
