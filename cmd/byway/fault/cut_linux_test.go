package fault

import (
	"fmt"
	"syscall"
	"testing"
	"time"
)

// volumes gives everybody a disk of their own.
func volumes(t testing.TB) (map[string]*volume, setting) {
	t.Helper()
	all := map[string]*volume{"rendezvous": newVolume(t)}
	for _, name := range names {
		all[name] = newVolume(t)
	}
	return all, setting{dir: func(name string) string { return all[name].dir }}
}

// settled writes everything that the copying of the template has left in memory, as it was when the people registered.
func settled(t testing.TB, disks map[string]*volume) {
	t.Helper()
	for _, v := range disks {
		v.sync()
	}
}

// TestPowerCut cuts the power of one disk after the other, and of all at once, at a random moment while everybody writes to everybody.
func TestPowerCut(t *testing.T) {
	t.Parallel()
	casts, cuts, messages := 1, 10, 10
	if long {
		casts, cuts, messages = 6, 50, 18
	}
	for i := range casts {
		t.Run(fmt.Sprint(i+1), func(t *testing.T) {
			if long {
				t.Parallel()
			}
			disks, s := volumes(t)
			c := newCast(t, s)
			settled(t, disks)
			c.everybody()
			for round := range cuts {
				wait := c.chatter(messages)
				moment(c.ledger)
				c.cutPower(disks, victims(round))
				wait()
				c.breathe()
			}
			c.once(c.verdict("power cuts", cuts))
		})
	}
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
func (c *cast) cutPower(disks map[string]*volume, of []string) {
	c.t.Helper()
	c.darken(disks, of)
	for _, name := range of {
		disks[name].back()
	}
	c.light(of)
}

// darken cuts off the disks and kills what runs on them. It stops the programs first, for without power they could say nothing either: when the
// ioctl interrupts an fsync, Linux may call it done although its transaction was given up. What runs in the kernel at that time goes on.
func (c *cast) darken(disks map[string]*volume, of []string) {
	c.t.Helper()
	for _, name := range of {
		_ = c.program(name).Cmd.Process.Signal(syscall.SIGSTOP) // an error says that it has ended by itself
	}
	for _, name := range of {
		disks[name].cut()
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

// TestPowerCutOfLyingDisks is the control: the same with disks that call durable what they have only in memory. Then messages must be missing.
func TestPowerCutOfLyingDisks(t *testing.T) {
	t.Parallel()
	needStrace(t)
	disks, s := volumes(t)
	c := newCast(t, s)
	settled(t, disks)
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
	c.cutPower(disks, victims(len(disks)))
	sum := c.compare(time.Second)
	t.Logf("of %d accepted messages: %s", sum.accepted, sum)
	if sum.lost == 0 {
		t.Error("disks that lie have lost nothing: a power cut proves nothing")
	}
}
