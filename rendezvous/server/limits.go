package server

import (
	"fmt"
	"math"
	"net/netip"
	"time"

	"github.com/libp2p/go-libp2p"
	"github.com/libp2p/go-libp2p/core/network"
	"github.com/libp2p/go-libp2p/core/protocol"
	rcmgr "github.com/libp2p/go-libp2p/p2p/host/resource-manager"
	"github.com/libp2p/go-libp2p/p2p/protocol/identify"
	"github.com/libp2p/go-libp2p/x/rate"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/byway-chat/byway/rendezvous"
)

// libp2p's defaults admit eight users behind one address and some 250 in all. These are sized for a rendezvous instead.
const (
	perIPv4    = 1000 // connections at once from one public IPv4 address: an office or a carrier's NAT
	perIPv6Net = 200  // from one /56, a household
	perIPv6ISP = 1000 // from one /48

	// New connections of one public address: as many at once as it may hold, twice over, since all of an office come back together after a restart,
	// and some try again while their old connection still counts. After that a handshake is a millisecond, so an address may take a tenth of
	// one processor.
	newConnsPerSecond = 100
	newConnsBurst     = 2 * perIPv4

	// perConnMemory is what libp2p accounts for a connection with a control stream, mostly the stream's receive window. It is a
	// reservation and not memory in use, which is about 40 KB.
	perConnMemory = 1 << 20
)

// privateIPv4 and privateIPv6 are ranges that only reach the rendezvous from its own site, where a whole company may share one
// address. Each range as a whole may hold every connection there is.
var (
	privateIPv4 = []string{"127.0.0.0/8", "10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "169.254.0.0/16", "100.64.0.0/10"}
	privateIPv6 = []string{"::1/128", "fc00::/7", "fe80::/10"}
)

// resourceManager admits maxPeers signed-in peers with room for reconnects, and stops what goes far beyond. Where metrics is not nil, libp2p's
// refusals are counted there: nothing else shows them.
func resourceManager(maxPeers int, metrics *prometheus.Registry) (network.ResourceManager, error) {
	defaults := rcmgr.DefaultLimits
	libp2p.SetDefaultServiceLimits(&defaults)
	limits := partialLimits(maxPeers).Build(defaults.AutoScale())
	v4, v6 := prefixLimits(privateIPv4), prefixLimits(privateIPv6)
	options := []rcmgr.Option{
		rcmgr.WithNetworkPrefixLimit(v4, v6),
		rcmgr.WithLimitPerSubnet(
			[]rcmgr.ConnLimitPerSubnet{{PrefixLength: 32, ConnCount: min(perIPv4, 3*maxPeers)}},
			[]rcmgr.ConnLimitPerSubnet{
				{PrefixLength: 56, ConnCount: min(perIPv6Net, 3*maxPeers)},
				{PrefixLength: 48, ConnCount: min(perIPv6ISP, 3*maxPeers)},
			}),
		rcmgr.WithConnRateLimiters(connRates()),
	}
	if metrics == nil {
		options = append(options, rcmgr.WithMetricsDisabled())
	} else {
		rcmgr.MustRegisterWith(metrics)
	}
	manager, err := rcmgr.NewResourceManager(rcmgr.NewFixedLimiter(limits), options...)
	if err != nil {
		return nil, fmt.Errorf("set the connection limits: %w", err)
	}
	return manager, nil
}

func partialLimits(maxPeers int) rcmgr.PartialLimitConfig {
	// Three connections a peer: TCP, QUIC, and an old one that nobody has noticed to be dead.
	conns := 3*maxPeers + 64
	transient := transientConns(maxPeers)
	value := func(n int) rcmgr.LimitVal { return rcmgr.LimitVal(n) }
	memory := func(conns int) rcmgr.LimitVal64 { return rcmgr.LimitVal64(int64(conns)*perConnMemory + 1<<30) }
	streams := func(n int) rcmgr.ResourceLimits {
		return rcmgr.ResourceLimits{Streams: value(n), StreamsInbound: value(n), StreamsOutbound: value(n), Memory: memory(n)}
	}
	perPeer := rcmgr.ResourceLimits{Streams: 16, StreamsInbound: 16, StreamsOutbound: 16, Memory: 64 << 20}
	return rcmgr.PartialLimitConfig{
		System: rcmgr.ResourceLimits{
			Conns: value(conns), ConnsInbound: value(conns), ConnsOutbound: 256,
			Streams: value(10 * conns), StreamsInbound: value(10 * conns), StreamsOutbound: value(10 * conns),
			FD: value(conns + 512), Memory: memory(conns),
		},
		Transient: rcmgr.ResourceLimits{
			Conns: value(transient), ConnsInbound: value(transient), ConnsOutbound: 64,
			Streams: value(2 * transient), StreamsInbound: value(2 * transient), StreamsOutbound: value(2 * transient),
			FD: value(transient), Memory: memory(transient),
		},
		// The rendezvous opens no stream to a peer. What would is identify: what it learns, the addresses and protocols of each peer, costs more
		// memory and time than the rest of a sign-in, and nothing reads it. Peers identify the rendezvous all the same.
		PeerDefault: rcmgr.ResourceLimits{
			Conns: 8, ConnsInbound: 8, ConnsOutbound: 8, FD: 8,
			Streams: 64, StreamsInbound: 64, StreamsOutbound: rcmgr.BlockAllLimit, Memory: 128 << 20,
		},
		Service: map[string]rcmgr.ResourceLimits{identify.ServiceName: streams(max(4000, conns))},
		Protocol: map[protocol.ID]rcmgr.ResourceLimits{
			rendezvous.ProtocolID: streams(2 * conns),
			identify.ID:           streams(max(4000, conns)),
			identify.IDPush:       streams(max(4000, conns)),
		},
		ProtocolPeer: map[protocol.ID]rcmgr.ResourceLimits{rendezvous.ProtocolID: perPeer},
	}
}

// transientConns is how many handshakes may be going on at once.
func transientConns(maxPeers int) int { return max(2000, maxPeers/5) }

func prefixLimits(prefixes []string) []rcmgr.NetworkPrefixLimit {
	limits := make([]rcmgr.NetworkPrefixLimit, len(prefixes))
	for i, p := range prefixes {
		limits[i] = rcmgr.NetworkPrefixLimit{Network: netip.MustParsePrefix(p), ConnCount: math.MaxInt}
	}
	return limits
}

func connRates() *rate.Limiter {
	l := &rate.Limiter{SubnetRateLimiter: rate.SubnetLimiter{
		IPv4SubnetLimits: []rate.SubnetLimit{{PrefixLength: 32, Limit: rate.Limit{RPS: newConnsPerSecond, Burst: newConnsBurst}}},
		IPv6SubnetLimits: []rate.SubnetLimit{{PrefixLength: 56, Limit: rate.Limit{RPS: newConnsPerSecond, Burst: newConnsBurst}}},
		GracePeriod:      time.Minute,
	}}
	for _, p := range append(append([]string(nil), privateIPv4...), privateIPv6...) {
		// The zero limit is none.
		l.NetworkPrefixLimits = append(l.NetworkPrefixLimits, rate.PrefixLimit{Prefix: netip.MustParsePrefix(p)})
	}
	return l
}
