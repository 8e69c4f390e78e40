// Package history is a peer's memory on disk: the outbox and its numbers, the conversations, the receiving sessions, and the
// pinned keys of contacts, in one SQLite file whose contents are sealed under the home's storage key.
//
// Everything that must not come apart goes through [Store.Commit], which puts a whole [Batch] into one transaction and returns
// after it is on the disk. What stands in the file unsealed: numbers, states, times, sizes, and fingerprints of devices.
package history

import (
	"context"
	"crypto/hkdf"
	"crypto/hmac"
	"crypto/sha256"
	"database/sql"
	"embed"
	"errors"
	"fmt"
	"io/fs"
	"net/url"
	"os"

	"github.com/pressly/goose/v3"
	"modernc.org/sqlite"
	sqlite3 "modernc.org/sqlite/lib"
)

//go:embed schema/*.sql
var schema embed.FS

// Errors that a caller can do something about; they wrap the database's own.
var (
	ErrDamaged  = errors.New("the history file is damaged or was made with another key")
	ErrDiskFull = errors.New("the disk is full")
)

// Store is an open history file. Its methods may be called from any goroutine; writes take turns.
type Store struct {
	write *sql.DB // one connection
	read  *sql.DB
	box   *box   // immutable after Open
	index []byte // key of the tags; immutable after Open
}

// Open opens or creates the file at path, readable by its owner only. key is the home's storage key. It starts only goroutines
// that Close ends.
func Open(ctx context.Context, path string, key [32]byte) (*Store, error) {
	if err := ensure(path); err != nil {
		return nil, fmt.Errorf("open history: %w", err)
	}
	box, err := newBox(key[:])
	if err != nil {
		return nil, err
	}
	index, err := hkdf.Key(sha256.New, key[:], nil, "byway/v1 history index", 32)
	if err != nil {
		return nil, fmt.Errorf("derive index key: %w", err)
	}
	s := &Store{box: box, index: index}
	if s.write, err = connect(path, 1); err != nil {
		return nil, err
	}
	if s.read, err = connect(path, 3); err != nil {
		return nil, errors.Join(err, s.write.Close())
	}
	if err := s.migrate(ctx); err != nil {
		return nil, errors.Join(classify("prepare history", err), s.Close())
	}
	if err := s.checkKey(ctx); err != nil {
		return nil, errors.Join(err, s.Close())
	}
	return s, nil
}

// ensure makes the file, and refuses one that was cut to less than a database can be: SQLite would silently begin anew in it.
func ensure(path string) error {
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return err
	}
	info, err := f.Stat()
	if err := errors.Join(err, f.Close()); err != nil {
		return err
	}
	if size := info.Size(); size > 0 && size < minFile {
		return fmt.Errorf("%w: it has %d bytes", ErrDamaged, size)
	}
	return nil
}

// minFile is the smallest page of SQLite, in bytes.
const minFile = 512

func connect(path string, conns int) (*sql.DB, error) {
	dsn := url.URL{Scheme: "file", Opaque: url.PathEscape(path), RawQuery: "_txlock=immediate" +
		"&_pragma=busy_timeout(5000)&_pragma=journal_mode(wal)&_pragma=synchronous(full)&_pragma=temp_store(memory)"}
	db, err := sql.Open("sqlite", dsn.String())
	if err != nil {
		return nil, fmt.Errorf("open history: %w", err)
	}
	db.SetMaxOpenConns(conns)
	db.SetMaxIdleConns(conns)
	return db, nil
}

func (s *Store) migrate(ctx context.Context) error {
	files, err := fs.Sub(schema, "schema")
	if err != nil {
		return err
	}
	provider, err := goose.NewProvider(goose.DialectSQLite3, s.write, files)
	if err != nil {
		return err
	}
	_, err = provider.Up(ctx)
	return err
}

// Close closes the file. It may be called twice.
func (s *Store) Close() error {
	return errors.Join(s.read.Close(), s.write.Close())
}

// tag is what stands for an account name in the file.
func (s *Store) tag(name string) []byte {
	m := hmac.New(sha256.New, s.index)
	m.Write([]byte(name))
	return m.Sum(nil)[:16]
}

// classify wraps a database error and marks the kinds that have a cure.
func classify(doing string, err error) error {
	if err == nil {
		return nil
	}
	if e, ok := errors.AsType[*sqlite.Error](err); ok {
		if e.Code() == sqlite3.SQLITE_IOERR_SHMSIZE { // no room even for the file beside it that indexes the log
			return fmt.Errorf("%s: %w: %w", doing, ErrDiskFull, err)
		}
		switch e.Code() & 0xff {
		case sqlite3.SQLITE_FULL:
			return fmt.Errorf("%s: %w: %w", doing, ErrDiskFull, err)
		case sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB:
			return fmt.Errorf("%s: %w: %w", doing, ErrDamaged, err)
		}
	}
	return fmt.Errorf("%s: %w", doing, err)
}
