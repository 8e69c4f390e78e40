package sqlitefile

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"slices"

	"github.com/byway-chat/byway/rendezvous/bitrot"
)

// pageLog is what a closed log holds of committed transactions.
type pageLog struct {
	header   logHeader
	frames   int               // that count, up to the last commit
	pages    uint32            // of the file after the last commit; 0: the log holds no commit
	at       map[uint32]int    // page → its last frame, counted from 0
	mended   map[int][]byte    // frames with a bit turned back, where they differ from the file
	unknown  map[uint32]string // pages whose last frame could not be read
	nameless int               // frames of which not even the page is known
	damage   []Damage
}

// copied says how much of a log has certainly reached the main file.
type copied struct {
	salt   salt
	frames int
	pages  uint32 // of the file then
}

// covers reports that all that a mark speaks of has reached the main file.
func (c copied) covers(m mark) bool { return m.salt == c.salt && int(m.frames) <= c.frames }

// scan is the state of one reading of a log.
type scan struct {
	f      io.ReaderAt
	mark   mark // frames is 0 where it says nothing
	copied copied
	log    *pageLog
	known  []frame // what stands in each frame; the page of one that is broken is what it says itself
	broken []bool
	others map[int][]uint32 // broken frame → the pages it may be of, besides the one that it says
	sum    chain
	seed   bool // sum is the checksum of the frame before
}

// readLog reads the log in f, of the given size. It tells damage from an end that was being written when the power went: what follows the end was
// never fsynced, so it is not in the mark, no later transaction stands behind it, and it is off by more than one bit.
func readLog(f io.ReaderAt, size int64, pageSize int, m mark, done copied) (*pageLog, error) {
	log := &pageLog{at: map[uint32]int{}, mended: map[int][]byte{}, unknown: map[uint32]string{}}
	if done.covers(m) {
		m.frames = 0
	}
	s := &scan{f: f, mark: m, copied: done, log: log, others: map[int][]uint32{}}
	if size < logHeaderSize {
		s.missing(0)
		return log, nil
	}
	head := make([]byte, logHeaderSize)
	if _, err := f.ReadAt(head, 0); err != nil {
		return nil, fmt.Errorf("read the head of the log: %w", err)
	}
	var found bitrot.Finding
	first := make([]byte, frameHeaderSize+pageSize)
	if err := readFrame(f, 0, first); errors.Is(err, errLogEnd) {
		first = nil
	} else if err != nil {
		return nil, err
	}
	switch log.header, found = mendLogHeader(head, pageSize, first); found {
	case bitrot.Mended:
		log.found(Damage{File: logSuffix, Detail: "its header", Mended: true})
	case bitrot.Lost:
		if m.frames == 0 { // nothing was committed in this life of the log, as far as anyone knows
			return log, nil
		}
		log.found(Damage{File: logSuffix, Detail: "its header"})
		log.header = logHeader{order: nativeOrder(), pageSize: pageSize, salt: m.salt}
	case bitrot.Healthy, bitrot.SumWrong: // it is what it was
	}
	if log.header.pageSize != pageSize || m.frames > 0 && m.salt != log.header.salt {
		s.missing(0)
		return log, nil
	}
	s.sum, s.seed = log.header.sum, found != bitrot.Lost
	for i := range int((size - logHeaderSize) / int64(frameHeaderSize+pageSize)) {
		if err := s.frame(i); err != nil {
			return nil, err
		}
	}
	s.settle()
	return log, nil
}

// nativeOrder is the order of a log's checksums that SQLite chooses on this machine.
func nativeOrder() binary.ByteOrder {
	if binary.NativeEndian.Uint16([]byte{1, 0}) == 1 {
		return binary.LittleEndian
	}
	return binary.BigEndian
}

func (l *pageLog) found(d Damage) { l.damage = append(l.damage, d) }

// missing notes what the mark promises beyond the first n frames.
func (s *scan) missing(n int) {
	if more := int(s.mark.frames) - n; more > 0 {
		s.log.nameless += more
		s.log.found(Damage{File: logSuffix, Detail: fmt.Sprintf("its last %d pages are missing", more)})
	}
}

