package sqlitefile

import (
	"bytes"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"

	"github.com/byway-chat/byway/rendezvous/bitrot"
)

// The sums of a file's pages stand in a file beside it:
//
//	0      header of 512 bytes, the last eight of them its sum
//	512    outline of the database, JSON, in room for 31.75 KiB
//	33024  the next outline, likewise: the header says which of them counts
//	65536  the sum of each page, eight bytes each
//
// They change after the pages do, and are on the disk before the log that holds those pages may be written over. So each page is either in
// the log or has the sum that stands here.
const (
	sumsMagic      = "bywysums"
	sumsVersion    = 1
	sumsHeaderSize = 512
	outlineRoom    = (sumsStart - sumsHeaderSize) / 2
	sumsStart      = 65536
	sumsStep       = 65536        // by which the file grows
	maxPages       = 1 << 32 / 16 // 1 TiB of 4 KiB pages: a header that says more is not believed
)

// noSum stands for a page whose content means nothing.
const noSum bitrot.Sum = 0

// sumsHeader says what the sums are of.
type sumsHeader struct {
	generation  uint64 // rises by one with every change
	pageSize    int
	copied      copied // what had come from the log; its pages is also the number of sums
	outlineAt   int    // 0: behind the header
	outlineSize int
	outlineSum  bitrot.Sum
}

// outlineRange is where the outline stands.
func (h *sumsHeader) outlineRange() (from, to int) {
	from = max(h.outlineAt, sumsHeaderSize)
	return from, from + h.outlineSize
}

func (h *sumsHeader) marshal() []byte {
	b := make([]byte, 0, sumsHeaderSize)
	b = append(b, sumsMagic...)
	b = binary.LittleEndian.AppendUint32(b, sumsVersion)
	b = binary.LittleEndian.AppendUint32(b, uint32(h.pageSize))
	b = binary.LittleEndian.AppendUint64(b, h.generation)
	b = append(b, h.copied.salt[:]...)
	b = binary.LittleEndian.AppendUint32(b, uint32(h.copied.frames))
	b = binary.LittleEndian.AppendUint32(b, h.copied.pages)
	b = binary.LittleEndian.AppendUint64(b, uint64(h.outlineSize))
	b = bitrot.Append(b, h.outlineSum)
	b = binary.LittleEndian.AppendUint64(b, uint64(h.outlineAt))
	b = append(b, make([]byte, sumsHeaderSize-bitrot.Size-len(b))...)
	return bitrot.Append(b, bitrot.Of(b))
}

// parseSumsHeader reads a header and turns back a single flipped bit.
func parseSumsHeader(b []byte) (h sumsHeader, found bitrot.Finding) {
	if len(b) != sumsHeaderSize {
		return h, bitrot.Lost
	}
	body := b[:sumsHeaderSize-bitrot.Size]
	found = bitrot.Mend(body, bitrot.Read(b[sumsHeaderSize-bitrot.Size:]))
	if found == bitrot.Lost || !bytes.HasPrefix(body, []byte(sumsMagic)) || binary.LittleEndian.Uint32(body[8:]) != sumsVersion {
		return h, bitrot.Lost
	}
	h.pageSize = int(binary.LittleEndian.Uint32(body[12:]))
	h.generation = binary.LittleEndian.Uint64(body[16:])
	copy(h.copied.salt[:], body[24:])
	h.copied.frames = int(binary.LittleEndian.Uint32(body[32:]))
	h.copied.pages = binary.LittleEndian.Uint32(body[36:])
	h.outlineSize = int(binary.LittleEndian.Uint64(body[40:]))
	h.outlineSum = bitrot.Read(body[48:])
	h.outlineAt = int(binary.LittleEndian.Uint64(body[56:]))
	if h.outlineAt < 0 || h.outlineAt > sumsStart || h.outlineSize < 0 || h.outlineSize > sumsStart-max(h.outlineAt, sumsHeaderSize) {
		return h, bitrot.Lost
	}
	if h.copied.pages > maxPages || h.pageSize < 512 || h.pageSize > 65536 {
		return h, bitrot.Lost
	}
	return h, found
}

// outline is what salvage must know of the database when the pages that say it are lost.
type outline struct {
	ApplicationID int64    `json:"application_id"`
	Mapped        bool     `json:"mapped"` // the file has a map from each page to its parent
	Objects       []object `json:"objects"`
	Pinned        []string `json:"pinned,omitempty"` // INSERT statements that make the rows of small tables again
}

// object is a row of sqlite_schema.
type object struct {
	Type  string `json:"type"`
	Name  string `json:"name"`
	Table string `json:"table"`
	Root  uint32 `json:"root"`
	SQL   string `json:"sql,omitempty"` // empty: SQLite makes it with its table
}

// sums is the open file of sums.
type sums struct {
	f       *os.File
	room    int64 // its length, which is on the disk
	header  sumsHeader
	outline outline
	pages   []bitrot.Sum // of page 1 and on; nil once it is open for changes only
}

// loadSums reads the sums beside a database and says what is wrong with them. s is nil where there are none, or none that can be used.
func loadSums(path string) (s *sums, damage []Damage, err error) {
	f, err := os.OpenFile(path, os.O_RDWR, 0)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil, nil
	}
	if err != nil {
		return nil, nil, fmt.Errorf("open the sums: %w", err)
	}
	s = &sums{f: f}
	if damage, err = s.read(); err != nil {
		return nil, damage, errors.Join(err, f.Close())
	}
	if s.pages == nil {
		return nil, damage, f.Close()
	}
	return s, damage, nil
}

