package server

import (
	"context"
	"log/slog"
	"slices"
	"time"

	"github.com/libp2p/go-libp2p/core/host"
	"github.com/libp2p/go-libp2p/core/peer"
	"github.com/libp2p/go-libp2p/p2p/discovery/mdns"
	ma "github.com/multiformats/go-multiaddr"

	"github.com/byway-chat/byway/rendezvous"
)

// announceCheck is how often the interfaces are looked at: an mDNS responder answers with the addresses that it was started with, and
// cannot start while there is no interface but loopback.
const announceCheck = 5 * time.Second

// announcer tells the LAN by mDNS where the rendezvous is: its PeerID and its addresses, no name.
type announcer struct {
	host host.Host
	log  *slog.Logger

	// Owned by run.
	service mdns.Service
	addrs   []ma.Multiaddr // that service answers with
	failed  bool           // the last start failed and has been logged
}

// run announces until ctx ends, anew whenever the addresses change.
func (a *announcer) run(ctx context.Context) {
	tick := time.NewTicker(announceCheck)
	defer tick.Stop()
	defer a.stop()
	for {
		a.update()
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
	}
}

func (a *announcer) update() {
	addrs := reachable(a.host)
	if loopbackOnly(addrs) {
		a.stop()
		return
	}
	same := slices.EqualFunc(addrs, a.addrs, func(x, y ma.Multiaddr) bool { return x.Equal(y) })
	if a.service != nil && same {
		return
	}
	a.stop()
	service := mdns.NewMdnsService(a.host, rendezvous.ServiceTag, nobody{})
	if err := service.Start(); err != nil {
		_ = service.Close()
		if !a.failed {
			a.log.Warn("cannot announce on the LAN; trying again", slog.String("error", err.Error()))
		}
		a.failed = true
		return
	}
	a.service, a.addrs, a.failed = service, addrs, false
	a.log.Info("announced on the LAN", slog.String("service", rendezvous.ServiceTag))
}

func (a *announcer) stop() {
	if a.service == nil {
		return
	}
	_ = a.service.Close()
	a.service, a.addrs = nil, nil
}

// nobody ignores other rendezvous on the LAN.
type nobody struct{}

func (nobody) HandlePeerFound(peer.AddrInfo) {}
