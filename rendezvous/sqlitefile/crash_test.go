package sqlitefile

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"os"
	"path/filepath"
	"sync"
	"testing"

	"pgregory.net/rapid"
)

// TestKilledInACheckpoint copies the files at each step of checkpoints, as a process that is killed there leaves them: nothing is lost, and nothing is
// taken for damage.
func TestKilledInACheckpoint(t *testing.T) {
	type crash struct {
		at   string
		path string
		want rows
	}
	var crashes []crash
	var content func() rows
	path := filepath.Join(t.TempDir(), "test.db")
	opts := testOptions()
	opts.steps = func(name string) {
		if content != nil {
			crashes = append(crashes, crash{name, snapshot(t, path), content()})
		}
	}
	f := openFile(t, path, opts)
	content = func() rows { return contentOf(t, f.Reader()) }
	random := rand.New(rand.NewPCG(1, 1))
	for round := range 3 {
		fill(t, f, random, round*30, 30)
		if err := f.Checkpoint(t.Context()); err != nil {
			t.Fatal(err)
		}
		crashes = append(crashes, crash{"after it", snapshot(t, path), content()})
		fill(t, f, random, 1000+round*10, 1) // the log is written over
		crashes = append(crashes, crash{"in the next life of the log", snapshot(t, path), content()})
	}
	content = nil
	closeFile(t, f)
	if len(crashes) != 3*5 {
		t.Fatalf("%d places to crash at", len(crashes))
	}
	for _, c := range crashes {
		f := openFile(t, c.path, testOptions())
		if f.Report() != nil || !equalRows(contentOf(t, f.Reader()), c.want) {
			t.Errorf("%s: %v, or the content has changed", c.at, f.Report())
		}
		closeFile(t, f)
	}
}

// TestKilledInARescue copies the files at each step of a rescue: whoever opens them then finishes it, and finds the same.
func TestKilledInARescue(t *testing.T) {
	path, want := killed(t)
	flip(t, path, 8*(4096*30+77)) // a page that the log does not hold
	if damage := damageOf(t, path); len(damage) == 0 {
		t.Fatal("the bit means nothing")
	}
	crashes := map[string]string{}
	opts := testOptions()
	opts.steps = func(name string) {
		if _, ok := crashes[name]; !ok {
			crashes[name] = snapshot(t, path)
		}
	}
	closeFile(t, openFile(t, path, opts))
	steps := 0
	for name, path := range crashes {
		if _, err := os.Stat(path); err == nil {
			if damage := damageOf(t, path); len(damage) == 0 { // a later step, of the fresh file
				continue
			}
		}
		steps++
		f := openFile(t, path, testOptions())
		if !equalRows(contentOf(t, f.Reader()), want) {
			t.Errorf("%s: the content has changed", name)
		}
		closeFile(t, f)
		if k, err := Kept(path); err != nil || len(k) != 1 || damageOf(t, k[0]) == nil {
			t.Errorf("%s: kept %v, %v", name, k, err)
		}
		if left, _ := filepath.Glob(path + freshSuffix + "*"); len(left) > 0 {
			t.Errorf("%s: left behind %v", name, left)
		}
	}
	if steps < 6 {
		t.Errorf("only %d steps", steps)
	}
}

func damageOf(t testing.TB, path string) []Damage {
	t.Helper()
	s, damage, err := loadSums(path + sumsSuffix)
	if err != nil {
		t.Fatal(err)
	}
	if s == nil {
		return append(damage, Damage{File: sumsSuffix})
	}
	defer s.close()
	m, _, err := loadMark(path + markSuffix)
	if err != nil {
		t.Fatal(err)
	}
	im, more, err := openImage(path, s, m)
	if err != nil {
		t.Fatal(err)
	}
	defer im.close()
	return append(damage, more...)
}

// TestTornTail cuts the log within its last transaction, as a power loss does before the fsync, when the mark has not been written either.
func TestTornTail(t *testing.T) {
	path := filepath.Join(t.TempDir(), "test.db")
	f := openFile(t, path, testOptions())
	random := rand.New(rand.NewPCG(1, 1))
	fill(t, f, random, 0, 50)
	want := contentOf(t, f.Reader())
	before := snapshot(t, path)
	fill(t, f, random, 50, 10)
	after := snapshot(t, path)
	closeFile(t, f)
	log, err := os.ReadFile(after + logSuffix)
	if err != nil {
		t.Fatal(err)
	}
	size, err := sizeOf(before + logSuffix)
	if err != nil {
		t.Fatal(err)
	}
	for name, edit := range map[string]func([]byte) []byte{
		"cut":             func(b []byte) []byte { return b[:size+5000] },
		"hole":            func(b []byte) []byte { clear(b[size+4096 : size+9000]); return b },
		"its end missing": func(b []byte) []byte { clear(b[len(b)-600:]); return b },
	} {
		path := snapshot(t, before)
		if err := os.WriteFile(path+logSuffix, edit(append([]byte(nil), log...)), 0o600); err != nil {
			t.Fatal(err)
		}
		f := openFile(t, path, testOptions())
		if f.Report() != nil || !equalRows(contentOf(t, f.Reader()), want) {
			t.Errorf("%s: %v, or the content has changed", name, f.Report())
		}
		closeFile(t, f)
	}
}

