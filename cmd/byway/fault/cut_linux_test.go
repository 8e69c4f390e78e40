package fault

import (
	"syscall"
	"testing"
	"time"
)

// withDisks gives the rendezvous and everybody a disk of their own.
func withDisks(t testing.TB) setting {
	t.Helper()
	s := setting{disks: map[string]*volume{"rendezvous": newVolume(t)}}
	for _, name := range names {
		s.disks[name] = newVolume(t)
	}
	return s
}

// TestPowerCut cuts the power of one disk after the other, and of all at once, at a random moment while everybody writes to everybody.
// TestPowerCutOfLyingDisks is its control.
func TestPowerCut(t *testing.T) {
	roll.Begin(t, mounting, tracing)
	campaign(t, "power cuts", size(1, 6), size(10, 50), size(10, 18), withDisks, func(c *cast, round int) { c.cutPower(victims(round)) })
}

// victims are whose disks lose their power: one after the other, and then all.
func victims(round int) []string {
	all := append([]string{"rendezvous"}, names...)
	if i := round % (len(all) + 1); i < len(all) {
		return all[i : i+1]
	}
	return all
}

// cutPower cuts off the disks, kills what runs on them, and starts it again.
func (c *cast) cutPower(of []string) {
	c.t.Helper()
	c.darken(of)
	c.brighten(of)
	c.light(of)
}

// brighten gives the disks that darken has cut off their power again.
func (c *cast) brighten(of []string) {
	c.t.Helper()
	for _, name := range of {
		c.disks[name].back()
	}
}

// darken cuts off the disks and kills what runs on them. It stops the programs first, for without power they could say nothing either: when the
// ioctl interrupts an fsync, Linux may call it done although its transaction was given up. What runs in the kernel at that time goes on.
func (c *cast) darken(of []string) {
	c.t.Helper()
	for _, name := range of {
		_ = c.program(name).Cmd.Process.Signal(syscall.SIGSTOP) // an error says that it has ended by itself
	}
	for _, name := range of {
		c.disks[name].cut()
	}
	for _, name := range of {
		if name == "rendezvous" {
			c.o.Kill()
		} else {
			c.person(name).kill()
		}
	}
}

// light starts what darken has killed.
func (c *cast) light(of []string) {
	c.t.Helper()
	for _, name := range of {
		if name == "rendezvous" {
			c.o.Again()
		} else {
			c.person(name).launch()
		}
	}
	for _, name := range of {
		if name != "rendezvous" {
			c.person(name).ready()
		}
	}
}

// TestPowerCutOfLyingDisks is the control of TestPowerCut, and of TestFailedSync, whose programs would be as wrong if they took an error for a success:
// the same with disks that call durable what they have only in memory. Then messages must be missing.
func TestPowerCutOfLyingDisks(t *testing.T) {
	roll.Begin(t, mounting, tracing)
	c := newCast(t, withDisks(t))
	c.everybody()
	const lie = "retval=0"
	attach(t, c.o.Process, syncs, lie)
	for _, v := range c.people {
		attach(t, v.stream.Process, syncs, lie)
	}
	defer c.chatter(30)()
	if !c.ledger.await(patience, func() bool { return c.ledger.sum.delivered >= 60 }) {
		t.Fatal("nothing is delivered")
	}
	c.cutPower(victims(len(c.disks)))
	sum := c.compare(time.Second)
	t.Logf("of %d accepted messages: %s", sum.accepted, sum)
	if sum.lost == 0 {
		t.Error("disks that lie have lost nothing: a power cut proves nothing")
	}
}
