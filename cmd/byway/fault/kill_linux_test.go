package fault

import (
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"testing"
	"time"
)

// TestKill kills a random one of three peers and their rendezvous with -9, 0 to 50 ms after one of them has called a message accepted, stored or
// delivered, and starts it again, while all of them write to all others.
func TestKill(t *testing.T) {
	t.Parallel()
	casts, kills, messages := 1, 25, 10
	if long {
		casts, kills, messages = 10, 100, 18
	}
	for i := range casts {
		t.Run(fmt.Sprint(i+1), func(t *testing.T) {
			if long {
				t.Parallel()
			}
			c := newCast(t, setting{})
			c.everybody()
			for range kills {
				wait := c.chatter(messages)
				moment(c.ledger)
				c.killOne()
				wait()
				c.breathe()
			}
			c.once(c.verdict("kill -9", kills))
		})
	}
}

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

// once fails the test where the screen of a later program has shown what that of an earlier one had: what was printed is remembered outside the
// home, in memory that both a killed process and a disk without power leave alone.
func (c *cast) once(sum tally) {
	c.t.Helper()
	if sum.again > 0 {
		c.t.Errorf("%d messages were printed again", sum.again)
	}
}

// breathe lets the programs work off most of what they owe, so that no backlog builds up that a later kill could not be seen in.
func (c *cast) breathe() {
	const backlog = 500
	c.ledger.await(patience, func() bool { return c.ledger.sum.accepted-c.ledger.sum.shown < backlog })
}

// TestKillWithoutWrites is the control: programs that were killed and whose last writes had never reached their files. Then messages must be missing.
func TestKillWithoutWrites(t *testing.T) {
	t.Parallel()
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
