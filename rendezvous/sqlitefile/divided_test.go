package sqlitefile

import (
	"math/rand/v2"
	"os"
	"path/filepath"
	"testing"
)

// TestPowerCutWithinASync leaves of one fsync of the sums the half that a disk may have written when the power goes: the header without the sums of the
// pages, or these without it, and the length of the file with neither. The log still has everything.
func TestPowerCutWithinASync(t *testing.T) {
	path := filepath.Join(t.TempDir(), "test.db")
	opts := testOptions()
	at := map[string]string{}
	watching := false
	opts.steps = func(name string) {
		if watching {
			at[name] = snapshot(t, path)
		}
	}
	f := openFile(t, path, opts)
	random := rand.New(rand.NewPCG(1, 1))
	fill(t, f, random, 0, 100)
	if err := f.Checkpoint(t.Context()); err != nil {
		t.Fatal(err)
	}
	fill(t, f, random, 100, 100)
	want := contentOf(t, f.Reader())
	watching = true
	if err := f.Checkpoint(t.Context()); err != nil {
		t.Fatal(err)
	}
	watching = false
	closeFile(t, f)
	before, after := at["the log was copied back"], at["the sums were settled"]
	unsettled, err := os.ReadFile(before + sumsSuffix)
	if err != nil {
		t.Fatal(err)
	}
	settled, err := os.ReadFile(after + sumsSuffix)
	if err != nil {
		t.Fatal(err)
	}
	longer := make([]byte, len(settled))
	copy(longer, unsettled)
	for name, sums := range map[string][]byte{
		"the header alone": append(settled[:sumsHeaderSize:sumsHeaderSize], longer[sumsHeaderSize:]...),
		"the sums alone":   append(longer[:sumsHeaderSize:sumsHeaderSize], settled[sumsHeaderSize:]...),
		"the length alone": longer,
	} {
		path := snapshot(t, before)
		if err := os.WriteFile(path+sumsSuffix, sums, 0o600); err != nil {
			t.Fatal(err)
		}
		for range 2 {
			f := openFile(t, path, testOptions())
			if f.Report() != nil || !equalRows(contentOf(t, f.Reader()), want) {
				t.Errorf("%s: %v, or the content has changed", name, f.Report())
			}
			closeFile(t, f)
		}
	}
}

// TestGrowsBeforeItCounts looks at the length of the sums when a header first speaks of that many: it must have been fsynced before.
func TestGrowsBeforeItCounts(t *testing.T) {
	path := filepath.Join(t.TempDir(), "test.db")
	f := openFile(t, path, testOptions())
	random := rand.New(rand.NewPCG(1, 1))
	for i := range 5 {
		fill(t, f, random, 100*i, 100)
		if err := f.Checkpoint(t.Context()); err != nil {
			t.Fatal(err)
		}
		size, err := sizeOf(path + sumsSuffix)
		if err != nil {
			t.Fatal(err)
		}
		if size != f.sums.room || size%sumsStep != 0 {
			t.Errorf("%d sums: the file has %d bytes, of which %d have been fsynced", f.sums.header.copied.pages, size, f.sums.room)
		}
	}
}

// TestKilledWhileItWritesTheOutline puts the header of before beside the outline of after: the outline of before must still be there.
func TestKilledWhileItWritesTheOutline(t *testing.T) {
	path, _ := stopped(t)
	s, damage, err := loadSums(path + sumsSuffix)
	if err != nil || s == nil || len(damage) > 0 {
		t.Fatal(damage, err)
	}
	defer s.close()
	for range 3 {
		want := s.outline
		header := s.header.marshal()
		next := want
		next.Objects = append(next.Objects[:len(next.Objects):len(next.Objects)], object{Type: "table", Name: "another"})
		if err := s.setOutline(next); err != nil {
			t.Fatal(err)
		}
		wantOutline(t, path, next)
		late := s.header.marshal()
		if _, err := s.f.WriteAt(header, 0); err != nil {
			t.Fatal(err)
		}
		wantOutline(t, path, want)
		if _, err := s.f.WriteAt(late, 0); err != nil {
			t.Fatal(err)
		}
	}
}

func wantOutline(t *testing.T, path string, want outline) {
	t.Helper()
	s, damage, err := loadSums(path + sumsSuffix)
	if err != nil || s == nil || len(damage) > 0 {
		t.Fatalf("found %v, %v", damage, err)
	}
	defer s.close()
	if !s.outline.equal(want) {
		t.Errorf("got %v, want %v", s.outline, want)
	}
}
