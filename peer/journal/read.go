package journal

import (
	"cmp"
	"encoding/binary"
	"errors"
	"fmt"
	"io/fs"
	"math/bits"
	"os"
	"slices"

	"github.com/byway-chat/byway/rendezvous/bitrot"
)

// Record is one that was appended.
type Record struct {
	Seq     uint64
	Payload []byte
}

// Found is what a journal holds.
type Found struct {
	Records []Record // in the order of their numbers; some may be missing between them
	Damage  []string // what was wrong, for a person; empty: nothing
}

// Newest returns the records behind the last gap. All that were not released are among them: what was released long ago may still stand where nothing has
// been written over it, but what came after that has been.
func (f Found) Newest() []Record {
	for i := len(f.Records) - 1; i > 0; i-- {
		if f.Records[i-1].Seq+1 != f.Records[i].Seq {
			return f.Records[i:]
		}
	}
	return f.Records
}

// maxFile bounds what is read of a file that somebody has put in our place, in bytes.
const maxFile = 1 << 30

// Read reads the records after a number out of the journal at path, if there is one. A record that is cut short at the end was never acknowledged, and
// is no damage; one that is missing before another is.
func Read(path string, after uint64) (Found, error) {
	info, err := os.Stat(path)
	if errors.Is(err, fs.ErrNotExist) {
		return Found{}, nil
	}
	if err == nil && info.Size() > maxFile {
		err = fmt.Errorf("%d bytes are too many", info.Size())
	}
	if err != nil {
		return Found{}, fmt.Errorf("read journal: %w", err)
	}
	b, err := os.ReadFile(path)
	if err != nil {
		return Found{}, fmt.Errorf("read journal: %w", err)
	}
	return parse(b, after), nil
}

// parse looks for a record at every place where one may begin: which were written over, and where the newest ends, is known by their numbers alone.
func parse(b []byte, after uint64) Found {
	var found Found
	for at := 0; at+overhead <= len(b); {
		r, length, wrong := parseRecord(b[at:])
		if length == 0 || r.Seq <= after {
			at += align
			continue
		}
		found.Records = append(found.Records, r)
		if wrong {
			found.Damage = append(found.Damage, fmt.Sprintf("record %d: a flipped bit was turned back", r.Seq))
		}
		at += (length + align - 1) / align * align
	}
	slices.SortFunc(found.Records, func(a, b Record) int { return cmp.Compare(a.Seq, b.Seq) })
	want := after + 1
	for _, r := range found.Records {
		if r.Seq > want {
			found.Damage = append(found.Damage, fmt.Sprintf("records %d to %d are lost", want, r.Seq-1))
		}
		want = r.Seq + 1
	}
	return found
}

// parseRecord parses the record that b begins with, and says whether a bit of it was wrong. The length is 0 where there is none that is whole.
func parseRecord(b []byte) (r Record, length int, wrong bool) {
	if bits.OnesCount32(binary.LittleEndian.Uint32(b)^magic) > 1 {
		return r, 0, false
	}
	header := slices.Clone(b[:headerSize-bitrot.Size])
	one := bitrot.Mend(header, bitrot.Read(b[headerSize-bitrot.Size:]))
	payload := uint64(binary.LittleEndian.Uint32(header[4:]))
	if one == bitrot.Lost || binary.LittleEndian.Uint32(header) != magic || payload > uint64(len(b)-overhead) {
		return r, 0, false
	}
	end := headerSize + int(payload)
	r = Record{Seq: binary.LittleEndian.Uint64(header[8:]), Payload: slices.Clone(b[headerSize:end])}
	two := bitrot.Mend(r.Payload, bitrot.Read(b[end:]))
	if two == bitrot.Lost {
		return r, 0, false
	}
	return r, end + bitrot.Size, one != bitrot.Healthy || two != bitrot.Healthy
}
