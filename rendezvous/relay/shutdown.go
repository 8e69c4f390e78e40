package relay

import (
	"context"
	"fmt"

	"github.com/byway-chat/byway/rendezvous"
)

// Drain refuses new submissions with CodeDraining, puts everything that is in memory into the mailbox and returns when all outcomes
// have been told and all deletions are committed, or when ctx ends. Attachments stay until they are closed, and get nothing more.
func (s *Service) Drain(ctx context.Context) error {
	var out tidings
	s.mu.Lock()
	s.draining = true
	for _, d := range s.devices {
		if d.attachment != nil {
			s.spillAllLocked(d.attachment, &out)
		}
	}
	s.mu.Unlock()
	out.tell()

	wake := context.AfterFunc(ctx, func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		s.settled.Broadcast()
	})
	defer wake()
	s.mu.Lock()
	defer s.mu.Unlock()
	for !s.closed && (s.queue.ready() || s.queue.running) {
		if err := ctx.Err(); err != nil {
			return fmt.Errorf("drain %d envelopes into the mailbox: %w", s.counters.InMemory.Messages, err)
		}
		s.settled.Wait()
	}
	return nil
}

// Purge forgets all that is kept for a device that has been removed, and closes its attachment.
func (s *Service) Purge(ctx context.Context, to Address) error {
	if err := s.forgetDevice(ctx, to); err != nil {
		return err
	}
	if err := s.mailbox.Purge(ctx, to); err != nil {
		return fmt.Errorf("purge a mailbox: %w", err)
	}
	return nil
}

// forgetDevice refuses what is in memory for a device and waits until no commit holds anything for it.
func (s *Service) forgetDevice(ctx context.Context, to Address) error {
	var out tidings
	defer func() { out.tell() }()
	wake := context.AfterFunc(ctx, func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		s.settled.Broadcast()
	})
	defer wake()
	s.mu.Lock()
	defer s.mu.Unlock()
	d := s.devices[to.Device]
	if d == nil {
		return nil
	}
	if d.attachment != nil {
		s.detachLocked(d.attachment, &out)
	}
	for _, m := range s.queue.puts {
		if m.To == to && m.state == queued {
			s.resolveLocked(m, refused(rendezvous.CodeNoSuchDevice, 0), &out)
			s.dropLocked(m, over)
		}
	}
	for d.storing > 0 && !s.closed {
		if err := ctx.Err(); err != nil {
			return fmt.Errorf("wait for a commit: %w", err)
		}
		s.settled.Wait()
	}
	return nil
}

// Close stops the goroutines and waits for them. What is still in memory is refused with CodeDraining: call Drain first. Close
// is idempotent.
func (s *Service) Close() error {
	var out tidings
	s.mu.Lock()
	if !s.closed {
		s.closed = true
		close(s.stop)
		s.cancel()
		s.work.Broadcast()
		s.readable.Broadcast()
		s.settled.Broadcast()
		if s.queue.pause != nil {
			s.queue.pause.Stop()
		}
	}
	s.mu.Unlock()
	s.running.Wait()

	s.mu.Lock()
	for _, m := range s.queue.puts {
		s.resolveLocked(m, refused(rendezvous.CodeDraining, busyRetry), &out)
	}
	s.queue.puts = nil
	for _, d := range s.devices {
		if d.attachment != nil {
			s.detachLocked(d.attachment, &out)
		}
	}
	clear(s.devices)
	for t := range s.taps {
		t.closeLocked()
	}
	s.mu.Unlock()
	out.tell()
	return nil
}
