package sqlitefile

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io/fs"
	"os"

	"github.com/byway-chat/byway/rendezvous/bitrot"
)

// mark says how far the log reached after a commit, so that a damaged last transaction is not taken for one that was never finished. It is
// written after each commit and not fsynced: what it says is never more than what is on the disk, and after a power loss it may be less.
type mark struct {
	generation uint64 // of the sums when it was written; a mark of an older one has nothing to say
	salt       salt
	frames     uint32 // in the log, the last of them the end of a transaction
	pages      uint32 // of the file after that transaction
	sum        chain  // of that frame
	suspect    bool   // the database has called itself damaged; set until the next opening
}

const (
	markMagic = "bywymark"
	markSize  = 64
)

func (m *mark) marshal() []byte {
	b := make([]byte, 0, markSize)
	b = append(b, markMagic...)
	b = binary.LittleEndian.AppendUint64(b, m.generation)
	b = append(b, m.salt[:]...)
	b = binary.LittleEndian.AppendUint32(b, m.frames)
	b = binary.LittleEndian.AppendUint32(b, m.pages)
	b = binary.LittleEndian.AppendUint32(b, m.sum[0])
	b = binary.LittleEndian.AppendUint32(b, m.sum[1])
	var suspect uint64
	if m.suspect {
		suspect = 1
	}
	b = binary.LittleEndian.AppendUint64(b, suspect)
	b = append(b, make([]byte, markSize-bitrot.Size-len(b))...)
	return bitrot.Append(b, bitrot.Of(b))
}

// parseMark reads a mark and turns back a single flipped bit.
func parseMark(b []byte) (mark, bitrot.Finding) {
	if len(b) != markSize {
		return mark{}, bitrot.Lost
	}
	body := b[:markSize-bitrot.Size]
	found := bitrot.Mend(body, bitrot.Read(b[markSize-bitrot.Size:]))
	if found == bitrot.Lost || !bytes.HasPrefix(body, []byte(markMagic)) {
		return mark{}, bitrot.Lost
	}
	m := mark{
		generation: binary.LittleEndian.Uint64(body[8:]),
		frames:     binary.LittleEndian.Uint32(body[24:]),
		pages:      binary.LittleEndian.Uint32(body[28:]),
		sum:        chain{binary.LittleEndian.Uint32(body[32:]), binary.LittleEndian.Uint32(body[36:])},
		suspect:    binary.LittleEndian.Uint64(body[40:]) != 0,
	}
	copy(m.salt[:], body[16:])
	return m, found
}

// loadMark reads the mark beside a file. A missing one says nothing.
func loadMark(path string) (m mark, found bitrot.Finding, err error) {
	b, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) || err == nil && len(b) == 0 {
		return mark{}, bitrot.Healthy, nil
	}
	if err != nil {
		return mark{}, bitrot.Lost, fmt.Errorf("read the mark of the log: %w", err)
	}
	m, found = parseMark(b)
	return m, found, nil
}

// indexHeader is what is read of the index that SQLite keeps of the log in shared memory: it moves on after the fsync of a commit, never before. See
// https://sqlite.org/walformat.html#the_wal_index_header.
const indexHeaderSize = 48

// indexSize is both copies of that header and how many frames have been copied back (nBackfill).
const indexSize = 2*indexHeaderSize + 4

// parseIndex reads both copies of the header of a log's index, and how many frames have been copied back. ok is false while the copies differ, which is
// while a commit moves them on.
func parseIndex(b []byte) (m mark, done uint32, ok bool) {
	if len(b) < indexSize || !bytes.Equal(b[:indexHeaderSize], b[indexHeaderSize:2*indexHeaderSize]) || b[12] == 0 {
		return mark{}, 0, false
	}
	m = mark{
		frames: binary.NativeEndian.Uint32(b[16:]),
		pages:  binary.NativeEndian.Uint32(b[20:]),
		sum:    chain{binary.NativeEndian.Uint32(b[24:]), binary.NativeEndian.Uint32(b[28:])},
	}
	copy(m.salt[:], b[32:40]) // as it stands in the log
	return m, binary.NativeEndian.Uint32(b[2*indexHeaderSize:]), true
}
