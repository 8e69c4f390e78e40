package relay

import (
	"context"
	"time"
)

// expireBatch is how many expired envelopes one transaction deletes: other commits wait for it.
const expireBatch = 500

// watchDeadlines moves what was not taken in time to the mailbox.
func (s *Service) watchDeadlines() {
	timer := time.NewTimer(time.Hour)
	defer timer.Stop()
	for {
		timer.Reset(s.spillOverdue())
		select {
		case <-s.stop:
			return
		case <-s.alarm:
		case <-timer.C:
		}
	}
}

// spillOverdue returns the time until the next deadline. When nothing is live, the alarm will tell of the next one.
func (s *Service) spillOverdue() time.Duration {
	var out tidings
	defer func() { out.tell() }()
	s.mu.Lock()
	defer s.mu.Unlock()
	now := time.Now()
	for s.live.first != nil {
		m := s.live.first
		if wait := m.deadline.Sub(now); wait > 0 {
			return wait
		}
		m.given.slow = true
		s.spillLocked(m, &out)
	}
	s.armed = false
	return time.Hour
}

// sweepAll deletes what has outlived its lifetime: at once, and every Options.Sweep.
func (s *Service) sweepAll(ctx context.Context) {
	ticker := time.NewTicker(s.o.Sweep)
	defer ticker.Stop()
	for {
		s.sweep(ctx)
		select {
		case <-s.stop:
			return
		case <-ticker.C:
		}
	}
}

func (s *Service) sweep(ctx context.Context) {
	for ctx.Err() == nil {
		n, err := s.mailbox.Expire(ctx, s.o.Now().Add(-s.o.Lifetime), expireBatch)
		if err != nil {
			if ctx.Err() == nil {
				s.o.Logger.Error("the mailbox cannot delete what has expired", errAttr(err))
			}
			return
		}
		s.mu.Lock()
		s.counters.Expired += uint64(n)
		s.mu.Unlock()
		if n < expireBatch {
			return
		}
	}
}
