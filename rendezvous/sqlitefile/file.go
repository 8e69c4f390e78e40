// Package sqlitefile is one SQLite file that notices damage and gives back what can be read. [Open] it; change it by [File.Update] alone.
//
// SQLite has no checksums of its pages, and takes a damaged log for one that ends early. So a file beside the database, NAME.sums, holds a
// sum of each page of the main file, and another, NAME.mark, how far the log has come. Opening compares everything:
//
//   - a single flipped bit, wherever it is, is turned back, and nothing is lost;
//   - of a page with more wrong than that, what stood on it is lost, and all the rest is carried into a fresh file;
//   - either way the damaged files are kept aside as NAME.damaged-TIME, never deleted, and a [Report] says what was found.
//
// The main file changes in checkpoints only, so this package makes them itself: the log may be written over when the sums of
// what was copied from it are on the disk, never before. Each page is therefore in the log, or has its sum.
//
// One process at a time may have the file open; the caller sees to that.
package sqlitefile

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"log/slog"
	"net/url"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	_ "modernc.org/sqlite" // the database/sql driver
)

// Options says how a file is opened. The zero value is a plain file with one reader.
type Options struct {
	Logger     *slog.Logger // nil: none
	Readers    int          // connections that read beside the one that writes; 0: one
	Writing    []string     // more pragmas of the connection that writes, as NAME(VALUE)
	Reading    []string     // of those that read
	Checkpoint int          // pages of the log after which it is copied back; 0: 4,000

	// Inspect may refuse a file that is not damaged, before anything is changed in it. It reads by a connection of its own.
	Inspect func(ctx context.Context, db *sql.DB) error
	// Prepare brings the schema up to date, at every opening. It is the only one beside Update that may write.
	Prepare func(ctx context.Context, db *sql.DB) error
	// Rescued puts in order what a rescue has carried over, in the fresh file and before it takes the place of the damaged one. An error
	// refuses the rescue, and the files stay as they are.
	Rescued func(ctx context.Context, db *sql.DB, r *Report) error
	// Pinned are small tables whose rows are kept in the file of sums, too: those that say which version the schema has.
	Pinned []string

	now   func() time.Time  // names what is kept aside; nil: the clock
	steps func(name string) // called at each step that a crash may divide; nil: nobody watches
}

// File is an open file. Its methods may be called from any goroutine.
type File struct {
	path   string
	opts   Options
	log    *slog.Logger
	report *Report // immutable after Open

	write *sql.DB   // one connection
	read  *sql.DB   // some
	pins  *sql.DB   // two: the keeper's, and one that copies the log back
	keep  *sql.Conn // stays open from Open to Close, so that SQLite never copies the log back by itself when a pool runs empty

	damaged atomic.Bool // the database has called itself damaged: nothing is written any more

	markMu     sync.Mutex // held over each look at the log's index and each writing of the mark; guards the following
	index      *os.File   // NAME-shm; closed after SQLite has closed its own: closing it would give up SQLite's locks
	markFile   *os.File
	generation uint64 // of the sums
	settled    copied // what of the log has its sums on the disk, by the work of this process

	mu   sync.Mutex // held over each step of a checkpoint, before markMu; guards the following
	sums *sums
	tail tail

	wake    chan struct{} // of one; the log is long enough to be copied back
	stop    context.CancelFunc
	running sync.WaitGroup
	closing sync.Once
	closed  error
}

// Reader returns the connections that read. They cannot write.
func (f *File) Reader() *sql.DB { return f.read }

// Writer returns the connection that writes, for preparing statements that Update's transactions run. What changes the file goes through Update.
func (f *File) Writer() *sql.DB { return f.write }

// Report says what Open has found; nil: the file was whole.
func (f *File) Report() *Report { return f.report }

// Update runs do in a transaction, which has been fsynced when Update returns nil. When it returns an error nothing of it counts, with one
// exception that no database can spare its callers: a transaction whose fsync failed may be there after a crash.
//
// After a failed fsync the next transaction is written to the same place in the log, whole, so a later success never rests on pages of which it
// is not known whether they reached the disk.
func (f *File) Update(ctx context.Context, do func(tx *sql.Tx) error) error {
	tx, err := f.begin(ctx)
	if err != nil {
		return f.noted(err)
	}
	if err := do(tx); err != nil {
		_ = tx.Rollback() // the first error says more
		return f.noted(err)
	}
	if err := tx.Commit(); err != nil {
		return f.noted(err)
	}
	f.committed()
	return nil
}

// begin begins a transaction in which it is safe to write.
func (f *File) begin(ctx context.Context) (*sql.Tx, error) {
	for {
		if f.damaged.Load() {
			return nil, ErrDamaged
		}
		tx, err := f.write.BeginTx(ctx, nil)
		if err != nil || !f.unsettled() {
			return tx, err
		}
		if err := tx.Rollback(); err != nil {
			return nil, err
		}
		if err := f.Checkpoint(ctx); err != nil {
			return nil, err
		}
	}
}

