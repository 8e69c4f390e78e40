package relay

import (
	"time"

	lru "github.com/hashicorp/golang-lru/v2"
	"golang.org/x/time/rate"

	"github.com/byway-chat/byway/rendezvous"
)

// limitedSenders is how many accounts the session limit remembers; the one that was quiet longest is forgotten first.
const limitedSenders = 16384

// initLimit limits session openings by sending account.
type initLimit struct {
	o       Options
	buckets *lru.Cache[rendezvous.Username, *rate.Limiter]
}

func newInitLimit(o Options) *initLimit {
	buckets, err := lru.New[rendezvous.Username, *rate.Limiter](limitedSenders)
	if err != nil {
		panic("relay: " + err.Error()) // the size is a positive constant
	}
	return &initLimit{o: o, buckets: buckets}
}

// take returns 0 where the envelope may pass, and else the time after which one may.
func (l *initLimit) take(from rendezvous.Username, envelope []byte) time.Duration {
	if !opensSession(envelope) {
		return 0
	}
	bucket, ok := l.buckets.Get(from)
	if !ok {
		fresh := rate.NewLimiter(l.o.InitRate, l.o.InitBurst)
		if earlier, found, _ := l.buckets.PeekOrAdd(from, fresh); found {
			bucket = earlier
		} else {
			bucket = fresh
		}
	}
	// The limit runs on the process's own clock: a step of the wall clock must not lock anybody out.
	now := time.Now()
	if bucket.AllowN(now, 1) {
		return 0
	}
	missing := 1 - bucket.TokensAt(now)
	return time.Duration(missing / float64(l.o.InitRate) * float64(time.Second))
}

// opensSession reads the two bytes of an envelope that are open to the relay: version 1 and type 1, an Init.
func opensSession(envelope []byte) bool {
	return len(envelope) >= 2 && envelope[0] == 1 && envelope[1] == 1
}
