package history

import (
	"context"
	"database/sql"
	"fmt"
	"os"
	"time"

	"github.com/byway-chat/byway/peer/journal"
)

// carryOver brings what the journal of an earlier run holds into the file, and begins an empty one.
func (s *Store) carryOver(ctx context.Context) error {
	s.settling.Lock()
	defer s.settling.Unlock()
	s.mu.Lock()
	var err error
	s.damage, _ = s.rememberLocked(ctx) // the next commit tells an error; until then what is there can be read
	if len(s.damage) > 0 {
		if s.aside, err = setAside(s.journalPath(), time.Now()); err != nil {
			s.w = nil // so that nobody removes it
		}
	}
	s.mu.Unlock()
	if err != nil {
		return classify("carry the journal over", err)
	}
	if err := s.settleAlone(ctx); err != nil {
		return nil //nolint:nilerr // as above
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.w != nil {
		s.renewLocked()
	}
	return nil
}

// setAside copies a damaged journal, which stays until a person removes it.
func setAside(path string, now time.Time) (aside string, err error) {
	b, err := os.ReadFile(path)
	if err != nil {
		return "", err
	}
	aside = path + ".damaged-" + now.UTC().Format("20060102T150405.000Z")
	return aside, os.WriteFile(aside, b, 0o600)
}

// rememberLocked makes the memory from file and journal, where there is none, and says what was wrong with the journal. settling is held too, and
// nothing is frozen.
func (s *Store) rememberLocked(ctx context.Context) (damage []string, err error) {
	if s.w != nil {
		return nil, nil
	}
	mem, err := s.recall(ctx)
	if err != nil {
		return nil, err
	}
	var applied uint64
	known := s.file.Report() == nil // else the row may be among what was lost
	err = each(ctx, s.write, "SELECT applied FROM journal", func(r *sql.Rows) error { known = true; return r.Scan(&applied) })
	if err != nil {
		return nil, err
	}
	found, err := journal.Read(s.journalPath(), applied)
	if err != nil {
		return nil, err
	}
	if damage = found.Damage; !known { // what the file has already must not be taken in again
		found.Records, damage = found.Newest(), nil
	}
	s.seq = max(s.seq, applied)
	w := newWriter(s, mem)
	for _, r := range found.Records {
		s.seq = max(s.seq, r.Seq)
		if r.Seq == s.void {
			continue
		}
		if err := s.replay(w, r); err != nil {
			damage = append(damage, fmt.Sprintf("record %d: %v", r.Seq, err))
		}
	}
	s.w = w
	return damage, nil
}

// replay takes in one record of the journal. What does not fit is left out, and said: it was committed once, so something that it goes on from is gone.
func (s *Store) replay(w *writer, r journal.Record) error {
	plain, err := s.box.open(recordLabel(r.Seq), r.Payload)
	if err != nil {
		return err
	}
	b, err := decodeBatch(plain)
	if err != nil {
		return err
	}
	left, err := w.replay(b)
	if err == nil && left > 0 {
		err = fmt.Errorf("%d of %d changes do not fit any more", left, len(b.Ops))
	}
	return err
}
