package history

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/byway-chat/byway/peer/delivery"
)

// smallDisk mounts a file system of a few megabytes.
func smallDisk(t *testing.T) string {
	t.Helper()
	if os.Getuid() != 0 {
		t.Skip("a small disk can be mounted by root only")
	}
	dir := t.TempDir()
	if err := syscall.Mount("tmpfs", dir, "tmpfs", 0, "size=4m,mode=0700"); err != nil {
		t.Skipf("a small disk cannot be mounted here: %v", err)
	}
	t.Cleanup(func() {
		if err := syscall.Unmount(dir, syscall.MNT_DETACH); err != nil {
			t.Errorf("unmount: %v", err)
		}
	})
	return dir
}

// TestDiskFull fills the disk: the commit that does not fit leaves nothing behind, reading goes on, and writing does when there is room again.
func TestDiskFull(t *testing.T) {
	dir := smallDisk(t)
	ballast := filepath.Join(dir, "ballast")
	if err := os.WriteFile(ballast, make([]byte, 2<<20), 0o600); err != nil {
		t.Fatalf("write: %v", err)
	}
	path := filepath.Join(dir, "history.db")
	s := open(t, path)
	body := strings.Repeat("x", 8<<10)
	var stored uint64
	var err error
	for n := uint64(1); n < 1000; n += 4 {
		b := ops()
		for i := range uint64(4) {
			b.Ops = append(b.Ops, delivery.OpReceive{Message: incoming(n+i, body)})
		}
		b.Ops = append(b.Ops, delivery.OpNext{Device: bob1, Next: n + 4})
		if err = s.Commit(t.Context(), b); err != nil {
			break
		}
		stored = n + 3
	}
	if !errors.Is(err, ErrDiskFull) {
		t.Fatalf("got %v after %d messages, want ErrDiskFull", err, stored)
	}
	check := func(s *Store) {
		t.Helper()
		entries := find(t, s, Query{})
		snap, err := s.Snapshot(t.Context())
		if err != nil {
			t.Fatalf("snapshot: %v", err)
		}
		if len(entries) != int(stored) || snap.Devices[0].Next != stored+1 {
			t.Errorf("got %d messages and next %d, want %d and %d", len(entries), snap.Devices[0].Next, stored, stored+1)
		}
	}
	check(s)
	if err := s.Commit(t.Context(), ops(delivery.OpReceive{Message: incoming(stored+1, strings.Repeat("y", 64<<10))})); !errors.Is(err, ErrDiskFull) {
		t.Errorf("got %v while it is full, want ErrDiskFull", err)
	}
	if err := s.Room(); !errors.Is(err, ErrDiskFull) {
		t.Errorf("there is room: %v", err)
	}
	if err := os.Remove(ballast); err != nil {
		t.Fatalf("make room: %v", err)
	}
	if err := s.Room(); err != nil {
		t.Errorf("there is no room: %v", err)
	}
	if _, err := os.Stat(roomPath(path)); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("something is left of the try: %v", err)
	}
	commit(t, s, ops(delivery.OpReceive{Message: incoming(stored+1, "fits"), Held: false}, delivery.OpNext{Device: bob1, Next: stored + 2}))
	stored++
	check(s)
	check(reopen(t, s, path))
}

func benchmarkCommit(b *testing.B, size int) {
	s, err := Open(context.Background(), filepath.Join(b.TempDir(), "history.db"), key)
	if err != nil {
		b.Fatalf("open: %v", err)
	}
	defer func() { _ = s.Close() }()
	body := strings.Repeat("x", 200)
	var n uint64
	for b.Loop() {
		batch := ops()
		for range size {
			n++
			batch.Ops = append(batch.Ops, delivery.OpReceive{Message: incoming(n, body)})
		}
		batch.Ops = append(batch.Ops, delivery.OpNext{Device: bob1, Next: n + 1})
		if err := s.Commit(context.Background(), batch); err != nil {
			b.Fatalf("commit: %v", err)
		}
	}
	b.ReportMetric(float64(n)/b.Elapsed().Seconds(), "messages/s")
}

// BenchmarkCommit1 pays one fsync for each message.
func BenchmarkCommit1(b *testing.B) { benchmarkCommit(b, 1) }

// BenchmarkCommit256 is a full batch of the core: one fsync for all.
func BenchmarkCommit256(b *testing.B) { benchmarkCommit(b, 256) }
