package main

import (
	"runtime/debug"
	"testing"
)

// TestGrowth looks at what the collector is told when a peer runs: what GOGC says counts, where it says something.
func TestGrowth(t *testing.T) {
	before := debug.SetGCPercent(100)
	defer debug.SetGCPercent(before)
	for _, row := range []struct {
		gogc string
		want int
	}{{"50", 100}, {"", growth}} { // 50 is for the runtime to read, at the start of a process
		p := program{getenv: func(string) string { return row.gogc }}
		p.afterUnlocking()
		if got := debug.SetGCPercent(100); got != row.want {
			t.Errorf("GOGC=%q: the collector has %d, want %d", row.gogc, got, row.want)
		}
	}
}
