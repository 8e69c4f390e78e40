package history

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/byway-chat/byway/crypto/session"
	"github.com/byway-chat/byway/peer/delivery"
)

// fill puts something into every table.
func fill(t testing.TB, s *Store) {
	t.Helper()
	copied := outgoing(1, "copy")
	copied.To, copied.CopyOf = "alice", "bob"
	commit(t, s, &Batch{
		Ops: []delivery.Op{
			delivery.OpEnqueue{Message: outgoing(1, "mine")},
			delivery.OpEnqueue{Message: copied},
			delivery.OpReceive{Message: incoming(1, "theirs")},
			delivery.OpNext{Device: bob1, Next: 2},
			delivery.OpReceive{Message: incoming(3, "held"), Held: true},
		},
		Contacts: []*Contact{{Name: "bob"}},
		Sessions: []Session{{ID: session.ID{1}, Device: bob1, Used: t0, State: []byte("state")}},
		Blocked:  []Blocked{{Account: "bob", Device: bob2, Envelope: []byte("envelope")}},
	})
}

// readAll reads everything, and returns the first error of each reader.
func readAll(t testing.TB, s *Store) map[string]error {
	ctx := t.Context()
	errs := map[string]error{}
	_, errs["snapshot"] = s.Snapshot(ctx)
	_, errs["find"] = s.Find(ctx, Query{Limit: 10})
	_, errs["contacts"] = s.Contacts(ctx)
	_, _, errs["session"] = s.Session(ctx, session.ID{1})
	_, errs["blocked"] = s.BlockedOf(ctx, "bob", bob2)
	return errs
}

func TestWrongKey(t *testing.T) {
	path := filepath.Join(t.TempDir(), "history.db")
	s := open(t, path)
	if err := s.Close(); err != nil {
		t.Fatalf("close: %v", err)
	}
	wrong, err := Open(t.Context(), path, [32]byte{9})
	if wrong != nil || !errors.Is(err, ErrDamaged) {
		t.Errorf("got %v and %v, want ErrDamaged", wrong, err)
	}
	open(t, path) // and nothing has changed
}

func TestGarbage(t *testing.T) {
	for name, content := range map[string]string{
		"text": strings.Repeat("this is no database\n", 1000), "short": "x", "half a header": "SQLite format 3\x00\x10\x00",
	} {
		t.Run(name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "history.db")
			if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
				t.Fatalf("write: %v", err)
			}
			if s, err := Open(t.Context(), path, key); s != nil || !errors.Is(err, ErrDamaged) {
				t.Errorf("got %v and %v, want ErrDamaged", s, err)
			}
			if b, err := os.ReadFile(path); err != nil || string(b) != content {
				t.Errorf("the file was changed: %v", err)
			}
		})
	}
}

// TestFlippedBit wants damage in one sealed value to fail those who read it, and nobody else.
func TestFlippedBit(t *testing.T) {
	rows := []struct{ table, column, where, reader string }{
		{"runs", "sealed", "device <> zeroblob(32)", "find"},
		{"runs", "sealed", "ord < 0", "snapshot"},
		{"runs", "sealed", "ord > 0 AND open > 0", "find and snapshot"},
		{"held", "sealed", "", "snapshot"},
		{"accounts", "name", "", "snapshot"},
		{"contacts", "sealed", "length(tag) = 16", "contacts"},
		{"sessions", "sealed", "", "session"},
		{"blocked", "envelope", "", "blocked"},
	}
	for _, row := range rows {
		t.Run(row.table, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "history.db")
			s := open(t, path)
			fill(t, s)
			for reader, err := range readAll(t, s) {
				if err != nil {
					t.Fatalf("%s: %v", reader, err)
				}
			}
			where := ""
			if row.where != "" {
				where = " WHERE " + row.where
			}
			var sealed []byte
			if err := s.write.QueryRow("SELECT " + row.column + " FROM " + row.table + where).Scan(&sealed); err != nil {
				t.Fatalf("read: %v", err)
			}
			sealed[len(sealed)/2] ^= 1
			if _, err := s.write.Exec("UPDATE "+row.table+" SET "+row.column+" = ?"+where, sealed); err != nil {
				t.Fatalf("write: %v", err)
			}
			s = reopen(t, s, path)
			for reader, err := range readAll(t, s) {
				if damaged := strings.Contains(row.reader, reader); damaged != errors.Is(err, ErrDamaged) || !damaged && err != nil {
					t.Errorf("%s: got %v, want damage: %v", reader, err, damaged)
				}
			}
			if strings.Contains(row.reader, "snapshot") {
				return // without its outbox a store takes nothing
			}
			commit(t, s, ops(delivery.OpReceive{Message: incoming(2, "goes on")}))
		})
	}
}

