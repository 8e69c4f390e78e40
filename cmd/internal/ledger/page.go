package ledger

import (
	"bytes"
	"os"
	"sync/atomic"
	"unsafe"
)

// pageSize is that of the file: what mmap gives at least.
const pageSize = 4096

// magic begins a page and names its layout: the page of another build that has another is nobody's.
var magic = [8]byte{'b', 'y', 'w', 'a', 'y', ' ', 'l', '1'}

// page is what outlives the process, in the byte order of the machine. The owner writes it; others only read.
type page struct {
	magic [8]byte
	seq   atomic.Uint64 // areas[seq%2] counts; the other one may be half written
	dev   uint64        // of the stream; 0 with ino: none
	ino   uint64
	added uint64   // 1: the stream is a file that is only appended to, of this path
	path  name     // of that file
	home  name     // of the person
	areas [2]area  // in turn
	text  [64]byte // of an appended text, how it begins
	tail  [64]byte // and how it ends
	gone  int64    // Unix seconds when another process first found that home is not there; 0: it is. Written by those who look, once the owner is dead
}

// A page must fit: the length of this array would be negative.
var _ [pageSize - unsafe.Sizeof(page{})]byte

// area is one message on its way out.
type area struct {
	pos          int64 // how far it has come: start to end. Moved by the kernel or after the write
	start, end   int64
	before, next mark // what was printed last when pos is below end, and when it is not
}

// mark is a Mark in a page.
type mark struct {
	order  int64
	length uint8
	id     [47]byte
}

// name is a path in a page; one that is too long is left empty.
type name struct {
	length uint64
	text   [1400]byte
}

func (n *name) set(s string) {
	if len(s) <= len(n.text) {
		n.length = uint64(copy(n.text[:], s))
	}
}

func (n *name) get() string { return string(n.text[:min(n.length, uint64(len(n.text)))]) }

func (m Mark) inPage() mark {
	in := mark{order: m.Order}
	in.length = uint8(copy(in.id[:], m.ID))
	return in
}

func (m *mark) mark() Mark {
	return Mark{Order: m.order, ID: string(m.id[:min(int(m.length), len(m.id))])}
}

// init makes an empty page one of home that remembers last.
func (p *page) init(home string, last Mark) {
	p.home.set(home)
	p.areas[0].next = last.inPage()
	p.magic = magic
}

// begin notes that a text is about to be printed, and returns where its position is counted. Until the last line of it the other area counts,
// so a kill anywhere in it changes nothing.
func (p *page) begin(text []byte, start int64, m Mark) *area {
	seq := p.seq.Load()
	now, a := &p.areas[seq%2], &p.areas[(seq+1)%2]
	*a = area{pos: start, start: start, end: start + int64(max(len(text), 1)), before: now.last(), next: m.inPage()}
	if p.added == 1 {
		copy(p.text[:], text)
		copy(p.tail[:], text[max(0, len(text)-len(p.tail)):])
	}
	p.seq.Store(seq + 1)
	return a
}

// last is what counts as printed by the position alone.
func (a *area) last() mark {
	if atomic.LoadInt64(&a.pos) >= a.end {
		return a.next
	}
	return a.before
}

func (p *page) newest() Mark {
	m := p.areas[p.seq.Load()%2].last()
	return m.mark()
}

// settle says what a page whose process has died tells: what was printed last, and whether a line was left unfinished.
func (p *page) settle() (last Mark, torn bool) {
	a := &p.areas[p.seq.Load()%2]
	if a.pos == a.start && a.pos < a.end && p.added == 1 {
		whole, torn := p.appended(a)
		if whole {
			return a.next.mark(), false
		}
		return a.before.mark(), torn
	}
	return p.newest(), a.pos > a.start && a.pos < a.end
}

// searched is how many bytes behind its beginning an appended text is looked for, where others write to the file too.
const searched = 1 << 20

// appended looks into the file for a text of which it is not known whether it was written. One that is not found whole counts as not printed; torn says
// that the file ends in the middle of a line, because a kill can end a write where one page of the file does.
func (p *page) appended(a *area) (whole, torn bool) {
	f, err := os.Open(p.path.get())
	if err != nil {
		return false, false
	}
	defer func() { _ = f.Close() }()
	if dev, ino := identity(f); dev != p.dev || ino != p.ino {
		return false, false
	}
	size := int(a.end - a.start)
	content := make([]byte, size+searched)
	n, _ := f.ReadAt(content, a.start) // a short read is no error here
	content = content[:n]
	head, tail := p.text[:min(size, len(p.text))], p.tail[:min(size, len(p.tail))]
	for at := 0; ; at++ {
		i := bytes.Index(content[at:], head)
		if i < 0 || at+i+size > len(content) {
			return false, n > 0 && content[n-1] != '\n'
		}
		if at += i; bytes.HasSuffix(content[at:at+size], tail) {
			return true, false
		}
	}
}
