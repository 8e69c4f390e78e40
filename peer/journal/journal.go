// Package journal is a file in which small records are durable as soon as they are appended, until what they say is kept elsewhere.
//
// It stands before a database: a record costs one write and one wait for the disk, where a transaction costs several pages and the work of finding
// them. The file has its whole size from the beginning and is written over in a ring, so that a record changes nothing but its
// own blocks. Each record has a number and carries sums that turn a single flipped bit back (package bitrot).
//
// One process uses a journal at a time: it calls [Read], puts what it finds where it belongs, and then [Create], which begins an empty one.
package journal

import (
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"github.com/byway-chat/byway/rendezvous/bitrot"
)

// Errors that a caller can do something about.
var (
	// ErrFull is returned where there is no room for a record until others are released. Nothing was written.
	ErrFull = errors.New("the journal is full")
	// ErrBroken is returned after a write or an fsync has failed: what the file holds of that record, nobody knows. Only a new journal takes any more.
	ErrBroken = errors.New("the journal has failed before")
)

// A record is a header, the payload, and the payload's sum, and begins at a multiple of align.
const (
	align      = 16
	magic      = 0x316a7762 // "bwj1"
	headerSize = 4 + 4 + 8 + bitrot.Size
	overhead   = headerSize + bitrot.Size
)

// Journal is an open journal. One goroutine at a time may use it.
type Journal struct {
	file   *os.File
	size   int64
	next   uint64 // number of the next record
	at     int64  // where it goes, unless it has to go to the beginning
	held   []span // not released, oldest first
	used   int64  // bytes of them
	broken bool
	buf    []byte

	sync func(*os.File) error // of the data alone; a test may fail it
}

// span is where a record stands.
type span struct {
	seq      uint64
	from, to int64
}

// Create makes an empty journal of size bytes, a multiple of 16, in the place of whatever is at path. Its first record gets the number first.
// When Create returns, the file and its name are on the disk.
func Create(path string, size int64, first uint64) (*Journal, error) {
	if size%align != 0 || size < overhead {
		return nil, fmt.Errorf("create journal: %d bytes are no size", size)
	}
	file, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return nil, fmt.Errorf("create journal: %w", err)
	}
	// Written, not only reserved: to write for the first time into a reserved block changes the file's map, too.
	if _, err = file.Write(make([]byte, size)); err == nil {
		err = file.Sync()
	}
	if err == nil {
		err = syncDir(filepath.Dir(path))
	}
	if err != nil {
		return nil, errors.Join(fmt.Errorf("create journal: %w", err), file.Close(), os.Remove(path))
	}
	return &Journal{file: file, size: size, next: first, sync: datasync}, nil
}

func syncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}

// Next is the number that the next record gets.
func (j *Journal) Next() uint64 { return j.next }

// Fits reports whether a payload of that length could ever be appended.
func (j *Journal) Fits(length int) bool { return overhead+int64(length)+align <= j.size }

// Crowded reports that more than half of the journal waits to be released.
func (j *Journal) Crowded() bool { return j.used > j.size/2 }

// Append writes a record. When it returns nil the record is on the disk, under the number that Next gave. It returns [ErrFull] or [ErrBroken], or the
// error that broke the journal.
func (j *Journal) Append(payload []byte) error {
	if j.broken {
		return ErrBroken
	}
	length := (overhead + int64(len(payload)) + align - 1) / align * align
	from, ok := j.room(length)
	if !ok {
		return ErrFull
	}
	b := j.buf[:0]
	b = binary.LittleEndian.AppendUint32(b, magic)
	b = binary.LittleEndian.AppendUint32(b, uint32(len(payload)))
	b = binary.LittleEndian.AppendUint64(b, j.next)
	b = bitrot.Append(b, bitrot.Of(b))
	b = append(b, payload...)
	b = bitrot.Append(b, bitrot.Of(payload))
	if j.buf = b; cap(b) > maxKept {
		j.buf = nil
	}
	_, err := j.file.WriteAt(b, from)
	if err == nil {
		err = j.sync(j.file)
	}
	if err != nil {
		j.broken = true
		return fmt.Errorf("write journal: %w", err)
	}
	j.held = append(j.held, span{seq: j.next, from: from, to: from + length})
	j.next, j.at, j.used = j.next+1, from+length, j.used+length
	return nil
}

// maxKept is the longest buffer that is kept for the next record.
const maxKept = 64 << 10

// room finds where so many bytes may be written.
func (j *Journal) room(length int64) (from int64, ok bool) {
	if len(j.held) == 0 {
		return 0, length <= j.size // always the same few blocks, where each record is released before the next comes
	}
	oldest := j.held[0].from
	if j.at <= oldest {
		return j.at, j.at+length <= oldest
	}
	if j.at+length <= j.size {
		return j.at, true
	}
	return 0, length <= oldest
}

// Release lets the records up to a number be written over: what they say is on the disk elsewhere.
func (j *Journal) Release(upto uint64) {
	n := 0
	for n < len(j.held) && j.held[n].seq <= upto {
		j.used -= j.held[n].to - j.held[n].from
		n++
	}
	j.held = append(j.held[:0], j.held[n:]...)
}

// Close closes the file.
func (j *Journal) Close() error { return j.file.Close() }
