package history

import (
	"fmt"
	"slices"
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
	ID       int64 // given by Commit; they rise
	Account  delivery.Account
	Device   delivery.Device
	Way      delivery.Way
	Envelope []byte
}

// writer gathers what commits change until it goes to the database in one transaction. What they change again and again is written once.
type writer struct {
	s   *Store // its box and its caches
	mem *memory

	steps    []statement       // in their order
	tail     *run              // the newest of the visible history, not yet written; nil: none
	copies   *run              // the newest of hidden copies, not yet written
	dirty    map[*run]struct{} // written, and changed since
	renamed  map[*run]struct{} // those of them with other numbers than were written
	accounts map[*account]struct{}
	devices  map[*device]struct{}
	contacts map[delivery.Account][]byte // sealed
	sessions map[session.ID]Session

	orders  map[Ref]int64 // of the commit under way
	refused int           // of the commit under way
}

// statement is one change of the database. It shares nothing with the memory.
type statement struct {
	query string
	args  []any
}

func newWriter(s *Store, mem *memory) *writer {
	return &writer{
		s: s, mem: mem, dirty: map[*run]struct{}{}, renamed: map[*run]struct{}{}, accounts: map[*account]struct{}{}, devices: map[*device]struct{}{},
		contacts: map[delivery.Account][]byte{}, sessions: map[session.ID]Session{},
	}
}

func (w *writer) do(query string, args ...any) { w.steps = append(w.steps, statement{query, args}) }

// batch takes in a whole batch. After an error the writer and the memory are good for nothing.
func (w *writer) batch(b *Batch) error {
	w.orders, w.refused = nil, 0
	for _, op := range b.Ops {
		if err := w.op(op); err != nil {
			return fmt.Errorf("store %T: %w", op, err)
		}
	}
	return w.rest(b)
}

// rest takes in everything but the ops.
func (w *writer) rest(b *Batch) error {
	for _, c := range b.Contacts {
		if err := w.contact(c); err != nil {
			return fmt.Errorf("store contact: %w", err)
		}
	}
	for _, x := range b.Sessions {
		w.sessions[x.ID] = x
	}
	for i := range b.Blocked {
		w.block(&b.Blocked[i])
	}
	for _, id := range b.Released {
		w.unblock(id)
	}
	return nil
}

// replay takes in a batch that was committed before, as far as it still fits: after damage, what it goes on from may be gone, and some of it may be there
// already. It returns how many of its ops were left out.
func (w *writer) replay(b *Batch) (left int, err error) {
	for _, op := range b.Ops {
		if w.op(op) != nil {
			left++
		}
	}
	return left, w.rest(b)
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
		w.unhold(op.Device, op.N)
		return nil
	case delivery.OpNext:
		d := w.device(op.Device)
		d.next, d.tip = op.Next, op.Tip
		return nil
	case delivery.OpGap:
		w.do("INSERT OR IGNORE INTO gaps (device, first, last, after) VALUES (?, ?, ?, ?)", op.Device[:], op.First, op.Last, w.mem.next-1)
		return nil
	}
	return fmt.Errorf("no rule for it")
}

// freeze returns everything that was gathered, and begins anew. Memory and its runs may change from now on.
func (w *writer) freeze() []statement {
	w.insert(w.tail)
	w.insert(w.copies)
	w.tail, w.copies = nil, nil
	for r := range w.dirty {
		w.update(r)
	}
	for a := range w.accounts {
		w.do(`INSERT INTO accounts (tag, name, next, tip, seen) VALUES (?, ?, ?, ?, ?)
			ON CONFLICT (tag) DO UPDATE SET next = excluded.next, tip = excluded.tip, seen = excluded.seen`,
			slices.Clone(a.tag[:]), a.sealed, a.next, slices.Clone(a.tip[:]), a.seen)
	}
	for d := range w.devices {
		w.do(`INSERT INTO devices (device, start, next, tip, high) VALUES (?, ?, ?, ?, ?)
			ON CONFLICT (device) DO UPDATE SET start = excluded.start, next = excluded.next, tip = excluded.tip, high = excluded.high`,
			slices.Clone(d.device[:]), d.start, d.next, slices.Clone(d.tip[:]), d.high)
	}
	for name, sealed := range w.contacts {
		w.do("INSERT INTO contacts (tag, sealed) VALUES (?, ?) ON CONFLICT (tag) DO UPDATE SET sealed = excluded.sealed", w.s.tag(string(name)), sealed)
	}
	for _, x := range w.sessions {
		w.session(&x)
	}
	steps := w.steps
	w.steps = nil
	clear(w.dirty)
	clear(w.renamed)
	clear(w.accounts)
	clear(w.devices)
	clear(w.contacts)
	clear(w.sessions)
	return steps
}

// insert writes a new run; nil: there is none.
func (w *writer) insert(r *run) {
	if r == nil {
		return
	}
	delete(w.dirty, r)
	delete(w.renamed, r)
	if r.hidden() && r.open == 0 {
		return // it has come and gone meanwhile
	}
	first, last := r.span()
	w.do("INSERT INTO runs (ord, count, tag, device, first, last, unshown, open, states, sealed) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
		r.ord, len(r.msgs), slices.Clone(r.tag[:]), slices.Clone(r.device[:]), first, last, int64(r.unshown), r.open, r.encodeStates(),
		w.s.box.seal(r.label(), r.encode()))
}

// update writes the states of a run of our own.
func (w *writer) update(r *run) {
	if r.hidden() && r.open == 0 {
		w.do("DELETE FROM runs WHERE ord = ?", r.ord)
		return
	}
	if _, renamed := w.renamed[r]; renamed {
		first, last := r.span()
		w.do("UPDATE runs SET first = ?, last = ?, sealed = ? WHERE ord = ?", first, last, w.s.box.seal(r.label(), r.encode()), r.ord)
	}
	w.do("UPDATE runs SET states = ?, open = ? WHERE ord = ?", r.encodeStates(), r.open, r.ord)
}

// place puts a message at the end of the history, or of the hidden copies.
func (w *writer) place(like *run, m message) *run {
	tail := &w.tail
	if like.hidden() {
		tail = &w.copies
	}
	if r := *tail; r == nil || !r.takes(like, &m) {
		w.insert(r)
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
	return r
}
