package history

import (
	"context"
	"errors"
	"fmt"

	"github.com/byway-chat/byway/peer/journal"
)

// Commit puts the batch on the disk and returns after the fsync. On an error nothing of it counts, and the caller must not acknowledge anything
// that the batch holds. Errors wrap [ErrDiskFull] or [ErrDamaged] where they apply.
func (s *Store) Commit(ctx context.Context, b *Batch) error {
	err := s.tryCommit(ctx, b)
	if errors.Is(err, errNotNow) {
		err = s.commitDirectly(ctx, b)
	}
	return classify("commit history", err)
}

// errNotNow is returned where the journal cannot take a batch.
var errNotNow = errors.New("the journal has no room")

// tryCommit commits by way of the journal.
func (s *Store) tryCommit(ctx context.Context, b *Batch) error {
	if err := s.lock(ctx); err != nil {
		return err
	}
	defer s.mu.Unlock()
	if s.journal == nil || s.failed != nil {
		return errNotNow
	}
	s.w.number(b)
	plain, err := b.encode(s.record[:0])
	if err != nil {
		return err
	}
	if s.record = plain; cap(plain) > maxRecord {
		s.record = nil
	}
	switch err := s.journal.Append(s.box.seal(recordLabel(s.journal.Next()), plain)); {
	case errors.Is(err, journal.ErrFull):
		return errNotNow
	case err != nil:
		return errors.Join(unknown(err), s.giveUpLocked())
	}
	s.seq++
	if err := s.takeLocked(b); err != nil {
		s.void = s.seq
		return err
	}
	wake(s.pending)
	if s.journal.Crowded() {
		wake(s.crowded)
	}
	return nil
}

// unknown is the error of a write after which nobody knows whether the record is there. Though it be of a full disk, it does not say so: that would
// mean that nothing was accepted.
func unknown(err error) error {
	return fmt.Errorf("whether it is on the disk is not known: %v", err) //nolint:errorlint // as said
}

// maxRecord is the longest buffer that is kept for the next record.
const maxRecord = 64 << 10

// takeLocked brings memory up to date with a batch. When it fails, memory is not to be trusted any more.
func (s *Store) takeLocked(b *Batch) error {
	if err := s.w.batch(b); err != nil {
		s.w, s.ids = nil, nil
		return err
	}
	b.Orders, b.Refused = s.w.orders, s.w.refused
	return nil
}

// giveUpLocked closes a journal that has failed. Its last record has used up its number: nobody knows whether it is there. The batches before it
// are in memory, and go to the file with the next commit.
func (s *Store) giveUpLocked() error {
	s.seq++
	err := s.journal.Close()
	s.journal = nil
	wake(s.pending)
	return err
}

// commitDirectly commits by a transaction of the file: a batch that no journal takes, and the first one after a failure.
func (s *Store) commitDirectly(ctx context.Context, b *Batch) error {
	s.settling.Lock()
	defer s.settling.Unlock()
	if err := s.settleAlone(ctx); err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if _, err := s.rememberLocked(ctx); err != nil {
		return err
	}
	if s.journal == nil {
		s.renewLocked()
	}
	s.w.number(b)
	if err := s.takeLocked(b); err != nil {
		return err
	}
	s.freezeLocked()
	if err := s.apply(ctx); err != nil {
		s.frozen, s.w, s.ids = nil, nil, nil // what was pending beside it is in the journal
		return err
	}
	s.releaseLocked()
	return nil
}

// lock locks mu, with the memory in place.
func (s *Store) lock(ctx context.Context) error {
	s.mu.Lock()
	if s.w != nil {
		return nil
	}
	s.mu.Unlock()
	s.settling.Lock()
	defer s.settling.Unlock()
	if err := s.settleAlone(ctx); err != nil {
		return err
	}
	s.mu.Lock()
	if _, err := s.rememberLocked(ctx); err != nil {
		s.mu.Unlock()
		return err
	}
	return nil
}

func wake(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default: // it is awake
	}
}

// journalSize is a quarter of a second of what a peer can take at most, and small beside a conversation. In bytes.
const journalSize = 1 << 20

func (s *Store) journalPath() string { return s.path + ".journal" }

// renewLocked begins an empty journal. Where none can be made, commits go to the file as long as that takes them.
func (s *Store) renewLocked() {
	j, err := journal.Create(s.journalPath(), journalSize, s.seq+1)
	if err != nil {
		return
	}
	s.journal = j
}
