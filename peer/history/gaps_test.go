package history

import (
	"path/filepath"
	"testing"

	"github.com/byway-chat/byway/peer/delivery"
)

// TestGaps: gaps come back at the places where they were noticed, also after a restart.
func TestGaps(t *testing.T) {
	path := filepath.Join(t.TempDir(), "history.db")
	s := open(t, path)
	commit(t, s, ops(delivery.OpGap{From: "bob", Device: bob1, First: 1, Last: 2}, delivery.OpReceive{Message: incoming(3, "three")}))
	commit(t, s, ops(delivery.OpReceive{Message: incoming(4, "four")}, delivery.OpGap{From: "bob", Device: bob1, First: 5, Last: 5}, delivery.OpGap{From: "bob", Device: bob1, First: 6, Last: 9}))
	s = reopen(t, s, path)
	entries := find(t, s, Query{})
	equal(t, "visible", bodies(entries), "three four")
	all := []Gap{
		{Device: bob1, First: 1, Last: 2, After: entries[0].Order - 1},
		{Device: bob1, First: 5, Last: 5, After: entries[1].Order},
		{Device: bob1, First: 6, Last: 9, After: entries[1].Order},
	}
	for _, tt := range []struct {
		behind int64
		want   []Gap
	}{{0, all}, {entries[0].Order, all[1:]}, {entries[1].Order + 1, nil}} {
		got, err := s.Gaps(t.Context(), tt.behind)
		if err != nil {
			t.Fatal(err)
		}
		equal(t, "gaps", got, tt.want)
	}
}
