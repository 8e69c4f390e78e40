package sqlitefile

import (
	"bytes"
	"context"
	"database/sql"
	"fmt"
	"maps"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
)

// The database of the tests: a table with a rowid, an index and long values, and one without rowid, as the rendezvous and the peer have them.
const testSchema = `
CREATE TABLE version (id INTEGER PRIMARY KEY, n INTEGER);
INSERT INTO version (n) VALUES (7);
CREATE TABLE mail (id INTEGER PRIMARY KEY, name TEXT NOT NULL, body BLOB NOT NULL) STRICT;
CREATE INDEX mail_name ON mail (name, id);
CREATE TABLE pairs (a BLOB NOT NULL, n INTEGER NOT NULL, b TEXT, PRIMARY KEY (a, n)) WITHOUT ROWID;
CREATE TABLE plain (x TEXT, y REAL);`

func testOptions() Options {
	var ticks int64
	return Options{
		Pinned: []string{"version"}, Readers: 2, Checkpoint: 1 << 30,
		Prepare: func(ctx context.Context, db *sql.DB) error {
			var tables int
			if err := db.QueryRowContext(ctx, "SELECT count(*) FROM sqlite_schema").Scan(&tables); err != nil || tables > 0 {
				return err
			}
			_, err := db.ExecContext(ctx, testSchema)
			return err
		},
		now: func() time.Time { ticks++; return time.Unix(1_800_000_000+ticks, 0) },
	}
}

func openFile(t testing.TB, path string, opts Options) *File {
	t.Helper()
	f, err := Open(t.Context(), path, opts)
	if err != nil {
		t.Fatalf("open: %v", err)
	}
	t.Cleanup(func() { _ = f.Close() })
	return f
}

func closeFile(t testing.TB, f *File) {
	t.Helper()
	if err := f.Close(); err != nil {
		t.Fatalf("close: %v", err)
	}
}

func update(t testing.TB, f *File, do func(tx *sql.Tx) error) {
	t.Helper()
	if err := f.Update(t.Context(), do); err != nil {
		t.Fatalf("update: %v", err)
	}
}

// fill commits n rows for each table, in transactions of ten; every ninth body goes on on pages of its own.
func fill(t testing.TB, f *File, random *rand.Rand, first, n int) {
	t.Helper()
	for i := first; i < first+n; i += 10 {
		update(t, f, func(tx *sql.Tx) error {
			for j := i; j < min(i+10, first+n); j++ {
				if err := fillOne(tx, random, j); err != nil {
					return err
				}
			}
			return nil
		})
	}
}

func fillOne(tx *sql.Tx, random *rand.Rand, j int) error {
	size := 100 + random.IntN(300)
	if j%9 == 0 {
		size = 9000
	}
	body := bytes.Repeat([]byte{byte(random.Int()), byte(j)}, size/2)
	if _, err := tx.Exec("INSERT INTO mail (id, name, body) VALUES (?, ?, ?)", 1000+j, fmt.Sprint("name ", j%17), body); err != nil {
		return err
	}
	if _, err := tx.Exec("INSERT INTO pairs VALUES (?, ?, ?)", []byte{byte(random.Int()), 1}, j, strings.Repeat("b", j%200)); err != nil {
		return err
	}
	_, err := tx.Exec("INSERT INTO plain VALUES (?, ?)", fmt.Sprint("plain ", j), float64(j)/2)
	return err
}

// rows is the content of a database: table → row → how often.
type rows map[string]map[string]int

func contentOf(t testing.TB, db *sql.DB) rows {
	t.Helper()
	all := rows{}
	for _, table := range []string{"version", "mail", "pairs", "plain"} {
		all[table] = map[string]int{}
		result, err := db.Query("SELECT * FROM " + table)
		if err != nil {
			t.Fatalf("read %s: %v", table, err)
		}
		columns, _ := result.Columns()
		for result.Next() {
			values, into := make([]any, len(columns)), make([]any, len(columns))
			for i := range values {
				into[i] = &values[i]
			}
			if err := result.Scan(into...); err != nil {
				t.Fatalf("read %s: %v", table, err)
			}
			all[table][fmt.Sprintf("%v", values)]++
		}
		if err := result.Close(); err != nil {
			t.Fatalf("read %s: %v", table, err)
		}
	}
	return all
}

func (r rows) total() int {
	n := 0
	for _, table := range r {
		n += len(table)
	}
	return n
}

func equalRows(a, b rows) bool {
	return maps.EqualFunc(a, b, func(x, y map[string]int) bool { return maps.Equal(x, y) })
}

// missingFrom counts the rows of want that got does not have, and fails where got has others.
func missingFrom(t testing.TB, got, want rows) map[string]int {
	t.Helper()
	gone := map[string]int{}
	for table := range want {
		for row, n := range got[table] {
			if want[table][row] != n {
				t.Errorf("%s has a row that nobody wrote: %.80s", table, row)
			}
		}
		for row := range want[table] {
			if got[table][row] == 0 {
				gone[table]++
			}
		}
	}
	return gone
}

// snapshot copies a database and everything beside it to another directory, as a process that is killed leaves it. The copy has no -shm: whoever
// opens it first makes it anew.
func snapshot(t testing.TB, path string) string {
	t.Helper()
	to := t.TempDir()
	files, err := filepath.Glob(path + "*")
	if err != nil {
		t.Fatal(err)
	}
	for _, file := range files {
		if strings.HasSuffix(file, indexSuffix) {
			continue
		}
		b, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(to, filepath.Base(file)), b, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return filepath.Join(to, filepath.Base(path))
}

// killed makes a store of which half is in the main file and half in the log.
func killed(t testing.TB) (path string, want rows) {
	t.Helper()
	random := rand.New(rand.NewPCG(1, 2))
	path = filepath.Join(t.TempDir(), "test.db")
	f := openFile(t, path, testOptions())
	fill(t, f, random, 0, 180)
	if err := f.Checkpoint(t.Context()); err != nil {
		t.Fatal(err)
	}
	update(t, f, func(tx *sql.Tx) error {
		_, err := tx.Exec("DELETE FROM mail WHERE id % 3 = 1")
		return err
	})
	fill(t, f, random, 180, 40)
	want = contentOf(t, f.Reader())
	return snapshot(t, path), want
}

// stopped makes a store that was closed.
func stopped(t testing.TB) (path string, want rows) {
	t.Helper()
	path, want = killed(t)
	closeFile(t, openFile(t, path, testOptions()))
	return path, want
}

func kept(t testing.TB, path string) []string {
	t.Helper()
	all, err := filepath.Glob(path + keptSuffix + "-*")
	if err != nil {
		t.Fatal(err)
	}
	return slices.Clip(all)
}
