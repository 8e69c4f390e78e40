// Package sqlite keeps a rendezvous's accounts, invitations and mailbox in one SQLite file. [Open] it; a [DB] is a directory.Store, a
// directory.InviteStore and a relay.Mailbox.
//
// The file is in WAL mode with synchronous FULL: when a method that changes something returns nil, the change has been fsynced. One connection
// writes, a few read beside it. Package sqlitefile holds it: [Open] notices damage, carries everything that can be read into a fresh file, and
// [DB.Damage] says what was lost. What mail is lost is sent again by its sender, who has no receipt for it.
package sqlite

import (
	"context"
	"database/sql"
	"embed"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"sync"

	"github.com/pressly/goose/v3"

	"github.com/byway-chat/byway/rendezvous/directory"
	"github.com/byway-chat/byway/rendezvous/relay"
	"github.com/byway-chat/byway/rendezvous/sqlitefile"
)

//go:embed schema/*.sql
var schema embed.FS

// applicationID is the same number as in the schema.
const applicationID = 0x42797779

// readers is how many connections read beside the one that writes.
const readers = 4

// DB is an open database. Its methods may be called from any goroutine; those that change something take turns.
type DB struct {
	path   string
	file   *sqlitefile.File
	write  *sql.DB        // file's; what changes something goes through update
	read   *sql.DB        // file's
	mail   mailStatements // immutable after Open
	byName *sql.Stmt      // on the reading connections; immutable after Open
	shown  *sql.Stmt      // likewise
	owner  *sql.Stmt      // likewise

	addresses addressCache

	mailMu   sync.Mutex // held over each transaction that changes the mailbox; guards the following
	lastMark uint64     // of refusals; rises even when they are deleted, while the file is open
	usage    usageCache
}

var (
	_ directory.Store       = (*DB)(nil)
	_ directory.InviteStore = (*DB)(nil)
	_ relay.Mailbox         = (*DB)(nil)
)

// Open opens the file or makes it (0600), and brings its schema up to date. Its directory must exist, and the caller sees to it that no other
// process has the file open: the rendezvous locks its data directory. The errors are ErrDamaged, ErrNewer, ErrDiskFull, ErrInUse
// and those of the file system. A file that it refuses is not changed. It starts goroutines, which Close ends.
func Open(ctx context.Context, path string, log *slog.Logger) (*DB, error) {
	if log == nil {
		log = slog.New(slog.DiscardHandler)
	}
	db := &DB{path: path, usage: make(usageCache)}
	file, err := sqlitefile.Open(ctx, path, sqlitefile.Options{
		Logger: log, Readers: readers, Checkpoint: checkpoint,
		Writing: []string{"cache_size(-16384)"}, Reading: []string{"cache_size(-1024)"},
		Inspect: inspect, Pinned: []string{"goose_db_version"}, Rescued: putInOrder(log),
		Prepare: func(ctx context.Context, db *sql.DB) error { return migrate(ctx, db, log) },
	})
	if err != nil {
		return nil, err
	}
	db.file, db.write, db.read = file, file.Writer(), file.Reader()
	if err := db.prepare(ctx); err != nil {
		return nil, errors.Join(err, db.Close())
	}
	return db, nil
}

// checkpoint is after how many pages the write-ahead log is copied back, 16 MiB: more often would write the same index pages again and again,
// less often would make the restart after a crash slow.
const checkpoint = 4000

// Damage says what Open has found to be damaged, for a person; empty: nothing. kept are the damaged databases that lie beside the
// file, of this opening and of earlier ones, until a person removes them.
func (db *DB) Damage() (found string, kept []string, err error) {
	if r := db.file.Report(); r != nil {
		found = r.String()
	}
	kept, err = sqlitefile.Kept(db.path)
	return found, kept, err
}

// inspect refuses, without writing to it, a file that is not this program's or was written by a newer version of it.
func inspect(ctx context.Context, db *sql.DB) error {
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
		if found, err := sqlitefile.HasTable(ctx, db, "goose_db_version"); err != nil || !found {
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

func migrate(ctx context.Context, db *sql.DB, log *slog.Logger) error {
	files, err := migrations()
	if err != nil {
		return err
	}
	provider, err := goose.NewProvider(goose.DialectSQLite3, db, files, goose.WithDisableGlobalRegistry(true), goose.WithSlog(log))
	if err != nil {
		return fmt.Errorf("read the schema: %w", err)
	}
	_, err = provider.Up(ctx)
	return classify("bring the database up to date", err)
}

func (db *DB) prepare(ctx context.Context) error {
	if err := db.write.QueryRowContext(ctx, "SELECT coalesce(max(mark), 0) FROM refusals").Scan(&db.lastMark); err != nil {
		return classify("read the mailbox", err)
	}
	var err error
	if db.byName, err = db.read.PrepareContext(ctx, accountByName); err != nil {
		return classify("prepare to read accounts", err)
	}
	if db.shown, err = db.read.PrepareContext(ctx, shownByName); err != nil {
		return classify("prepare to look up accounts", err)
	}
	if db.owner, err = db.read.PrepareContext(ctx, "SELECT account FROM devices WHERE fingerprint = ?"); err != nil {
		return classify("prepare to look up devices", err)
	}
	return db.mail.prepare(ctx, db)
}

// Close closes the file. It is idempotent.
func (db *DB) Close() error {
	for _, s := range []*sql.Stmt{db.byName, db.shown, db.owner} {
		if s != nil {
			_ = s.Close() // nothing is lost by it
		}
	}
	return errors.Join(db.mail.close(), db.file.Close())
}

// update runs f in a transaction, which has been fsynced when update returns nil.
func (db *DB) update(ctx context.Context, doing string, f func(tx *sql.Tx) error) error {
	return classify(doing, db.file.Update(ctx, f))
}

// view runs f in a transaction that sees one state of the file.
func (db *DB) view(ctx context.Context, doing string, f func(tx *sql.Tx) error) error {
	return classify(doing, db.file.View(ctx, f))
}
