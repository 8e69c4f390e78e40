package sqlite

import (
	"cmp"
	"context"
	"database/sql"
	"errors"
	"slices"
	"strings"

	"github.com/byway-chat/byway/crypto/identity"
	"github.com/byway-chat/byway/rendezvous"
	"github.com/byway-chat/byway/rendezvous/relay"
)

// rowsAtOnce is how many rows one INSERT handles: what a statement costs by itself is shared by that many.
const rowsAtOnce = 64

// mailStatements are prepared once: parsing SQL costs more than running it.
type mailStatements struct {
	put1, putMany               *sql.Stmt // on the writing connection
	deleteRun                   *sql.Stmt // likewise
	find, add, number, numbered *sql.Stmt // likewise, for addresses
	usage                       *sql.Stmt // likewise, of an account
	page, sum                   *sql.Stmt // on the reading ones
	lookUp                      *sql.Stmt // likewise: find
}

const findAddress = "SELECT id FROM addresses WHERE account = ? AND device = ?"

func (m *mailStatements) prepare(ctx context.Context, db *DB) error {
	const row = "(?, ?, ?, ?, ?)"
	const insert = "INSERT INTO mailbox (id, sender, kept, submitted, envelope) VALUES " + row
	statements := []struct {
		into  **sql.Stmt
		on    *sql.DB
		query string
	}{
		{&m.put1, db.write, insert},
		{&m.putMany, db.write, insert + strings.Repeat(", "+row, rowsAtOnce-1)},
		{&m.deleteRun, db.write, "DELETE FROM mailbox WHERE id BETWEEN ? AND ?"},
		{&m.find, db.write, findAddress},
		{&m.add, db.write, "INSERT INTO addresses (account, device) VALUES (?, ?) RETURNING id"},
		{
			&m.number, db.write,
			"SELECT next, (SELECT coalesce(max(id), 0) & ? FROM mailbox WHERE id BETWEEN ? AND ?) FROM addresses WHERE id = ?",
		},
		{&m.numbered, db.write, "UPDATE addresses SET next = ? WHERE id = ?"},
		{
			&m.usage, db.write,
			"SELECT s.account, count(*), sum(length(m.envelope)) FROM addresses r " +
				"JOIN mailbox m ON m.id BETWEEN r.id << ? AND r.id << ? | ? LEFT JOIN addresses s ON s.id = m.sender WHERE r.account = ? GROUP BY s.account",
		},
		{&m.lookUp, db.read, findAddress},
		{&m.page, db.read, "SELECT id, sender, submitted, envelope FROM mailbox WHERE id > ? AND id <= ? ORDER BY id LIMIT ?"},
		{&m.sum, db.read, "SELECT count(*), coalesce(sum(length(envelope)), 0) FROM mailbox WHERE id BETWEEN ? AND ?"},
	}
	for _, s := range statements {
		var err error
		if *s.into, err = s.on.PrepareContext(ctx, s.query); err != nil {
			return classify("prepare the mailbox", err)
		}
	}
	return nil
}

func (m *mailStatements) close() error {
	var errs []error
	for _, s := range []*sql.Stmt{m.put1, m.putMany, m.deleteRun, m.find, m.add, m.number, m.numbered, m.usage, m.lookUp, m.page, m.sum} {
		if s != nil {
			errs = append(errs, s.Close())
		}
	}
	return errors.Join(errs...)
}

// Apply implements relay.Mailbox.
func (db *DB) Apply(ctx context.Context, b *relay.Batch) error {
	db.mailMu.Lock()
	defer db.mailMu.Unlock()
	return db.updateMail(ctx, "write to the mailbox", func(tx *mailTx) error {
		if err := db.deleteMail(ctx, tx, b.Deletions); err != nil {
			return err
		}
		if err := db.forgetRefusals(ctx, tx, b.Told); err != nil {
			return err
		}
		rows, refused, err := db.admit(ctx, tx, b)
		if err != nil {
			return err
		}
		if err := db.noteRefusals(ctx, tx, refused); err != nil {
			return err
		}
		return db.insertMail(ctx, tx, rows, b.Kept)
	})
}

// deleteMail deletes runs of envelopes for the same address whose numbers follow one another, which is how they are taken.
func (db *DB) deleteMail(ctx context.Context, tx *mailTx, deletions []relay.Deletion) error {
	if len(deletions) == 0 {
		return nil
	}
	statement := tx.stmt(ctx, db.mail.deleteRun)
	for len(deletions) > 0 {
		n := 1
		for n < len(deletions) && deletions[n].To == deletions[0].To && deletions[n].ID == deletions[n-1].ID+1 {
			n++
		}
		run := deletions[:n]
		deletions = deletions[n:]
		p, err := db.lookUp(ctx, tx, run[0].To)
		if err != nil {
			return err
		}
		if p == nil || run[n-1].ID > numberMask {
			continue
		}
		result, err := statement.ExecContext(ctx, p.row(run[0].ID), p.row(run[n-1].ID))
		if err != nil {
			return err
		}
		deleted, err := result.RowsAffected()
		if err != nil {
			return err
		}
		db.countDeleted(tx, run, int(deleted))
	}
	return nil
}

// countDeleted takes a run of deletions out of its account's usage, of which so many were done.
func (db *DB) countDeleted(tx *mailTx, run []relay.Deletion, deleted int) {
	account := run[0].To.User
	u := db.usage[account]
	if u == nil || deleted == 0 {
		return
	}
	if deleted < len(run) {
		delete(db.usage, account) // some had gone before: it is counted anew
		return
	}
	tx.touched[account] = true
	for _, d := range run {
		u.remove(d.From, d.Size)
	}
}

