package fault

import (
	"math/rand/v2"
	"os"
	"path/filepath"
	"testing"
	"time"
)

// TestKill kills a random one of three peers and their rendezvous with -9, 0 to 50 ms after one of them has called a message accepted, stored or
// delivered, and starts it again, while all of them write to all others. TestKillWithoutWrites is its control.
func TestKill(t *testing.T) {
	roll.Begin(t)
	campaign(t, "kill -9", size(1, 10), size(25, 100), size(10, 18), inMemory, func(c *cast, _ int) { c.killOne() })
}

// inMemory is the setting of whatever needs no more than loopback and a disk that works.
func inMemory(testing.TB) setting { return setting{} }

// moment returns 0 to 50 ms after a program has told a state: a random one of accepted, stored and delivered.
func moment(l *ledger) {
	told := ""
	want := []string{"accepted", "stored", "delivered"}[rand.IntN(3)]
	states := make(chan string, 64)
	defer l.watch(states)()
	over := time.After(time.Second) // it may not come: what goes directly is never stored
	for told != want {
		select {
		case told = <-states:
			continue
		case <-over:
		}
		break
	}
	<-time.After(rand.N(50 * time.Millisecond))
}

// killOne kills a random program and starts it again.
func (c *cast) killOne() {
	c.t.Helper()
	if i := rand.IntN(len(c.people) + 1); i < len(c.people) {
		c.people[i].kill()
		c.people[i].start()
		return
	}
	c.o.Kill()
	c.o.Again()
}

// breathe lets the programs work off most of what they owe, so that no backlog builds up that a later kill could not be seen in.
func (c *cast) breathe() {
	const backlog = 500
	c.ledger.await(patience, func() bool { return c.ledger.sum.accepted-c.ledger.sum.shown < backlog })
}

// TestKillWithoutWrites is the control of whatever kills: programs that were killed and whose last writes had never reached their files. Then messages must be missing.
func TestKillWithoutWrites(t *testing.T) {
	roll.Begin(t)
	c := newCast(t, setting{})
	c.everybody()
	wait := c.chatter(20)
	if !c.ledger.await(patience, func() bool { return c.ledger.sum.delivered >= 40 }) {
		t.Fatal("nothing is delivered")
	}
	c.leave()
	wait()
	for _, v := range c.people {
		logs, err := filepath.Glob(filepath.Join(v.Home, "*-wal"))
		if err != nil || len(logs) == 0 {
			t.Fatalf("%s has no write-ahead log: %v", v.User, err)
		}
		for _, name := range logs {
			if err := os.Truncate(name, 0); err != nil {
				t.Fatal(err)
			}
		}
	}
	c.o.Again()
	c.everybody()
	if sum := c.compare(time.Second); sum.lost == 0 {
		t.Error("programs that had written nothing have lost nothing: killing them proves nothing")
	} else {
		t.Logf("of %d accepted messages: %s", sum.accepted, sum)
	}
}
