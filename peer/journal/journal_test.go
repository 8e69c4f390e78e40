package journal

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"pgregory.net/rapid"
)

func create(t rapid.TB, path string, size int64, first uint64) *Journal {
	t.Helper()
	j, err := Create(path, size, first)
	if err != nil {
		t.Fatal(err)
	}
	j.sync = func(*os.File) error { return nil } // nothing here cuts the power
	return j
}

func read(t rapid.TB, path string, after uint64) Found {
	t.Helper()
	found, err := Read(path, after)
	if err != nil {
		t.Fatal(err)
	}
	return found
}

// same fails the test unless found is exactly these payloads, numbered from first on, and nothing was wrong.
func same(t rapid.TB, found Found, first uint64, want ...string) {
	t.Helper()
	if len(found.Damage) > 0 {
		t.Fatalf("damage: %s", found.Damage)
	}
	var got []string
	for i, r := range found.Records {
		if r.Seq != first+uint64(i) {
			t.Fatalf("record %d has the number %d, want %d", i, r.Seq, first+uint64(i))
		}
		got = append(got, string(r.Payload))
	}
	if fmt.Sprint(got) != fmt.Sprint(want) {
		t.Fatalf("got %.200q, want %.200q", got, want)
	}
}

func TestReadNothing(t *testing.T) {
	path := filepath.Join(t.TempDir(), "journal")
	same(t, read(t, path, 0), 1)
	if err := os.WriteFile(path, []byte("no journal"), 0o600); err != nil {
		t.Fatal(err)
	}
	same(t, read(t, path, 0), 1)
}

// TestRing appends and releases at random and then reads: everything that is not released is there, whatever it was written over.
func TestRing(t *testing.T) {
	dir := t.TempDir()
	rapid.Check(t, func(t *rapid.T) {
		path := filepath.Join(dir, "journal")
		first := rapid.Uint64Range(1, 1<<40).Draw(t, "first")
		j := create(t, path, 1024, first)
		defer j.Close()
		var kept []string
		released := first - 1
		for range rapid.IntRange(1, 60).Draw(t, "steps") {
			if rapid.Bool().Draw(t, "append") {
				payload := strings.Repeat(rapid.StringMatching("[a-z]").Draw(t, "letter"), rapid.IntRange(0, 300).Draw(t, "length"))
				seq := j.Next()
				switch err := j.Append([]byte(payload)); {
				case errors.Is(err, ErrFull) && len(kept) == 0:
					t.Fatal("full without a record")
				case errors.Is(err, ErrFull):
					if j.Next() != seq {
						t.Fatal("a record that did not fit took a number")
					}
				case err != nil:
					t.Fatal(err)
				default:
					kept = append(kept, payload)
				}
			} else {
				n := rapid.IntRange(0, len(kept)).Draw(t, "release")
				kept, released = kept[n:], released+uint64(n)
				j.Release(released)
			}
			same(t, read(t, path, released), released+1, kept...)
		}
	})
}

// TestNewest releases records and writes over some of them: all that were not released stand behind the last gap.
func TestNewest(t *testing.T) {
	path := filepath.Join(t.TempDir(), "journal")
	j := create(t, path, 512, 1)
	defer j.Close()
	for n := range 20 {
		if err := j.Append(make([]byte, 10*(n%7))); err != nil {
			t.Fatal(err)
		}
		if n%5 == 3 {
			j.Release(j.Next() - 2)
		}
		newest, held := read(t, path, 0).Newest(), j.held
		if len(newest) < len(held) || newest[len(newest)-1].Seq != j.Next()-1 || newest[0].Seq > held[0].seq {
			t.Fatalf("after record %d: got %d to %d, held are %d to %d", n+1, newest[0].Seq, newest[len(newest)-1].Seq, held[0].seq, held[len(held)-1].seq)
		}
	}
	if newest := (Found{}).Newest(); len(newest) != 0 {
		t.Errorf("got %v of nothing", newest)
	}
}

