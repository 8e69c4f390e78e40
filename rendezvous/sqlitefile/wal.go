package sqlitefile

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math/bits"

	"github.com/byway-chat/byway/rendezvous/bitrot"
)

// The write-ahead log as https://sqlite.org/fileformat2.html#the_write_ahead_log describes it: a header, then frames of a header and a page. Each
// frame's checksum goes on from that of the frame before, so frames after a broken one can still be told from refuse.
const (
	logHeaderSize   = 32
	frameHeaderSize = 24
	logMagic        = 0x377f0682 // with bit 0 set: checksums of big-endian words
	logVersion      = 3007000
)

// chain is the running checksum of a log.
type chain [2]uint32

// add goes on over b, whose length is a multiple of eight.
func (c chain) add(order binary.ByteOrder, b []byte) chain {
	s0, s1 := c[0], c[1]
	if order == binary.LittleEndian { // the usual case, without a call for each word
		for ; len(b) >= 8; b = b[8:] {
			s0 += binary.LittleEndian.Uint32(b) + s1
			s1 += binary.LittleEndian.Uint32(b[4:]) + s0
		}
		return chain{s0, s1}
	}
	for ; len(b) >= 8; b = b[8:] {
		s0 += order.Uint32(b) + s1
		s1 += order.Uint32(b[4:]) + s0
	}
	return chain{s0, s1}
}

func readChain(b []byte) chain {
	return chain{binary.BigEndian.Uint32(b), binary.BigEndian.Uint32(b[4:])}
}

// off counts the bits in which two checksums differ.
func (c chain) off(d chain) int { return bits.OnesCount32(c[0]^d[0]) + bits.OnesCount32(c[1]^d[1]) }

// salt tells the frames of one life of the log from those of lives before.
type salt [8]byte

func (s salt) off(t salt) int {
	return bits.OnesCount64(binary.BigEndian.Uint64(s[:]) ^ binary.BigEndian.Uint64(t[:]))
}

// logHeader is the head of a log.
type logHeader struct {
	order    binary.ByteOrder
	pageSize int
	salt     salt
	sum      chain
}

// parseLogHeader reads the first 32 bytes. ok is false where they are not the header of a log, or damaged.
func parseLogHeader(b []byte) (h logHeader, ok bool) {
	if len(b) < logHeaderSize {
		return h, false
	}
	magic := binary.BigEndian.Uint32(b)
	if magic&^1 != logMagic || binary.BigEndian.Uint32(b[4:]) != logVersion {
		return h, false
	}
	h.order = binary.LittleEndian
	if magic&1 != 0 {
		h.order = binary.BigEndian
	}
	h.pageSize = int(binary.BigEndian.Uint32(b[8:]))
	if h.pageSize < 512 || h.pageSize > 65536 || h.pageSize&(h.pageSize-1) != 0 {
		return h, false
	}
	copy(h.salt[:], b[16:])
	h.sum = readChain(b[24:])
	return h, chain{}.add(h.order, b[:24]) == h.sum
}

// mendLogHeader turns back a single flipped bit, wherever in the header it is. Its checksum is weak: turning round a bit of the salt can explain what is wrong with a bit of
// the checksum. Which it was the first frame tells: it has the salt, and its checksum goes on from that of the header. It may be nil.
func mendLogHeader(b []byte, pageSize int, first []byte) (logHeader, bitrot.Finding) {
	if h, ok := parseLogHeader(b); ok {
		return h, bitrot.Healthy
	}
	var last logHeader
	ways := 0
	for i := range min(len(b), logHeaderSize) * 8 {
		b[i/8] ^= 1 << (i % 8)
		h, ok := parseLogHeader(b)
		b[i/8] ^= 1 << (i % 8)
		if !ok || h.pageSize != pageSize {
			continue
		}
		if first != nil {
			if _, proven := h.check(h.sum, first); proven {
				return h, bitrot.Mended
			}
		}
		last, ways = h, ways+1
	}
	if ways == 1 {
		return last, bitrot.Mended
	}
	return logHeader{}, bitrot.Lost
}

// frame is one page in the log.
type frame struct {
	page   uint32
	commit uint32 // pages of the file after the transaction that ends here; 0: it goes on
	salt   salt
	sum    chain
}

func parseFrame(b []byte) frame {
	f := frame{page: binary.BigEndian.Uint32(b), commit: binary.BigEndian.Uint32(b[4:]), sum: readChain(b[16:])}
	copy(f.salt[:], b[8:])
	return f
}