// TestRandomWorkloads opens, changes, copies back, kills, damages and closes at random, with a reader that pins the log now and then.
func TestRandomWorkloads(t *testing.T) {
	t.Parallel()
	most := 25
	if racing {
		most = 7
	}
	rapid.Check(t, func(rt *rapid.T) {
		w := &workload{t: t, rt: rt, path: filepath.Join(t.TempDir(), "test.db"), random: rand.New(rand.NewPCG(rapid.Uint64().Draw(rt, "seed"), 1))}
		w.open()
		defer func() { _ = w.f.Close() }()
		for range rapid.IntRange(5, most).Draw(rt, "steps") {
			w.step()
		}
	})
}

type workload struct {
	t      *testing.T
	rt     *rapid.T
	path   string
	f      *File
	next   int
	random *rand.Rand
	pinned *sql.Tx
	want   rows
}

func (w *workload) open() {
	f, err := Open(w.t.Context(), w.path, testOptions())
	if err != nil {
		w.rt.Fatalf("open: %v", err)
	}
	w.f = f
	if got := contentOf(w.t, f.Reader()); w.want != nil && !equalRows(got, w.want) {
		w.rt.Fatalf("the content has changed: %v", f.Report())
	}
}

func (w *workload) unpin() {
	if w.pinned != nil {
		_ = w.pinned.Rollback()
		w.pinned = nil
	}
}

func (w *workload) step() {
	switch rapid.SampledFrom([]string{"fill", "delete", "copy", "shorten", "pin", "unpin", "close", "kill", "damage"}).Draw(w.rt, "step") {
	case "fill":
		n := rapid.IntRange(1, 60).Draw(w.rt, "rows")
		fill(w.t, w.f, w.random, w.next, n)
		w.next += n
	case "delete":
		k := rapid.IntRange(0, 3).Draw(w.rt, "which")
		update(w.t, w.f, func(tx *sql.Tx) error {
			_, err := tx.Exec("DELETE FROM mail WHERE id % 4 = ?", k)
			_, err2 := tx.Exec("DELETE FROM pairs WHERE n % 3 = ?", k)
			return errors.Join(err, err2)
		})
	case "copy":
		if err := w.f.Checkpoint(w.t.Context()); err != nil {
			w.rt.Fatalf("checkpoint: %v", err)
		}
	case "shorten":
		if err := w.f.shorten(w.t.Context()); err != nil {
			w.rt.Fatalf("shorten: %v", err)
		}
	case "pin":
		w.unpin()
		tx, err := w.f.Reader().BeginTx(w.t.Context(), nil)
		if err != nil {
			w.rt.Fatal(err)
		}
		var n int
		if err := tx.QueryRow("SELECT count(*) FROM mail").Scan(&n); err != nil {
			w.rt.Fatal(err)
		}
		w.pinned = tx
	case "unpin":
		w.unpin()
	case "close":
		w.reopen(true, false)
	case "kill":
		w.reopen(false, false)
	case "damage":
		w.reopen(false, true)
	}
}

// reopen goes on with what the process left behind when it was closed or killed.
func (w *workload) reopen(closed, damaged bool) {
	w.unpin()
	w.want = contentOf(w.t, w.f.Reader())
	if closed {
		closeFile(w.t, w.f)
	} else {
		old := w.f
		w.path = snapshot(w.t, w.path)
		_ = old.Close()
	}
	if damaged {
		size, err := sizeOf(w.path)
		if err != nil {
			w.rt.Fatal(err)
		}
		flip(w.t, w.path, rapid.IntRange(0, int(size)*8-1).Draw(w.rt, "bit"))
	}
	w.open()
	if !damaged && w.f.Report() != nil {
		w.rt.Fatalf("found damage in a healthy file: %v", w.f.Report())
	}
}

