package directory

import (
	"context"
	"fmt"
	"sync"
	"time"

	"github.com/byway-chat/byway/crypto/identity"
)

const (
	// seenDelay is how long notes of presence are gathered before they are written.
	seenDelay = 10 * time.Second
	// seenNotesMax is how many are gathered at most: a storm of sign-ins costs one transaction for so many.
	seenNotesMax = 1000
)

// seenNotes are times that are not written yet.
type seenNotes struct {
	mu    sync.Mutex // guards the following
	times map[identity.Fingerprint]time.Time
	since time.Time // of the oldest note
}

// Seen notes that a device is or was here now. It is written some seconds later, many at once, by a later call of Seen; Close writes the rest.
// A crash loses the notes of seconds, which only the operator's list would miss.
func (s *Service) Seen(device identity.Fingerprint) {
	now := s.o.Now()
	s.seen.mu.Lock()
	if len(s.seen.times) == 0 {
		s.seen.since = now
	}
	s.seen.times[device] = now
	var due map[identity.Fingerprint]time.Time
	if len(s.seen.times) >= seenNotesMax || now.Sub(s.seen.since) >= seenDelay {
		due = s.seen.takeLocked()
	}
	s.seen.mu.Unlock()
	if err := s.writeSeen(context.Background(), due); err != nil {
		s.o.Logger.Warn("last-seen times could not be written", errAttr(err))
	}
}

func (n *seenNotes) takeLocked() map[identity.Fingerprint]time.Time {
	due := n.times
	n.times = make(map[identity.Fingerprint]time.Time)
	return due
}

func (s *Service) writeSeen(ctx context.Context, due map[identity.Fingerprint]time.Time) error {
	if len(due) == 0 {
		return nil
	}
	changes := make([]DeviceChange, 0, len(due))
	for device, t := range due {
		changes = append(changes, DeviceChange{Device: device, LastSeen: &t})
	}
	return s.store.UpdateDevices(ctx, changes...)
}

// lastSeen is the time of a note that is not written yet, or the one that is.
func (s *Service) lastSeen(d Device) time.Time {
	s.seen.mu.Lock()
	defer s.seen.mu.Unlock()
	if noted, ok := s.seen.times[d.Fingerprint]; ok {
		return noted
	}
	return d.LastSeen
}

// Close writes what Seen has noted. It is idempotent.
func (s *Service) Close(ctx context.Context) error {
	s.seen.mu.Lock()
	due := s.seen.takeLocked()
	s.seen.mu.Unlock()
	if err := s.writeSeen(ctx, due); err != nil {
		return fmt.Errorf("write last-seen times: %w", err)
	}
	return nil
}
