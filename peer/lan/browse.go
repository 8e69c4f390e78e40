// Package lan finds others on the local network: a rendezvous ([Browse]), and peers by what they announce ([Announce], [Neighbours]), both by mDNS; and
// where the network carries no multicast and a person asks for it, by knocking at each address of the own network ([Sweep]).
//
// What it finds are candidates, since everybody on the LAN can announce anything: a caller dials them, a bounded number at a time, and believes only the
// PeerID that the handshake proves and the protocol that answers. On an empty home the first rendezvous that proves itself is trusted; later only the
// pinned PeerID is, at whatever address it is found. A peer is found only by those who know its PeerID already: see [Tag].
//
// The mDNS service of libp2p is not used for this because it cannot ask without announcing, announces a lasting id, and because its
// search ends for good, in silence, where one of IPv4 and IPv6 is missing or the first interface comes up late.
package lan

import (
	"context"
	"log/slog"
	"strings"
	"sync"
	"time"

	lru "github.com/hashicorp/golang-lru/v2"
	"github.com/libp2p/go-libp2p/core/peer"
	"github.com/libp2p/zeroconf/v2"
	ma "github.com/multiformats/go-multiaddr"

	"github.com/byway-chat/byway/rendezvous"
)

const (
	// watchInterval is how often the interfaces are looked at: a network that comes up is searched that much later at most.
	watchInterval = time.Second
	// firstRound and lastRound bound how long one search listens before a new one asks again. Rounds double, so a lost
	// question costs little at first and asking costs little later. A round's end also empties the library's unbounded cache.
	firstRound = time.Second
	lastRound  = time.Minute
	// repeatAfter is how long a candidate with unchanged addresses is not reported again.
	repeatAfter = 30 * time.Second
	// maxKnown bounds the candidates remembered for that; the one not heard of for longest is forgotten.
	maxKnown = 512
)

// Browse searches the LAN for rendezvous until ctx ends or stop is called, and sends what it finds. It starts goroutines; stop
// ends them, waits for them and may be called again. The channel is closed when the search has ended.
//
// A candidate is sent when it is first heard of, when its addresses have changed, and otherwise at most every 30 s while it is
// heard of. A slow receiver holds the search back; nothing piles up. Having no network is no error: the search begins when one comes.
func Browse(ctx context.Context, self peer.ID, logger *slog.Logger) (found <-chan peer.AddrInfo, stop func()) {
	return search(ctx, rendezvous.ServiceTag, logger, func(texts []string) []sighting[peer.AddrInfo] {
		_, own := network()
		var out []sighting[peer.AddrInfo]
		for _, c := range candidates(texts, self, own) {
			out = append(out, sighting[peer.AddrInfo]{key: string(c.ID), addrs: c.Addrs, what: c})
		}
		return out
	})
}

// sighting is one thing that an answer speaks of.
type sighting[T any] struct {
	key   string // the same for the same thing
	addrs []ma.Multiaddr
	what  T
}

// search asks for a service and sends what read makes of the TXT strings of each answer, as Browse says.
func search[T any](ctx context.Context, service string, logger *slog.Logger, read func(texts []string) []sighting[T]) (found <-chan T, stop func()) {
	ctx, cancel := context.WithCancel(ctx)
	known, err := lru.New[string, heard](maxKnown)
	if err != nil {
		panic("lan: " + err.Error()) // only for a size below 1
	}
	out := make(chan T)
	b := &browser{service: service, logger: logger, known: known}
	b.report = func(ctx context.Context, texts []string) {
		for _, s := range read(texts) {
			if !b.isNews(s.key, s.addrs) {
				continue
			}
			select {
			case out <- s.what:
			case <-ctx.Done(): // the library waits for its reader
				b.forget(s.key)
				return
			}
		}
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		defer close(out)
		b.run(ctx)
	}()
	return out, func() {
		cancel()
		<-done
	}
}

// browser is one search. Fields above mu are immutable.
type browser struct {
	service string
	logger  *slog.Logger
	report  func(ctx context.Context, texts []string) // sends on what is new in one answer; it must not block once ctx has ended

	mu    sync.Mutex // guards known, which two families feed
	known *lru.Cache[string, heard]
}

// heard is what was last reported of a candidate.
type heard struct {
	addrs string
	at    time.Time
}

// run searches in rounds. A round ends early when the network changes, and then rounds are short again.
func (b *browser) run(ctx context.Context) {
	length := firstRound
	last := ""
	for ctx.Err() == nil {
		description, _ := network()
		if description != last {
			b.logger.Debug("searching the network by mdns", slog.Int("addresses", strings.Count(description, "\n")))
			length, last = firstRound, description
		}
		if description == "" || !b.round(ctx, length, description) {
			pause(ctx, watchInterval)
			continue
		}
		length = min(2*length, lastRound)
	}
}

// round asks once and listens for length on IPv4 and IPv6, each for itself since one may be missing. It reports whether one worked.
func (b *browser) round(ctx context.Context, length time.Duration, description string) bool {
	ctx, cancel := context.WithTimeout(ctx, length)
	defer cancel()
	var families sync.WaitGroup
	var worked [2]bool
	for i, family := range []zeroconf.IPType{zeroconf.IPv4, zeroconf.IPv6} {
		families.Go(func() {
			err := b.listen(ctx, family)
			worked[i] = err == nil
			if err != nil {
				b.logger.Debug("mdns search failed", slog.Int("ip_version", 4+2*i), slog.Any("error", err))
			}
		})
	}
	watcher := make(chan struct{})
	go func() {
		defer close(watcher)
		for ctx.Err() == nil {
			pause(ctx, watchInterval)
			if now, _ := network(); now != description {
				cancel()
			}
		}
	}()
	families.Wait()
	cancel()
	<-watcher
	return worked[0] || worked[1]
}

// listen asks on one family and reports answers until ctx ends.
func (b *browser) listen(ctx context.Context, family zeroconf.IPType) error {
	entries := make(chan *zeroconf.ServiceEntry, 16)
	ended := make(chan error, 1)
	go func() {
		ended <- zeroconf.Browse(ctx, b.service, "local.", entries, zeroconf.SelectIPTraffic(family))
	}()
	for {
		select {
		case e, open := <-entries:
			if !open {
				return <-ended
			}
			b.report(ctx, e.Text)
		case err := <-ended: // entries is not closed where the search could not begin
			return err
		}
	}
}

// isNews reports whether something is to be sent on, and remembers that it was.
func (b *browser) isNews(key string, addrs []ma.Multiaddr) bool {
	var text strings.Builder
	for _, a := range addrs {
		text.WriteString(a.String() + "\n")
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	now := time.Now()
	if h, ok := b.known.Get(key); ok && h.addrs == text.String() && now.Sub(h.at) < repeatAfter {
		return false
	}
	b.known.Add(key, heard{addrs: text.String(), at: now})
	return true
}

func (b *browser) forget(key string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.known.Remove(key)
}

func pause(ctx context.Context, d time.Duration) {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-ctx.Done():
	}
}
