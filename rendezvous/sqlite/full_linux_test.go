package sqlite_test

import (
	"errors"
	"os"
	"path/filepath"
	"syscall"
	"testing"

	"github.com/byway-chat/byway/crypto/identity"
	"github.com/byway-chat/byway/rendezvous/relay"
	"github.com/byway-chat/byway/rendezvous/sqlite"
)

// A full disk refuses what does not fit, keeps what it has acknowledged, and works again when there is room.
func TestDiskFull(t *testing.T) {
	dir := t.TempDir()
	if err := syscall.Mount("bw-full", dir, "tmpfs", 0, "size=2m"); err != nil {
		t.Skipf("a small file system cannot be mounted here: %v", err)
	}
	t.Cleanup(func() {
		if err := syscall.Unmount(dir, 0); err != nil {
			t.Errorf("unmount: %v", err)
		}
	})
	db := open(t, dir)
	defer db.Close()
	ballast := filepath.Join(dir, "ballast")
	if err := os.WriteFile(ballast, make([]byte, 1<<20), 0o600); err != nil {
		t.Fatal(err)
	}

	acknowledged := 0
	var full error
	for range 2000 {
		if full = db.Apply(t.Context(), batch(10, 1000)); full != nil {
			break
		}
		acknowledged += 10
	}
	if !errors.Is(full, sqlite.ErrDiskFull) {
		t.Fatalf("after %d envelopes: got %v, want %v", acknowledged, full, sqlite.ErrDiskFull)
	}
	held := func() int {
		usage, err := db.Usage(t.Context(), "bob")
		if err != nil {
			t.Fatalf("reading on a full disk: %v", err)
		}
		return int(usage.Messages)
	}
	if got := held(); got != acknowledged {
		t.Errorf("held %d, acknowledged %d", got, acknowledged)
	}
	if err := os.Remove(ballast); err != nil {
		t.Fatal(err)
	}
	if err := db.Apply(t.Context(), batch(10, 1000)); err != nil {
		t.Fatalf("with room again: %v", err)
	}
	if got := held(); got != acknowledged+10 {
		t.Errorf("held %d, acknowledged %d", got, acknowledged+10)
	}
	if _, err := db.Page(t.Context(), relay.Address{User: "bob", Device: identity.Fingerprint{2, 0}}, 0, 10, 1<<20); err != nil {
		t.Error(err)
	}
}
