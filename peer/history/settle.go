package history

import (
	"context"
	"database/sql"
	"errors"
	"io/fs"
	"math/rand/v2"
	"os"
	"time"

	"github.com/byway-chat/byway/rendezvous/sqlitefile"
)

const (
	settleAfter = 100 * time.Millisecond // how long a commit stands in the journal alone, half of it more or less
	settleAgain = time.Second            // after a transaction has failed
)

// settler brings what is pending into the file, until ctx ends. The times between are uneven: those of many homes on one machine that were even would fall into step,
// as a timer waits for whoever is at work when it is due, and then all would want the processors at once ten times a second.
func (s *Store) settler(ctx context.Context) {
	timer := time.NewTimer(time.Hour)
	defer timer.Stop()
	wait := settleAfter
	for {
		select {
		case <-ctx.Done():
			return
		case <-s.pending:
		}
		timer.Reset(wait/2 + rand.N(wait))
		select {
		case <-ctx.Done():
			return
		case <-timer.C:
		case <-s.crowded:
		}
		wait = settleAfter
		if err := s.settle(ctx); err != nil { // the next commit tells it
			wait = settleAgain
			wake(s.pending)
		}
	}
}

// settle brings what is pending into the file. When it returns nil, whoever reads the file sees all that was committed before the call.
func (s *Store) settle(ctx context.Context) error {
	s.settling.Lock()
	defer s.settling.Unlock()
	return s.settleAlone(ctx)
}

// settleAlone is settle; settling is held. Memory that does not come back is not told here: it is told to whoever needs it.
func (s *Store) settleAlone(ctx context.Context) error {
	for {
		s.mu.Lock()
		forgotten := s.w == nil
		if forgotten && len(s.frozen) == 0 {
			_, _ = s.rememberLocked(ctx)
		}
		s.freezeLocked()
		s.mu.Unlock()
		if len(s.frozen) == 0 {
			return nil
		}
		err := s.apply(ctx)
		s.mu.Lock()
		if s.failed = err; err == nil {
			s.releaseLocked()
		}
		s.mu.Unlock()
		if err != nil || !forgotten {
			return err
		}
	}
}

// freezeLocked takes what the commits until now have changed out of the writer. settling is held too.
func (s *Store) freezeLocked() {
	if s.w == nil {
		return
	}
	steps := s.w.freeze()
	if len(steps) > 0 || s.upto != s.seq {
		s.upto = s.seq
		s.frozen = append(append(s.frozen, steps...), statement{
			"INSERT INTO journal (id, applied) VALUES (1, ?) ON CONFLICT (id) DO UPDATE SET applied = excluded.applied", []any{int64(s.upto)},
		})
	}
}

// releaseLocked forgets what is in the file now. settling is held too.
func (s *Store) releaseLocked() {
	s.frozen, s.failed = nil, nil
	if s.journal != nil {
		s.journal.Release(s.upto)
	}
}

// apply carries the frozen statements out in one transaction, which it does not give up half way: whoever waits for it may leave. settling is held.
func (s *Store) apply(ctx context.Context) error {
	ctx = context.WithoutCancel(ctx)
	err := s.file.Update(ctx, func(tx *sql.Tx) error { return s.carryOut(ctx, tx) })
	if err == nil {
		s.prepare(ctx)
	}
	return err
}

func (s *Store) carryOut(ctx context.Context, tx *sql.Tx) error {
	for i := range s.frozen {
		step := &s.frozen[i]
		st := s.statements[step.query]
		var err error
		if st != nil {
			_, err = tx.StmtContext(ctx, st).ExecContext(ctx, step.args...)
		} else {
			s.statements[step.query] = nil // prepared after the transaction: only then the one connection is free
			_, err = tx.ExecContext(ctx, step.query, step.args...)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// prepare prepares the statements that were used without. One that does not prepare is used without again.
func (s *Store) prepare(ctx context.Context) {
	for query, st := range s.statements {
		if st == nil {
			if prepared, err := s.write.PrepareContext(ctx, query); err == nil {
				s.statements[query] = prepared
			}
		}
	}
}

// view runs do on a state of the file that has all that was committed before.
func (s *Store) view(ctx context.Context, do func(q querier) error) error {
	err := s.settle(ctx)
	if err == nil {
		return do(s.read)
	}
	if errors.Is(sqlitefile.Classify("settle", err), sqlitefile.ErrDamaged) {
		return err
	}
	// A disk that takes nothing can still be read: what has not got into the file is put there for this one look.
	s.settling.Lock()
	defer s.settling.Unlock()
	tx, err := s.write.BeginTx(ctx, nil)
	if err != nil {
		return err
	}
	defer tx.Rollback() //nolint:errcheck // nothing else is to become of it
	if err := s.carryOut(ctx, tx); err != nil {
		return err
	}
	return do(tx)
}

// alter changes the file beside the commits.
func (s *Store) alter(ctx context.Context, do func(tx *sql.Tx) error) error {
	s.settling.Lock()
	defer s.settling.Unlock()
	if err := s.settleAlone(ctx); err != nil {
		return err
	}
	return s.file.Update(ctx, do)
}

// finish settles for the last time. A home that was left in order has no journal.
func (s *Store) finish() error {
	s.settling.Lock()
	defer s.settling.Unlock()
	err := s.settleAlone(context.Background())
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.journal != nil {
		err = errors.Join(err, s.journal.Close())
		s.journal = nil
	}
	if err == nil && s.w != nil { // without memory nobody has read what the journal holds
		if err = os.Remove(s.journalPath()); errors.Is(err, fs.ErrNotExist) {
			err = nil
		}
	}
	return classify("close history", err)
}