// unsettled reports whether all of the log has been copied back, by whomever, and the sums of it are not on the disk: a transaction that begins then would
// write over the log. It is to be asked within a transaction of the connection that writes; one that began before all was copied goes on behind the end.
func (f *File) unsettled() bool {
	f.markMu.Lock()
	defer f.markMu.Unlock()
	m, done, ok := f.reached()
	return !ok || m.frames > 0 && done == m.frames && !f.settled.covers(m)
}

// View runs do in a transaction that sees one state of the file.
func (f *File) View(ctx context.Context, do func(tx *sql.Tx) error) error {
	tx, err := f.read.BeginTx(ctx, nil)
	if err != nil {
		return f.noted(err)
	}
	defer tx.Rollback() //nolint:errcheck // nothing was changed
	return f.noted(do(tx))
}

// noted looks at an error on its way to the caller: a database that calls itself damaged is not written to any more.
func (f *File) noted(err error) error {
	if err != nil && errors.Is(kind(err), ErrDamaged) {
		f.suspect(err)
	}
	return err
}

// suspect sees to it that nothing is written until the next opening has looked at the whole file.
func (f *File) suspect(err error) {
	if f.damaged.Swap(true) {
		return
	}
	f.log.Error("the database is damaged; nothing more is written to it until it is opened again", slog.String("error", err.Error()))
	f.markMu.Lock()
	defer f.markMu.Unlock()
	if m, _, ok := f.reached(); ok {
		m.suspect = true
		f.putMark(m)
	}
}

// committed is called after each commit.
func (f *File) committed() {
	f.markMu.Lock()
	m, _, ok := f.reached()
	if ok && !f.damaged.Load() {
		f.putMark(m)
	}
	f.markMu.Unlock()
	if ok && int(m.frames) >= f.opts.Checkpoint {
		select {
		case f.wake <- struct{}{}:
		default: // it is awake
		}
	}
}

// reached asks the log's index how far the log has been fsynced, and how many frames of it have been copied back. f.markMu is held.
func (f *File) reached() (m mark, done uint32, ok bool) {
	var b [indexSize]byte
	for range 100 { // a commit moves the index on in a few nanoseconds
		if _, err := f.index.ReadAt(b[:], 0); err != nil {
			return mark{}, 0, false
		}
		if m, done, ok = parseIndex(b[:]); ok {
			break
		}
	}
	m.generation = f.generation
	return m, done, ok
}

// putMark writes the mark. Where that fails the mark says less than it could, which is allowed. f.markMu is held.
func (f *File) putMark(m mark) {
	if _, err := f.markFile.WriteAt(m.marshal(), 0); err != nil {
		f.log.Warn("write the mark of the log", slog.String("error", err.Error()))
	}
}

func (f *File) step(name string) {
	if f.opts.steps != nil {
		f.opts.steps(name)
	}
}

// connect returns a pool of connections to the file at path.
func connect(path string, connections int, settings string, pragmas ...string) *sql.DB {
	query := settings
	for _, p := range pragmas {
		query += "&_pragma=" + url.QueryEscape(p)
	}
	dsn := url.URL{Scheme: "file", Opaque: url.PathEscape(path), RawQuery: strings.TrimPrefix(query, "&")}
	db, err := sql.Open("sqlite", dsn.String())
	if err != nil {
		panic("sqlitefile: " + err.Error()) // only for a driver that is not linked
	}
	db.SetMaxOpenConns(connections)
	db.SetMaxIdleConns(connections)
	return db
}

// How connections are set up. To set auto_vacuum, the map from each page to its parent that a rescue needs, is to write, and only the first connection
// of a new file may: database/sql replaces a connection whose context has ended in the middle, at any time. None lets SQLite
// copy the log back by itself, which the sums would not learn of.
const (
	common  = "&_pragma=busy_timeout(5000)&_pragma=wal_autocheckpoint(0)"
	writing = "_txlock=immediate" + common + "&_pragma=journal_mode(wal)&_pragma=synchronous(full)" +
		"&_pragma=foreign_keys(on)&_pragma=journal_size_limit(67108864)"
	making  = writing + "&_pragma=auto_vacuum(incremental)"
	reading = common + "&_pragma=query_only(on)"
	copying = common + "&_pragma=synchronous(full)"
	looking = "mode=ro" + common
)

// openConnections opens the database as it stands: verified, or new.
func (f *File) openConnections(ctx context.Context) (err error) {
	f.write = connect(f.path, 1, writing, f.opts.Writing...)
	f.read = connect(f.path, max(1, f.opts.Readers), reading, f.opts.Reading...)
	f.pins = connect(f.path, 2, copying)
	if err := f.write.PingContext(ctx); err != nil { // makes the file, where it is new
		return Classify("open the database", err)
	}
	if f.keep, err = f.pins.Conn(ctx); err != nil {
		return Classify("open the database", err)
	}
	var tables int
	if err := f.keep.QueryRowContext(ctx, "SELECT count(*) FROM sqlite_schema").Scan(&tables); err != nil {
		return Classify("open the database", err)
	}
	if f.index, err = os.Open(f.path + indexSuffix); err != nil {
		return fmt.Errorf("open the index of the log: %w", err)
	}
	f.markFile, err = os.OpenFile(f.path+markSuffix, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return fmt.Errorf("open the mark of the log: %w", err)
	}
	return nil
}
