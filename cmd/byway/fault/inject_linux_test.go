package fault

import (
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/byway-chat/byway/cmd/byway/stage"
)

// TestFailedSync has the disk of the rendezvous, of a sender and of a recipient refuse to make anything durable for a while, and cuts its power
// after that. Nothing that was called accepted, stored or delivered meanwhile may be missing afterwards. TestPowerCutOfLyingDisks is its control.
func TestFailedSync(t *testing.T) {
	roll.Begin(t, mounting, tracing)
	rounds := size(4, 24)
	c := newCast(t, withDisks(t))
	c.everybody()
	for round := range rounds {
		who := victims(round % len(c.disks))
		if who[0] == "rendezvous" {
			c.person("carol").kill() // else nothing needs its disk
		}
		wait := c.chatter(8)
		moment(c.ledger)
		failing := attach(t, c.program(who[0]), syncs, "error=EIO")
		again := c.chatter(8)
		failing.met()
		<-time.After(rand.N(200 * time.Millisecond)) // more may be accepted, wrongly
		c.darken(who)
		failing.detach()
		t.Logf("%s: %d calls have failed", who[0], failing.calls())
		c.brighten(who)
		c.light(who)
		if who[0] == "rendezvous" {
			c.person("carol").start()
		}
		wait()
		again()
		c.breathe()
	}
	c.verdict("fsync EIO and a power cut", rounds)
}

// program is the one that runs for somebody, or the rendezvous.
func (c *cast) program(name string) *stage.Process {
	if name == "rendezvous" {
		return c.o.Process
	}
	return c.person(name).stream.Process
}

// TestSyncRecovers has each program's disk fail for a while and then work again: the program, which goes on or ends, is usable again at
// once or after a restart, and nothing is missing. TestKillWithoutWrites is its control.
func TestSyncRecovers(t *testing.T) {
	roll.Begin(t, tracing)
	for _, fault := range []string{"EIO", "ENOSPC"} {
		t.Run(fault, func(t *testing.T) {
			c := newCast(t, setting{})
			c.everybody()
			for _, name := range victims(len(names) + 1) {
				away := c.person("carol")
				if name == "rendezvous" {
					away.kill() // else nothing needs its disk
				}
				failing := attach(t, c.program(name), syncs, "error="+fault)
				wait := c.chatter(5)
				failing.met()
				failing.detach()
				wait()
				c.revive(name)
				if name == "rendezvous" {
					away.start()
				}
			}
			c.chatter(5)()
			c.verdict("fsync "+fault, len(names)+1)
		})
	}
}

// revive starts a program again if it has ended.
func (c *cast) revive(name string) {
	c.t.Helper()
	select {
	case <-c.program(name).Ended:
		c.t.Logf("%s has ended: %s", name, c.program(name).Stderr())
		c.light([]string{name})
	default:
	}
}

// TestKillAtCall kills programs as they enter one of the system calls that move or remove what is durable. TestKillWithoutWrites is its control.
func TestKillAtCall(t *testing.T) {
	roll.Begin(t, tracing)
	rounds := size(8, 60)
	c := newCast(t, setting{})
	c.everybody()
	deaths := 0
	for range rounds {
		name := victims(rand.IntN(len(names) + 1))[0]
		wait := c.chatter(5)
		attach(t, c.program(name), durable, "signal=KILL")
		select {
		case <-c.program(name).Ended:
			deaths++
		case <-time.After(2 * time.Second): // nothing made it call any of them
			c.program(name).Kill()
		}
		wait()
		c.light([]string{name})
		c.breathe()
	}
	if deaths < rounds/2 {
		t.Errorf("only %d of %d programs were killed at a call", deaths, rounds)
	}
	c.verdict("kill at fsync, rename, ftruncate, unlink", rounds)
}

