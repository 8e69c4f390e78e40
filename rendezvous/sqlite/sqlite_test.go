package sqlite_test

import (
	"bytes"
	"database/sql"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/byway-chat/byway/crypto/identity"
	"github.com/byway-chat/byway/rendezvous"
	"github.com/byway-chat/byway/rendezvous/relay"
	"github.com/byway-chat/byway/rendezvous/sqlite"
	"github.com/byway-chat/byway/rendezvous/storetest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func file(dir string) string { return filepath.Join(dir, "rendezvous #1?.db") } // a name that a URL would stumble over

func open(t testing.TB, dir string) *sqlite.DB {
	t.Helper()
	db, err := sqlite.Open(t.Context(), file(dir), nil)
	if err != nil {
		t.Fatal(err)
	}
	return db
}

func TestStore(t *testing.T) {
	t.Parallel()
	storetest.Run(t, storetest.Factory{
		Open: func(t testing.TB, dir string) storetest.Store { return open(t, dir) },
		Crash: func(t testing.TB, dir, to string) {
			if err := os.CopyFS(to, os.DirFS(dir)); err != nil {
				t.Fatal(err)
			}
			// A process that starts after a crash makes the index of the log anew.
			_ = os.Remove(file(to) + "-shm")
		},
	})
}

func TestFileIsPrivate(t *testing.T) {
	dir := t.TempDir()
	db := open(t, dir)
	defer db.Close()
	if err := db.Apply(t.Context(), batch(1, 10)); err != nil {
		t.Fatal(err)
	}
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		info, err := d.Info()
		if err == nil && info.Mode().Perm() != 0o600 {
			t.Errorf("%s has mode %v", filepath.Base(path), info.Mode())
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
}

func batch(n, size int) *relay.Batch {
	b := &relay.Batch{Quota: relay.Quota{
		Account: relay.Usage{Messages: 1 << 40, Bytes: 1 << 50},
		Pair:    relay.Usage{Messages: 1 << 40, Bytes: 1 << 50},
	}}
	for i := range n {
		b.Puts = append(b.Puts, &relay.Put{Envelope: &relay.Envelope{
			From:      relay.Address{User: "alice", Device: identity.Fingerprint{1}},
			To:        relay.Address{User: "bob", Device: identity.Fingerprint{2, byte(i % 10)}},
			Submitted: time.UnixMilli(1),
			Data:      bytes.Repeat([]byte{7}, size),
		}})
	}
	return b
}

func TestRefusedFiles(t *testing.T) {
	healthy := func(t *testing.T) []byte {
		dir := t.TempDir()
		db := open(t, dir)
		if err := db.Apply(t.Context(), batch(50, 1000)); err != nil {
			t.Fatal(err)
		}
		if err := db.Close(); err != nil {
			t.Fatal(err)
		}
		content, err := os.ReadFile(file(dir))
		if err != nil {
			t.Fatal(err)
		}
		return content
	}
	edited := func(statements ...string) func(t *testing.T) []byte {
		return func(t *testing.T) []byte {
			path := filepath.Join(t.TempDir(), "x.db")
			if err := os.WriteFile(path, healthy(t), 0o600); err != nil {
				t.Fatal(err)
			}
			raw, err := sql.Open("sqlite", path)
			if err != nil {
				t.Fatal(err)
			}
			for _, s := range statements {
				if _, err := raw.Exec(s); err != nil {
					t.Fatal(err)
				}
			}
			if err := raw.Close(); err != nil {
				t.Fatal(err)
			}
			content, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			return content
		}
	}
	tests := []struct {
		name    string
		content func(t *testing.T) []byte
		want    error
	}{
		{"not a database", func(*testing.T) []byte { return bytes.Repeat([]byte("hello "), 2000) }, sqlite.ErrDamaged},
		{"half a header", func(t *testing.T) []byte { return healthy(t)[:50] }, sqlite.ErrDamaged},
		{"damaged first page", func(t *testing.T) []byte {
			c := healthy(t)
			copy(c[100:4096], bytes.Repeat([]byte{0xff}, 3996))
			return c
		}, sqlite.ErrDamaged},
		{"newer schema", edited("INSERT INTO goose_db_version (version_id, is_applied) VALUES (9999, 1)"), sqlite.ErrNewer},
		{"another program's", edited("PRAGMA application_id = 7", "DROP TABLE goose_db_version"), sqlite.ErrDamaged},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			dir := t.TempDir()
			content := tt.content(t)
			if err := os.WriteFile(file(dir), content, 0o600); err != nil {
				t.Fatal(err)
			}
			db, err := sqlite.Open(t.Context(), file(dir), nil)
			if err == nil {
				db.Close()
			}
			if !errors.Is(err, tt.want) {
				t.Errorf("open: got %v, want %v", err, tt.want)
			}
			after, err := os.ReadFile(file(dir))
			if err != nil || !bytes.Equal(after, content) {
				t.Errorf("the file was changed (%v)", err)
			}
		})
	}
}

