package peer

import (
	"testing"
	"time"
)

// TestPause: commits are paced only where many wait for them, and never when a batch is as good as full.
func TestPause(t *testing.T) {
	start := time.Unix(1_800_000_000, 0)
	rows := []struct {
		name    string
		crowd   float64
		waiting int
		ago     time.Duration // since the last commit that somebody waited for
		want    time.Duration
	}{
		{"one at a time", 1, 1, 0, 0},
		{"many", 8, 4, time.Millisecond, pace - time.Millisecond},
		{"many, and it is time", 8, 4, pace, 0},
		{"many, and nobody waits for this", 8, 0, 0, 0},
		{"many, and a full batch", 8, maxBatch / 2, 0, 0},
	}
	for _, row := range rows {
		t.Run(row.name, func(t *testing.T) {
			c := &core{crowd: row.crowd, committed: start.Add(-row.ago)}
			for range row.waiting {
				c.after = append(c.after, make(chan error, 1))
			}
			if got := max(c.pause(start), 0); got != row.want {
				t.Errorf("got %v, want %v", got, row.want)
			}
		})
	}
}
