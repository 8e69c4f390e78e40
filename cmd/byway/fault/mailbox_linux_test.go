package fault

import (
	"strings"
	"testing"
	"time"

	"github.com/byway-chat/byway/cmd/byway/stage"
)

// away kills somebody's program and waits until the rendezvous knows.
func (c *cast) away(name string) {
	c.t.Helper()
	c.person(name).kill()
	stage.Eventually(c.t, name+" is away", func() bool { _, online := c.o.Active()[name]; return !online })
}

// TestMailbox has somebody write to an absent user while the rendezvous is killed five times. All comes, in order, when the user is back. TestLedger
// is its control.
func TestMailbox(t *testing.T) {
	roll.Begin(t)
	const kills = 5
	letters := size(300, 1000)
	c, alice, bob := couple(t)
	c.away("bob")
	for i := range kills {
		for range letters / kills {
			alice.say("bob", "")
		}
		part := (i + 1) * letters / kills
		c.ledger.await(patience, func() bool { return c.ledger.sum.accepted >= part-letters/kills/2 })
		c.o.Kill()
		c.o.Again()
	}
	if !c.ledger.await(patience, func() bool { return c.ledger.storedLocked() == letters }) {
		t.Errorf("not everything is in the mailbox")
	}
	bob.start()
	began := time.Now()
	if c.ledger.await(patience, func() bool { return c.ledger.sum.shown > 0 }) {
		t.Logf("the first was shown after %v", time.Since(began).Round(time.Millisecond))
	}
	if !c.ledger.await(patience, func() bool { return c.ledger.sum.shown >= letters }) {
		t.Errorf("not everything comes out of the mailbox")
	}
	limit := 2 * time.Second
	if !long {
		limit = 10 * time.Second // the promise is of a machine that does nothing else: the long form
	}
	within(t, "drained the mailbox", limit, began)
	if sum := c.verdict("kills of the rendezvous with mail", kills); sum.accepted != letters {
		t.Errorf("%d were accepted, want %d", sum.accepted, letters)
	}
}

// storedLocked is how many letters a program has called stored, or delivered.
func (l *ledger) storedLocked() (n int) {
	for _, w := range l.letters {
		if w.stored || w.delivered {
			n++
		}
	}
	return n
}

// TestDrain has the rendezvous leave while everybody writes: at once, with nothing lost, and everybody is back soon after the next has come. TestLedger
// is its control.
func TestDrain(t *testing.T) {
	roll.Begin(t)
	rounds := size(2, 20)
	c := newCast(t, setting{})
	c.everybody()
	for round := range rounds {
		wait := c.chatter(20)
		moment(c.ledger)
		began := time.Now()
		how := "SIGTERM"
		if round%2 == 0 {
			if code := c.o.Stop(); code != 0 {
				t.Errorf("SIGTERM: exit code %d\n%s", code, c.o.Stderr())
			}
			within(t, "ended after SIGTERM", 5*time.Second, began)
		} else {
			how = "kill -9"
			c.o.Kill()
		}
		c.o.Again()
		back := time.Now()
		stage.Eventually(t, "everybody is back", func() bool { return len(c.o.Active()) == len(c.people) })
		limit := 3 * time.Second
		if !long {
			limit *= 3 // as in TestMailbox
		}
		within(t, "everybody was back after "+how+" and a new start", limit, back)
		wait()
	}
	c.verdict("new starts of the rendezvous", rounds)
}

// TestQuota fills a mailbox: its sender is told, others are not affected, and when the user is back everything that was accepted comes. What one
// sender may keep in one mailbox is 32 MiB. TestLedger is its control, and that of TestFullDisk.
func TestQuota(t *testing.T) {
	roll.Begin(t)
	const letters = 560
	c := newCast(t, setting{})
	c.everybody()
	c.away("bob")
	alice, carol := c.person("alice"), c.person("carol")
	long := strings.Repeat("x", 60<<10)
	for range letters {
		alice.say("bob", long)
	}
	stage.Eventually(t, "alice is told that the mailbox is full", func() bool {
		return strings.Contains(alice.stream.Stdout(), `"reason":"mailbox-full"`)
	})
	c.ledger.mu.Lock()
	t.Logf("%d of %d are stored", c.ledger.storedLocked(), letters)
	c.ledger.mu.Unlock()
	for range 20 {
		alice.say("carol", "")
		carol.say("alice", "")
		carol.say("bob", "")
	}
	if !c.ledger.await(patience, func() bool { return c.ledger.sum.shown >= 40 }) {
		t.Error("others are held up by a full mailbox")
	}
	c.person("bob").start()
	if sum := c.verdict("full mailbox", 1); sum.accepted != letters+60 {
		t.Errorf("%d were accepted, want %d", sum.accepted, letters+60)
	}
}

// TestFullDisk fills the disk of the rendezvous, and of a sender, while everybody writes. What cannot be kept is refused with that reason,
// enrolled devices sign in all the same, and everything goes on when there is room again.
func TestFullDisk(t *testing.T) {
	roll.Begin(t)
	disks := map[string]*stage.Disk{}
	for _, name := range []string{"rendezvous", "alice"} {
		disks[name] = stage.NewDisk(t, "8m")
	}
	other := t.TempDir()
	c := newCast(t, setting{dir: func(name string) string {
		if d := disks[name]; d != nil {
			return d.Dir
		}
		return other
	}})
	c.everybody()
	c.chatter(2)()
	c.ledger.settle(c.running(), patience)
	for _, name := range []string{"rendezvous", "alice"} {
		free := disks[name].Fill()
		c.away("bob")
		for range 20 {
			c.person("alice").say("bob", strings.Repeat("x", 40<<10))
		}
		if name == "alice" {
			c.refused(t, "disk-full", func() { c.person("alice").say("bob", strings.Repeat("x", 40<<10)) })
		} else {
			stage.Eventually(t, "the rendezvous says that its disk is full", func() bool { return strings.Contains(c.o.Stderr(), "the disk is full") })
		}
		c.person("bob").start() // it signs in
		select {
		case <-c.program(name).Ended:
			t.Errorf("%s has ended on a full disk: %s", name, c.program(name).Stderr())
		default:
		}
		free()
		c.chatter(2)()
		c.ledger.settle(c.running(), patience)
	}
	c.verdict("full disks", 2)
}

// refused has somebody write until something is refused: what comes before a disk is known to be full may fit into the journal, which has its place already.
func (c *cast) refused(t *testing.T, code string, write func()) {
	t.Helper()
	for end := time.Now().Add(patience); time.Now().Before(end); write() {
		if c.ledger.await(time.Second, func() bool { return c.ledger.refusedLocked(code) > 0 }) {
			return
		}
	}
	t.Error("nothing is refused on a full disk")
}

// refusedLocked is how many letters were answered with this code.
func (l *ledger) refusedLocked(code string) (n int) {
	for _, w := range l.letters {
		if w.code == code {
			n++
		}
	}
	return n
}