func TestOpenErrors(t *testing.T) {
	if _, err := sqlite.Open(t.Context(), filepath.Join(t.TempDir(), "missing", "x.db"), nil); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("in a directory that does not exist: got %v", err)
	}
	if _, err := sqlite.Open(t.Context(), t.TempDir(), nil); err == nil {
		t.Error("a directory was opened as a file")
	}
}

func TestInUse(t *testing.T) {
	t.Parallel() // it waits for the lock
	dir := t.TempDir()
	open(t, dir).Close()
	other, err := sql.Open("sqlite", "file:"+filepath.ToSlash(filepath.Join(dir, "rendezvous%20%231%3f.db"))+"?_pragma=locking_mode(exclusive)")
	if err != nil {
		t.Fatal(err)
	}
	other.SetMaxOpenConns(1)
	defer other.Close()
	if _, err := other.Exec("UPDATE accounts SET seq = 1"); err != nil {
		t.Fatal(err)
	}
	if _, err := sqlite.Open(t.Context(), file(dir), nil); !errors.Is(err, sqlite.ErrInUse) {
		t.Errorf("open: got %v, want %v", err, sqlite.ErrInUse)
	}
}

func TestUseAfterClose(t *testing.T) {
	db := open(t, t.TempDir())
	for range 2 {
		if err := db.Close(); err != nil {
			t.Fatal(err)
		}
	}
	if err := db.Apply(t.Context(), batch(1, 1)); err == nil {
		t.Error("a closed database acknowledged a batch")
	}
}

// The throughput of the durable mailbox: each iteration is one envelope, committed in groups as the relay makes them.
func BenchmarkMailboxPut(b *testing.B) {
	for _, group := range []int{1, 16, 256, 1024} {
		for _, size := range []int{154, 1114} { // a 64-byte text and a 1 KiB one, sealed
			b.Run(fmt.Sprintf("group=%d/size=%d", group, size), func(b *testing.B) {
				db := open(b, b.TempDir())
				defer db.Close()
				puts := batch(group, size)
				for n := 0; n < b.N; n += group {
					if err := db.Apply(b.Context(), puts); err != nil {
						b.Fatal(err)
					}
				}
				b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "envelopes/s")
			})
		}
	}
}

// The same for recipients in turn who are more than are remembered, to none of whom anything was ever written, and to all of them again.
func BenchmarkMailboxPutCold(b *testing.B) {
	for _, accounts := range []int{20_000, 100_000} {
		b.Run(fmt.Sprintf("accounts=%d", accounts), func(b *testing.B) {
			var took [2]time.Duration
			for b.Loop() {
				db := open(b, b.TempDir())
				for i := range took {
					began := time.Now()
					putForEach(b, db, accounts)
					took[i] += time.Since(began)
				}
				if err := db.Close(); err != nil {
					b.Fatal(err)
				}
			}
			b.ReportMetric(float64(b.N*accounts)/took[0].Seconds(), "new/s")
			b.ReportMetric(float64(b.N*accounts)/took[1].Seconds(), "known/s")
		})
	}
}

// putForEach puts one envelope for each of so many accounts.
func putForEach(b *testing.B, db *sqlite.DB, accounts int) {
	b.Helper()
	for n := 0; n < accounts; n += 1000 {
		puts := batch(1000, 154)
		for i, p := range puts.Puts {
			p.Envelope.To = relay.Address{User: rendezvous.Username(fmt.Sprint("user", n+i))}
		}
		if err := db.Apply(b.Context(), puts); err != nil {
			b.Fatal(err)
		}
	}
}

// The way out: pages of the relay's window, deleted in the next transaction.
func BenchmarkMailboxTake(b *testing.B) {
	db := open(b, b.TempDir())
	defer db.Close()
	to := relay.Address{User: "bob", Device: identity.Fingerprint{2, 0}}
	for n := 0; n < b.N; n += 1000 {
		puts := batch(1000, 154)
		for _, p := range puts.Puts {
			p.Envelope.To = to
		}
		if err := db.Apply(b.Context(), puts); err != nil {
			b.Fatal(err)
		}
	}
	b.ResetTimer()
	var after uint64
	deletions := &relay.Batch{}
	for n := 0; n < b.N; {
		page, err := db.Page(b.Context(), to, after, 256, 1<<20)
		if err != nil {
			b.Fatal(err)
		}
		for _, h := range page {
			deletions.Deletions = append(deletions.Deletions, relay.Deletion{To: to, ID: h.ID, From: h.From.User, Size: uint64(len(h.Data))})
			after = h.ID
		}
		n += len(page)
		if len(deletions.Deletions) >= 512 || n >= b.N {
			if err := db.Apply(b.Context(), deletions); err != nil {
				b.Fatal(err)
			}
			deletions.Deletions = deletions.Deletions[:0]
		}
	}
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "envelopes/s")
}
