package peertest_test

import (
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"testing"
	"testing/synctest"

	"github.com/byway-chat/byway/peer"
	"github.com/byway-chat/byway/peer/peertest"
)

// TestAnyPageMayBeLost overwrites one page of a stopped peer's history after the other, each time in a world of its own. The peer starts by itself, and the conversation goes on both
// ways; where it is the page with what was pinned, after the person has compared the keys again. With the race detector it is each fourth page, beginning at any.
func TestAnyPageMayBeLost(t *testing.T) {
	from, step := 0, 1
	if racing {
		from, step = rand.IntN(4), 4
	}
	for page, pages := from, from+1; page < pages; page += step {
		t.Run(fmt.Sprint(page+1), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := peertest.New(t, 1)
				alice, bob := w.Peer("alice"), w.Peer("bob")
				for i := range 3 {
					bob.MustReach(bob.MustSend("alice", fmt.Sprint("before ", i)).ID, peer.StateDelivered)
					alice.MustReach(alice.MustSend("bob", fmt.Sprint("before, too ", i)).ID, peer.StateDelivered)
				}
				alice.Stop()
				pages = losePage(t, filepath.Join(alice.Home(), "history.db"), page)
				if err := alice.Start(); err != nil {
					t.Fatal(err)
				}
				waiting := bob.MustSend("alice", "after").ID
				if _, err := alice.Send(context.Background(), "bob", "perhaps", peer.SendOptions{}); peer.CodeOf(err) == peer.CodeKeyChanged {
					if _, err := alice.Verify(context.Background(), "bob", true); err != nil {
						t.Fatal(err)
					}
				} else if err != nil {
					t.Fatal(err)
				}
				alice.MustReach(alice.MustSend("bob", "after, too").ID, peer.StateDelivered)
				bob.MustReach(waiting, peer.StateDelivered)
				bob.MustReach(bob.MustSend("alice", "last").ID, peer.StateDelivered)
				for _, n := range []*peertest.Node{alice, bob} {
					seen := map[string]int{}
					for _, e := range n.Events(peer.EventMessage) {
						if seen[*e.Body]++; seen[*e.Body] > 1 || e.From != map[*peertest.Node]string{alice: "bob", bob: "alice"}[n] {
							t.Errorf("%q from %q was shown %d times", *e.Body, e.From, seen[*e.Body])
						}
					}
				}
			})
		})
	}
}

// losePage overwrites a page of a database, the first being 0, and returns how many there are.
func losePage(t *testing.T, path string, page int) int {
	t.Helper()
	const size = 4096
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	for i := range b[page*size : (page+1)*size] {
		b[page*size+i] = byte(i*31 + page)
	}
	if err := os.WriteFile(path, b, 0o600); err != nil {
		t.Fatal(err)
	}
	return len(b) / size
}
