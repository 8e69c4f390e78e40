package sqlite

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/libp2p/go-libp2p/core/peer"

	"github.com/byway-chat/byway/crypto/identity"
	"github.com/byway-chat/byway/rendezvous"
	"github.com/byway-chat/byway/rendezvous/directory"
)

const (
	accountColumns = "name, skeleton, created, password, entry, seq, banned, ban_reason"
	deviceColumns  = "account, fingerprint, peer_id, added, last_seen, bundle, bundle_seq, peer_record"
)

// accountByName reads an account with its devices by one statement, which sees one state of the file. A sign-in is little else.
const accountByName = joinedColumns + "d.peer_record" + joinedByName

// An account with its devices, as scanBoth reads it; between the two stands what the last column, the peer record, is to be.
const (
	joinedColumns = "SELECT " + accountColumns + ", d.account, d.fingerprint, d.peer_id, d.added, d.last_seen, d.bundle, d.bundle_seq, "
	joinedByName  = " FROM accounts LEFT JOIN devices d ON d.account = accounts.name WHERE accounts.name = ? ORDER BY d.rowid"
)

// Account implements directory.Store.
func (db *DB) Account(ctx context.Context, name rendezvous.Username) (*directory.Account, error) {
	return oneAccount(db.byName.QueryContext(ctx, string(name)))
}

// oneAccount reads what accountByName or shownByName has found.
func oneAccount(rows *sql.Rows, err error) (*directory.Account, error) {
	if err != nil {
		return nil, classify("read an account", err)
	}
	var a *directory.Account
	err = each(rows, func() error {
		found, d, err := scanBoth(rows)
		if err != nil {
			return err
		}
		if a == nil {
			a = found
		}
		if d != nil {
			a.Devices = append(a.Devices, *d)
		}
		return nil
	})
	if err == nil && a == nil {
		err = directory.ErrNotFound
	}
	if err != nil {
		return nil, classify("read an account", err)
	}
	return a, nil
}

func accountIn(ctx context.Context, tx *sql.Tx, name rendezvous.Username) (*directory.Account, error) {
	found, err := accountsIn(ctx, tx,
		"SELECT "+accountColumns+" FROM accounts WHERE name = ?",
		"SELECT "+deviceColumns+" FROM devices WHERE account = ? ORDER BY rowid", string(name))
	if err != nil {
		return nil, err
	}
	if len(found) == 0 {
		return nil, directory.ErrNotFound
	}
	return found[0], nil
}

// Accounts implements directory.Store.
func (db *DB) Accounts(ctx context.Context, after rendezvous.Username, limit int) ([]*directory.Account, error) {
	var accounts []*directory.Account
	err := db.view(ctx, "list accounts", func(tx *sql.Tx) error {
		var err error
		accounts, err = accountsIn(ctx, tx,
			"SELECT "+accountColumns+" FROM accounts WHERE name > ? ORDER BY name LIMIT ?",
			"SELECT "+deviceColumns+" FROM devices WHERE account IN (SELECT name FROM accounts WHERE name > ? ORDER BY name LIMIT ?) ORDER BY rowid",
			string(after), limit)
		return err
	})
	return accounts, err
}

// accountsIn reads accounts and their devices by two queries with the same arguments.
func accountsIn(ctx context.Context, tx *sql.Tx, accounts, devices string, args ...any) ([]*directory.Account, error) {
	rows, err := tx.QueryContext(ctx, accounts, args...)
	if err != nil {
		return nil, err
	}
	var found []*directory.Account
	byName := make(map[rendezvous.Username]*directory.Account)
	err = each(rows, func() error {
		a, err := scanAccount(rows)
		if err == nil {
			found = append(found, a)
			byName[a.Name] = a
		}
		return err
	})
	if err != nil {
		return nil, err
	}
	if rows, err = tx.QueryContext(ctx, devices, args...); err != nil {
		return nil, err
	}
	err = each(rows, func() error {
		name, d, err := scanDevice(rows)
		if a := byName[name]; err == nil && a != nil {
			a.Devices = append(a.Devices, d)
		}
		return err
	})
	return found, err
}

// each calls f for every row and closes rows.
func each(rows *sql.Rows, f func() error) error {
	defer rows.Close()
	for rows.Next() {
		if err := f(); err != nil {
			return err
		}
	}
	return rows.Err()
}

// accountRow takes the columns of an account.
type accountRow struct {
	a       directory.Account
	created int64
	banned  sql.NullInt64
	reason  string
}

func (r *accountRow) columns() []any {
	return []any{&r.a.Name, &r.a.Skeleton, &r.created, &r.a.Password, &r.a.Entry, &r.a.Seq, &r.banned, &r.reason}
}

func (r *accountRow) account() *directory.Account {
	r.a.Created = fromMillis(r.created)
	if r.banned.Valid {
		r.a.Ban = &directory.Ban{Since: fromMillis(r.banned.Int64), Reason: r.reason}
	}
	return &r.a
}

// deviceRow takes the columns of a device, or NULL in each of them for none.
type deviceRow struct {
	d                   directory.Device
	account             sql.NullString
	fingerprint, peerID []byte
	added, seen, seq    sql.NullInt64
}

