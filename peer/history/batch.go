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
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := s.rememberLocked(ctx); err != nil {
		return err
	}
	w := &writer{s: s, mem: s.mem, ctx: ctx, orders: map[Ref]int64{}, dirty: map[*run]struct{}{}, renamed: map[*run]struct{}{}}
	err := s.file.Update(ctx, func(tx *sql.Tx) error {
		w.tx = tx
		return w.batch(b)
	})
	if err != nil {
		s.forgetLocked()
		return classify("commit history", err)
	}
	b.Orders, b.Refused = w.orders, w.refused
	s.prepareLocked(ctx)
	return nil
}

// writer carries out one batch inside its transaction. What the batch changes again and again, it writes once, at the end.
type writer struct {
	s       *Store
	mem     *memory
	ctx     context.Context // of this one call to Commit
	tx      *sql.Tx
	orders  map[Ref]int64
	refused int

	tail     *run              // the newest of the visible history, not yet written; nil: none
	copies   *run              // the newest of hidden copies, not yet written
	dirty    map[*run]struct{} // written, and changed since
	renamed  map[*run]struct{} // those of them with other numbers than were written
	accounts map[*account]struct{}
	devices  map[*device]struct{}
}

// exec runs a statement, which is prepared after the transaction if it was not yet: only then the one connection is free.
func (w *writer) exec(query string, args ...any) (sql.Result, error) {
	if st := w.s.statements[query]; st != nil {
		return w.tx.StmtContext(w.ctx, st).ExecContext(w.ctx, args...)
	}
	w.s.statements[query] = nil
	return w.tx.ExecContext(w.ctx, query, args...)
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
	if err := w.flush(); err != nil {
		return err
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
		return w.enqueue(&op.Message)
	case delivery.OpCopy:
		return w.copied(op)
	case delivery.OpProgress:
		return w.change(op.To, op.N, func(_ *run, m *message) { m.state.progress = op.Progress })
	case delivery.OpRead:
		a := w.account(op.To)
		a.seen = max(a.seen, op.Upto)
		return nil
	case delivery.OpVoid:
		return w.change(op.To, op.N, func(_ *run, m *message) { m.state.void, m.state.expires = true, op.Expires })
	case delivery.OpRenumber:
		return w.renumber(op)
	case delivery.OpSettle:
		return w.settle(op)
	case delivery.OpStart:
		w.device(op.Device).start = op.Start
		return nil
	case delivery.OpReceive:
		return w.receive(op)
	case delivery.OpRelease:
		return w.release(op)
	case delivery.OpDrop:
		_, err := w.exec("DELETE FROM held WHERE device = ? AND n = ?", op.Device[:], op.N)
		return err
	case delivery.OpNext:
		d := w.device(op.Device)
		d.next, d.tip = op.Next, op.Tip
		return nil
	case delivery.OpGap:
		_, err := w.exec("INSERT OR IGNORE INTO gaps (device, first, last, after) VALUES (?, ?, ?, ?)", op.Device[:], op.First, op.Last, w.mem.next-1)
		return err
	}
	return fmt.Errorf("no rule for it")
}

// flush writes what the ops have gathered.
func (w *writer) flush() error {
	for _, r := range []*run{w.tail, w.copies} {
		if err := w.insert(r); err != nil {
			return fmt.Errorf("store messages: %w", err)
		}
	}
	w.tail, w.copies = nil, nil
	for r := range w.dirty {
		if err := w.update(r); err != nil {
			return fmt.Errorf("store states: %w", err)
		}
	}
	for a := range w.accounts {
		_, err := w.exec(`INSERT INTO accounts (tag, name, next, tip, seen) VALUES (?, ?, ?, ?, ?)
			ON CONFLICT (tag) DO UPDATE SET next = excluded.next, tip = excluded.tip, seen = excluded.seen`, a.tag[:], a.sealed, a.next, a.tip[:], a.seen)
		if err != nil {
			return fmt.Errorf("store account: %w", err)
		}
	}
	for d := range w.devices {
		_, err := w.exec(`INSERT INTO devices (device, start, next, tip, high) VALUES (?, ?, ?, ?, ?)
			ON CONFLICT (device) DO UPDATE SET start = excluded.start, next = excluded.next, tip = excluded.tip, high = excluded.high`,
			d.device[:], d.start, d.next, d.tip[:], d.high)
		if err != nil {
			return fmt.Errorf("store device: %w", err)
		}
	}
	return nil
}

// insert writes a new run.
func (w *writer) insert(r *run) error {
	if r == nil {
		return nil
	}
	delete(w.dirty, r)
	if r.hidden() && r.open == 0 {
		return nil // it has come and gone in this batch
	}
	first, last := r.span()
	_, err := w.exec("INSERT INTO runs (ord, count, tag, device, first, last, unshown, open, states, sealed) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
		r.ord, len(r.msgs), r.tag[:], r.device[:], first, last, int64(r.unshown), r.open, r.encodeStates(), w.s.box.seal(r.label(), r.encode()))
	return err
}

// update writes the states of a run of our own.
func (w *writer) update(r *run) error {
	if r.hidden() && r.open == 0 {
		_, err := w.exec("DELETE FROM runs WHERE ord = ?", r.ord)
		return err
	}
	if _, renamed := w.renamed[r]; renamed {
		first, last := r.span()
		_, err := w.exec("UPDATE runs SET first = ?, last = ?, sealed = ? WHERE ord = ?", first, last, w.s.box.seal(r.label(), r.encode()), r.ord)
		if err != nil {
			return err
		}
	}
	_, err := w.exec("UPDATE runs SET states = ?, open = ? WHERE ord = ?", r.encodeStates(), r.open, r.ord)
	return err
}

// place puts a message at the end of the history, or of the hidden copies.
func (w *writer) place(like *run, m message) (*run, error) {
	tail := &w.tail
	if like.hidden() {
		tail = &w.copies
	}
	if r := *tail; r == nil || !r.takes(like, &m) {
		if err := w.insert(r); err != nil {
			return nil, err
		}
		if like.hidden() {
			like.ord = w.mem.hidden
			w.mem.hidden--
		} else {
			like.ord = w.mem.next
		}
		*tail = like
	}
	r := *tail
	r.add(m)
	if !r.hidden() {
		w.mem.next++
	}
	return r, nil
}
