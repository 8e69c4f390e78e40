package peer

import (
	"errors"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/byway-chat/byway/peer/history"
)

// TestStallIsSaidNowAndThen lets commits fail again and again. It is said at once, then once in a while with the number of failures, and at once again after a
// time without any.
func TestStallIsSaidNowAndThen(t *testing.T) {
	c, events := desk(t)
	cause := errors.New("it takes nothing")
	start := now(t)
	said := func(after time.Duration) int {
		t.Helper()
		c.sayStall(start.Add(after), cause)
		return len(told(t, events))
	}
	if said(0) != 1 {
		t.Error("not said at first")
	}
	for i := range 59 {
		if said(time.Duration(i+1)*time.Second) != 0 {
			t.Errorf("said again after %d s", i+1)
		}
	}
	if c.stall.unsaid != 59 {
		t.Errorf("%d failures are counted, want 59", c.stall.unsaid)
	}
	if said(time.Minute) != 1 || c.stall.unsaid != 0 {
		t.Error("not said after a minute")
	}
	if said(time.Minute+time.Second) != 0 || said(time.Minute+time.Second+stallNews) != 1 {
		t.Error("a new stall is no news, or the same is")
	}
}

// TestStallWaits: a history that takes nothing is looked at once in a while, and whatever comes meanwhile makes no work.
func TestStallWaits(t *testing.T) {
	c, _ := desk(t)
	c.restart(time.Now(), errors.New("it takes nothing"))
	if wait := c.nextWake(); wait < reloadEvery/2 {
		t.Errorf("looks again after %v", wait)
	}
	c.receive(inbound{taken: func() { t.Error("what came was taken") }})
	if err := c.writable(time.Now()); err != nil || c.stall.cause != nil {
		t.Errorf("whoever asks is told %v, though the disk has room", err)
	}
}

// TestStallLastsWhateverTheDiskSays: where the look for room fails, be it for another cause than a full disk, the stall stays, and is told with that cause. Nothing
// that somebody wants committed has the disk looked at more often.
func TestStallLastsWhateverTheDiskSays(t *testing.T) {
	path := filepath.Join(t.TempDir(), historyFileName)
	c, _ := deskAt(t, path)
	start := time.Now()
	c.restart(start, history.ErrDiskFull)
	if CodeOf(c.stall.cause) != CodeDiskFull {
		t.Fatalf("it stalls for %v", c.stall.cause)
	}
	inTheWay := path + ".room" // where a look writes
	if err := os.Mkdir(inTheWay, 0o700); err != nil {
		t.Fatal(err)
	}
	looks := start.Add(reloadEvery)
	if c.reload(looks) || CodeOf(c.stall.cause) != CodeFailed {
		t.Errorf("a look that failed has left %v", c.stall.cause)
	}
	if c.stall.retry != looks.Add(reloadEvery) {
		t.Errorf("the next look is %v after it, want %v", c.stall.retry.Sub(looks), reloadEvery)
	}
	if err := os.Remove(inTheWay); err != nil {
		t.Fatal(err)
	}
	if c.writable(looks.Add(lookApart-1)) == nil {
		t.Error("it was looked again at once")
	}
	if err := c.writable(looks.Add(lookApart)); err != nil {
		t.Errorf("it stalls with room: %v", err)
	}
}
