package sqlite

import (
	"cmp"
	"context"
	"database/sql"
	"errors"
	"fmt"
	"sync"

	"github.com/byway-chat/byway/crypto/identity"
	"github.com/byway-chat/byway/rendezvous"
	"github.com/byway-chat/byway/rendezvous/relay"
)

const (
	// numberBits is how many bits of a row's id are the number of the envelope; the others are its recipient's address.
	numberBits = 36
	numberMask = 1<<numberBits - 1
	// cachedAddresses is how many addresses are remembered.
	cachedAddresses = 65536
	// forgottenAddresses is how many are forgotten when there are more.
	forgottenAddresses = 1024
)

// place is a row of the table addresses.
type place struct {
	id   int64
	at   relay.Address
	next uint64 // number of the next envelope for it; 0: not known yet. Guarded by DB.mailMu.
}

// first is the lowest row that an envelope for this address can have, last the highest.
func (p *place) first() int64 { return p.id << numberBits }
func (p *place) last() int64  { return p.first() | numberMask }

// row is the row of an envelope, or one that no envelope has.
func (p *place) row(number uint64) int64 {
	if number > numberMask {
		return -1
	}
	return p.first() | int64(number)
}

// addressCache holds rows that are committed. A row never changes but in its column next. The zero value is ready.
type addressCache struct {
	fewer int // bound in place of cachedAddresses; 0: none. Immutable

	mu sync.Mutex // guards the following
	by map[relay.Address]*place
	of map[int64]*place
}

func (c *addressCache) find(at relay.Address) *place {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.by[at]
}

func (c *addressCache) named(id int64) *place {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.of[id]
}

// add remembers p, or returns what is remembered of the same address already.
func (c *addressCache) add(p *place) *place {
	c.mu.Lock()
	defer c.mu.Unlock()
	if known := c.by[p.at]; known != nil {
		return known
	}
	if c.by == nil {
		c.by, c.of = make(map[relay.Address]*place), make(map[int64]*place)
	}
	c.by[p.at], c.of[p.id] = p, p
	return p
}

func (c *addressCache) remove(places []*place) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, p := range places {
		delete(c.by, p.at)
		delete(c.of, p.id)
	}
}

// surplus returns some places, whichever, when there are more than the bound.
func (c *addressCache) surplus() []*place {
	c.mu.Lock()
	defer c.mu.Unlock()
	if len(c.by) <= cmp.Or(c.fewer, cachedAddresses) {
		return nil
	}
	places := make([]*place, 0, forgottenAddresses)
	for _, p := range c.by {
		if places = append(places, p); len(places) == cap(places) {
			break
		}
	}
	return places
}

// lookUp returns the place of an address as it is committed, or nil where it has none. Without a transaction (nil) it reads beside those that write.
func (db *DB) lookUp(ctx context.Context, tx *mailTx, at relay.Address) (*place, error) {
	if p := db.addresses.find(at); p != nil {
		return p, nil
	}
	statement := db.mail.lookUp
	if tx != nil {
		statement = tx.stmt(ctx, db.mail.find)
	}
	p := &place{at: at}
	err := statement.QueryRowContext(ctx, string(at.User), at.Device[:]).Scan(&p.id)
	if errors.Is(err, sql.ErrNoRows) {
		return nil, nil //nolint:nilnil // nothing was ever kept for it
	} else if err != nil {
		return nil, err
	}
	return db.addresses.add(p), nil
}

// named returns the address of a place; one that damage has taken is the zero Address.
func (db *DB) named(ctx context.Context, id int64) (relay.Address, error) {
	if p := db.addresses.named(id); p != nil {
		return p.at, nil
	}
	p := &place{id: id}
	var device []byte
	err := db.read.QueryRowContext(ctx, "SELECT account, device FROM addresses WHERE id = ?", id).Scan(&p.at.User, &device)
	if errors.Is(err, sql.ErrNoRows) {
		return relay.Address{}, nil
	} else if err != nil {
		return relay.Address{}, err
	}
	if p.at.Device, err = identity.FingerprintFromBytes(device); err != nil {
		return relay.Address{}, fmt.Errorf("%w: %w", ErrDamaged, err)
	}
	return db.addresses.add(p).at, nil
}

// mailTx is a transaction that changes the mailbox, with what is to be forgotten if it fails.
type mailTx struct {
	*sql.Tx
	touched map[rendezvous.Username]bool // accounts whose usage has been changed
	fresh   map[relay.Address]*place     // made in this transaction
	dropped []*place                     // to be forgotten when it has been committed
	bound   map[*sql.Stmt]*sql.Stmt      // prepared statements, as the transaction runs them
}

// stmt is a prepared statement in the transaction, which would make one anew for each call.
func (tx *mailTx) stmt(ctx context.Context, prepared *sql.Stmt) *sql.Stmt {
	bound := tx.bound[prepared]
	if bound == nil {
		bound = tx.StmtContext(ctx, prepared)
		tx.bound[prepared] = bound
	}
	return bound
}

// place returns the place of an address, making it where there is none.
func (db *DB) place(ctx context.Context, tx *mailTx, at relay.Address) (*place, error) {
	if p := tx.fresh[at]; p != nil {
		return p, nil
	}
	p, err := db.lookUp(ctx, tx, at)
	if p != nil || err != nil {
		return p, err
	}
	p = &place{at: at}
	err = tx.stmt(ctx, db.mail.add).QueryRowContext(ctx, string(at.User), at.Device[:]).Scan(&p.id)
	if err != nil {
		return nil, err
	}
	tx.fresh[at] = p
	return p, nil
}

// number gives the next number to an envelope for p.
func (db *DB) number(ctx context.Context, tx *mailTx, p *place) (uint64, error) {
	if p.next == 0 {
		var next, last uint64
		err := tx.stmt(ctx, db.mail.number).QueryRowContext(ctx, int64(numberMask), p.first(), p.last(), p.id).Scan(&next, &last)
		if err != nil {
			return 0, err
		}
		p.next = max(next, last+1)
	}
	if p.next > numberMask {
		return 0, fmt.Errorf("%s has got %d envelopes, which is all there are numbers for", p.at.User, p.next-1)
	}
	p.next++
	return p.next - 1, nil
}

// forgetSurplus writes down the numbers of places that are to be forgotten: they must not be given again while the file is open.
func (db *DB) forgetSurplus(ctx context.Context, tx *mailTx) error {
	for _, p := range db.addresses.surplus() {
		if p.next > 0 {
			if _, err := tx.stmt(ctx, db.mail.numbered).ExecContext(ctx, int64(p.next), p.id); err != nil {
				return err
			}
		}
		tx.dropped = append(tx.dropped, p)
	}
	return nil
}

// updateMail runs f in a transaction that changes the mailbox. mailMu is held.
func (db *DB) updateMail(ctx context.Context, doing string, f func(tx *mailTx) error) error {
	t := &mailTx{
		touched: make(map[rendezvous.Username]bool), fresh: make(map[relay.Address]*place), bound: make(map[*sql.Stmt]*sql.Stmt),
	}
	err := db.update(ctx, doing, func(tx *sql.Tx) error {
		t.Tx = tx
		if err := f(t); err != nil {
			return err
		}
		return db.forgetSurplus(ctx, t)
	})
	if err != nil {
		for account := range t.touched {
			delete(db.usage, account) // it has counted what was undone
		}
		return err
	}
	for _, p := range t.fresh {
		db.addresses.add(p)
	}
	db.addresses.remove(t.dropped)
	db.usage.trim()
	return nil
}
