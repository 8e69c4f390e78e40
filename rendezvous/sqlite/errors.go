package sqlite

import (
	"errors"
	"fmt"
	"time"

	"modernc.org/sqlite"
	sqlite3 "modernc.org/sqlite/lib"
)

// Errors of Open and of every method, on which a caller can decide.
var (
	// ErrDamaged means that the file is not a database of this program, or that pages of it are malformed.
	ErrDamaged = errors.New("the database file is damaged")
	// ErrNewer means that a newer version of this program has written the file. It is left untouched.
	ErrNewer = errors.New("the database was written by a newer version of rendezvous")
	// ErrDiskFull means that there is no room to write. Nothing was changed, and it works again when there is room.
	ErrDiskFull = errors.New("the disk is full")
	// ErrInUse means that another process holds the file.
	ErrInUse = errors.New("the database is in use by another process")
)

// classify says what was being done, and adds the error above that fits what the database says.
func classify(doing string, err error) error {
	if err == nil {
		return nil
	}
	e, ok := errors.AsType[*sqlite.Error](err)
	if !ok {
		return fmt.Errorf("%s: %w", doing, err)
	}
	// The low byte is the primary code; for errors of input and output the rest tells what failed.
	if e.Code() == sqlite3.SQLITE_IOERR_SHMSIZE { // no room even for the file beside it that indexes the log
		return fmt.Errorf("%s: %w: %w", doing, ErrDiskFull, err)
	}
	switch e.Code() & 0xff {
	case sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB:
		return fmt.Errorf("%s: %w: %w", doing, ErrDamaged, err)
	case sqlite3.SQLITE_FULL:
		return fmt.Errorf("%s: %w: %w", doing, ErrDiskFull, err)
	case sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED:
		return fmt.Errorf("%s: %w: %w", doing, ErrInUse, err)
	}
	return fmt.Errorf("%s: %w", doing, err)
}

// millis is how times stand in the file: Unix milliseconds, 0 for the zero time.
func millis(t time.Time) int64 {
	if t.IsZero() {
		return 0
	}
	return t.UnixMilli()
}

func fromMillis(ms int64) time.Time {
	if ms == 0 {
		return time.Time{}
	}
	return time.UnixMilli(ms).UTC()
}