// TestMovedValues wants a sealed value to open in its own place only: whoever can write the file cannot put words into another conversation.
func TestMovedValues(t *testing.T) {
	path := filepath.Join(t.TempDir(), "history.db")
	s := open(t, path)
	other := outgoing(1, "for carol")
	other.To, other.ID = "carol", delivery.MessageID{1}
	commit(t, s, ops(delivery.OpEnqueue{Message: outgoing(1, "for bob")}, delivery.OpEnqueue{Message: other}))
	settle(t, s)
	for _, table := range []string{"runs", "accounts"} {
		column := map[string]string{"runs": "sealed", "accounts": "name"}[table]
		if _, err := s.write.Exec(fmt.Sprintf("UPDATE %s SET %s = (SELECT %s FROM %s WHERE tag = ?) WHERE tag = ?", table, column, column, table), s.tag("bob"), s.tag("carol")); err != nil {
			t.Fatalf("move: %v", err)
		}
	}
	s = reopen(t, s, path)
	if _, err := s.Find(t.Context(), Query{Peer: "carol", Limit: 1}); !errors.Is(err, ErrDamaged) {
		t.Errorf("a message of another conversation: got %v, want ErrDamaged", err)
	}
	if _, err := s.Snapshot(t.Context()); !errors.Is(err, ErrDamaged) {
		t.Errorf("a name of another account: got %v, want ErrDamaged", err)
	}
}

// TestRandomDamage flips bits anywhere in a closed file. Whatever is read after that is true or an error; nothing panics.
func TestRandomDamage(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	path := filepath.Join(dir, "history.db")
	s := open(t, path)
	fill(t, s)
	if err := s.Close(); err != nil {
		t.Fatalf("close: %v", err)
	}
	whole, err := os.ReadFile(path)
	if err != nil {
		t.Fatalf("read: %v", err)
	}
	random := rand.New(rand.NewPCG(1, 2))
	for i := range 60 {
		damaged := append([]byte(nil), whole...)
		if i%6 == 5 {
			damaged = damaged[:random.IntN(len(damaged))]
		} else {
			for range 1 + i%3 {
				damaged[random.IntN(len(damaged))] ^= 1 << random.IntN(8)
			}
		}
		file := filepath.Join(dir, fmt.Sprint(i, ".db"))
		if err := os.WriteFile(file, damaged, 0o600); err != nil {
			t.Fatalf("write: %v", err)
		}
		readDamaged(t, file)
	}
}

func readDamaged(t *testing.T, file string) {
	t.Helper()
	s, err := Open(t.Context(), file, key)
	if err != nil {
		return
	}
	defer func() { _ = s.Close() }()
	readAll(t, s)
	entries, err := s.Find(t.Context(), Query{Limit: 10})
	if err != nil {
		return
	}
	for _, e := range entries {
		if e.Body != "mine" && e.Body != "theirs" {
			t.Errorf("got %q, which nobody wrote", e.Body)
		}
	}
}

func TestOddPaths(t *testing.T) {
	for _, name := range []string{"with space", "per%20cent", "quest?ion", "ha#sh", "grüße", "amper&sand=1"} {
		dir := filepath.Join(t.TempDir(), name)
		if err := os.Mkdir(dir, 0o700); err != nil {
			t.Fatalf("make: %v", err)
		}
		path := filepath.Join(dir, "history.db")
		s := open(t, path)
		fill(t, s)
		s = reopen(t, s, path)
		equal(t, "visible", bodies(find(t, s, Query{})), "mine theirs")
		if files, err := os.ReadDir(dir); err != nil || files[0].Name() != "history.db" {
			t.Errorf("%s: got %v and %v", name, files, err)
		}
	}
}
