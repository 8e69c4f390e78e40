package relay

import (
	"maps"
	"slices"
)

// given is what an attachment has been given and has not taken, by the ID of the delivery. IDs rise by one, and most are taken in their
// order, so the youngest lie in a row; what stays untaken for long moves to a map.
type given struct {
	first uint64              // ID of row[head]
	row   []*message          // nil: taken
	head  int                 // of row; what is before it is over
	old   map[uint64]*message // IDs below first; nil: none
	count int
}

// maxRow is how long the row may become before its oldest move to the map.
const maxRow = 8192

// add takes in the next delivery, whose ID follows the one before.
func (g *given) add(m *message) {
	if len(g.row) == g.head {
		g.row, g.head, g.first = g.row[:0], 0, m.id
	}
	if len(g.row)-g.head >= maxRow {
		if g.old == nil {
			g.old = make(map[uint64]*message)
		}
		if m := g.row[g.head]; m != nil {
			g.old[m.id] = m
		}
		g.advance(g.head + 1)
	}
	if g.head > 0 && len(g.row) == cap(g.row) && g.head >= len(g.row)/2 {
		n := copy(g.row, g.row[g.head:])
		clear(g.row[n:])
		g.row, g.head = g.row[:n], 0
	}
	g.row = append(g.row, m)
	g.count++
}

// get returns what was given under an ID, or nil.
func (g *given) get(id uint64) *message {
	if id < g.first {
		return g.old[id]
	}
	if at := id - g.first; at < uint64(len(g.row)-g.head) {
		return g.row[g.head+int(at)]
	}
	return nil
}

// remove forgets a delivery that get has returned.
func (g *given) remove(id uint64) {
	g.count--
	if id < g.first {
		delete(g.old, id)
		return
	}
	at := g.head + int(id-g.first)
	g.row[at] = nil
	if at == g.head {
		for at < len(g.row) && g.row[at] == nil {
			at++
		}
		g.advance(at)
	}
	if g.count == 0 && cap(g.row) > maxRow/8 {
		*g = given{first: g.first} // an idle attachment keeps no large row
	}
}

func (g *given) advance(head int) {
	clear(g.row[g.head:head])
	g.first += uint64(head - g.head)
	g.head = head
}

// all calls f, which may remove, for what has been given, in the order of the IDs.
func (g *given) all(f func(m *message)) {
	for _, id := range slices.Sorted(maps.Keys(g.old)) {
		f(g.old[id])
	}
	for _, m := range g.row[g.head:] {
		if m != nil {
			f(m)
		}
	}
}
