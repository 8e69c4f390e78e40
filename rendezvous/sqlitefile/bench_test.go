package sqlitefile

import (
	"database/sql"
	"fmt"
	"math/rand/v2"
	"path/filepath"
	"testing"
)

// BenchmarkUpdate is a commit of one small row through this package; BenchmarkPlain the same by SQLite alone. The difference is what noticing costs.
func BenchmarkUpdate(b *testing.B) {
	opts := testOptions()
	opts.Checkpoint = 4000
	f := openFile(b, filepath.Join(b.TempDir(), "test.db"), opts)
	st, err := f.Writer().Prepare("INSERT INTO plain VALUES ('row', 1)")
	if err != nil {
		b.Fatal(err)
	}
	defer st.Close()
	for b.Loop() {
		err := f.Update(b.Context(), func(tx *sql.Tx) error {
			_, err := tx.Stmt(st).Exec()
			return err
		})
		if err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkPlain(b *testing.B) {
	db := connect(filepath.Join(b.TempDir(), "test.db"), 1, writing, "wal_autocheckpoint(4000)")
	defer db.Close()
	if _, err := db.Exec(testSchema); err != nil {
		b.Fatal(err)
	}
	st, err := db.Prepare("INSERT INTO plain VALUES ('row', 1)")
	if err != nil {
		b.Fatal(err)
	}
	defer st.Close()
	for b.Loop() {
		tx, err := db.Begin()
		if err != nil {
			b.Fatal(err)
		}
		if _, err := tx.Stmt(st).Exec(); err != nil {
			b.Fatal(err)
		}
		if err := tx.Commit(); err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkOpen opens a file of 256 MiB that the system has in memory; MB/s is what it verifies.
func BenchmarkOpen(b *testing.B) {
	path := filepath.Join(b.TempDir(), "test.db")
	f := openFile(b, path, testOptions())
	random := rand.New(rand.NewPCG(1, 1))
	for i := range 64 {
		update(b, f, func(tx *sql.Tx) error {
			for j := range 1024 {
				body := make([]byte, 3800)
				body[0] = byte(random.Int())
				if _, err := tx.Exec("INSERT INTO mail (id, name, body) VALUES (?, ?, ?)", i*1024+j, fmt.Sprint(j), body); err != nil {
					return err
				}
			}
			return nil
		})
	}
	closeFile(b, f)
	size, err := sizeOf(path)
	if err != nil {
		b.Fatal(err)
	}
	b.SetBytes(size)
	for b.Loop() {
		f, err := Open(b.Context(), path, testOptions())
		if err != nil {
			b.Fatal(err)
		}
		b.StopTimer()
		closeFile(b, f)
		b.StartTimer()
	}
}