func (r *deviceRow) columns() []any {
	return []any{&r.account, &r.fingerprint, &r.peerID, &r.added, &r.seen, &r.d.Bundle, &r.seq, &r.d.PeerRecord}
}

func (r *deviceRow) device() (*directory.Device, error) {
	var err error
	if r.d.Fingerprint, err = identity.FingerprintFromBytes(r.fingerprint); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrDamaged, err)
	}
	r.d.PeerID, r.d.Added, r.d.LastSeen = peer.ID(r.peerID), fromMillis(r.added.Int64), fromMillis(r.seen.Int64)
	r.d.BundleSeq = uint64(r.seq.Int64)
	return &r.d, nil
}

func scanAccount(rows *sql.Rows) (*directory.Account, error) {
	var r accountRow
	if err := rows.Scan(r.columns()...); err != nil {
		return nil, err
	}
	return r.account(), nil
}

func scanDevice(rows *sql.Rows) (rendezvous.Username, directory.Device, error) {
	var r deviceRow
	if err := rows.Scan(r.columns()...); err != nil {
		return "", directory.Device{}, err
	}
	d, err := r.device()
	if err != nil {
		return "", directory.Device{}, err
	}
	return rendezvous.Username(r.account.String), *d, nil
}

// scanBoth reads a row of accountByName; the device is nil where the account has none.
func scanBoth(rows *sql.Rows) (*directory.Account, *directory.Device, error) {
	var a accountRow
	var d deviceRow
	if err := rows.Scan(append(a.columns(), d.columns()...)...); err != nil {
		return nil, nil, err
	}
	if !d.account.Valid {
		return a.account(), nil, nil
	}
	device, err := d.device()
	return a.account(), device, err
}

// Names implements directory.Store.
func (db *DB) Names(ctx context.Context, after rendezvous.Username, limit int) ([]rendezvous.Username, error) {
	const query = "SELECT name FROM accounts WHERE name > ? AND banned IS NULL ORDER BY name LIMIT ?"
	rows, err := db.read.QueryContext(ctx, query, string(after), limit)
	return namesIn(rows, err, "list names")
}

// namesIn reads a query's one column. what is what a failure was in.
func namesIn(rows *sql.Rows, err error, what string) ([]rendezvous.Username, error) {
	var names []rendezvous.Username
	if err == nil {
		err = each(rows, func() error {
			var name rendezvous.Username
			err := rows.Scan(&name)
			names = append(names, name)
			return err
		})
	}
	return names, classify(what, err)
}

// Owner implements directory.Store.
func (db *DB) Owner(ctx context.Context, device identity.Fingerprint) (rendezvous.Username, error) {
	var name rendezvous.Username
	err := db.owner.QueryRowContext(ctx, device[:]).Scan(&name)
	if errors.Is(err, sql.ErrNoRows) {
		err = directory.ErrNotFound
	}
	return name, classify("look up a device", err)
}

// Create implements directory.Store.
func (db *DB) Create(ctx context.Context, a *directory.Account, invite *directory.InviteID) error {
	return db.update(ctx, "create an account", func(tx *sql.Tx) error {
		var taken bool
		err := tx.QueryRowContext(ctx, "SELECT EXISTS (SELECT 1 FROM accounts WHERE name = ? OR skeleton = ?)",
			string(a.Name), a.Skeleton).Scan(&taken)
		if err != nil {
			return err
		}
		if taken {
			return directory.ErrNameTaken
		}
		if invite != nil {
			if err := useInvite(ctx, tx, *invite, a.Created); err != nil {
				return err
			}
		}
		_, err = tx.ExecContext(ctx, "INSERT INTO accounts ("+accountColumns+") VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
			string(a.Name), a.Skeleton, millis(a.Created), a.Password, a.Entry, a.Seq, banColumn(a.Ban), banReason(a.Ban))
		if err != nil {
			return err
		}
		return insertDevices(ctx, tx, a.Name, a.Devices)
	})
}

func banColumn(b *directory.Ban) sql.NullInt64 {
	if b == nil {
		return sql.NullInt64{}
	}
	return sql.NullInt64{Int64: b.Since.UnixMilli(), Valid: true}
}

func banReason(b *directory.Ban) string {
	if b == nil {
		return ""
	}
	return b.Reason
}

func insertDevices(ctx context.Context, tx *sql.Tx, account rendezvous.Username, devices []directory.Device) error {
	for _, d := range devices {
		var taken bool
		err := tx.QueryRowContext(ctx, "SELECT EXISTS (SELECT 1 FROM devices WHERE fingerprint = ? OR peer_id = ?)",
			d.Fingerprint[:], []byte(d.PeerID)).Scan(&taken)
		if err != nil {
			return err
		}
		if taken {
			return directory.ErrKeyTaken
		}
		_, err = tx.ExecContext(ctx, "INSERT INTO devices ("+deviceColumns+") VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
			string(account), d.Fingerprint[:], []byte(d.PeerID), millis(d.Added), millis(d.LastSeen), notNil(d.Bundle), d.BundleSeq, d.PeerRecord)
		if err != nil {
			return err
		}
	}
	return nil
}