// frame reads the next frame and goes on behind it, whatever it finds.
func (s *scan) frame(i int) error {
	b := make([]byte, frameHeaderSize+s.log.header.pageSize)
	if err := readFrame(s.f, i, b); err != nil {
		return err
	}
	fr, found := parseFrame(b), bitrot.Lost
	if s.seed { // else the frame before is lost, its checksum with it, and this one cannot be proven
		fr, found = s.log.header.mendFrame(s.sum, b)
	}
	if found == bitrot.Lost && s.seed && s.vouched(i, b) {
		fr, found = parseFrame(b), bitrot.Mended
	}
	switch {
	case found == bitrot.Mended:
		s.log.mended[i] = b
	case found == bitrot.Lost && s.seed:
		s.others[i] = s.log.header.otherPages(s.sum, b)
	}
	s.known, s.broken = append(s.known, fr), append(s.broken, found == bitrot.Lost)
	// The checksum that stands in a broken frame is most likely sound, and then it proves the next one.
	s.sum, s.seed = fr.sum, found != bitrot.Lost || fr.salt == s.log.header.salt
	return nil
}

// vouched reports that the page of a frame is sound and only its checksum is not: the mark or the next frame knows the right one. It puts it into b.
func (s *scan) vouched(i int, b []byte) bool {
	h := &s.log.header
	got := s.sum.add(h.order, b[:8]).add(h.order, b[frameHeaderSize:])
	sound := s.mark.salt == h.salt && int(s.mark.frames) == i+1 && s.mark.sum == got
	if !sound {
		next := make([]byte, len(b))
		if readFrame(s.f, i+1, next) != nil {
			return false
		}
		_, sound = h.check(got, next)
	}
	if sound {
		h.setSum(b, got)
	}
	return sound
}

// settle decides how far the log counts, and takes stock of it.
func (s *scan) settle() {
	log := s.log
	promised, pages := int(s.mark.frames), s.mark.pages
	if s.copied.salt == log.header.salt && s.copied.frames > promised {
		promised, pages = s.copied.frames, s.copied.pages
	}
	log.frames, log.pages = s.end(promised)
	if promised > log.frames {
		log.frames, log.pages = min(promised, len(s.known)), pages
		s.missing(log.frames)
	}
	done := 0
	if s.copied.salt == log.header.salt {
		done = s.copied.frames
	}
	for i, fr := range s.known[:log.frames] {
		switch {
		case s.broken[i] && i < done:
			log.found(Damage{File: logSuffix, Detail: frameName(i), Mended: true})
		case !s.broken[i]:
			log.at[fr.page] = i
			delete(log.unknown, fr.page)
			if log.mended[i] != nil {
				log.found(Damage{File: logSuffix, Page: fr.page, Detail: frameName(i), Mended: true})
			}
		default:
			s.lose(i, fr)
		}
	}
	if slices.Contains(s.broken[:min(done, log.frames)], true) {
		log.forget(done)
	}
}

// lose notes that frame i cannot be read, and of which page it may have been.
func (s *scan) lose(i int, fr frame) {
	log := s.log
	var pages []uint32
	if fr.salt.off(log.header.salt) <= 1 {
		pages = append(s.others[i], fr.page)
	}
	pages = slices.DeleteFunc(pages, func(p uint32) bool { return p == 0 || p > log.pages })
	if len(pages) == 0 {
		log.nameless++
		log.found(Damage{File: logSuffix, Detail: frameName(i)})
	}
	for _, page := range pages {
		delete(log.at, page)
		log.unknown[page] = frameName(i)
		log.found(Damage{File: logSuffix, Page: page, Detail: frameName(i)})
	}
}

func frameName(i int) string { return fmt.Sprintf("frame %d", i+1) }

// end returns how many frames count by what stands in the log alone, and the pages of the file after them.
func (s *scan) end(promised int) (frames int, pages uint32) {
	var sound, last int // ends of transactions: before anything is broken, and of all that can be read
	var soundPages uint32
	whole, behind := true, false // behind: something stands after a transaction that ended behind something broken
	for i, fr := range s.known {
		if s.broken[i] {
			whole = false
			continue
		}
		behind = behind || last > sound
		if fr.commit == 0 {
			continue
		}
		if last, pages = i+1, fr.commit; whole {
			sound, soundPages = last, pages
		}
	}
	if last > sound && !behind && promised <= sound {
		return sound, soundPages // the last transaction was being written
	}
	return last, pages
}

// forget leaves the first n frames out: the main file holds those pages, or newer ones. Where nothing is broken they are better than it: power may have gone
// when the header of the sums, which says so, was on the disk, and the sums of those pages were not.
func (l *pageLog) forget(n int) {
	for page, i := range l.at {
		if i < n {
			delete(l.at, page)
		}
	}
}
