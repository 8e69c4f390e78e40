package peer

import (
	"fmt"
	"testing"

	"github.com/byway-chat/byway/peer/delivery"
	"github.com/byway-chat/byway/rendezvous"
)

// TestReadList reads lists of honest and of lying rendezvous: all end.
func TestReadList(t *testing.T) {
	pages := func(names ...string) *rendezvous.Listed {
		l := &rendezvous.Listed{More: true}
		for _, name := range names {
			l.Users = append(l.Users, &rendezvous.Listing{Username: name, Online: true})
		}
		return l
	}
	for _, row := range []struct {
		name  string
		list  func(asked int, after string) *rendezvous.Listed
		asked int
		users int
	}{
		{"honest", func(asked int, _ string) *rendezvous.Listed {
			return []*rendezvous.Listed{pages("anna", "bob"), pages("carol"), {}}[asked]
		}, 3, 3},
		{"the same page for ever", func(int, string) *rendezvous.Listed { return pages("anna", "bob") }, 2, 2},
		{"falling names", func(asked int, _ string) *rendezvous.Listed { return pages(fmt.Sprintf("u%05d", 90000-asked)) }, 2, 1},
		{"no names", func(int, string) *rendezvous.Listed { return pages() }, 1, 0},
		{"names that are none", func(int, string) *rendezvous.Listed { return pages("\x1b[2J", "ANNA") }, 1, 0},
		{"one name a page", func(asked int, _ string) *rendezvous.Listed { return pages(fmt.Sprintf("u%05d", asked)) }, maxWhoPages, maxWhoPages},
	} {
		t.Run(row.name, func(t *testing.T) {
			out, asked := map[delivery.Account]bool{}, 0
			err := readList(out, func(after string) (*rendezvous.Listed, error) {
				asked++
				if asked > maxWho {
					t.Fatal("it does not end")
				}
				return row.list(asked-1, after), nil
			})
			if err != nil || asked != row.asked || len(out) != row.users {
				t.Errorf("got %d users of %d pages and %v, want %d of %d", len(out), asked, err, row.users, row.asked)
			}
		})
	}
}
