package history

import (
	"context"
	"database/sql"
	"fmt"
	"time"

	"github.com/byway-chat/byway/crypto/session"
	"github.com/byway-chat/byway/peer/delivery"
)

// Batch is everything that happened since the last commit and must reach the disk together.
type Batch struct {
	Ops      []delivery.Op
	Contacts []*Contact // whole records, replacing what was stored
	Sessions []Session
	Blocked  []Blocked // to be kept
	Released []int64   // ids of blocked envelopes that have been dealt with

	// Orders is filled in by Commit: where in the history each message that became visible stands.
	Orders map[Ref]int64
	// Refused is filled in by Commit: how many of Blocked were not kept, because a device has too many waiting.
	Refused int
}

// Ref names a received message by its sending device and number.
type Ref struct {
	Device delivery.Device
	N      uint64
}

// Empty reports whether there is nothing to commit.
func (b *Batch) Empty() bool {
	return len(b.Ops)+len(b.Contacts)+len(b.Sessions)+len(b.Blocked)+len(b.Released) == 0
}

// Session is a receiving session as it must survive a restart.
type Session struct {
	ID     session.ID
	Device delivery.Device
	Used   time.Time
	State  []byte // nil: closed; only its ID is remembered, against replays
}

// Blocked is an envelope from a device whose keys the person has not accepted.
type Blocked struct {
	ID       int64 // given by the store
	Account  delivery.Account
	Device   delivery.Device
	Way      delivery.Way
	Envelope []byte
}

// Commit puts the batch on the disk in one transaction and returns after the fsync. On an error nothing of it is stored, and
// the caller must not acknowledge anything that the batch holds. Errors wrap [ErrDiskFull] or [ErrDamaged] where they apply.
func (s *Store) Commit(ctx context.Context, b *Batch) error {
	tx, err := s.write.BeginTx(ctx, nil)
	if err != nil {
		return classify("begin commit", err)
	}
	w := &writer{s: s, ctx: ctx, tx: tx, statements: map[string]*sql.Stmt{}, orders: map[Ref]int64{}}
	if err := w.batch(b); err != nil {
		_ = tx.Rollback() // the error that matters is the one before
		return classify("commit history", err)
	}
	if err := tx.Commit(); err != nil {
		return classify("commit history", err)
	}
	b.Orders, b.Refused = w.orders, w.refused
	return nil
}

// writer carries out one batch inside its transaction. Statements live as long as it does.
type writer struct {
	s          *Store
	ctx        context.Context // of this one call to Commit
	tx         *sql.Tx
	statements map[string]*sql.Stmt
	orders     map[Ref]int64
	refused    int
}

func (w *writer) exec(query string, args ...any) (sql.Result, error) {
	st := w.statements[query]
	if st == nil {
		var err error
		if st, err = w.tx.PrepareContext(w.ctx, query); err != nil {
			return nil, err
		}
		w.statements[query] = st
	}
	return st.ExecContext(w.ctx, args...)
}

func (w *writer) batch(b *Batch) error {
	for _, c := range b.Contacts {
		if err := w.contact(c); err != nil {
			return fmt.Errorf("store contact: %w", err)
		}
	}
	for _, op := range b.Ops {
		if err := w.op(op); err != nil {
			return fmt.Errorf("store %T: %w", op, err)
		}
	}
	for i := range b.Sessions {
		if err := w.session(&b.Sessions[i]); err != nil {
			return fmt.Errorf("store session: %w", err)
		}
	}
	for i := range b.Blocked {
		if err := w.block(&b.Blocked[i]); err != nil {
			return fmt.Errorf("store blocked envelope: %w", err)
		}
	}
	for _, id := range b.Released {
		if _, err := w.exec("DELETE FROM blocked WHERE id = ?", id); err != nil {
			return fmt.Errorf("drop blocked envelope: %w", err)
		}
	}
	return nil
}

func (w *writer) op(op delivery.Op) error {
	switch op := op.(type) {
	case delivery.OpEnqueue:
		return w.enqueue(op.Message)
	case delivery.OpCopy:
		_, err := w.exec("UPDATE copies SET phase = ? WHERE tag = ? AND n = ? AND device = ?", op.Phase, w.s.tag(string(op.To)), op.N, op.Device[:])
		return err
	case delivery.OpProgress:
		return w.progress(op)
	case delivery.OpRead:
		_, err := w.exec("UPDATE messages SET seen = 1 WHERE tag = ? AND own = 1 AND n <= ? AND seen = 0", w.s.tag(string(op.To)), op.Upto)
		return err
	case delivery.OpVoid:
		return w.void(op)
	case delivery.OpSettle:
		return w.settle(op)
	case delivery.OpStart:
		_, err := w.exec(`INSERT INTO devices (device, tag, start, next) VALUES (?, ?, ?, 0)
			ON CONFLICT (device) DO UPDATE SET start = excluded.start`, op.Device[:], w.s.tag(string(op.To)), op.Start)
		return err
	case delivery.OpReceive:
		return w.receive(op)
	case delivery.OpRelease:
		return w.release(op)
	case delivery.OpNext:
		_, err := w.exec(`INSERT INTO devices (device, tag, start, next) VALUES (?, x'', 0, ?)
			ON CONFLICT (device) DO UPDATE SET next = excluded.next`, op.Device[:], op.Next)
		return err
	case delivery.OpGap:
		_, err := w.exec(`INSERT OR IGNORE INTO gaps (device, first, last, after)
			SELECT ?, ?, ?, COALESCE(MAX(ord), 0) FROM messages`, op.Device[:], op.First, op.Last)
		return err
	}
	return fmt.Errorf("no rule for it")
}
