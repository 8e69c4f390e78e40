package sqlite

import (
	"context"
	"database/sql"

	"github.com/byway-chat/byway/crypto/identity"
	"github.com/byway-chat/byway/rendezvous"
	"github.com/byway-chat/byway/rendezvous/directory"
	"github.com/byway-chat/byway/rendezvous/sqlitefile"
)

// shownByName is accountByName for another account. What is withheld from that is left out by the same statement: a record and the list that came with it
// are never read apart.
const shownByName = joinedColumns +
	"CASE WHEN EXISTS (SELECT 1 FROM withheld w WHERE w.device = d.fingerprint AND w.account = ?) THEN NULL ELSE d.peer_record END" + joinedByName

// Shown implements directory.Store.
func (db *DB) Shown(ctx context.Context, name, to rendezvous.Username) (*directory.Account, error) {
	return oneAccount(db.shown.QueryContext(ctx, string(to), string(name)))
}

// Withheld implements directory.Store.
func (db *DB) Withheld(ctx context.Context, device identity.Fingerprint) ([]rendezvous.Username, error) {
	rows, err := db.read.QueryContext(ctx, "SELECT account FROM withheld WHERE device = ? ORDER BY account", device[:])
	return namesIn(rows, err, "read from whom addresses are withheld")
}

// withhold replaces from whom a device withholds its peer record.
func withhold(ctx context.Context, tx *sql.Tx, device identity.Fingerprint, names []rendezvous.Username) error {
	if _, err := tx.ExecContext(ctx, "DELETE FROM withheld WHERE device = ?", device[:]); err != nil || len(names) == 0 {
		return err
	}
	add, err := tx.PrepareContext(ctx, "INSERT INTO withheld (device, account) VALUES (?, ?)")
	if err != nil {
		return err
	}
	defer func() { _ = add.Close() }() // nothing is lost by it
	for _, name := range names {
		if _, err := add.ExecContext(ctx, device[:], string(name)); err != nil {
			return err
		}
	}
	return nil
}

// forgetWhere takes the addresses of all devices out of a rescued file that has lost anything: what is lost may say from whom they are withheld. Devices publish
// both when they sign in.
func forgetWhere(ctx context.Context, db *sql.DB, r *sqlitefile.Report) error {
	if !r.Lossless() {
		if _, err := db.ExecContext(ctx, "UPDATE devices SET peer_record = NULL"); err != nil {
			return err
		}
	}
	if found, err := sqlitefile.HasTable(ctx, db, "withheld"); err != nil || !found { // of a version that had none
		return err
	}
	_, err := db.ExecContext(ctx, "DELETE FROM withheld WHERE device NOT IN (SELECT fingerprint FROM devices)")
	return err
}
