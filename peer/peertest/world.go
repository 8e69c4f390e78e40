// Package peertest is a simulated internet for tests: a real rendezvous and real peers with their files on disk, over QUIC on a network whose
// packets are delayed, lost or cut as a test says. In a testing/synctest bubble time is virtual and exact.
//
// Use: in synctest.Test, [New] starts the rendezvous and [World.Peer] a peer that signs in; [Node] restarts it and collects what it
// tells. Everything is stopped by t.Cleanup. Only test files import this package: it brings in testing itself.
package peertest

import (
	"context"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/libp2p/go-libp2p"
	"github.com/libp2p/go-libp2p/core/network"
	"github.com/libp2p/go-libp2p/x/simlibp2p"
	"github.com/marcopolo/simnet"

	"github.com/byway-chat/byway/crypto/identity/identitytest"
	"github.com/byway-chat/byway/crypto/password"
	"github.com/byway-chat/byway/rendezvous/directory"
	"github.com/byway-chat/byway/rendezvous/server"
)

// Password is the password of every account.
const Password = "correct horse battery staple"

// never is a delay that no test waits for: the packet is lost.
const never = 1000 * time.Hour

const rendezvousIP = "1.0.0.1"

// World is one simulated internet. Its methods belong to the test's goroutine.
type World struct {
	t       testing.TB
	network *simnet.Simnet
	dir     string
	nodes   int // addresses given so far
	keys    int // given so far

	server  *server.Server
	stop    context.CancelFunc
	ended   sync.WaitGroup
	address string // of the rendezvous, since it was started first

	mu      sync.Mutex // guards the following, which packets ask for
	latency time.Duration
	jitter  time.Duration
	loss    float64
	cut     map[string]bool // IP addresses
	split   map[[2]string]bool
	random  *rand.Rand
	passed  map[[2]string]int // packets, also those that are lost
}

// New makes a world with a running rendezvous and 5 ms between any two hosts. Seed decides which packets are lost.
func New(t testing.TB, seed uint64) *World {
	t.Helper()
	// A bubble begins in the year 2000. The fixed keys were made later, and would not be valid yet.
	for i := range identitytest.Devices {
		time.Sleep(time.Until(identitytest.Keyring(i).Encryption[0].Created().Add(time.Hour)))
	}
	w := &World{
		t: t, dir: t.TempDir(), latency: 5 * time.Millisecond, cut: map[string]bool{}, split: map[[2]string]bool{}, passed: map[[2]string]int{},
		random: rand.New(rand.NewPCG(seed, 1)),
	}
	w.network = &simnet.Simnet{LatencyFunc: w.delay}
	t.Cleanup(w.network.Close)
	w.network.Start()
	w.StartRendezvous()
	t.Cleanup(w.StopRendezvous)
	return w
}

// Data is the rendezvous's data directory.
func (w *World) Data() string { return filepath.Join(w.dir, "rendezvous") }

// StartRendezvous starts the rendezvous on the data it had before.
func (w *World) StartRendezvous() {
	w.t.Helper()
	ctx, stop := context.WithCancel(context.Background())
	s, err := server.New(ctx, server.Config{
		Data: w.Data(), NoMDNS: true, Version: "test", Logger: w.logger("rendezvous"),
		Listen:      []string{"/ip4/" + rendezvousIP + "/udp/8000/quic-v1"},
		HostOptions: []libp2p.Option{simlibp2p.QUICSimnet(w.network, link())},
		Hasher:      directory.Argon2(password.Params{MemoryKiB: 64, Time: 1, Threads: 1}),
	})
	if err != nil {
		stop()
		w.t.Fatalf("start rendezvous: %v", err)
	}
	w.server, w.stop = s, stop
	w.ended.Go(func() {
		if err := s.Run(ctx); err != nil {
			w.t.Errorf("run rendezvous: %v", err)
		}
	})
	<-s.Ready()
	w.address = s.Address().Addrs[0]
}

// StopRendezvous drains and stops it. It may be called when it is stopped.
func (w *World) StopRendezvous() {
	if w.stop != nil {
		w.stop()
	}
	w.ended.Wait()
	w.stop = nil
}

// KillRendezvous ends it as kill -9 does: nobody hears anything of it, and what was on its disk is all that StartRendezvous finds. Its
// connections know of nothing either, as over QUIC; over TCP the kernel would tell them.
func (w *World) KillRendezvous() {
	w.CutRendezvous(true)
	w.StopRendezvous()
	w.CutRendezvous(false)
}

// Address is the rendezvous's full address, also while it is away.
func (w *World) Address() string { return w.address }

func link() simnet.NodeBiDiLinkSettings {
	speed := simnet.LinkSettings{BitsPerSecond: 100 * simlibp2p.OneMbps}
	return simnet.NodeBiDiLinkSettings{Downlink: speed, Uplink: speed}
}

func (w *World) logger(who string) *slog.Logger {
	if os.Getenv("BYWAY_TEST_LOG") == "" {
		return slog.New(slog.DiscardHandler)
	}
	return slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: slog.LevelDebug})).With(slog.String("who", who))
}

// delay is asked for each packet.
func (w *World) delay(p *simnet.Packet) time.Duration {
	from, to := ipOf(p.From.String()), ipOf(p.To.String())
	w.mu.Lock()
	defer w.mu.Unlock()
	w.passed[[2]string{from, to}]++
	if w.cut[from] || w.cut[to] || w.split[[2]string{from, to}] || w.random.Float64() < w.loss {
		return never
	}
	d := w.latency
	if w.jitter > 0 {
		d += time.Duration(w.random.Int64N(int64(w.jitter)))
	}
	return d
}

func ipOf(addr string) string {
	ip, _, _ := strings.Cut(addr, ":")
	return ip
}

// Weather sets the delay of every packet, a random part on top of it (which reorders), and the share that is lost.
func (w *World) Weather(latency, jitter time.Duration, loss float64) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.latency, w.jitter, w.loss = latency, jitter, loss
}

// Passed returns how many packets two nodes have sent to each other's addresses, also those that were lost.
func (w *World) Passed(a, b *Node) int {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.passed[[2]string{a.ip, b.ip}] + w.passed[[2]string{b.ip, a.ip}]
}

// Cut takes a node off the network, or puts it back.
func (w *World) Cut(n *Node, off bool) { w.cutIP(n.ip, off) }

// CutRendezvous takes the rendezvous off the network, or puts it back.
func (w *World) CutRendezvous(off bool) { w.cutIP(rendezvousIP, off) }

func (w *World) cutIP(ip string, off bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.cut[ip] = off
}

// Split keeps two nodes from reaching each other directly, or ends that.
func (w *World) Split(a, b *Node, off bool) {
	w.Mute(a, b, off)
	w.Mute(b, a, off)
}

// Mute loses what one node sends to another directly, or ends that.
func (w *World) Mute(from, to *Node, off bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.split[[2]string{from.ip, to.ip}] = off
}

// hostOptions put a host at an address of this network.
func (w *World) hostOptions() []libp2p.Option {
	return []libp2p.Option{
		libp2p.DisableIdentifyAddressDiscovery(), // with it synctest stalls
		libp2p.ResourceManager(&network.NullResourceManager{}),
		simlibp2p.QUICSimnet(w.network, link()),
	}
}

func (w *World) nextIP() string {
	w.nodes++
	return fmt.Sprintf("10.0.0.%d", w.nodes)
}
