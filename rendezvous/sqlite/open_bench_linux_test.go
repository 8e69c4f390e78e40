package sqlite_test

import (
	"bytes"
	"fmt"
	"os"
	"testing"

	"github.com/libp2p/go-libp2p/core/peer"
	"golang.org/x/sys/unix"

	"github.com/byway-chat/byway/crypto/identity"
	"github.com/byway-chat/byway/rendezvous"
	"github.com/byway-chat/byway/rendezvous/directory"
	"github.com/byway-chat/byway/rendezvous/sqlite"
)

// BenchmarkOpenMillion opens the database of 100,000 accounts and 1,000,000 waiting envelopes, all of which is compared with its sums: when the system
// has the file in memory, and when the disk must give it. MB/s is what it verifies.
func BenchmarkOpenMillion(b *testing.B) {
	dir := b.TempDir()
	db := open(b, dir)
	for i := range 100_000 {
		if err := db.Create(b.Context(), someAccount(i), nil); err != nil {
			b.Fatal(err)
		}
	}
	for range 1000 {
		if err := db.Apply(b.Context(), batch(1000, 154)); err != nil {
			b.Fatal(err)
		}
	}
	if err := db.Close(); err != nil {
		b.Fatal(err)
	}
	b.Run("memory", func(b *testing.B) { benchmarkOpen(b, dir, func() {}) })
	b.Run("disk", func(b *testing.B) { benchmarkOpen(b, dir, func() { forget(b, file(dir)) }) })
}

func benchmarkOpen(b *testing.B, dir string, before func()) {
	info, err := os.Stat(file(dir))
	if err != nil {
		b.Fatal(err)
	}
	b.SetBytes(info.Size())
	for b.Loop() {
		b.StopTimer()
		before()
		b.StartTimer()
		db, err := sqlite.Open(b.Context(), file(dir), nil)
		if err != nil {
			b.Fatal(err)
		}
		b.StopTimer()
		if err := db.Close(); err != nil {
			b.Fatal(err)
		}
		b.StartTimer()
	}
}

// someAccount has one device, and what it has published has the size of what real ones publish.
func someAccount(i int) *directory.Account {
	name := fmt.Sprintf("user%d", i)
	fingerprint := identity.Fingerprint{3, byte(i), byte(i >> 8), byte(i >> 16)}
	return &directory.Account{
		Name: rendezvous.Username(name), Skeleton: name, Password: string(bytes.Repeat([]byte{'p'}, 97)), Entry: bytes.Repeat([]byte{1}, 1200), Seq: 1,
		Devices: []directory.Device{{
			Fingerprint: fingerprint, PeerID: peer.ID("peer of " + name), Bundle: bytes.Repeat([]byte{2}, 1500), BundleSeq: 1, PeerRecord: bytes.Repeat([]byte{3}, 400),
		}},
	}
}

// forget takes a file out of the system's memory.
func forget(b *testing.B, path string) {
	f, err := os.Open(path)
	if err != nil {
		b.Fatal(err)
	}
	defer f.Close()
	if err := f.Sync(); err != nil {
		b.Fatal(err)
	}
	if err := unix.Fadvise(int(f.Fd()), 0, 0, unix.FADV_DONTNEED); err != nil {
		b.Fatal(err)
	}
}
