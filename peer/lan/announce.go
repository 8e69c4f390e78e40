package lan

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"log/slog"
	"net"
	"slices"
	"strconv"
	"time"

	"github.com/libp2p/go-libp2p/core/peer"
	"github.com/libp2p/zeroconf/v2"
	ma "github.com/multiformats/go-multiaddr"
)

const (
	// announceAgain is how long after a failure announcing is tried again on an unchanged network.
	announceAgain = 5 * time.Second
	// announceTTL is how long, in seconds, others may believe an announcement that is not withdrawn.
	announceTTL = 120
)

// Announce tells the LAN by mDNS that a peer is at its addresses, until stop is called: a [Tag] of its PeerID and nothing else. listening is asked, from a
// goroutine that stop waits for, for what is listened on. Announcing begins when there is an interface that carries multicast, and anew, with a fresh tag,
// whenever the addresses have changed. Loopback is never announced, and where nothing else is listened on nothing is sent at all.
func Announce(self peer.ID, listening func() []ma.Multiaddr, logger *slog.Logger) (stop func()) {
	ctx, cancel := context.WithCancel(context.Background())
	a := &announcer{self: self, listening: listening, log: logger}
	done := make(chan struct{})
	go func() {
		defer close(done)
		a.run(ctx)
	}()
	return func() {
		cancel()
		<-done
	}
}

// announcer announces one peer. All below the line is owned by run.
type announcer struct {
	self      peer.ID
	listening func() []ma.Multiaddr
	log       *slog.Logger

	server *zeroconf.Server // nil: nothing is announced
	addrs  []ma.Multiaddr   // that server answers with
	failed time.Time        // when the last start has failed; zero: it has not
}

func (a *announcer) run(ctx context.Context) {
	defer a.withdraw()
	for ctx.Err() == nil {
		a.update(time.Now())
		pause(ctx, watchInterval)
	}
}

// update announces what is so now.
func (a *announcer) update(now time.Time) {
	carrying, _ := ports()
	addrs := announced(a.listening(), carrying)
	same := slices.EqualFunc(addrs, a.addrs, func(x, y ma.Multiaddr) bool { return x.Equal(y) })
	switch {
	case len(addrs) == 0:
		a.withdraw()
		return
	case same && a.server != nil, same && now.Sub(a.failed) < announceAgain:
		return
	}
	a.withdraw()
	a.addrs = addrs
	server, err := register(a.self, addrs, carrying)
	if err != nil {
		a.log.Debug("cannot announce on the network; trying again", slog.Any("error", err))
		a.failed = now
		return
	}
	a.server, a.failed = server, time.Time{}
	a.log.Debug("announced on the network", slog.Int("addresses", len(addrs)))
}

func (a *announcer) withdraw() {
	if a.server != nil {
		a.server.Shutdown()
	}
	a.server, a.addrs = nil, nil
}

// register begins to answer on the interfaces that have one of the addresses. Instance and host are random: names of the machine are not told.
func register(self peer.ID, addrs []ma.Multiaddr, carrying []port) (*zeroconf.Server, error) {
	var nonce, instance [16]byte
	_, _ = rand.Read(nonce[:]) // never fails (crypto/rand)
	_, _ = rand.Read(instance[:])
	var hosts []string
	for _, m := range addrs {
		if h := hostOf(m).String(); !slices.Contains(hosts, h) {
			hosts = append(hosts, h)
		}
	}
	var ifaces []net.Interface
	for _, p := range carrying {
		if len(announced(addrs, []port{p})) > 0 {
			ifaces = append(ifaces, p.Interface)
		}
	}
	number, err := strconv.Atoi(addrs[0][1].Value())
	if err != nil {
		return nil, err
	}
	name := hex.EncodeToString(instance[:])
	texts := Announcement{Tag: NewTag(nonce, self), Addrs: addrs}.texts()
	return zeroconf.RegisterProxy(name, PeerService, "local.", number, name, hosts, texts, ifaces, zeroconf.TTL(announceTTL))
}
