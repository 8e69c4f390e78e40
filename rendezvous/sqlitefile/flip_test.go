package sqlitefile

import (
	"bytes"
	"encoding/binary"
	"errors"
	"math/rand/v2"
	"os"
	"path/filepath"
	"testing"

	"github.com/byway-chat/byway/rendezvous/bitrot"
)

func TestHealthy(t *testing.T) {
	for name, make := range map[string]func(testing.TB) (string, rows){"killed": killed, "stopped": stopped} {
		t.Run(name, func(t *testing.T) {
			path, want := make(t)
			for range 2 {
				f := openFile(t, path, testOptions())
				if r := f.Report(); r != nil {
					t.Errorf("found damage in a healthy file: %v", r)
				}
				if !equalRows(contentOf(t, f.Reader()), want) {
					t.Error("the content has changed")
				}
				closeFile(t, f)
			}
			if k := kept(t, path); len(k) > 0 {
				t.Errorf("kept aside: %v", k)
			}
		})
	}
}

// places are bytes of each file of which each means something else: of the header of a file, the map, trees and long values; of the header of a log, of a frame's and
// of its page; of the header of the sums, of both outlines and of sums; of each field of a mark.
var places = map[string][]int{
	"":         {0, 18, 60, 99, 100, 4096, 4096*3 + 9, 4096*30 + 77, 4096*31 - 1},
	logSuffix:  {0, 9, 16, 24, 31, 32, 36, 40, 48, 55, 56, 2000, 4151, 4152, 4156, 5 * 4120},
	sumsSuffix: {0, 12, 16, 32, 40, 56, 503, 511, 512, 600, 33024, 33100, 65536, 65536 + 8*30 + 1, 65536 + 8*40 + 6},
	markSuffix: {0, 8, 16, 20, 24, 28, 32, 40, 55, 56, 63},
}

// names are bytes of the log in which frames say of which page they are, the last frame among them.
var names = []int{32 + 3, 32 + 7*4120 + 3, 32 + 86*4120 + 3}

// TestOneFlippedBit flips one bit at chosen and at random places of every file. All of the content must be there, unaltered, and whoever opens it must be told, except
// of bits that mean nothing; see meaning.
func TestOneFlippedBit(t *testing.T) {
	for name, make := range map[string]func(testing.TB) (string, rows){"killed": killed, "stopped": stopped} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			path, want := make(t)
			random := rand.New(rand.NewPCG(3, 4))
			for _, suffix := range []string{"", logSuffix, sumsSuffix, markSuffix} {
				content, err := os.ReadFile(path + suffix)
				if os.IsNotExist(err) && suffix == logSuffix && name == "stopped" {
					continue
				}
				if err != nil {
					t.Fatal(err)
				}
				for _, at := range places[suffix] {
					flipOne(t, path, suffix, at*8+random.IntN(8), want)
				}
				for bit := range 8 * len(names) {
					if suffix == logSuffix {
						flipOne(t, path, suffix, names[bit/8]*8+bit%8, want)
					}
				}
				for range 50 {
					if racing {
						break
					}
					flipOne(t, path, suffix, random.IntN(len(content)*8), want)
				}
			}
		})
	}
}

func flipOne(t *testing.T, path, suffix string, bit int, want rows) {
	t.Helper()
	means := meaning(t, path, suffix, bit/8)
	path = snapshot(t, path)
	flip(t, path+suffix, bit)
	damaged, err := os.ReadFile(path + suffix)
	if err != nil {
		t.Fatal(err)
	}
	f := openFile(t, path, testOptions())
	if told := f.Report() != nil; told != means {
		t.Errorf("byte %d of %q: told %v (%v), want %v", bit/8, suffix, told, f.Report(), means)
	}
	gone := missingFrom(t, contentOf(t, f.Reader()), want)
	r := f.Report()
	// The log's checksum cannot always tell which bit it was: then the page of that frame is lost.
	if n := gone["mail"] + gone["pairs"] + gone["plain"]; n > 0 && (suffix != logSuffix || n > 250 || r == nil || r.Lossless()) {
		t.Errorf("byte %d of %q: lost %v: %v", bit/8, suffix, gone, r)
	}
	if r != nil {
		aside := false
		for _, k := range kept(t, path) {
			b, err := os.ReadFile(k)
			aside = aside || err == nil && string(b) == string(damaged)
		}
		if !aside {
			t.Errorf("byte %d of %q: the damaged file was not kept aside", bit/8, suffix)
		}
	}
	closeFile(t, f)
	again := openFile(t, path, testOptions())
	if r := again.Report(); r != nil {
		t.Errorf("byte %d of %q: the second opening found %v", bit/8, suffix, r)
	}
	closeFile(t, again)
}