// check reports whether the frame in b follows a frame with the checksum before, and its own checksum.
func (h *logHeader) check(before chain, b []byte) (f frame, ok bool) {
	f = parseFrame(b)
	sum := before.add(h.order, b[:8]).add(h.order, b[frameHeaderSize:])
	return f, f.page != 0 && f.salt == h.salt && f.sum == sum
}

// mendFrame turns back a single flipped bit of a frame, wherever in it it is.
func (h *logHeader) mendFrame(before chain, b []byte) (frame, bitrot.Finding) {
	f, ok := h.check(before, b)
	if ok {
		return f, bitrot.Healthy
	}
	got := before.add(h.order, b[:8]).add(h.order, b[frameHeaderSize:])
	wrongSalt, wrongSum := f.salt.off(h.salt), f.sum.off(got)
	switch {
	case wrongSalt > 1 || f.page == 0 && wrongSalt > 0:
		return f, bitrot.Lost // of another life of the log
	case wrongSalt == 1 && wrongSum > 0:
		return f, bitrot.Lost
	case wrongSalt == 1:
		return h.setSum(b, got), bitrot.Mended
	}
	// One bit of the page can look like one bit of the checksum, and like another bit of the page.
	at, mask, ways := h.explain(f.sum[0]-got[0], f.sum[1]-got[1], b)
	switch {
	case wrongSum == 1 && ways == 0:
		return h.setSum(b, got), bitrot.Mended
	case wrongSum > 1 && ways == 1:
		b[at] ^= mask
		return parseFrame(b), bitrot.Mended
	}
	return f, bitrot.Lost
}

// otherPages returns the pages a broken frame may be of, besides the one that it says: those whose number is one bit off and fits the checksum, as a
// bit of the page itself does. An older version of the right page must not be taken for the last.
func (h *logHeader) otherPages(before chain, b []byte) (pages []uint32) {
	for i := range 32 {
		b[i/8] ^= 1 << (i % 8)
		if f, ok := h.check(before, b); ok {
			pages = append(pages, f.page)
		}
		b[i/8] ^= 1 << (i % 8)
	}
	return pages
}

// setSum puts the salt and the checksum of a frame right.
func (h *logHeader) setSum(b []byte, sum chain) frame {
	copy(b[8:], h.salt[:])
	binary.BigEndian.PutUint32(b[16:], sum[0])
	binary.BigEndian.PutUint32(b[20:], sum[1])
	return parseFrame(b)
}

// weight is by what a change of one in a word changes the checksum. It rises like Fibonacci numbers with each pair of words that follows.
type weight struct{ w0, w1 uint32 }

func (w weight) next() weight { return weight{w.w0 + w.w1, w.w0 + 2*w.w1} }

// explain looks for the bits of a frame whose turning changes its checksum by the given differences, modulo 2^32. It returns one of them, and how
// many ways there are, two meaning two or more.
func (h *logHeader) explain(d0, d1 uint32, b []byte) (at int, mask byte, ways int) {
	try := func(offset int, w weight) {
		word := h.order.Uint32(b[offset:])
		for bit := range 32 {
			x := uint32(1) << bit
			if word&x != 0 {
				x = -x
			}
			if w.w0*x != d0 || w.w1*x != d1 {
				continue
			}
			ways++
			var m [4]byte
			h.order.PutUint32(m[:], 1<<bit)
			for i := range m {
				if m[i] != 0 {
					at, mask = offset+i, m[i]
				}
			}
		}
	}
	first, second := weight{1, 1}, weight{0, 1}
	for offset := len(b) - 8; offset >= 0 && ways < 2; offset -= 8 {
		if offset < frameHeaderSize { // of the header only its first eight bytes count
			offset = 0
		}
		try(offset, first)
		try(offset+4, second)
		first, second = first.next(), second.next()
	}
	return at, mask, ways
}

// errLogEnd says that a log has no frame where one was looked for.
var errLogEnd = errors.New("the log ends")

// readFrame reads frame i, counted from 0, into b.
func readFrame(f io.ReaderAt, i int, b []byte) error {
	_, err := f.ReadAt(b, logHeaderSize+int64(i)*int64(len(b)))
	if errors.Is(err, io.EOF) {
		return errLogEnd
	}
	if err != nil {
		return fmt.Errorf("read frame %d of the log: %w", i+1, err)
	}
	return nil
}
