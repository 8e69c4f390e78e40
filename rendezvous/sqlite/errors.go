package sqlite

import (
	"errors"
	"time"

	"github.com/byway-chat/byway/rendezvous/sqlitefile"
)

// Errors of Open and of every method, on which a caller can decide.
var (
	// ErrDamaged means that the file is not a database of this program, or that it was found damaged while it was open: then nothing more is
	// stored, and the next Open rescues what can be read.
	ErrDamaged = sqlitefile.ErrDamaged
	// ErrNewer means that a newer version of this program has written the file. It is left untouched.
	ErrNewer = errors.New("the database was written by a newer version of rendezvous")
	// ErrDiskFull means that there is no room to write. Nothing was changed, and it works again when there is room.
	ErrDiskFull = sqlitefile.ErrDiskFull
	// ErrInUse means that another process holds the file.
	ErrInUse = sqlitefile.ErrInUse
)

// classify says what was being done, and adds the error above that fits what the database says.
func classify(doing string, err error) error { return sqlitefile.Classify(doing, err) }

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
