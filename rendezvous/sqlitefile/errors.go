package sqlitefile

import (
	"errors"
	"fmt"
	"io/fs"
	"syscall"

	"modernc.org/sqlite"
	sqlite3 "modernc.org/sqlite/lib"
)

// Errors of Open and of every method, on which a caller can decide.
var (
	// ErrDamaged means that the file is not a database, or that the database has found itself damaged while it was open: then nothing more is
	// written, and the next opening rescues what can be read.
	ErrDamaged = errors.New("the database file is damaged")
	// ErrDiskFull means that there is no room to write. Nothing was changed, and it works again when there is room.
	ErrDiskFull = errors.New("the disk is full")
	// ErrInUse means that another process holds the file.
	ErrInUse = errors.New("the database is in use by another process")
)

// Classify says what was being done, and adds the error above that fits what the database or the file system says. It returns nil for nil.
func Classify(doing string, err error) error {
	if err == nil {
		return nil
	}
	if known := kind(err); known != nil && !errors.Is(err, known) {
		return fmt.Errorf("%s: %w: %w", doing, known, err)
	}
	return fmt.Errorf("%s: %w", doing, err)
}

// kind returns the error above that fits, or nil.
func kind(err error) error {
	if errors.Is(err, syscall.ENOSPC) || errors.Is(err, syscall.EDQUOT) {
		return ErrDiskFull
	}
	e, ok := errors.AsType[*sqlite.Error](err)
	if !ok {
		return nil
	}
	// The low byte is the primary code; for errors of input and output the rest tells what failed.
	if e.Code() == sqlite3.SQLITE_IOERR_SHMSIZE { // no room even for the file beside it that indexes the log
		return ErrDiskFull
	}
	switch e.Code() & 0xff {
	case sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB:
		return ErrDamaged
	case sqlite3.SQLITE_FULL:
		return ErrDiskFull
	case sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED:
		return ErrInUse
	}
	return nil
}

func missing(err error) bool { return errors.Is(err, fs.ErrNotExist) }
