package relay

import "time"

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