// TestSuspect wants a database that calls itself damaged to be left alone until the next opening.
func TestSuspect(t *testing.T) {
	path := filepath.Join(t.TempDir(), "test.db")
	f := openFile(t, path, testOptions())
	fill(t, f, rand.New(rand.NewPCG(1, 1)), 0, 20)
	want := contentOf(t, f.Reader())
	f.suspect(ErrDamaged)
	if err := f.Update(t.Context(), func(*sql.Tx) error { return nil }); !errors.Is(err, ErrDamaged) {
		t.Errorf("update: got %v, want %v", err, ErrDamaged)
	}
	if err := f.Close(); !errors.Is(err, ErrDamaged) {
		t.Errorf("close: got %v, want %v", err, ErrDamaged)
	}
	f = openFile(t, path, testOptions())
	if f.Report() != nil || !maps.EqualFunc(contentOf(t, f.Reader()), want, maps.Equal) {
		t.Errorf("%v, or the content has changed", f.Report())
	}
}

// TestFlippedWhileOpen damages the log of an open file: nothing of it reaches the main file, and the next opening tells.
func TestFlippedWhileOpen(t *testing.T) {
	path := filepath.Join(t.TempDir(), "test.db")
	f := openFile(t, path, testOptions())
	fill(t, f, rand.New(rand.NewPCG(1, 1)), 0, 50)
	want := contentOf(t, f.Reader())
	log, err := os.OpenFile(path+logSuffix, os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer log.Close()
	b := make([]byte, 1)
	const at = logHeaderSize + 10*(frameHeaderSize+4096) + 2000
	if _, err := log.ReadAt(b, at); err != nil {
		t.Fatal(err)
	}
	b[0] ^= 1
	if _, err := log.WriteAt(b, at); err != nil {
		t.Fatal(err)
	}
	if err := f.Checkpoint(t.Context()); !errors.Is(err, ErrDamaged) {
		t.Errorf("checkpoint: got %v, want %v", err, ErrDamaged)
	}
	if err := f.Update(t.Context(), func(*sql.Tx) error { return nil }); !errors.Is(err, ErrDamaged) {
		t.Errorf("update: got %v, want %v", err, ErrDamaged)
	}
	_ = f.Close()
	f = openFile(t, path, testOptions())
	if f.Report() == nil {
		t.Error("the damage is forgotten")
	}
	missingFrom(t, contentOf(t, f.Reader()), want)
}

// TestRefusedRescue leaves everything as it is when the owner cannot put a rescued database in order.
func TestRefusedRescue(t *testing.T) {
	path, _ := stopped(t)
	spoil(t, path, 20)
	damaged, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	opts := testOptions()
	refusal := errors.New("the keys are lost")
	opts.Rescued = func(context.Context, *sql.DB, *Report) error { return refusal }
	for range 2 {
		if f, err := Open(t.Context(), path, opts); !errors.Is(err, refusal) {
			t.Fatalf("got %v and %v", f, err)
		}
	}
	if b, err := os.ReadFile(path); err != nil || string(b) != string(damaged) {
		t.Errorf("the file was changed (%v)", err)
	}
	closeFile(t, openFile(t, path, testOptions()))
	if k := kept(t, path); len(k) == 0 {
		t.Error("nothing was kept aside")
	}
}

func ExampleReport_String() {
	r := &Report{Damage: []Damage{{Page: 7}}, Tables: []Loss{{Table: "mailbox", Pages: 1, Rows: 3, Kept: 900}}}
	fmt.Println(r)
	// Output: the database, page 7; mailbox lost 1 pages with at least 3 rows and kept 900 rows
}

// TestTakenAway begins anew where somebody has taken the database away, and puts what was beside it aside.
func TestTakenAway(t *testing.T) {
	path, _ := killed(t)
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	f := openFile(t, path, testOptions())
	if f.Report() != nil || contentOf(t, f.Reader()).total() != 1 {
		t.Errorf("got %v, want a new file", f.Report())
	}
	if k := kept(t, path); len(k) != 3 {
		t.Errorf("kept aside: %v", k)
	}
}

// TestCopiedByAnotherProgram opens a killed store by SQLite alone, which copies the log back and removes it: nothing is lost by that, and it is said.
func TestCopiedByAnotherProgram(t *testing.T) {
	path, want := killed(t)
	other := connect(path, 1, "&_pragma=busy_timeout(5000)")
	if !equalRows(contentOf(t, other), want) {
		t.Fatal("it reads something else")
	}
	if err := other.Close(); err != nil {
		t.Fatal(err)
	}
	if size, err := sizeOf(path + logSuffix); err != nil || size > 0 {
		t.Fatalf("the log is still there: %v", err)
	}
	f := openFile(t, path, testOptions())
	if r := f.Report(); r == nil || !r.Lossless() || !equalRows(contentOf(t, f.Reader()), want) {
		t.Errorf("%v, or the content has changed", r)
	}
	closeFile(t, f)
	if f := openFile(t, path, testOptions()); f.Report() != nil {
		t.Errorf("the second opening found %v", f.Report())
	}
}

// TestCopiedBackWhileOthersWrite lets the log be copied back in the background, again and again, while some write and some read.
func TestCopiedBackWhileOthersWrite(t *testing.T) {
	path := filepath.Join(t.TempDir(), "test.db")
	opts := testOptions()
	opts.Checkpoint = 20
	f := openFile(t, path, opts)
	first := f.sums.header.generation
	var wg sync.WaitGroup
	for w := range 3 {
		wg.Go(func() {
			fill(t, f, rand.New(rand.NewPCG(uint64(w), 1)), w*1000, 200)
		})
	}
	wg.Go(func() {
		for range 20 {
			contentOf(t, f.Reader())
		}
	})
	wg.Wait()
	times := func() uint64 {
		f.mu.Lock()
		defer f.mu.Unlock()
		return f.sums.header.generation - first
	}
	for i := 3000; times() < 3; i++ { // how often it was while somebody read is the scheduler's affair
		if i == 5000 {
			t.Fatalf("the log was copied back %d times", times())
		}
		fill(t, f, rand.New(rand.NewPCG(3, 1)), i, 1)
	}
	want := contentOf(t, f.Reader())
	f.stop()
	f.running.Wait()
	killed := snapshot(t, path)
	closeFile(t, f)
	for _, path := range []string{path, killed} {
		f := openFile(t, path, testOptions())
		if f.Report() != nil || !equalRows(contentOf(t, f.Reader()), want) {
			t.Errorf("%v, or the content has changed", f.Report())
		}
		closeFile(t, f)
	}
}

// TestPinnedLogIsNotWrittenOver pins a log of which all or not all has been copied back, and writes.
func TestPinnedLogIsNotWrittenOver(t *testing.T) {
	f := openFile(t, filepath.Join(t.TempDir(), "test.db"), testOptions())
	random := rand.New(rand.NewPCG(1, 1))
	life := func() salt {
		f.markMu.Lock()
		defer f.markMu.Unlock()
		m, _, ok := f.reached()
		if !ok {
			t.Fatal("the index of the log cannot be read")
		}
		return m.salt
	}
	for i, whole := range []bool{true, false} {
		fill(t, f, random, 100*i, 10)
		if whole {
			if err := f.Checkpoint(t.Context()); err != nil {
				t.Fatal(err)
			}
		}
		unpin, err := f.pin(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		if whole != (unpin == nil) {
			t.Errorf("all copied back: %v; pinned: %v", whole, unpin != nil)
		}
		before := life()
		fill(t, f, random, 100*i+50, 10)
		if unpin == nil {
			continue
		}
		if life() != before {
			t.Errorf("all copied back: %v; the pinned log was written over", whole)
		}
		if err := unpin(); err != nil {
			t.Error(err)
		}
	}
}

// TestNobodyElseCopiesBack replaces the connection that writes while the log is longer than what SQLite copies back by itself.
func TestNobodyElseCopiesBack(t *testing.T) {
	path := filepath.Join(t.TempDir(), "test.db")
	f := openFile(t, path, testOptions())
	random := rand.New(rand.NewPCG(1, 1))
	frames := func() (m mark, copied uint32) {
		f.markMu.Lock()
		defer f.markMu.Unlock()
		m, copied, ok := f.reached()
		if !ok {
			t.Fatal("the index of the log cannot be read")
		}
		return m, copied
	}
	n := 0
	for m, _ := frames(); m.frames < 1200; m, _ = frames() {
		fill(t, f, random, n, 100)
		n += 100
	}
	before, _ := frames()
	// As a context does that ends within a transaction.
	f.write.SetMaxIdleConns(0)
	f.write.SetMaxIdleConns(1)
	fill(t, f, random, n, 10)
	if after, copied := frames(); copied > 0 || after.salt != before.salt {
		t.Errorf("%d pages of the log were copied back; in the same life: %v", copied, after.salt == before.salt)
	}
	fill(t, f, random, n+10, 10)
	want := contentOf(t, f.Reader())
	closeFile(t, f)
	if f := openFile(t, path, testOptions()); f.Report() != nil || !equalRows(contentOf(t, f.Reader()), want) {
		t.Errorf("%v, or the content has changed", f.Report())
	}
}
