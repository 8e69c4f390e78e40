// Package sqlite keeps a rendezvous's accounts, invitations and mailbox in one SQLite file. [Open] it; a [DB] is a directory.Store, a
// directory.InviteStore and a relay.Mailbox.
//
// The file is in WAL mode with synchronous FULL: when a method that changes something returns nil, the change has been fsynced. One connection
// writes, a few read beside it. After a failed write or fsync the transaction is undone, and the place in the write-ahead log is
// written anew by the next one, so a later success never rests on pages of which it is not known whether they reached the disk.
package sqlite

import (
	"context"
	"database/sql"
	"embed"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"net/url"
	"os"
	"sync"

	"github.com/pressly/goose/v3"
	_ "modernc.org/sqlite" // the database/sql driver

	"github.com/byway-chat/byway/rendezvous/directory"
	"github.com/byway-chat/byway/rendezvous/relay"
)

//go:embed schema/*.sql
var schema embed.FS

// applicationID is the same number as in the schema.
const applicationID = 0x42797779

// readers is how many connections read beside the one that writes.
const readers = 4

// DB is an open database. Its methods may be called from any goroutine; those that change something take turns.
type DB struct {
	write *sql.DB // one connection
	read  *sql.DB
	mail  mailStatements // immutable after Open

	mailMu sync.Mutex // held over each transaction that changes the mailbox; guards the following
	lastID uint64     // of the mailbox's rows; rises even when they are deleted, while the file is open
	usage  usageCache
}

var (
	_ directory.Store       = (*DB)(nil)
	_ directory.InviteStore = (*DB)(nil)
	_ relay.Mailbox         = (*DB)(nil)
)

// Open opens the file or makes it (0600), and brings its schema up to date. Its directory must exist, and the caller sees to it that no other
// process has the file open: the rendezvous locks its data directory. The errors are ErrDamaged, ErrNewer, ErrDiskFull, ErrInUse
// and those of the file system. A file that it refuses is not changed. It starts only goroutines of database/sql, which Close ends.
func Open(ctx context.Context, path string, log *slog.Logger) (*DB, error) {
	if log == nil {
		log = slog.New(slog.DiscardHandler)
	}
	if err := makeFile(path); err != nil {
		return nil, err
	}
	if err := inspect(ctx, path); err != nil {
		return nil, err
	}
	db := &DB{usage: make(usageCache)}
	db.write = connect(path, 1, writing)
	db.read = connect(path, readers, reading)
	if err := db.prepare(ctx, log); err != nil {
		return nil, errors.Join(err, db.Close())
	}
	return db, nil
}

// makeFile sees to it that the file is there and can be read and written by its owner alone.
func makeFile(path string) error {
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return fmt.Errorf("open the database: %w", err)
	}
	if err := f.Close(); err != nil {
		return fmt.Errorf("open the database: %w", err)
	}
	return nil
}

// The pragmas of the connections. The write-ahead log is copied back when it has grown to 16 MiB: more often would write the same
// index pages again and again, less often would make the restart after a crash slow.
const (
	writing = "_txlock=immediate&_pragma=busy_timeout(5000)&_pragma=journal_mode(wal)&_pragma=synchronous(full)" +
		"&_pragma=foreign_keys(on)&_pragma=wal_autocheckpoint(4000)&_pragma=journal_size_limit(67108864)&_pragma=cache_size(-16384)"
	reading = "_pragma=busy_timeout(5000)&_pragma=query_only(on)&_pragma=cache_size(-4096)"
	looking = "mode=ro&_pragma=busy_timeout(5000)"
)

func connect(path string, connections int, settings string) *sql.DB {
	dsn := url.URL{Scheme: "file", Opaque: url.PathEscape(path), RawQuery: settings}
	db, err := sql.Open("sqlite", dsn.String())
	if err != nil {
		panic("sqlite: " + err.Error()) // only for a driver that is not linked
	}
	db.SetMaxOpenConns(connections)
	db.SetMaxIdleConns(connections)
	return db
}

// inspect refuses, without writing to it, a file that is not this program's or was written by a newer version of it.
func inspect(ctx context.Context, path string) error {
	if info, err := os.Stat(path); err != nil || info.Size() == 0 {
		return err
	}
	db := connect(path, 1, looking)
	defer func() { _ = db.Close() }()
	var id, tables int64
	if err := db.QueryRowContext(ctx, "PRAGMA application_id").Scan(&id); err != nil {
		return classify("open the database", err)
	}
	if err := db.QueryRowContext(ctx, "SELECT count(*) FROM sqlite_schema").Scan(&tables); err != nil {
		return classify("open the database", err)
	}
	if tables == 0 {
		return nil // made and never used
	}
	if id != applicationID {
		var goose int64
		err := db.QueryRowContext(ctx, "SELECT count(*) FROM sqlite_schema WHERE name = 'goose_db_version'").Scan(&goose)
		if err != nil || goose == 0 {
			return fmt.Errorf("open the database: %w: it belongs to another program", ErrDamaged)
		}
	}
	var version int64
	err := db.QueryRowContext(ctx, "SELECT coalesce(max(version_id), 0) FROM goose_db_version").Scan(&version)
	if err != nil {
		return classify("open the database", err)
	}
	if newest, err := newestVersion(); err != nil || version > newest {
		return errors.Join(err, fmt.Errorf("open the database of version %d: %w", version, ErrNewer))
	}
	return nil
}

func migrations() (fs.FS, error) { return fs.Sub(schema, "schema") }

// newestVersion is the number of the last schema file.
func newestVersion() (int64, error) {
	files, err := migrations()
	if err != nil {
		return 0, err
	}
	names, err := fs.Glob(files, "*.sql")
	if err != nil || len(names) == 0 {
		return 0, errors.Join(err, fs.ErrNotExist)
	}
	return goose.NumericComponent(names[len(names)-1])
}

func (db *DB) prepare(ctx context.Context, log *slog.Logger) error {
	files, err := migrations()
	if err != nil {
		return err
	}
	provider, err := goose.NewProvider(goose.DialectSQLite3, db.write, files,
		goose.WithDisableGlobalRegistry(true), goose.WithSlog(log))
	if err != nil {
		return fmt.Errorf("read the schema: %w", err)
	}
	if _, err := provider.Up(ctx); err != nil {
		return classify("bring the database up to date", err)
	}
	if err := db.write.QueryRowContext(ctx, "SELECT coalesce(max(id), 0) FROM mailbox").Scan(&db.lastID); err != nil {
		return classify("read the mailbox", err)
	}
	return db.mail.prepare(ctx, db)
}

// Close closes the file. It is idempotent.
func (db *DB) Close() error {
	return errors.Join(db.mail.close(), db.read.Close(), db.write.Close())
}

// update runs f in a transaction, which has been fsynced when update returns nil.
func (db *DB) update(ctx context.Context, doing string, f func(tx *sql.Tx) error) error {
	tx, err := db.write.BeginTx(ctx, nil)
	if err != nil {
		return classify(doing, err)
	}
	if err := f(tx); err != nil {
		_ = tx.Rollback() // the first error says more
		return classify(doing, err)
	}
	return classify(doing, tx.Commit())
}

// view runs f in a transaction that sees one state of the file.
func (db *DB) view(ctx context.Context, doing string, f func(tx *sql.Tx) error) error {
	tx, err := db.read.BeginTx(ctx, nil)
	if err != nil {
		return classify(doing, err)
	}
	defer tx.Rollback() //nolint:errcheck // nothing was changed
	return classify(doing, f(tx))
}