func flip(t testing.TB, file string, bit int) {
	t.Helper()
	b, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	b[bit/8] ^= 1 << (bit % 8)
	if err := os.WriteFile(file, b, 0o600); err != nil {
		t.Fatal(err)
	}
}

// meaning reports whether a byte means anything. These do not: pages that stand in the log too, which every opening copies over them; the sums of such
// pages, and of pages that were never written; what the file of sums has between its parts; and what the log has behind its last
// transaction.
func meaning(t testing.TB, path, suffix string, at int) bool {
	t.Helper()
	s, _, err := loadSums(path + sumsSuffix)
	if err != nil {
		t.Fatal(err)
	}
	defer s.close()
	m, _, err := loadMark(path + markSuffix)
	if err != nil {
		t.Fatal(err)
	}
	im, damage, err := openImage(path, s, m)
	if err != nil || len(damage) > 0 {
		t.Fatal(damage, err)
	}
	defer im.close()
	page := func(n int) bool {
		_, logged := im.log.at[uint32(n)]
		return !logged && n <= len(s.pages) && s.pages[n-1] != noSum
	}
	switch suffix {
	case "":
		return page(at/im.pageSize + 1)
	case logSuffix:
		return at < logHeaderSize+im.log.frames*(frameHeaderSize+im.pageSize)
	case sumsSuffix:
		from, to := s.header.outlineRange()
		switch {
		case at < sumsHeaderSize || from <= at && at < to:
			return true
		case at < sumsStart:
			return false
		}
		return page((at-sumsStart)/bitrot.Size + 1)
	}
	return true
}

// TestUnnoticed is the control: without the sums and the mark the same flips go unnoticed or lose what was acknowledged.
func TestUnnoticed(t *testing.T) {
	t.Parallel()
	path, want := killed(t)
	content, err := os.ReadFile(path + logSuffix)
	if err != nil {
		t.Fatal(err)
	}
	random := rand.New(rand.NewPCG(5, 6))
	wrong := 0
	for range 20 {
		path := snapshot(t, path)
		if err := removeAll(path+sumsSuffix, path+markSuffix); err != nil {
			t.Fatal(err)
		}
		flip(t, path+logSuffix, random.IntN(len(content)*8))
		f, err := Open(t.Context(), path, testOptions())
		if err != nil {
			continue
		}
		if f.Report() == nil && !equalRows(contentOf(t, f.Reader()), want) {
			wrong++
		}
		closeFile(t, f)
	}
	if wrong < 5 {
		t.Errorf("%d of 20 flips lost something silently; the tests beside this one prove nothing", wrong)
	}
}

// TestLostPages overwrites each page of the file in turn.
func TestLostPages(t *testing.T) {
	t.Parallel()
	path, want := stopped(t)
	size, err := sizeOf(path)
	if err != nil {
		t.Fatal(err)
	}
	for page := range int(size / 4096) {
		if racing && page%8 > 1 {
			continue
		}
		path := snapshot(t, path)
		kind := spoil(t, path, page)
		f, err := Open(t.Context(), path, testOptions())
		if err != nil {
			t.Errorf("page %d (%#x): %v", page+1, kind, err)
			continue
		}
		checkLoss(t, f, page+1, kind, want)
		closeFile(t, f)
		if f := openFile(t, path, testOptions()); f.Report() != nil {
			t.Errorf("page %d: the second opening found %v", page+1, f.Report())
		} else {
			closeFile(t, f)
		}
	}
}

// spoil writes over a page and returns what its first byte was.
func spoil(t testing.TB, path string, page int) byte {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	kind := b[page*4096]
	for i := range 4096 {
		b[page*4096+i] = byte(i * 37)
	}
	if err := os.WriteFile(path, b, 0o600); err != nil {
		t.Fatal(err)
	}
	return kind
}