// notNil keeps an empty blob from becoming NULL.
func notNil(b []byte) []byte {
	if b == nil {
		return []byte{}
	}
	return b
}

// Replace implements directory.Store.
func (db *DB) Replace(ctx context.Context, a *directory.Account, oldSeq uint64) error {
	return db.update(ctx, "replace a directory entry", func(tx *sql.Tx) error {
		held, err := accountIn(ctx, tx, a.Name)
		if err != nil {
			return err
		}
		if held.Seq != oldSeq {
			return directory.ErrConflict
		}
		_, err = tx.ExecContext(ctx, "UPDATE accounts SET entry = ?, seq = ? WHERE name = ?", a.Entry, a.Seq, string(a.Name))
		if err != nil {
			return err
		}
		in := func(devices []directory.Device) func(directory.Device) bool {
			return func(d directory.Device) bool {
				return slices.ContainsFunc(devices, func(e directory.Device) bool { return e.Fingerprint == d.Fingerprint })
			}
		}
		for _, gone := range slices.DeleteFunc(slices.Clone(held.Devices), in(a.Devices)) {
			if _, err := tx.ExecContext(ctx, "DELETE FROM devices WHERE fingerprint = ?", gone.Fingerprint[:]); err != nil {
				return err
			}
		}
		return insertDevices(ctx, tx, a.Name, slices.DeleteFunc(slices.Clone(a.Devices), in(held.Devices)))
	})
}

// UpdateDevices implements directory.Store.
func (db *DB) UpdateDevices(ctx context.Context, changes ...directory.DeviceChange) error {
	return db.update(ctx, "update a device", func(tx *sql.Tx) error {
		// Often a thousand times are written at once.
		seen, err := tx.PrepareContext(ctx, "UPDATE devices SET last_seen = ? WHERE fingerprint = ?")
		if err != nil {
			return err
		}
		defer func() { _ = seen.Close() }() // nothing is lost by it
		for _, c := range changes {
			if c.LastSeen != nil {
				if _, err := seen.ExecContext(ctx, millis(*c.LastSeen), c.Device[:]); err != nil {
					return err
				}
			}
			if err := updateDevice(ctx, tx, c); err != nil {
				return err
			}
		}
		return nil
	})
}

func updateDevice(ctx context.Context, tx *sql.Tx, c directory.DeviceChange) error {
	if c.Bundle == nil && c.PeerRecord == nil && c.Withheld == nil {
		return nil
	}
	var seq uint64
	err := tx.QueryRowContext(ctx, "SELECT bundle_seq FROM devices WHERE fingerprint = ?", c.Device[:]).Scan(&seq)
	if errors.Is(err, sql.ErrNoRows) {
		return directory.ErrNotFound
	} else if err != nil {
		return err
	}
	if c.Bundle != nil {
		if c.BundleSeq <= seq {
			return directory.ErrConflict
		}
		if _, err := tx.ExecContext(ctx, "UPDATE devices SET bundle = ?, bundle_seq = ? WHERE fingerprint = ?",
			c.Bundle, c.BundleSeq, c.Device[:]); err != nil {
			return err
		}
	}
	if c.PeerRecord != nil {
		if _, err := tx.ExecContext(ctx, "UPDATE devices SET peer_record = ? WHERE fingerprint = ?", *c.PeerRecord, c.Device[:]); err != nil {
			return err
		}
	}
	if c.Withheld != nil {
		return withhold(ctx, tx, c.Device, *c.Withheld)
	}
	return nil
}

// UpdateAccount implements directory.Store.
func (db *DB) UpdateAccount(ctx context.Context, name rendezvous.Username, c directory.AccountChange) error {
	return db.update(ctx, "update an account", func(tx *sql.Tx) error {
		var known bool
		err := tx.QueryRowContext(ctx, "SELECT EXISTS (SELECT 1 FROM accounts WHERE name = ?)", string(name)).Scan(&known)
		if err != nil {
			return err
		}
		if !known {
			return directory.ErrNotFound
		}
		if c.Password != nil {
			if _, err := tx.ExecContext(ctx, "UPDATE accounts SET password = ? WHERE name = ?", *c.Password, string(name)); err != nil {
				return err
			}
		}
		if c.Ban != nil {
			_, err = tx.ExecContext(ctx, "UPDATE accounts SET banned = ?, ban_reason = ? WHERE name = ?",
				banColumn(*c.Ban), banReason(*c.Ban), string(name))
		}
		return err
	})
}

// useInvite takes one use of an invitation.
func useInvite(ctx context.Context, tx *sql.Tx, id directory.InviteID, now time.Time) error {
	r, err := tx.ExecContext(ctx, "UPDATE invites SET left = left - 1 WHERE id = ? AND left > 0 AND (expires = 0 OR expires > ?)",
		id[:], now.UnixMilli())
	if err != nil {
		return err
	}
	if n, err := r.RowsAffected(); err != nil || n == 1 {
		return err
	}
	return directory.ErrInviteSpent
}
