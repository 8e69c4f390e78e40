package peer

import (
	"context"
	"sync"
	"time"

	"golang.org/x/time/rate"
)

// The budget of connection attempts of one process, whatever they are for and to whom: in an outage everything fails, and must not
// fail more often than this. After a quiet time some are saved up, for first messages to several contacts.
const (
	dialsPerSecond = 2
	dialsBurst     = 8
	// A try for the rendezvous dials twice, TCP alone and then everything. Contacts leave so much for it, so that it never waits for them.
	dialsToRendezvous = 2
	// dialQueueTime is how long a contact waits for its turn before it counts as not reached.
	dialQueueTime = 3 * time.Second
)

// dials is the budget: a bucket of tokens of which contacts may not take the last. newDials makes a full one.
type dials struct {
	mu      sync.Mutex // held while tokens are counted and taken
	limiter *rate.Limiter
}

func newDials() *dials { return &dials{limiter: rate.NewLimiter(dialsPerSecond, dialsBurst)} }

// take takes n where n and keep are there, and else says how long to wait before asking again.
func (d *dials) take(now time.Time, n, keep int) (wait time.Duration) {
	d.mu.Lock()
	defer d.mu.Unlock()
	missing := float64(n+keep) - d.limiter.TokensAt(now)
	if missing <= 0 {
		d.limiter.AllowN(now, n)
		return 0
	}
	return time.Duration(missing/dialsPerSecond*float64(time.Second)) + time.Millisecond
}

// wait takes n as soon as n and keep are there, and returns false when ctx ends first.
func (d *dials) wait(ctx context.Context, n, keep int) bool {
	for ctx.Err() == nil {
		left := d.take(time.Now(), n, keep)
		if left == 0 {
			return true
		}
		pause(ctx, left)
	}
	return false
}

// forRendezvous waits for the turn of a try for the rendezvous: at most a second where nothing but contacts was dialled.
func (d *dials) forRendezvous(ctx context.Context) bool { return d.wait(ctx, dialsToRendezvous, 0) }

// forContact waits for the turn of a dial to a contact.
func (d *dials) forContact(ctx context.Context) bool {
	ctx, cancel := context.WithTimeout(ctx, dialQueueTime)
	defer cancel()
	return d.wait(ctx, 1, dialsToRendezvous)
}
