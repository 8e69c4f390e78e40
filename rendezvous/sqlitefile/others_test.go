package sqlitefile

import (
	"context"
	"database/sql"
	"fmt"
	"math/rand/v2"
	"path/filepath"
	"sync"
	"testing"
)

// TestCopiedBackByOthers lets somebody else copy the log back while the file is open, before it is written over: what was copied has its sums first.
func TestCopiedBackByOthers(t *testing.T) {
	path := filepath.Join(t.TempDir(), "test.db")
	f := openFile(t, path, testOptions())
	other := connect(path, 1, common)
	defer other.Close()
	random := rand.New(rand.NewPCG(1, 1))
	for i := range 5 {
		fill(t, f, random, 100*i, 30)
		if whole := copyAll(t, other); !whole {
			t.Fatal("a part was not copied back")
		}
		fill(t, f, random, 100*i+30, 1)
		wantWhole(t, snapshot(t, path), contentOf(t, f.Reader()))
	}
}

func copyAll(t *testing.T, db *sql.DB) (whole bool) {
	t.Helper()
	var blocked, frames, done int
	if err := db.QueryRow("PRAGMA wal_checkpoint(PASSIVE)").Scan(&blocked, &frames, &done); err != nil {
		t.Fatal(err)
	}
	return blocked == 0 && frames == done
}

func wantWhole(t *testing.T, path string, want rows) {
	t.Helper()
	f := openFile(t, path, testOptions())
	defer closeFile(t, f)
	if f.Report() != nil || !equalRows(contentOf(t, f.Reader()), want) {
		t.Errorf("%v, or the content has changed", f.Report())
	}
}

// TestReplacedConnectionWritesNothing replaces the connection that writes: nothing may be written by setting it up, for nobody would look first whether the
// log may be written over.
func TestReplacedConnectionWritesNothing(t *testing.T) {
	f := openFile(t, filepath.Join(t.TempDir(), "test.db"), testOptions())
	fill(t, f, rand.New(rand.NewPCG(1, 1)), 0, 10)
	state := func() mark {
		f.markMu.Lock()
		defer f.markMu.Unlock()
		m, _, ok := f.reached()
		if !ok {
			t.Fatal("the index of the log cannot be read")
		}
		return m
	}
	before := state()
	f.write.SetMaxIdleConns(0)
	f.write.SetMaxIdleConns(1)
	if err := f.write.PingContext(t.Context()); err != nil {
		t.Fatal(err)
	}
	if after := state(); after != before {
		t.Errorf("the log went from %d frames to %d", before.frames, after.frames)
	}
}

// TestPinOutlivesItsContext ends the context of a pin, as Close does while the log is being copied back: the log stays pinned until unpin.
func TestPinOutlivesItsContext(t *testing.T) {
	f := openFile(t, filepath.Join(t.TempDir(), "test.db"), testOptions())
	random := rand.New(rand.NewPCG(1, 1))
	fill(t, f, random, 0, 10)
	ctx, cancel := context.WithCancel(t.Context())
	unpin, err := f.pin(ctx)
	if err != nil {
		t.Fatal(err)
	}
	cancel()
	fill(t, f, random, 10, 10)
	if whole := copyAll(t, f.pins); whole {
		t.Error("all was copied back, with a pin on a part")
	}
	if err := unpin(); err != nil {
		t.Error(err)
	}
}

