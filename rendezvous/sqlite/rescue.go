package sqlite

import (
	"context"
	"database/sql"
	"log/slog"

	"github.com/byway-chat/byway/rendezvous/sqlitefile"
)

// putInOrder goes over what a rescue has carried into the fresh file. What of the directory is lost and known from elsewhere is put back; the devices of
// an account that is lost go with it. Where anything is lost nobody is told where a device is until it has signed in again. Envelopes from or for an address that
// is lost cannot be delivered; their senders, who have no receipts for them, send them again. An address's number is never given to another, or it would get what waits for the first.
func putInOrder(log *slog.Logger) func(context.Context, *sql.DB, *sqlitefile.Report) error {
	return func(ctx context.Context, db *sql.DB, r *sqlitefile.Report) error {
		if err := restoreDirectory(ctx, db, log, r); err != nil {
			return classify("put the rescued database in order", err)
		}
		if err := forgetWhere(ctx, db, r); err != nil {
			return classify("put the rescued database in order", err)
		}
		found, err := sqlitefile.HasTable(ctx, db, "addresses")
		if err == nil && !found { // of a version that had none; the schema is brought up to date later
			return nil
		}
		var last int64
		if err == nil {
			last, err = lastNumber(ctx, db)
		}
		if err == nil {
			err = reserve(ctx, db, last)
		}
		if err != nil {
			return classify("put the rescued database in order", err)
		}
		for _, step := range []struct{ what, statement string }{
			{
				"envelopes of lost addresses, which their senders send again",
				"DELETE FROM mailbox WHERE (id >> 36) NOT IN (SELECT id FROM addresses) OR sender NOT IN (SELECT id FROM addresses)",
			},
			{"", "DELETE FROM refusals WHERE address NOT IN (SELECT id FROM addresses)"},
		} {
			result, err := db.ExecContext(ctx, step.statement)
			if err != nil {
				return classify("put the rescued database in order", err)
			}
			if n, err := result.RowsAffected(); err == nil && n > 0 && step.what != "" {
				log.Error("what belongs to nobody any more is taken away", slog.String("what", step.what), slog.Int64("count", n))
			}
		}
		return nil
	}
}

// orphans takes away the devices of lost accounts.
const orphans = "DELETE FROM devices WHERE account NOT IN (SELECT name FROM accounts)"

// lastNumber returns the highest number of an address that anything knows of.
func lastNumber(ctx context.Context, db *sql.DB) (n int64, err error) {
	err = db.QueryRowContext(ctx, `SELECT coalesce(max(n), 0) FROM (
		SELECT max(id) AS n FROM addresses UNION ALL SELECT max(id) >> 36 FROM mailbox UNION ALL SELECT max(sender) FROM mailbox
		UNION ALL SELECT max(address) FROM refusals UNION ALL SELECT max(seq) FROM sqlite_sequence WHERE name = 'addresses')`).Scan(&n)
	return n, err
}

// reserve makes the numbers up to n given.
func reserve(ctx context.Context, db *sql.DB, n int64) error {
	if _, err := db.ExecContext(ctx, "DELETE FROM sqlite_sequence WHERE name = 'addresses'"); err != nil {
		return err
	}
	_, err := db.ExecContext(ctx, "INSERT INTO sqlite_sequence (name, seq) VALUES ('addresses', ?)", n)
	return err
}
