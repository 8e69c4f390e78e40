package relay

import (
	"context"
	"fmt"
	"sync"
	"time"
)

// The lifetime of what is kept runs on a clock of the mailbox's own, which no setting of the machine's clock can make jump. While the
// relay runs, it advances as the process's monotonic clock does. The time between two runs is taken from the wall clock, but no more
// than maxPause of it: a clock that has been set forward meanwhile costs an envelope at most that much of its lifetime, and one that
// has been set back adds nothing to it.
const maxPause = 24 * time.Hour

// expireBatch is how many expired envelopes one transaction deletes: other commits wait for it.
const expireBatch = 500

// mailboxClock is the clock of lifetimes. It begins where the mailbox says that it has stopped.
type mailboxClock struct {
	mailbox Mailbox
	wall    func() time.Time

	mu    sync.Mutex // guards the following; held while the mailbox is read
	known bool
	base  Moment
	since time.Time // when it was base, on the process's clock
}

// now reads the clock, for the first time from the mailbox.
func (c *mailboxClock) now(ctx context.Context) (Clock, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if !c.known {
		last, err := c.mailbox.Clock(ctx)
		if err != nil {
			return Clock{}, fmt.Errorf("read the mailbox's clock: %w", err)
		}
		c.base, c.since, c.known = last.Mailbox, time.Now(), true
		if !last.Wall.IsZero() {
			c.base += moments(min(max(0, c.wall().Sub(last.Wall)), maxPause))
		}
	}
	return Clock{Mailbox: c.base + moments(time.Since(c.since)), Wall: c.wall()}, nil
}

func moments(d time.Duration) Moment { return Moment(d.Milliseconds()) }

// sweepAll deletes what has outlived its lifetime: at once, and every Options.Sweep.
func (s *Service) sweepAll(ctx context.Context) {
	ticker := time.NewTicker(s.o.Sweep)
	defer ticker.Stop()
	for {
		if err := s.sweep(ctx); err != nil && ctx.Err() == nil {
			s.o.Logger.Error("the mailbox cannot delete what has expired", errAttr(err))
		}
		select {
		case <-s.stop:
			return
		case <-ticker.C:
		}
	}
}

func (s *Service) sweep(ctx context.Context) error {
	for ctx.Err() == nil {
		now, err := s.clock.now(ctx)
		if err != nil {
			return err
		}
		n, err := s.mailbox.Expire(ctx, now, now.Mailbox-min(now.Mailbox, moments(s.o.Lifetime)), expireBatch)
		if err != nil {
			return err
		}
		s.mu.Lock()
		s.counters.Expired += uint64(n)
		s.mu.Unlock()
		if n < expireBatch {
			return nil
		}
	}
	return nil
}
