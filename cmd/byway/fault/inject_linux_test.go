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
// after that. Nothing that was called accepted, stored or delivered meanwhile may be missing afterwards.
func TestFailedSync(t *testing.T) {
	t.Parallel()
	needStrace(t)
	rounds := 4
	if long {
		rounds = 24
	}
	disks, s := volumes(t)
	c := newCast(t, s)
	settled(t, disks)
	c.everybody()
	for round := range rounds {
		who := victims(round % len(disks))
		if who[0] == "rendezvous" {
			c.person("carol").kill() // else nothing needs its disk
		}
		wait := c.chatter(8)
		moment(c.ledger)
		failing := attach(t, c.program(who[0]), syncs, "error=EIO")
		again := c.chatter(8)
		c.ledger.await(time.Second, func() bool { return failing.calls() > 0 })
		<-time.After(rand.N(200 * time.Millisecond)) // more may be accepted, wrongly
		c.darken(disks, who)
		failing.detach()
		t.Logf("%s: %d calls have failed", who[0], failing.calls())
		for _, name := range who {
			disks[name].back()
		}
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
// once or after a restart, and nothing is missing.
func TestSyncRecovers(t *testing.T) {
	t.Parallel()
	needStrace(t)
	for _, fault := range []string{"EIO", "ENOSPC"} {
		t.Run(fault, func(t *testing.T) {
			c := newCast(t, setting{})
			c.everybody()
			for _, name := range victims(len(names) + 1) {
				failing := attach(t, c.program(name), syncs, "error="+fault)
				wait := c.chatter(5)
				c.ledger.await(2*time.Second, func() bool { return failing.calls() > 0 })
				failing.detach()
				wait()
				c.revive(name)
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

// TestKillAtCall kills programs as they enter one of the system calls that move or remove what is durable.
func TestKillAtCall(t *testing.T) {
	t.Parallel()
	needStrace(t)
	rounds := 8
	if long {
		rounds = 60
	}
	c := newCast(t, setting{})
	c.everybody()
	deaths := 0
	for range rounds {
		name := victims(rand.IntN(len(names) + 1))[0]
		wait := c.chatter(5)
		attach(t, c.program(name), "fsync,fdatasync,ftruncate,/unlink.*,/rename.*", "signal=KILL")
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
// Each must leave a home and a data directory that the next can use.
func TestKillAtStart(t *testing.T) {
	t.Parallel()
	needStrace(t)
	const calls = "fsync,fdatasync,ftruncate,/unlink.*,/rename.*"
	o := stage.Serve(t, "", stage.Loopback...)
	most := 4
	if long {
		most = 40
	}
	dir := t.TempDir()
	for n := range most {
		under := []string{"strace", "-f", "-qq", "-o", os.DevNull, "-e", "trace=" + calls, "-e", fmt.Sprintf("inject=%s:signal=KILL:when=%d", calls, n+1)}
		name := fmt.Sprintf("user%d", n)
		p := stage.NewPerson(t, name, o)
		p.Home = filepath.Join(dir, name)
		l := p.Byway("register", "--user", name, "--no-passphrase")
		l.Under = under
		first := stage.Run(t, l, "")
		// What was killed may have registered or not; a bot does whichever is left to do.
		if r := p.Run("bot", "--user", name, "--no-passphrase"); r.Code != 0 {
			t.Errorf("after a registration that was killed at call %d (exit code %d): exit code %d\n%s%s", n+1, first.Code, r.Code, r.Out, r.Errors)
		}
		if first.Code == 0 {
			break
		}
	}
	o.Stop()
	for n := range most {
		data := filepath.Join(dir, fmt.Sprintf("rendezvous%d", n))
		args := []string{"rendezvous", "serve", "--data", data, "--no-mdns", "--listen", "/ip4/127.0.0.1/tcp/0"}
		under := []string{"strace", "-f", "-qq", "-o", os.DevNull, "-e", "trace=" + calls, "-e", fmt.Sprintf("inject=%s:signal=KILL:when=%d", calls, n+1)}
		first := stage.Start(t, stage.Launch{Name: "rendezvous", Under: under, Args: args})
		by := false
		select {
		case <-first.Ended:
		case <-time.After(2 * time.Second): // it has got by
			by = true
			stopTraced(t, first)
		}
		again := stage.Serve(t, "", append(stage.Loopback, "--data", data)...)
		if code := again.Stop(); code != 0 {
			t.Errorf("after a rendezvous that was killed at call %d: exit code %d\n%s", n+1, code, again.Stderr())
		}
		if by {
			break
		}
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
	t.Parallel()
	needStrace(t)
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
	if waits > letters/4 {
		t.Errorf("%d waits for the disk for %d messages", waits, letters)
	}
	away.start()
	c.verdict("slow fsyncs", waits)
}