// TestKillAtStart kills programs as they enter such a call for the nth time, from their start and their registration on, until one gets by.
// Each must leave a home and a data directory that the next can use. That the first of them is killed shows that the others may be.
func TestKillAtStart(t *testing.T) {
	roll.Begin(t, tracing)
	most, dir := size(4, 40), t.TempDir()
	o := stage.Serve(t, "", stage.Loopback...)
	until(t, most, func(n int) (killed bool) {
		p := stage.NewPerson(t, fmt.Sprintf("user%d", n), o)
		p.Home = filepath.Join(dir, p.User)
		l := p.Byway("register", "--user", p.User, "--no-passphrase")
		l.Under = killer(n + 1)
		first := stage.Run(t, l, "")
		// What was killed may have registered or not; a bot does whichever is left to do.
		if r := p.Run("bot", "--user", p.User, "--no-passphrase"); r.Code != 0 {
			t.Errorf("after a registration that was killed at call %d (exit code %d): exit code %d\n%s%s", n+1, first.Code, r.Code, r.Out, r.Errors)
		}
		return first.Code != 0
	})
	o.Stop()
	until(t, most, func(n int) (killed bool) {
		data := filepath.Join(dir, fmt.Sprintf("rendezvous%d", n))
		args := append([]string{"rendezvous", "serve", "--data", data}, stage.Loopback...)
		first := stage.Start(t, stage.Launch{Name: "rendezvous", Under: killer(n + 1), Args: args})
		select {
		case <-first.Ended:
			killed = true
		case <-time.After(2 * time.Second): // it has got by
			stopTraced(t, first)
		}
		again := stage.Serve(t, "", append(stage.Loopback, "--data", data)...)
		if code := again.Stop(); code != 0 {
			t.Errorf("after a rendezvous that was killed at call %d: exit code %d\n%s", n+1, code, again.Stderr())
		}
		return killed
	})
}

// killer runs a program until it makes such a call for the nth time.
func killer(n int) []string {
	return []string{"strace", "-f", "-qq", "-o", os.DevNull, "-e", "trace=" + durable, "-e", fmt.Sprintf("inject=%s:signal=KILL:when=%d", durable, n)}
}

// until calls f with 0, 1, 2 … until one is not killed, at most so often. The first must be.
func until(t testing.TB, most int, f func(n int) (killed bool)) {
	t.Helper()
	for n := range most {
		if f(n) {
			continue
		}
		if n == 0 {
			t.Error("nothing was killed")
		}
		return
	}
}

// stopTraced asks a program that strace runs to leave: strace itself would go without it.
func stopTraced(t testing.TB, p *stage.Process) {
	t.Helper()
	tracer := p.Cmd.Process.Pid
	children, err := os.ReadFile(fmt.Sprintf("/proc/%d/task/%d/children", tracer, tracer))
	if err != nil {
		t.Fatal(err)
	}
	for _, child := range strings.Fields(string(children)) {
		pid, err := strconv.Atoi(child)
		if err != nil {
			t.Fatal(err)
		}
		if err := syscall.Kill(pid, syscall.SIGTERM); err != nil {
			t.Fatal(err)
		}
	}
	p.Wait()
}

// TestSlowSync has the rendezvous's disk take 300 ms to make anything durable. Many messages share each wait, and what needs no disk does
// not wait at all.
func TestSlowSync(t *testing.T) {
	roll.Begin(t, tracing)
	const letters = 400
	c := newCast(t, setting{})
	c.everybody()
	away := c.person("carol")
	away.kill()
	stage.Eventually(t, "carol is away", func() bool { _, online := c.o.Active()["carol"]; return !online })

	slow := attach(t, c.o.Process, syncs, "delay_enter=300000")
	senders := c.people[:2]
	for range letters / len(senders) {
		for _, v := range senders {
			v.say("carol", "")
		}
	}
	stored := func() (n int) {
		for _, w := range c.ledger.letters {
			if w.stored {
				n++
			}
		}
		return n
	}
	asked := 0
	for enough := false; !enough; asked++ {
		if online := c.o.Active(); len(online) != len(senders) {
			t.Errorf("%d are online while the disk is slow, want %d", len(online), len(senders))
		}
		c.ledger.mu.Lock()
		enough = stored() == letters
		c.ledger.mu.Unlock()
	}
	waits := slow.calls()
	slow.detach()
	t.Logf("%d messages were stored with %d waits for the disk; meanwhile the rendezvous answered %d times", letters, waits, asked)
	// With a wait for each message there would be as many waits as messages. Half the throughput of a fast disk is not asked for in time here.
	if waits == 0 || waits > letters/4 {
		t.Errorf("%d waits for the disk for %d messages", waits, letters)
	}
	if asked <= waits {
		t.Errorf("the rendezvous answered %d times while it waited for its disk %d times: it seems to wait before it answers", asked, waits)
	}
	away.start()
	c.verdict("slow fsyncs", waits)
}
