package sqlite_test

import (
	"testing"

	"github.com/byway-chat/byway/rendezvous/sqlite"
)

// BenchmarkOpenMillion opens a database of 1,000,000 waiting envelopes: all of it is compared with its sums.
func BenchmarkOpenMillion(b *testing.B) {
	dir := b.TempDir()
	db := open(b, dir)
	for range 1000 {
		if err := db.Apply(b.Context(), batch(1000, 154)); err != nil {
			b.Fatal(err)
		}
	}
	if err := db.Close(); err != nil {
		b.Fatal(err)
	}
	for b.Loop() {
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
