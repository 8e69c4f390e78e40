package sqlite

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/byway-chat/byway/crypto/identity"
	"github.com/byway-chat/byway/rendezvous"
	"github.com/byway-chat/byway/rendezvous/relay"
)

const (
	// rowsAtOnce is how many rows one INSERT or DELETE handles: what a statement costs by itself is shared by that many.
	rowsAtOnce = 32
	// mailColumns are the columns of an INSERT, in its order.
	mailColumns = "id, recipient, device, sender, sender_device, submitted, size, envelope"
)

// mailStatements are prepared once: parsing SQL costs more than running it.
type mailStatements struct {
	put1, putMany *sql.Stmt // on the writing connection
	deleteMany    *sql.Stmt // likewise
	page          *sql.Stmt // on the reading ones
}

func (m *mailStatements) prepare(ctx context.Context, db *DB) error {
	const row = "(?, ?, ?, ?, ?, ?, ?, ?)"
	statements := []struct {
		into  **sql.Stmt
		on    *sql.DB
		query string
	}{
		{&m.put1, db.write, "INSERT INTO mailbox (" + mailColumns + ") VALUES " + row},
		{&m.putMany, db.write, "INSERT INTO mailbox (" + mailColumns + ") VALUES " + row + strings.Repeat(", "+row, rowsAtOnce-1)},
		// The plus signs keep the planner on the primary key.
		{&m.deleteMany, db.write, "DELETE FROM mailbox WHERE +recipient = ? AND +device = ? AND id IN (?" +
			strings.Repeat(", ?", rowsAtOnce-1) + ") RETURNING sender, size"},
		{&m.page, db.read, "SELECT id, sender, sender_device, submitted, envelope FROM mailbox " +
			"WHERE recipient = ? AND device = ? AND id > ? ORDER BY id LIMIT ?"},
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
	for _, s := range []*sql.Stmt{m.put1, m.putMany, m.deleteMany, m.page} {
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
	touched := make(map[rendezvous.Username]bool)
	err := db.update(ctx, "write to the mailbox", func(tx *sql.Tx) error {
		if err := db.deleteMail(ctx, tx, b.Deletions, touched); err != nil {
			return err
		}
		puts, err := db.admit(ctx, tx, b, touched)
		if err != nil {
			return err
		}
		return db.insertMail(ctx, tx, puts)
	})
	if err != nil {
		for account := range touched {
			delete(db.usage, account) // it has counted what was undone
		}
	}
	db.usage.trim()
	return err
}

// deleteMail deletes runs of rows of the same address.
func (db *DB) deleteMail(ctx context.Context, tx *sql.Tx, deletions []relay.Deletion, touched map[rendezvous.Username]bool) error {
	if len(deletions) == 0 {
		return nil
	}
	statement := tx.StmtContext(ctx, db.mail.deleteMany)
	args := make([]any, 2+rowsAtOnce)
	for len(deletions) > 0 {
		to, n := deletions[0].To, 0
		args[0], args[1] = string(to.User), to.Device[:]
		for n < len(deletions) && n < rowsAtOnce && deletions[n].To == to {
			args[2+n] = int64(deletions[n].ID)
			n++
		}
		for i := n; i < rowsAtOnce; i++ {
			args[2+i] = 0 // no row has it
		}
		deletions = deletions[n:]
		rows, err := statement.QueryContext(ctx, args...)
		if err != nil {
			return err
		}
		u := db.usage[to.User]
		touched[to.User] = true
		err = each(rows, func() error {
			var sender rendezvous.Username
			var size uint64
			err := rows.Scan(&sender, &size)
			if err == nil && u != nil {
				u.remove(sender, size)
			}
			return err
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// admit numbers the puts that the quota admits and refuses the others.
func (db *DB) admit(ctx context.Context, tx *sql.Tx, b *relay.Batch, touched map[rendezvous.Username]bool) ([]*relay.Put, error) {
	admitted := make([]*relay.Put, 0, len(b.Puts))
	for _, p := range b.Puts {
		u, err := db.usageIn(ctx, tx, p.Envelope.To.User)
		if err != nil {
			return nil, err
		}
		touched[p.Envelope.To.User] = true
		if p.Refused = !u.add(p.Envelope.From.User, uint64(len(p.Envelope.Data)), b.Quota); p.Refused {
			continue
		}
		db.lastID++
		p.ID = db.lastID
		admitted = append(admitted, p)
	}
	return admitted, nil
}

func (db *DB) insertMail(ctx context.Context, tx *sql.Tx, puts []*relay.Put) error {
	if len(puts) == 0 {
		return nil
	}
	one, many := tx.StmtContext(ctx, db.mail.put1), tx.StmtContext(ctx, db.mail.putMany)
	args := make([]any, 0, 8*rowsAtOnce)
	for len(puts) > 0 {
		statement, n := many, rowsAtOnce
		if len(puts) < rowsAtOnce {
			statement, n = one, 1
		}
		args = args[:0]
		for _, p := range puts[:n] {
			e := p.Envelope
			args = append(args, int64(p.ID), string(e.To.User), e.To.Device[:], string(e.From.User), e.From.Device[:],
				millis(e.Submitted), len(e.Data), notNil(e.Data))
		}
		if _, err := statement.ExecContext(ctx, args...); err != nil {
			return err
		}
		puts = puts[n:]
	}
	return nil
}

// Page implements relay.Mailbox.
func (db *DB) Page(ctx context.Context, to relay.Address, after uint64, limit, maxBytes int) ([]relay.Held, error) {
	rows, err := db.mail.page.QueryContext(ctx, string(to.User), to.Device[:], int64(after), limit)
	if err != nil {
		return nil, classify("read the mailbox", err)
	}
	defer rows.Close()
	var page []relay.Held
	for rows.Next() {
		h := relay.Held{Envelope: relay.Envelope{To: to}}
		var device []byte
		var submitted int64
		if err := rows.Scan(&h.ID, &h.From.User, &device, &submitted, &h.Data); err != nil {
			return nil, classify("read the mailbox", err)
		}
		if maxBytes -= len(h.Data); maxBytes < 0 && len(page) > 0 {
			break
		}
		if h.From.Device, err = identity.FingerprintFromBytes(device); err != nil {
			return nil, fmt.Errorf("read the mailbox: %w: %w", ErrDamaged, err)
		}
		h.Submitted = fromMillis(submitted)
		page = append(page, h)
	}
	return page, classify("read the mailbox", rows.Err())
}

// Waiting implements relay.Mailbox.
func (db *DB) Waiting(ctx context.Context, to relay.Address) (relay.Usage, error) {
	return db.sum(ctx, "recipient = ? AND device = ?", string(to.User), to.Device[:])
}

// Usage implements relay.Mailbox.
func (db *DB) Usage(ctx context.Context, account rendezvous.Username) (relay.Usage, error) {
	return db.sum(ctx, "recipient = ?", string(account))
}

func (db *DB) sum(ctx context.Context, where string, args ...any) (relay.Usage, error) {
	var u relay.Usage
	err := db.read.QueryRowContext(ctx, "SELECT count(*), coalesce(sum(size), 0) FROM mailbox WHERE "+where, args...).Scan(&u.Messages, &u.Bytes)
	return u, classify("count the mailbox", err)
}

// Expire implements relay.Mailbox.
func (db *DB) Expire(ctx context.Context, before time.Time, limit int) (int, error) {
	db.mailMu.Lock()
	defer db.mailMu.Unlock()
	n := 0
	var accounts []rendezvous.Username
	err := db.update(ctx, "delete expired mail", func(tx *sql.Tx) error {
		rows, err := tx.QueryContext(ctx, "DELETE FROM mailbox WHERE id IN "+
			"(SELECT id FROM mailbox WHERE submitted < ? ORDER BY submitted LIMIT ?) RETURNING recipient", millis(before), limit)
		if err != nil {
			return err
		}
		return each(rows, func() error {
			var account rendezvous.Username
			err := rows.Scan(&account)
			accounts = append(accounts, account)
			n++
			return err
		})
	})
	for _, account := range accounts {
		delete(db.usage, account)
	}
	if err != nil {
		return 0, err
	}
	return n, nil
}

// Purge implements relay.Mailbox.
func (db *DB) Purge(ctx context.Context, to relay.Address) error {
	db.mailMu.Lock()
	defer db.mailMu.Unlock()
	delete(db.usage, to.User)
	return db.update(ctx, "purge a mailbox", func(tx *sql.Tx) error {
		_, err := tx.ExecContext(ctx, "DELETE FROM mailbox WHERE recipient = ? AND device = ?", string(to.User), to.Device[:])
		return err
	})
}
