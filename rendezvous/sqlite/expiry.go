package sqlite

import (
	"context"
	"database/sql"
	"errors"
	"time"

	"github.com/byway-chat/byway/rendezvous"
	"github.com/byway-chat/byway/rendezvous/relay"
)

// Clock implements relay.Mailbox.
func (db *DB) Clock(ctx context.Context) (relay.Clock, error) {
	var c relay.Clock
	var wall int64
	err := db.read.QueryRowContext(ctx, "SELECT mailbox, wall FROM mailbox_clock").Scan(&c.Mailbox, &wall)
	if errors.Is(err, sql.ErrNoRows) {
		return c, nil
	}
	c.Wall = fromMillis(wall)
	return c, classify("read the mailbox's clock", err)
}

// Expire implements relay.Mailbox.
func (db *DB) Expire(ctx context.Context, now relay.Clock, before relay.Moment, limit int) (int, error) {
	expired, err := db.expired(ctx, before, limit)
	if err != nil {
		return 0, classify("look for expired mail", err)
	}
	db.mailMu.Lock()
	defer db.mailMu.Unlock()
	n := 0
	err = db.updateMail(ctx, "delete expired mail", func(tx *mailTx) error {
		_, err := tx.ExecContext(ctx, "INSERT OR REPLACE INTO mailbox_clock (one, mailbox, wall) VALUES (1, ?, ?)", int64(now.Mailbox), millis(now.Wall))
		if err != nil {
			return err
		}
		for _, p := range expired {
			tx.touched[p.at.User] = true
			delete(db.usage, p.at.User)
			result, err := tx.ExecContext(ctx, "DELETE FROM mailbox WHERE id IN "+
				"(SELECT id FROM mailbox WHERE id BETWEEN ? AND ? AND kept < ? ORDER BY id LIMIT ?)", p.first(), p.last(), int64(before), limit-n)
			if err != nil {
				return err
			}
			deleted, err := result.RowsAffected()
			if err != nil {
				return err
			}
			if n += int(deleted); n >= limit {
				return nil
			}
		}
		return nil
	})
	if err != nil {
		return 0, err
	}
	return n, nil
}

// expired returns at most limit places whose oldest envelope was kept before a moment: those for one place lie in the order of that.
func (db *DB) expired(ctx context.Context, before relay.Moment, limit int) ([]*place, error) {
	var places []*place
	for after := int64(0); len(places) < limit; {
		var id, kept int64
		err := db.read.QueryRowContext(ctx, "SELECT id, kept FROM mailbox WHERE id > ? ORDER BY id LIMIT 1", after).Scan(&id, &kept)
		if errors.Is(err, sql.ErrNoRows) {
			return places, nil
		} else if err != nil {
			return nil, err
		}
		p := &place{id: id >> numberBits}
		after = p.last()
		if kept >= int64(before) {
			continue
		}
		if p.at, err = db.named(ctx, p.id); err != nil {
			return nil, err
		}
		places = append(places, p)
	}
	return places, nil
}

// maxRefusers is how many accounts the refusals of one device are kept apart by. Those beyond are counted as one.
const maxRefusers = 64

// refuser is a device that was not given something, and the account that wanted to.
type refuser struct {
	to   relay.Address
	from rendezvous.Username
}

// noteRefusals counts envelopes that were refused.
func (db *DB) noteRefusals(ctx context.Context, tx *mailTx, refused []*relay.Envelope) error {
	count := make(map[refuser]int)
	for _, e := range refused {
		count[refuser{e.To, e.From.User}]++
	}
	for r, n := range count {
		p, err := db.place(ctx, tx, r.to)
		if err != nil {
			return err
		}
		var since time.Time
		for _, e := range refused {
			if e.To == r.to && e.From.User == r.from {
				since = e.Submitted
				break
			}
		}
		var known, others int
		err = tx.QueryRowContext(ctx, "SELECT coalesce(sum(sender = ?), 0), count(*) FROM refusals WHERE address = ?",
			string(r.from), p.id).Scan(&known, &others)
		if err != nil {
			return err
		}
		if known == 0 && others >= maxRefusers {
			r.from = ""
		}
		db.lastMark++
		_, err = tx.ExecContext(ctx, "INSERT INTO refusals (address, sender, messages, since, mark) VALUES (?, ?, ?, ?, ?) "+
			"ON CONFLICT DO UPDATE SET messages = messages + excluded.messages, mark = excluded.mark",
			p.id, string(r.from), n, millis(since), int64(db.lastMark))
		if err != nil {
			return err
		}
	}
	return nil
}

// forgetRefusals forgets what devices have told their persons.
func (db *DB) forgetRefusals(ctx context.Context, tx *mailTx, told []relay.Told) error {
	for _, t := range told {
		p, err := db.lookUp(ctx, tx, t.To)
		if p == nil && err == nil {
			continue
		}
		if err == nil {
			_, err = tx.ExecContext(ctx, "DELETE FROM refusals WHERE address = ? AND mark <= ?", p.id, int64(t.Mark))
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// Refusals implements relay.Mailbox.
func (db *DB) Refusals(ctx context.Context, to relay.Address) (relay.Refusals, error) {
	var r relay.Refusals
	p, err := db.lookUp(ctx, nil, to)
	if p == nil || err != nil {
		return r, classify("count what was refused", err)
	}
	var since int64
	err = db.read.QueryRowContext(ctx, "SELECT coalesce(max(mark), 0), coalesce(sum(messages), 0), count(*), coalesce(min(since), 0) "+
		"FROM refusals WHERE address = ?", p.id).Scan(&r.Mark, &r.Messages, &r.Accounts, &since)
	r.Since = fromMillis(since)
	return r, classify("count what was refused", err)
}
