package peer

import (
	"context"
	"errors"
	"path/filepath"
	"testing"
	"time"

	"github.com/byway-chat/byway/peer/delivery"
	"github.com/byway-chat/byway/peer/history"
)

// TestHistoryThatDoesNotLoad loses the disk while a message is committed. Nothing is committed or called a duplicate until the history loads, and then
// the message, come again, is shown.
func TestHistoryThatDoesNotLoad(t *testing.T) {
	c, events := desk(t)
	path := filepath.Join(t.TempDir(), "history.db")
	disk := func() {
		store, err := history.Open(context.Background(), path, c.keys.Storage)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = store.Close() })
		c.store = store
	}
	disk()
	start := now(t)
	if err := errors.Join(c.load(context.Background()), c.learn(start, records(t, c, 1, 1))); err != nil {
		t.Fatal(err)
	}
	c.settle(start)
	in := inbound{name: "bob", device: fingerprint(1), way: WayRelay, taken: func() {}}
	text := &delivery.Payload{Kind: delivery.KindText, Text: &delivery.Text{N: 1, Low: 1, Start: 1, ID: delivery.MessageID{1}, Body: "hello", Sent: start}}
	if err := c.store.Close(); err != nil {
		t.Fatal(err)
	}
	c.opened(in, text.Append(nil))
	c.settle(start)
	if c.stall.cause == nil {
		t.Fatal("a history that does not load is taken for one that does")
	}
	result := make(chan error, 1)
	c.after = append(c.after, result)
	c.settle(start)
	if err := <-result; err == nil {
		t.Error("something was committed")
	}
	disk()
	c.settle(start.Add(2 * reloadEvery))
	c.opened(in, text.Append(nil))
	c.settle(start.Add(2 * reloadEvery))
	shown := 0
	for _, e := range told(t, events) {
		if e.Type == EventMessage {
			shown++
		}
	}
	if shown != 1 || c.stall.cause != nil {
		t.Errorf("shown %d times, %v", shown, c.stall.cause)
	}
}

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