// TestWritesWhileItCloses writes until the file is closed: what was acknowledged is there, and nothing has been copied back without sums.
func TestWritesWhileItCloses(t *testing.T) {
	for round := range 20 {
		path := filepath.Join(t.TempDir(), "test.db")
		opts := testOptions()
		var wg sync.WaitGroup
		acknowledged := 0
		var f *File
		opts.steps = func(name string) {
			if name != "the log was read" || f == nil {
				return
			}
			wg.Go(func() { // it waits for the connection that the last checkpoint has in hand
				for i := range 100 {
					if f.Update(context.Background(), func(tx *sql.Tx) error { return fillOne(tx, rand.New(rand.NewPCG(1, 1)), 1000+i) }) != nil {
						return
					}
					acknowledged++
				}
			})
		}
		opened := openFile(t, path, opts)
		fill(t, opened, rand.New(rand.NewPCG(uint64(round), 1)), 0, 10)
		f = opened
		closeFile(t, f)
		wg.Wait()
		again := openFile(t, path, testOptions())
		if n := len(contentOf(t, again.Reader())["mail"]); again.Report() != nil || n != 10+acknowledged {
			t.Errorf("round %d: %d rows of %d: %v", round, n, 10+acknowledged, again.Report())
		}
		closeFile(t, again)
	}
}

// TestReadsWhileItCloses closes the file while somebody reads what is older than the log's end: whoever ends last leaves nothing without its sums.
func TestReadsWhileItCloses(t *testing.T) {
	for _, killed := range []bool{false, true} {
		path := filepath.Join(t.TempDir(), "test.db")
		f := openFile(t, path, testOptions())
		random := rand.New(rand.NewPCG(1, 1))
		fill(t, f, random, 0, 50)
		if err := f.Checkpoint(t.Context()); err != nil {
			t.Fatal(err)
		}
		fill(t, f, random, 50, 50)
		tx, err := f.Reader().BeginTx(t.Context(), nil)
		if err != nil {
			t.Fatal(err)
		}
		var n int
		if err := tx.QueryRow("SELECT count(*) FROM mail").Scan(&n); err != nil {
			t.Fatal(err)
		}
		fill(t, f, random, 100, 50)
		want := contentOf(t, f.Reader())
		closeFile(t, f)
		if killed {
			path = snapshot(t, path)
		}
		if err := tx.Rollback(); err != nil {
			t.Error(err)
		}
		wantWhole(t, path, want)
	}
}

// TestConnectionsComeAndGo commits while contexts end in the middle of transactions and the connection that writes is replaced, as a context does that ends
// at a bad moment. The log is copied back often, or grows past what SQLite copies back by itself. What a crash would leave is whole.
func TestConnectionsComeAndGo(t *testing.T) {
	for _, pages := range []int{3, 1300} {
		t.Run(fmt.Sprint(pages), func(t *testing.T) {
			t.Parallel()
			path := filepath.Join(t.TempDir(), "test.db")
			opts := testOptions()
			opts.Checkpoint = pages
			f := openFile(t, path, opts)
			rounds := 2
			if racing {
				rounds = 1
			}
			for round := range rounds {
				var wg sync.WaitGroup
				for w := range 3 {
					wg.Go(func() { writeAndCancel(t, f, rand.New(rand.NewPCG(uint64(round), uint64(w))), 100_000*w+1000*round) })
				}
				wg.Wait()
				f.mu.Lock() // nobody copies back meanwhile
				crashed := snapshot(t, path)
				f.mu.Unlock()
				wantWhole(t, crashed, contentOf(t, f.Reader()))
			}
			want := contentOf(t, f.Reader())
			closeFile(t, f)
			wantWhole(t, path, want)
		})
	}
}

func writeAndCancel(t *testing.T, f *File, random *rand.Rand, first int) {
	for i := range 120 {
		ctx, cancel := context.WithCancel(t.Context())
		ending := random.IntN(5) == 0
		err := f.Update(ctx, func(tx *sql.Tx) error {
			if random.IntN(10) == 0 {
				f.write.SetMaxIdleConns(0) // this connection is closed when it is given back
			}
			for j := range 3 {
				if ending && j == 1 {
					go cancel()
				}
				if err := fillOne(tx, random, first+3*i+j); err != nil {
					return err
				}
			}
			return nil
		})
		f.write.SetMaxIdleConns(1)
		cancel()
		if err != nil && !ending {
			t.Errorf("update: %v", err)
			return
		}
	}
}