func checkLoss(t *testing.T, f *File, page int, kind byte, want rows) {
	t.Helper()
	r := f.Report()
	if r == nil {
		t.Errorf("page %d: not noticed", page)
		return
	}
	gone := missingFrom(t, contentOf(t, f.Reader()), want)
	for table, n := range gone {
		said := 0
		for _, l := range r.Tables {
			if l.Table == table {
				said += l.Pages + l.Rows
			}
			if l.Table == "mail" && l.Rows != gone["mail"] {
				t.Errorf("page %d: said that mail lost %d rows, lost %d", page, l.Rows, gone["mail"])
			}
		}
		if said == 0 {
			t.Errorf("page %d (%#x): %s lost %d rows, and the report does not say so: %v", page, kind, table, n, r)
		}
		if n > 250 || kind == kindTableInterior && n > 0 || kind == kindIndexInterior && n > 40 {
			t.Errorf("page %d (%#x): %s lost %d rows", page, kind, table, n)
		}
	}
	if len(gone) > 1 {
		t.Errorf("page %d (%#x): lost rows of %v", page, kind, gone)
	}
	if r.Uncertain {
		t.Errorf("page %d (%#x): uncertain: %v", page, kind, r)
	}
	if bad, err := unsound(t.Context(), f.path); bad || err != nil {
		t.Errorf("page %d: what was rescued is malformed: %v", page, err)
	}
}

// TestLostFrames overwrites each frame of the log in turn: the page that it held is lost, or an older frame's where a newer one holds it.
func TestLostFrames(t *testing.T) {
	t.Parallel()
	path, want := killed(t)
	log, err := os.ReadFile(path + logSuffix)
	if err != nil {
		t.Fatal(err)
	}
	const each = frameHeaderSize + 4096
	for i := 0; meaning(t, path, logSuffix, logHeaderSize+i*each); i++ {
		if racing && i%8 > 1 {
			continue
		}
		path := snapshot(t, path)
		b := append([]byte(nil), log...)
		at := logHeaderSize + i*each
		last := binary.BigEndian.Uint32(b[at+4:]) > 0
		for j := range 4096 {
			b[at+frameHeaderSize+j] = byte(j * 37)
		}
		if err := os.WriteFile(path+logSuffix, b, 0o600); err != nil {
			t.Fatal(err)
		}
		f, err := Open(t.Context(), path, testOptions())
		if err != nil {
			t.Errorf("frame %d: %v", i+1, err)
			continue
		}
		if f.Report() == nil {
			t.Errorf("frame %d (commit %v): not noticed", i+1, last)
		}
		total := 0
		for _, n := range missingFrom(t, contentOf(t, f.Reader()), want) {
			total += n
		}
		if total > 250 {
			t.Errorf("frame %d: lost %d rows of %d", i+1, total, want.total())
		}
		closeFile(t, f)
	}
}

// TestLogGone removes the log of a killed store: what it held is acknowledged and lost, and that is said.
func TestLogGone(t *testing.T) {
	path, _ := killed(t)
	if err := os.Remove(path + logSuffix); err != nil {
		t.Fatal(err)
	}
	f := openFile(t, path, testOptions())
	if r := f.Report(); r == nil || !r.Uncertain {
		t.Errorf("got %v, want an uncertain report", r)
	}
	if k, err := Kept(path); err != nil || len(k) != 1 || filepath.Dir(k[0]) != filepath.Dir(path) {
		t.Errorf("kept: %v and %v", k, err)
	}
}

// TestNothingLeft refuses a file of which nothing can be read, and leaves it as it is: an empty database in its place would be no rescue.
func TestNothingLeft(t *testing.T) {
	path, _ := stopped(t)
	content := bytes.Repeat([]byte("no database "), 5000)
	if err := os.WriteFile(path, content, 0o600); err != nil {
		t.Fatal(err)
	}
	for range 2 {
		if f, err := Open(t.Context(), path, testOptions()); !errors.Is(err, ErrDamaged) {
			t.Errorf("got %v and %v, want %v", f, err, ErrDamaged)
		}
	}
	if b, err := os.ReadFile(path); err != nil || !bytes.Equal(b, content) || len(kept(t, path)) > 0 {
		t.Errorf("the file was changed (%v)", err)
	}
}
