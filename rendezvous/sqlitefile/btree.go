package sqlitefile

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math"
)

// The pages of https://sqlite.org/fileformat2.html#b_tree_pages, read without SQLite: it refuses a tree of which one page is damaged.
const (
	kindIndexInterior = 0x02
	kindTableInterior = 0x05
	kindIndexLeaf     = 0x0a
	kindTableLeaf     = 0x0d
)

// errMalformed says that a page is not what it should be.
var errMalformed = errors.New("malformed page")

// maxPayload is the largest record that is read, in bytes. SQLite allows a gigabyte; nothing of ours is larger than a few.
const maxPayload = 64 << 20

// treePage is a page of a b-tree.
type treePage struct {
	data  []byte // the whole page
	kind  byte
	cells []int  // where they begin
	right uint32 // last child; interior pages only
}

// parseTree reads page n.
func parseTree(data []byte, n uint32) (*treePage, error) {
	head := 0
	if n == 1 {
		head = 100 // the header of the file stands before it
	}
	if len(data) < 512 { // no database has smaller pages
		return nil, errMalformed
	}
	p := &treePage{data: data, kind: data[head]}
	count, at := int(binary.BigEndian.Uint16(data[head+3:])), head+8
	switch p.kind {
	case kindIndexInterior, kindTableInterior:
		p.right, at = binary.BigEndian.Uint32(data[head+8:]), head+12
	case kindIndexLeaf, kindTableLeaf:
	default:
		return nil, errMalformed
	}
	if at+2*count > len(data) {
		return nil, errMalformed
	}
	p.cells = make([]int, count)
	for i := range p.cells {
		p.cells[i] = int(binary.BigEndian.Uint16(data[at+2*i:]))
		if p.cells[i] < at+2*count || p.cells[i]+4 > len(data) {
			return nil, errMalformed
		}
	}
	return p, nil
}

func (p *treePage) leaf() bool  { return p.kind == kindTableLeaf || p.kind == kindIndexLeaf }
func (p *treePage) table() bool { return p.kind == kindTableLeaf || p.kind == kindTableInterior }

// children returns the pages below, in order; none for a leaf.
func (p *treePage) children() []uint32 {
	if p.leaf() {
		return nil
	}
	all := make([]uint32, 0, len(p.cells)+1)
	for _, at := range p.cells {
		all = append(all, binary.BigEndian.Uint32(p.data[at:]))
	}
	return append(all, p.right)
}

// cell is a record as it stands on a page.
type cell struct {
	rowid    int64  // of tables
	local    []byte // what stands on the page
	size     int    // of the whole record
	overflow uint32 // where it goes on; 0: nowhere
}

// cell reads cell i. ok is false on an interior page of a table, which has no records.
func (p *treePage) cell(i int) (c cell, ok bool, err error) {
	if p.kind == kindTableInterior {
		return c, false, nil
	}
	b := p.data[p.cells[i]:]
	if p.kind == kindIndexInterior {
		b = b[4:]
	}
	size, n := varint(b)
	if n == 0 || size < 0 || size > maxPayload {
		return c, false, errMalformed
	}
	b = b[n:]
	if p.kind == kindTableLeaf {
		c.rowid, n = varint(b)
		if n == 0 {
			return c, false, errMalformed
		}
		b = b[n:]
	}
	c.size = int(size)
	here := p.local(c.size)
	if here > len(b) || here < c.size && here+4 > len(b) {
		return c, false, errMalformed
	}
	c.local = b[:here]
	if here < c.size {
		c.overflow = binary.BigEndian.Uint32(b[here:])
	}
	return c, true, nil
}

// local returns how much of a record of the given size stands on the page itself. No page of ours has reserved bytes.
func (p *treePage) local(size int) int {
	usable := len(p.data)
	most, least := (usable-12)*64/255-23, (usable-12)*32/255-23
	if p.table() {
		most = usable - 35
	}
	if size <= most {
		return size
	}
	if k := least + (size-least)%(usable-4); k <= most {
		return k
	}
	return least
}

// payload returns the whole record of a cell. read gives the pages that it goes on on.
func (c cell) payload(pageSize int, read func(uint32) ([]byte, error)) ([]byte, error) {
	if c.overflow == 0 {
		return c.local, nil
	}
	all := append(make([]byte, 0, min(c.size, 1<<20)), c.local...)
	for next := c.overflow; len(all) < c.size; {
		page, err := read(next)
		if err != nil {
			return nil, err
		}
		if len(page) < 8 {
			return nil, errMalformed
		}
		next = binary.BigEndian.Uint32(page)
		all = append(all, page[4:min(pageSize, 4+c.size-len(all))]...)
	}
	return all, nil
}

// varint reads a number of one to nine bytes, big-endian. n is 0 where b ends within it.
func varint(b []byte) (v int64, n int) {
	var u uint64
	for i := range min(8, len(b)) {
		u = u<<7 | uint64(b[i]&0x7f)
		if b[i] < 0x80 {
			return int64(u), i + 1
		}
	}
	if len(b) < 9 {
		return 0, 0
	}
	return int64(u<<8 | uint64(b[8])), 9
}

// parseRecord reads the values of a record: int64, float64, string, []byte or nil.
func parseRecord(b []byte) ([]any, error) {
	size, n := varint(b)
	if n == 0 || size < int64(n) || size > int64(len(b)) {
		return nil, errMalformed
	}
	head, body := b[n:size], b[size:]
	var values []any
	for len(head) > 0 {
		kind, n := varint(head)
		if n == 0 || kind < 0 {
			return nil, errMalformed
		}
		head = head[n:]
		v, n, err := parseValue(kind, body)
		if err != nil {
			return nil, err
		}
		body, values = body[n:], append(values, v)
	}
	return values, nil
}

// parseValue reads a value of a serial type, and returns how many bytes it takes.
func parseValue(kind int64, b []byte) (v any, n int, err error) {
	sizes := [...]int{0, 1, 2, 3, 4, 6, 8, 8, 0, 0}
	switch {
	case kind >= 12:
		size := (kind - 12) / 2
		if size > int64(len(b)) {
			return nil, 0, errMalformed
		}
		if n = int(size); kind%2 == 1 {
			return string(b[:n]), n, nil
		}
		return b[:n:n], n, nil
	case kind >= int64(len(sizes)):
		return nil, 0, fmt.Errorf("%w: serial type %d", errMalformed, kind)
	}
	if n = sizes[kind]; n > len(b) {
		return nil, 0, errMalformed
	}
	switch kind {
	case 0:
		return nil, 0, nil
	case 7:
		return math.Float64frombits(binary.BigEndian.Uint64(b)), n, nil
	case 8, 9:
		return kind - 8, 0, nil
	}
	i := int64(int8(b[0]))
	for _, c := range b[1:n] {
		i = i<<8 | int64(c)
	}
	return i, n, nil
}