// TestTorn cuts the last record short at each place: what was there before is found, and nothing is called damaged.
func TestTorn(t *testing.T) {
	path := filepath.Join(t.TempDir(), "journal")
	j := create(t, path, 4096, 1)
	defer j.Close()
	for _, payload := range []string{"old", "older", "oldest and longest of them all"} {
		if err := j.Append([]byte(payload)); err != nil {
			t.Fatal(err)
		}
	}
	j.Release(3)
	if err := j.Append([]byte("one")); err != nil {
		t.Fatal(err)
	}
	before, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if err := j.Append(bytes.Repeat([]byte("two"), 40)); err != nil {
		t.Fatal(err)
	}
	after, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	from := int(j.held[1].from)
	end := from + overhead + 120
	for cut := from; cut < end; cut++ {
		torn := append(bytes.Clone(after[:cut]), before[cut:]...)
		if bytes.Equal(torn[from:end], after[from:end]) {
			continue // what was not written was there by chance
		}
		found := parse(torn, 3)
		if len(found.Records) == 2 && len(found.Damage) == 1 { // all but one bit was written
			continue
		}
		same(t, found, 4, "one")
	}
}

// TestFlippedBit flips each bit of a journal: each record is found as it was, and a bit that matters is spoken of.
func TestFlippedBit(t *testing.T) {
	path := filepath.Join(t.TempDir(), "journal")
	j := create(t, path, 512, 1)
	defer j.Close()
	want := []string{"one", "", "three, which is the longest"}
	for _, payload := range want {
		if err := j.Append([]byte(payload)); err != nil {
			t.Fatal(err)
		}
	}
	whole, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	for bit := range len(whole) * 8 {
		b := bytes.Clone(whole)
		b[bit/8] ^= 1 << (bit % 8)
		found := parse(b, 0)
		matters := false
		for i, h := range j.held {
			matters = matters || bit/8 >= int(h.from) && bit/8 < int(h.from)+overhead+len(want[i])
		}
		if matters != (len(found.Damage) == 1) {
			t.Fatalf("bit %d: damage %q", bit, found.Damage)
		}
		found.Damage = nil
		same(t, found, 1, want...)
	}
}

// TestLost overwrites a record between two others: it is called lost, and the others are found.
func TestLost(t *testing.T) {
	path := filepath.Join(t.TempDir(), "journal")
	j := create(t, path, 4096, 8)
	defer j.Close()
	for _, payload := range []string{"one", "two", "three"} {
		if err := j.Append([]byte(payload)); err != nil {
			t.Fatal(err)
		}
	}
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	clear(b[j.held[1].from+20 : j.held[1].to])
	found := parse(b, 7)
	if len(found.Records) != 2 || string(found.Records[1].Payload) != "three" || fmt.Sprint(found.Damage) != "[records 9 to 9 are lost]" {
		t.Fatalf("got %v", found)
	}
}

// TestFailedSync wants nothing more taken after an fsync that has failed.
func TestFailedSync(t *testing.T) {
	path := filepath.Join(t.TempDir(), "journal")
	j := create(t, path, 4096, 1)
	defer j.Close()
	j.sync = func(*os.File) error { return syscall.EIO }
	if err := j.Append([]byte("one")); !errors.Is(err, syscall.EIO) {
		t.Fatalf("got %v", err)
	}
	j.sync = datasync
	if err := j.Append([]byte("two")); !errors.Is(err, ErrBroken) {
		t.Fatalf("got %v", err)
	}
	fresh := create(t, path, 4096, 2)
	defer fresh.Close()
	same(t, read(t, path, 0), 1)
}

func TestCreateRefuses(t *testing.T) {
	if _, err := Create(filepath.Join(t.TempDir(), "no", "journal"), 4096, 1); err == nil {
		t.Error("created in no directory")
	}
	if _, err := Create(filepath.Join(t.TempDir(), "journal"), 100, 1); err == nil {
		t.Error("created with an odd size")
	}
}

func FuzzParse(f *testing.F) {
	j := create(f, filepath.Join(f.TempDir(), "journal"), 256, 1)
	defer j.Close()
	for _, payload := range []string{"one", "two"} {
		if err := j.Append([]byte(payload)); err != nil {
			f.Fatal(err)
		}
	}
	b, err := os.ReadFile(j.file.Name())
	if err != nil {
		f.Fatal(err)
	}
	f.Add(b, uint64(0))
	f.Add(b[:100], uint64(1))
	f.Fuzz(func(t *testing.T, b []byte, after uint64) {
		for _, r := range parse(b, after).Records {
			if r.Seq <= after {
				t.Errorf("record %d after %d", r.Seq, after)
			}
		}
	})
}

func BenchmarkAppend(b *testing.B) {
	j, err := Create(filepath.Join(b.TempDir(), "journal"), 1<<20, 1)
	if err != nil {
		b.Fatal(err)
	}
	defer j.Close()
	payload := make([]byte, 400)
	for b.Loop() {
		if err := j.Append(payload); err != nil {
			b.Fatal(err)
		}
		j.Release(j.Next() - 1)
	}
}
