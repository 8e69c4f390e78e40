package history

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/byway-chat/byway/peer/delivery"
)

// lived makes a closed history of 60 commits: messages both ways, half of them still in the outbox.
func lived(t *testing.T) (path string, want []Entry, snap delivery.Snapshot) {
	t.Helper()
	path = filepath.Join(t.TempDir(), "history.db")
	s := open(t, path)
	fillContact := &Contact{Name: "bob", Devices: []*Device{{Fingerprint: bob1, SPKI: make([]byte, 3000), Trust: Accepted}}}
	commit(t, s, &Batch{Contacts: []*Contact{fillContact}, Ops: []delivery.Op{delivery.OpStart{To: "bob", Device: bob1, Start: 1}}})
	for i := uint64(1); i <= 30; i++ {
		commit(t, s, ops(delivery.OpEnqueue{Message: outgoing(i, fmt.Sprint("mine ", i, strings.Repeat(" x", 300)))}))
		commit(t, s, ops(delivery.OpReceive{Message: incoming(i, fmt.Sprint("theirs ", i, strings.Repeat(" y", 300)))}, delivery.OpNext{Device: bob1, Next: i + 1}))
	}
	want = find(t, s, Query{})
	snap, err := s.Snapshot(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	return path, want, snap
}

// spoiled copies a closed history with its sums, after edit has changed the database.
func spoiled(t *testing.T, path string, edit func(b []byte)) string {
	t.Helper()
	to := filepath.Join(t.TempDir(), "history.db")
	for _, suffix := range []string{"", ".sums", ".mark"} {
		b, err := os.ReadFile(path + suffix)
		if err != nil {
			t.Fatal(err)
		}
		if suffix == "" {
			edit(b)
		}
		if err := os.WriteFile(to+suffix, b, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return to
}

func TestEveryFlippedBitIsToldAndTurnedBack(t *testing.T) {
	path, want, _ := lived(t)
	random := rand.New(rand.NewPCG(1, 2))
	for range 20 {
		s := open(t, spoiled(t, path, func(b []byte) { b[random.IntN(len(b))] ^= 1 << random.IntN(8) }))
		found, aside := s.Damage()
		if _, err := os.Stat(aside); found == "" || err != nil {
			t.Errorf("damage: %q, %q, %v", found, aside, err)
		}
		equal(t, "entries", find(t, s, Query{}), want)
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
	}
}

// TestLostPages overwrites each page of the history. What is lost is a gap, what is there is true, no number is used twice, and a contact whose pins
// are lost waits for the person.
func TestLostPages(t *testing.T) {
	path, want, before := lived(t)
	size, err := os.Stat(path)
	if err != nil {
		t.Fatal(err)
	}
	lost := 0
	for page := range int(size.Size() / 4096) {
		path := spoiled(t, path, func(b []byte) { copy(b[page*4096:], slices.Repeat([]byte{0xa5}, 4096)) })
		s, err := Open(t.Context(), path, key)
		if err != nil {
			t.Errorf("page %d: %v", page+1, err)
			continue
		}
		if found, _ := s.Damage(); found == "" {
			t.Errorf("page %d: not told", page+1)
		}
		lost += checkRescued(t, s, page+1, want, before)
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
	}
	if lost == 0 {
		t.Error("no page held a message")
	}
}

func checkRescued(t *testing.T, s *Store, page int, want []Entry, before delivery.Snapshot) (lost int) {
	t.Helper()
	what := fmt.Sprint("page ", page)
	got := map[int64]Entry{}
	for _, e := range find(t, s, Query{}) {
		got[e.Order] = e
	}
	gaps, err := s.Gaps(t.Context(), 0)
	if err != nil {
		t.Fatal(err)
	}
	for _, w := range want {
		e, there := got[w.Order]
		if there {
			equal(t, what, e, w)
			continue
		}
		lost++
		covered := slices.ContainsFunc(gaps, func(g Gap) bool { return g.Device == w.Device && g.First <= w.N && w.N <= g.Last })
		if !covered {
			t.Errorf("%s: message %d of %x is lost and no gap", what, w.N, w.Device[:2])
		}
	}
	if len(got)+lost != len(want) {
		t.Errorf("%s: %d messages and %d lost of %d", what, len(got), lost, len(want))
	}
	after, err := s.Snapshot(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for _, a := range before.Accounts {
		if !slices.ContainsFunc(after.Accounts, func(b delivery.AccountState) bool { return b.Name == a.Name && b.Next >= a.Next }) {
			t.Errorf("%s: the numbering to %s goes back: %v", what, a.Name, after.Accounts)
		}
	}
	for _, d := range before.Devices {
		if !slices.ContainsFunc(after.Devices, func(b delivery.DeviceState) bool { return b.Device == d.Device && b.Next >= d.Next }) {
			t.Errorf("%s: the numbering of %x goes back: %v", what, d.Device[:2], after.Devices)
		}
	}
	contacts, err := s.Contacts(t.Context())
	if err != nil || len(contacts) != 1 || contacts[0].Name != "bob" || len(contacts[0].Devices) == 0 {
		t.Fatalf("%s: contacts %v and %v", what, contacts, err)
	}
	if c := contacts[0]; c.Devices[0].Trust != Accepted && !c.Changed {
		t.Errorf("%s: bob would be pinned anew", what)
	} else if c.Lost() != c.Changed {
		t.Errorf("%s: bob's keys are said to be lost: %v, and to have changed: %v", what, c.Lost(), c.Changed)
	}
	return lost
}

// TestRescueWantsTheKey refuses to rescue with another key: everything would count as altered.
func TestRescueWantsTheKey(t *testing.T) {
	path, want, _ := lived(t)
	path = spoiled(t, path, func(b []byte) { copy(b[20*4096:], make([]byte, 4096)) })
	for range 2 {
		if s, err := Open(t.Context(), path, [32]byte{9}); !errors.Is(err, ErrDamaged) {
			t.Errorf("got %v and %v, want %v", s, err, ErrDamaged)
		}
	}
	s := open(t, path)
	if got := find(t, s, Query{}); len(got) < len(want)-10 {
		t.Errorf("%d messages of %d after all", len(got), len(want))
	}
}