func (s *sums) read() (damage []Damage, err error) {
	head := make([]byte, sumsStart)
	if _, err := s.f.ReadAt(head, 0); errors.Is(err, io.EOF) {
		return []Damage{{File: sumsSuffix, Detail: "it is too short"}}, nil
	} else if err != nil {
		return nil, fmt.Errorf("read the sums: %w", err)
	}
	header, found := parseSumsHeader(head[:sumsHeaderSize])
	if found == bitrot.Lost {
		return []Damage{{File: sumsSuffix, Detail: "its header"}}, nil
	}
	if found != bitrot.Healthy {
		damage = append(damage, Damage{File: sumsSuffix, Detail: "its header", Mended: true})
	}
	s.header = header
	from, to := header.outlineRange()
	raw := head[from:to]
	found = bitrot.Mend(raw, header.outlineSum)
	if found != bitrot.Healthy || json.Unmarshal(raw, &s.outline) != nil {
		damage = append(damage, Damage{File: sumsSuffix, Detail: "its outline of the database", Mended: true}) // made anew with the file
	}
	if found == bitrot.Lost {
		s.outline = outline{}
	}
	b := make([]byte, int(header.copied.pages)*bitrot.Size)
	if n, err := s.f.ReadAt(b, sumsStart); err != nil && !errors.Is(err, io.EOF) {
		return nil, fmt.Errorf("read the sums: %w", err)
	} else if n < len(b) {
		return append(damage, Damage{File: sumsSuffix, Detail: "it is too short"}), nil
	}
	s.pages = make([]bitrot.Sum, header.copied.pages)
	for i := range s.pages {
		s.pages[i] = bitrot.Read(b[i*bitrot.Size:])
	}
	s.room = int64(sumsStart + len(b))
	return damage, nil
}

// makeSums writes the sums of a database anew and fsyncs them: in one step, so that a crash leaves the old ones or none.
func makeSums(path string, header sumsHeader, o outline, pages []bitrot.Sum) (s *sums, err error) {
	temp := path + ".tmp"
	f, err := os.OpenFile(temp, os.O_RDWR|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return nil, fmt.Errorf("make the sums: %w", err)
	}
	s = &sums{f: f, header: header}
	defer func() {
		if err != nil {
			s, err = nil, errors.Join(fmt.Errorf("make the sums: %w", err), f.Close(), os.Remove(temp))
		}
	}()
	b := make([]byte, 0, len(pages)*bitrot.Size)
	for _, p := range pages {
		b = bitrot.Append(b, p)
	}
	if _, err = f.WriteAt(b, sumsStart); err != nil {
		return nil, err
	}
	if err = s.setOutline(o); err != nil {
		return nil, err
	}
	if err = f.Sync(); err != nil {
		return nil, err
	}
	if err = os.Rename(temp, path); err != nil {
		return nil, err
	}
	return s, syncDir(path)
}

// setOutline writes the outline beside the one that counts, and then the header that says so, which the caller fsyncs. An outline that is too large
// is left out: then a lost first page costs everything.
func (s *sums) setOutline(o outline) error {
	raw, err := json.Marshal(o)
	if err != nil {
		return err
	}
	if len(raw) > outlineRoom {
		raw = []byte("{}")
	}
	header := s.header
	header.outlineAt, header.outlineSize, header.outlineSum = sumsHeaderSize, len(raw), bitrot.Of(raw)
	if from, _ := s.header.outlineRange(); from == sumsHeaderSize {
		header.outlineAt += outlineRoom
	}
	if _, err := s.f.WriteAt(raw, int64(header.outlineAt)); err != nil {
		return err
	}
	if err := s.f.Sync(); err != nil {
		return err
	}
	if _, err := s.f.WriteAt(header.marshal(), 0); err != nil {
		return err
	}
	s.header, s.outline = header, o
	return nil
}

// settle records what a finished checkpoint has copied, and returns after the fsync. On an error it may be called again with the same.
func (s *sums) settle(done copied, changed map[uint32]bitrot.Sum) error {
	header := s.header
	header.generation++
	header.copied = done
	if err := s.makeRoom(done.pages); err != nil {
		return fmt.Errorf("write the sums: %w", err)
	}
	if err := s.writeEntries(done.pages, changed); err != nil {
		return fmt.Errorf("write the sums: %w", err)
	}
	if _, err := s.f.WriteAt(header.marshal(), 0); err != nil {
		return fmt.Errorf("write the sums: %w", err)
	}
	if err := s.f.Sync(); err != nil {
		return fmt.Errorf("sync the sums: %w", err)
	}
	s.header = header
	return nil
}

// makeRoom makes the file long enough, and sees to it that this is on the disk: a header that speaks of more sums than there are is damage.
func (s *sums) makeRoom(pages uint32) error {
	need := sumsStart + int64(pages)*bitrot.Size
	if need <= s.room {
		return nil
	}
	need += sumsStep - need%sumsStep
	if err := s.f.Truncate(need); err != nil {
		return err
	}
	if err := s.f.Sync(); err != nil {
		return err
	}
	s.room = need
	return nil
}

// writeEntries writes runs of neighbours at once. A page by which the file has grown without being written has no sum: SQLite has taken it and
// given it back in one transaction.
func (s *sums) writeEntries(pages uint32, changed map[uint32]bitrot.Sum) error {
	for p := s.header.copied.pages + 1; p <= pages; p++ {
		if _, ok := changed[p]; !ok {
			changed[p] = noSum
		}
	}
	run := make([]byte, 0, 4096)
	for _, first := range sortedPages(changed) {
		if _, before := changed[first-1]; before || first > pages {
			continue
		}
		run = run[:0]
		for p := first; p <= pages; p++ {
			one, ok := changed[p]
			if !ok {
				break
			}
			run = bitrot.Append(run, one)
		}
		if _, err := s.f.WriteAt(run, sumsStart+int64(first-1)*bitrot.Size); err != nil {
			return err
		}
	}
	return nil
}
