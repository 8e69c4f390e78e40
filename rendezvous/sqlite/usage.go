package sqlite

import (
	"context"
	"database/sql"

	"github.com/byway-chat/byway/rendezvous"
	"github.com/byway-chat/byway/rendezvous/relay"
)

// cachedAccounts is how many accounts' usage is remembered; others are counted again when something is put for them.
const cachedAccounts = 16384

// accountUsage is what the mailbox holds for one account, and how much of it is from whom.
type accountUsage struct {
	all    relay.Usage
	sender map[rendezvous.Username]relay.Usage
}

// usageCache spares counting at each put. It is true because nobody else writes to the file, and is guarded by DB.mailMu.
type usageCache map[rendezvous.Username]*accountUsage

// trim forgets accounts, whichever, down to the bound. It must not run between the counting and the end of a transaction.
func (c usageCache) trim() {
	for account := range c {
		if len(c) <= cachedAccounts {
			return
		}
		delete(c, account)
	}
}

// usageIn returns the usage of an account, counting it where it is not remembered.
func (db *DB) usageIn(ctx context.Context, tx *mailTx, account rendezvous.Username) (*accountUsage, error) {
	if u := db.usage[account]; u != nil {
		return u, nil
	}
	rows, err := tx.stmt(ctx, db.mail.usage).QueryContext(ctx, numberBits, numberBits, int64(numberMask), string(account))
	if err != nil {
		return nil, err
	}
	u := &accountUsage{sender: make(map[rendezvous.Username]relay.Usage)}
	err = each(rows, func() error {
		var name sql.NullString
		var one relay.Usage
		err := rows.Scan(&name, &one.Messages, &one.Bytes)
		u.sender[rendezvous.Username(name.String)] = one
		u.all.Messages += one.Messages
		u.all.Bytes += one.Bytes
		return err
	})
	if err != nil {
		return nil, err
	}
	db.usage[account] = u
	return u, nil
}

// add counts an envelope and reports true, or reports false where the quota does not admit it.
func (u *accountUsage) add(sender rendezvous.Username, size uint64, quota relay.Quota) bool {
	one := u.sender[sender]
	if !within(u.all, size, quota.Account) || !within(one, size, quota.Pair) {
		return false
	}
	u.all.Messages++
	u.all.Bytes += size
	u.sender[sender] = relay.Usage{Messages: one.Messages + 1, Bytes: one.Bytes + size}
	return true
}

func (u *accountUsage) remove(sender rendezvous.Username, size uint64) {
	u.all.Messages--
	u.all.Bytes -= size
	one := u.sender[sender]
	if one.Messages <= 1 {
		delete(u.sender, sender)
		return
	}
	u.sender[sender] = relay.Usage{Messages: one.Messages - 1, Bytes: one.Bytes - size}
}

func within(u relay.Usage, size uint64, bound relay.Usage) bool {
	return u.Messages < bound.Messages && u.Bytes+size <= bound.Bytes
}
