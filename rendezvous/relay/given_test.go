package relay

import (
	"maps"
	"slices"
	"testing"

	"pgregory.net/rapid"
)

// What an attachment has been given is the same as a map of it, whatever is taken when.
func TestGivenIsAMap(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var g given
		want := make(map[uint64]*message)
		next := uint64(1)
		for range rapid.IntRange(1, 60).Draw(t, "steps") {
			for range rapid.OneOf(rapid.IntRange(0, 20), rapid.IntRange(0, 3*maxRow)).Draw(t, "given") {
				m := &message{id: next}
				next++
				g.add(m)
				want[m.id] = m
			}
			ids := slices.Sorted(maps.Keys(want))
			var taken []uint64
			switch rapid.IntRange(0, 3).Draw(t, "kind") {
			case 0: // in order
				taken = ids[:rapid.IntRange(0, len(ids)).Draw(t, "oldest")]
			case 1: // all but a few old ones
				taken = ids[min(len(ids), rapid.IntRange(0, 5).Draw(t, "stuck")):]
			case 2: // any
				for range min(len(ids), 10) {
					taken = append(taken, rapid.Uint64Range(0, next+5).Draw(t, "id"))
				}
			}
			for _, id := range taken {
				m := g.get(id)
				if m != want[id] {
					t.Fatalf("delivery %d: got %v, want %v", id, m, want[id])
				}
				if m != nil {
					g.remove(id)
					delete(want, id)
				}
			}
			if g.count != len(want) || len(g.row)-g.head > maxRow || len(g.row) > 4*maxRow {
				t.Fatalf("%d are given, want %d; a row of %d", g.count, len(want), len(g.row))
			}
			var got []uint64
			g.all(func(m *message) { got = append(got, m.id) })
			if !slices.Equal(got, slices.Sorted(maps.Keys(want))) {
				t.Fatalf("got %d, not in order or not those that were given", len(got))
			}
		}
	})
}