// mailRow is an envelope on its way into the table.
type mailRow struct {
	id, sender int64
	envelope   *relay.Envelope
}

// admit numbers the puts that the quota admits and refuses the others, which it returns as well.
func (db *DB) admit(ctx context.Context, tx *mailTx, b *relay.Batch) (rows []mailRow, refused []*relay.Envelope, err error) {
	rows = make([]mailRow, 0, len(b.Puts))
	for _, put := range b.Puts {
		e := put.Envelope
		u, err := db.usageIn(ctx, tx, e.To.User)
		if err != nil {
			return nil, nil, err
		}
		tx.touched[e.To.User] = true
		if put.Refused = !u.add(e.From.User, uint64(len(e.Data)), b.Quota); put.Refused {
			refused = append(refused, e)
			continue
		}
		to, err := db.place(ctx, tx, e.To)
		if err != nil {
			return nil, nil, err
		}
		from, err := db.place(ctx, tx, e.From)
		if err != nil {
			return nil, nil, err
		}
		if put.ID, err = db.number(ctx, tx, to); err != nil {
			return nil, nil, err
		}
		rows = append(rows, mailRow{id: to.row(put.ID), sender: from.id, envelope: e})
	}
	return rows, refused, nil
}

func (db *DB) insertMail(ctx context.Context, tx *mailTx, rows []mailRow, kept relay.Moment) error {
	if len(rows) == 0 {
		return nil
	}
	// Those for one device lie beside one another then, and SQLite finds their place at once.
	slices.SortFunc(rows, func(a, b mailRow) int { return cmp.Compare(a.id, b.id) })
	one, many := tx.stmt(ctx, db.mail.put1), tx.stmt(ctx, db.mail.putMany)
	args := make([]any, 0, 5*rowsAtOnce)
	now := any(int64(kept))
	for len(rows) > 0 {
		statement, n := many, rowsAtOnce
		if len(rows) < rowsAtOnce {
			statement, n = one, 1
		}
		args = args[:0]
		for _, r := range rows[:n] {
			args = append(args, r.id, r.sender, now, millis(r.envelope.Submitted), notNil(r.envelope.Data))
		}
		if _, err := statement.ExecContext(ctx, args...); err != nil {
			return err
		}
		rows = rows[n:]
	}
	return nil
}

// Page implements relay.Mailbox.
func (db *DB) Page(ctx context.Context, to relay.Address, after uint64, limit, maxBytes int) ([]relay.Held, error) {
	p, err := db.lookUp(ctx, nil, to)
	if err != nil {
		return nil, classify("read the mailbox", err)
	}
	if p == nil || after >= numberMask {
		return nil, nil
	}
	rows, err := db.mail.page.QueryContext(ctx, p.row(after), p.last(), limit)
	if err != nil {
		return nil, classify("read the mailbox", err)
	}
	defer rows.Close()
	var page []relay.Held
	for rows.Next() {
		h := relay.Held{Envelope: relay.Envelope{To: to}}
		var id, sender, submitted int64
		if err := rows.Scan(&id, &sender, &submitted, &h.Data); err != nil {
			return nil, classify("read the mailbox", err)
		}
		if maxBytes -= len(h.Data); maxBytes < 0 && len(page) > 0 {
			break
		}
		if h.From, err = db.named(ctx, sender); err != nil {
			return nil, classify("read the mailbox", err)
		}
		h.ID, h.Submitted = uint64(id&numberMask), fromMillis(submitted)
		page = append(page, h)
	}
	return page, classify("read the mailbox", rows.Err())
}

// Waiting implements relay.Mailbox.
func (db *DB) Waiting(ctx context.Context, to relay.Address) (relay.Usage, error) {
	var u relay.Usage
	p, err := db.lookUp(ctx, nil, to)
	if p != nil && err == nil {
		err = db.mail.sum.QueryRowContext(ctx, p.first(), p.last()).Scan(&u.Messages, &u.Bytes)
	}
	return u, classify("count the mailbox", err)
}

// Usage implements relay.Mailbox.
func (db *DB) Usage(ctx context.Context, account rendezvous.Username) (relay.Usage, error) {
	var all relay.Usage
	rows, err := db.read.QueryContext(ctx, "SELECT device FROM addresses WHERE account = ?", string(account))
	if err != nil {
		return all, classify("count the mailbox", err)
	}
	var devices []identity.Fingerprint
	err = each(rows, func() error {
		var device []byte
		if err := rows.Scan(&device); err != nil {
			return err
		}
		fingerprint, err := identity.FingerprintFromBytes(device)
		devices = append(devices, fingerprint)
		return err
	})
	if err != nil {
		return all, classify("count the mailbox", err)
	}
	for _, device := range devices {
		u, err := db.Waiting(ctx, relay.Address{User: account, Device: device})
		if err != nil {
			return all, err
		}
		all.Messages += u.Messages
		all.Bytes += u.Bytes
	}
	return all, nil
}

// Purge implements relay.Mailbox.
func (db *DB) Purge(ctx context.Context, to relay.Address) error {
	db.mailMu.Lock()
	defer db.mailMu.Unlock()
	delete(db.usage, to.User)
	return db.updateMail(ctx, "purge a mailbox", func(tx *mailTx) error {
		p, err := db.lookUp(ctx, tx, to)
		if p == nil || err != nil {
			return err
		}
		if _, err := tx.stmt(ctx, db.mail.deleteRun).ExecContext(ctx, p.first(), p.last()); err != nil {
			return err
		}
		_, err = tx.ExecContext(ctx, "DELETE FROM refusals WHERE address = ?", p.id)
		return err
	})
}
