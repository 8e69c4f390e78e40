// Package lan finds rendezvous on the local network by mDNS. Use [Browse].
//
// It only listens and asks: a peer announces nothing of itself. What it finds are candidates, since everybody on the LAN can
// announce anything: a caller dials them, a bounded number at a time, and believes only the PeerID that the handshake proves and the protocol that answers.
// On an empty home the first rendezvous that proves itself is trusted; later only the pinned PeerID is, at whatever address it is found.
//
// The mDNS service of libp2p is not used for this because it cannot ask without announcing, and because its
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

	"github.com/byway-chat/byway/rendezvous"
)

const (
	// watchInterval is how often the interfaces are looked at: a network that comes up is searched that much later at most.
	watchInterval = 2 * time.Second
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
	ctx, cancel := context.WithCancel(ctx)
	known, err := lru.New[peer.ID, heard](maxKnown)
	if err != nil {
		panic("lan: " + err.Error()) // only for a size below 1
	}
	b := &browser{self: self, logger: logger, known: known, out: make(chan peer.AddrInfo)}
	done := make(chan struct{})
	go func() {
		defer close(done)
		defer close(b.out)
		b.run(ctx)
	}()
	return b.out, func() {
		cancel()
		<-done
	}
}

// browser is one search. Fields above mu are immutable.
type browser struct {
	self   peer.ID
	logger *slog.Logger
	out    chan peer.AddrInfo

	mu    sync.Mutex // guards known, which two families feed
	known *lru.Cache[peer.ID, heard]
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
		ended <- zeroconf.Browse(ctx, rendezvous.ServiceTag, "local.", entries, zeroconf.SelectIPTraffic(family))
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

// report sends on what is new in one answer. It must not block once ctx has ended: the library waits for its reader.
func (b *browser) report(ctx context.Context, texts []string) {
	_, own := network()
	for _, c := range candidates(texts, b.self, own) {
		if !b.isNews(c) {
			continue
		}
		select {
		case b.out <- c:
		case <-ctx.Done():
			b.forget(c.ID)
			return
		}
	}
}

// isNews reports whether c is to be sent on, and remembers that it was.
func (b *browser) isNews(c peer.AddrInfo) bool {
	var text strings.Builder
	for _, a := range c.Addrs {
		text.WriteString(a.String() + "\n")
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	now := time.Now()
	if h, ok := b.known.Get(c.ID); ok && h.addrs == text.String() && now.Sub(h.at) < repeatAfter {
		return false
	}
	b.known.Add(c.ID, heard{addrs: text.String(), at: now})
	return true
}

func (b *browser) forget(id peer.ID) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.known.Remove(id)
}

func pause(ctx context.Context, d time.Duration) {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-ctx.Done():
	}
}
