package history

import (
	"context"
	"database/sql"
	"fmt"
	"time"

	"github.com/byway-chat/byway/crypto/session"
	"github.com/byway-chat/byway/peer/delivery"
)

// memory is what the writer would otherwise have to ask the file for again and again: the numbers, and the messages that are in the outbox. It
// is as the last commit has left it, whether that stands in the file or, as yet, in the journal. After a commit that has failed it is read anew.
type memory struct {
	next     int64 // place of the next message in the history
	hidden   int64 // of the next run of hidden copies; negative
	accounts map[delivery.Account]*account
	devices  map[delivery.Device]*device
	outbox   map[outboxKey]place
	tags     map[delivery.Account][16]byte // of accounts to which nothing was written
	used     map[session.ID]time.Time      // when sessions were used, as far as the file says so
	held     map[Ref]delivery.Incoming

	blocked     map[int64]delivery.Device // by the ids of the envelopes that wait
	waiting     map[delivery.Device]int   // how many of them
	lastBlocked int64                     // the highest id that was given
}

func newMemory() *memory {
	return &memory{
		next: 1, hidden: -1,
		accounts: map[delivery.Account]*account{}, devices: map[delivery.Device]*device{}, outbox: map[outboxKey]place{},
		tags: map[delivery.Account][16]byte{}, used: map[session.ID]time.Time{}, held: map[Ref]delivery.Incoming{},
		blocked: map[int64]delivery.Device{}, waiting: map[delivery.Device]int{},
	}
}

// account is a row of the table accounts.
type account struct {
	tag    [16]byte
	name   delivery.Account
	sealed []byte // its name
	next   uint64
	tip    delivery.Link
	seen   uint64
}

// device is a row of the table devices.
type device struct {
	device            delivery.Device
	start, next, high uint64
	tip               delivery.Link
}

// outboxKey names a message of the outbox.
type outboxKey struct {
	to delivery.Account
	n  uint64
}

// place is where a message of the outbox stands.
type place struct {
	run *run
	i   int
}

// recall makes a memory from the file.
func (s *Store) recall(ctx context.Context) (*memory, error) {
	mem := newMemory()
	steps := []struct {
		query string
		row   func(*sql.Rows) error
	}{
		{"SELECT ord + count FROM runs WHERE ord > 0 ORDER BY ord DESC LIMIT 1", func(r *sql.Rows) error { return r.Scan(&mem.next) }},
		{"SELECT ord - 1 FROM runs WHERE ord < 0 ORDER BY ord LIMIT 1", func(r *sql.Rows) error { return r.Scan(&mem.hidden) }},
		{"SELECT tag, name, next, tip, seen FROM accounts", func(r *sql.Rows) error { return s.accountRow(r, mem) }},
		{"SELECT device, start, next, tip, high FROM devices", func(r *sql.Rows) error { return deviceRow(r, mem) }},
		{columns + "WHERE open > 0", func(r *sql.Rows) error { return s.openRow(r, mem) }},
		{"SELECT device, n, sealed FROM held", func(r *sql.Rows) error { return s.heldRow(r, mem) }},
		{"SELECT id, device FROM blocked", func(r *sql.Rows) error { return blockedRow(r, mem) }},
		{"SELECT seq FROM sqlite_sequence WHERE name = 'blocked'", func(r *sql.Rows) error { return r.Scan(&mem.lastBlocked) }},
	}
	for _, step := range steps {
		if err := each(ctx, s.write, step.query, step.row); err != nil {
			return nil, classify("read outbox", err)
		}
	}
	return mem, nil
}

// querier is a connection, a pool of them, or a transaction.
type querier interface {
	QueryContext(ctx context.Context, query string, args ...any) (*sql.Rows, error)
	QueryRowContext(ctx context.Context, query string, args ...any) *sql.Row
}

// each calls row for each row of a query.
func each(ctx context.Context, q querier, query string, row func(*sql.Rows) error, args ...any) error {
	rows, err := q.QueryContext(ctx, query, args...)
	if err != nil {
		return err
	}
	defer rows.Close()
	for rows.Next() {
		if err := row(rows); err != nil {
			return err
		}
	}
	return rows.Err()
}

func accountLabel(tag []byte) string { return fmt.Sprintf("account %x", tag) }

func (s *Store) accountRow(r *sql.Rows, mem *memory) error {
	var a account
	var tag, tip []byte
	if err := r.Scan(&tag, &a.sealed, &a.next, &tip, &a.seen); err != nil {
		return err
	}
	name, err := s.box.open(accountLabel(tag), a.sealed)
	if err != nil {
		return err
	}
	copy(a.tag[:], tag)
	copy(a.tip[:], tip)
	a.name = delivery.Account(name)
	mem.accounts[a.name] = &a
	return nil
}

func deviceRow(r *sql.Rows, mem *memory) error {
	var d device
	var fp, tip []byte
	if err := r.Scan(&fp, &d.start, &d.next, &tip, &d.high); err != nil {
		return err
	}
	copy(d.tip[:], tip)
	copy(d.device[:], fp)
	mem.devices[d.device] = &d
	return nil
}

func blockedRow(r *sql.Rows, mem *memory) error {
	var id int64
	var fp []byte
	if err := r.Scan(&id, &fp); err != nil {
		return err
	}
	var d delivery.Device
	copy(d[:], fp)
	mem.blocked[id] = d
	mem.waiting[d]++
	return nil
}

func (s *Store) openRow(rows *sql.Rows, mem *memory) error {
	r, err := s.scan(rows)
	if err != nil {
		return err
	}
	r.open = 0
	for i := range r.msgs {
		if !r.msgs[i].state.settled {
			mem.outbox[outboxKey{r.peer, r.msgs[i].n}] = place{r, i}
			r.open++
		}
	}
	return nil
}

// account returns what is known of an account, which is going to change.
func (w *writer) account(name delivery.Account) *account {
	a := w.mem.accounts[name]
	if a == nil {
		a = &account{name: name, next: 1}
		copy(a.tag[:], w.s.tag(string(name)))
		a.sealed = w.s.box.seal(accountLabel(a.tag[:]), []byte(name))
		w.mem.accounts[name] = a
	}
	w.accounts[a] = struct{}{}
	return a
}

// device returns what is known of a device, which is going to change.
func (w *writer) device(fp delivery.Device) *device {
	d := w.mem.devices[fp]
	if d == nil {
		d = &device{device: fp}
		w.mem.devices[fp] = d
	}
	w.devices[d] = struct{}{}
	return d
}
