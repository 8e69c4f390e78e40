package delivery

import (
	"fmt"
	"testing"
	"time"
)

// verdict takes the place of testing.T where a check is meant to fail.
type verdict struct{}

type failed string

func (verdict) Fatalf(format string, args ...any) { panic(failed(fmt.Sprintf(format, args...))) }

// judge runs one fixed schedule on disks that forget some ops, and returns what the checks say: nothing, if all is well.
func judge(forget func(Op) bool) (complaint string) {
	defer func() {
		if r := recover(); r != nil {
			f, ok := r.(failed)
			if !ok {
				panic(r)
			}
			complaint = string(f)
		}
	}()
	n := newNet(verdict{})
	for _, p := range n.parties {
		p.disk.forget = forget
	}
	alice, bob := n.parties[alice1], n.parties[bob1]
	n.setLink(alice, bob, WayLAN)
	carry := func(i int) {
		k := n.flying[i]
		n.flying = append(n.flying[:i:i], n.flying[i+1:]...)
		n.carry(k, false)
		n.settle(n.parties[k.send.Device], lives)
	}
	for range 3 {
		n.accept(alice, "bob", Auto, 0)
	}
	n.accept(alice, "bob", Auto, 20*time.Second)
	n.accept(alice, "bob", Auto, 0)
	n.settle(alice, lives)
	again := append([]packet(nil), n.flying...)
	carry(1) // 2 is held until 1 comes
	carry(0)
	n.settle(bob, afterCommit) // and bob's process dies with 1 and 2 on its disk
	n.flying = append(n.flying, again...)
	n.setLink(alice, bob, WayLAN)
	n.tick(30 * time.Second) // 4 is given up
	n.heal()
	n.check()
	return ""
}

// TestChecksCanFail sabotages the disk and wants the checks of TestSchedules to notice.
func TestChecksCanFail(t *testing.T) {
	rows := []struct {
		name   string
		forget func(Op) bool
		fails  bool
	}{
		{"nothing", func(Op) bool { return false }, false},
		{"OpReceive", func(op Op) bool { r, ok := op.(OpReceive); return ok && !r.Held }, true},
		{"OpReceive of a held one", func(op Op) bool { r, ok := op.(OpReceive); return ok && r.Held }, true},
		{"OpRelease", func(op Op) bool { _, ok := op.(OpRelease); return ok }, true},
		{"OpNext", func(op Op) bool { _, ok := op.(OpNext); return ok }, true},
		{"OpGap", func(op Op) bool { _, ok := op.(OpGap); return ok }, true},
		{"OpSettle", func(op Op) bool { _, ok := op.(OpSettle); return ok }, true},
	}
	for _, row := range rows {
		t.Run(row.name, func(t *testing.T) {
			complaint := judge(row.forget)
			if (complaint != "") != row.fails {
				t.Errorf("got the complaint %q, want one: %v", complaint, row.fails)
			}
			t.Log(complaint)
		})
	}
}
