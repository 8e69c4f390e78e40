package sqlite

import (
	"context"
	"database/sql"
	"log/slog"

	"github.com/byway-chat/byway/rendezvous"
	"github.com/byway-chat/byway/rendezvous/sqlitefile"
)

// restoreDirectory puts back what the file knows twice: accounts have copies, and each account's signed entry says which devices it has. A device
// that is restored so has no bundle and no addresses until it publishes them again, which it does when it signs in.
func restoreDirectory(ctx context.Context, db *sql.DB, log *slog.Logger, r *sqlitefile.Report) error {
	if err := restoreAccounts(ctx, db, r); err != nil {
		return err
	}
	if err := tellLostAccounts(ctx, db, log); err != nil {
		return err
	}
	n, err := restoreDevices(ctx, db)
	if n > 0 {
		log.Error("lost devices are in the directory again; they publish their keys when they sign in", slog.Int64("count", n))
		r.Restored("devices", n)
	}
	return err
}

// restoreAccounts fills each of the two tables from the other.
func restoreAccounts(ctx context.Context, db *sql.DB, r *sqlitefile.Report) error {
	if found, err := sqlitefile.HasTable(ctx, db, "account_copies"); err != nil || !found { // of a version that had none
		return err
	}
	for _, way := range []struct{ from, to string }{{"account_copies", "accounts"}, {"accounts", "account_copies"}} {
		result, err := db.ExecContext(ctx, "INSERT OR IGNORE INTO "+way.to+" ("+accountColumns+") SELECT "+accountColumns+" FROM "+way.from+
			" WHERE name NOT IN (SELECT name FROM "+way.to+")")
		if err != nil {
			return err
		}
		if n, err := result.RowsAffected(); err == nil && n > 0 {
			r.Restored(way.to, n)
		}
	}
	return nil
}

// maxLostAccounts is how many accounts that are lost are named.
const maxLostAccounts = 1000

// tellLostAccounts names the accounts of which nothing is left but their devices, and takes those away: whoever takes the name next must not get
// them.
func tellLostAccounts(ctx context.Context, db *sql.DB, log *slog.Logger) error {
	rows, err := db.QueryContext(ctx, "SELECT DISTINCT account FROM devices WHERE account NOT IN (SELECT name FROM accounts) LIMIT ?", maxLostAccounts)
	if err != nil {
		return err
	}
	err = each(rows, func() error {
		var name string
		err := rows.Scan(&name)
		log.Error("an account is lost; it can be registered again", slog.String("account", name))
		return err
	})
	if err != nil {
		return err
	}
	_, err = db.ExecContext(ctx, orphans)
	return err
}

// entriesAtOnce is how many accounts are read before devices are written: there is one connection.
const entriesAtOnce = 500

// restoreDevices adds the devices that are on their account's entry and have no row, and returns how many.
func restoreDevices(ctx context.Context, db *sql.DB) (restored int64, err error) {
	type account struct {
		name  string
		entry []byte
	}
	for after := ""; ; {
		var page []account
		rows, err := db.QueryContext(ctx, "SELECT name, entry FROM accounts WHERE name > ? ORDER BY name LIMIT ?", after, entriesAtOnce)
		if err != nil {
			return restored, err
		}
		err = each(rows, func() error {
			var a account
			err := rows.Scan(&a.name, &a.entry)
			page = append(page, a)
			return err
		})
		if err != nil || len(page) == 0 {
			return restored, err
		}
		after = page[len(page)-1].name
		for _, a := range page {
			entry, err := rendezvous.ParseEntry(a.entry)
			if err != nil {
				continue // it was checked before it was stored; nobody believes it any more
			}
			for _, d := range entry.Devices {
				fingerprint := d.Key.Fingerprint()
				result, err := db.ExecContext(ctx, "INSERT OR IGNORE INTO devices ("+deviceColumns+") VALUES (?, ?, ?, ?, 0, x'', 0, NULL)",
					a.name, fingerprint[:], []byte(d.PeerID), millis(d.Added))
				if err != nil {
					return restored, err
				}
				if n, err := result.RowsAffected(); err == nil {
					restored += n
				}
			}
		}
	}
}
