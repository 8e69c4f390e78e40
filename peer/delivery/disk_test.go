package delivery

import (
	"maps"
	"slices"
)

// fataler is the part of testing.T and rapid.T that a check needs.
type fataler interface {
	Fatalf(format string, args ...any)
}

// disk is a durable state as a store would keep it: it applies Ops and gives the Snapshot back.
type disk struct {
	t        fataler
	next     map[Account]uint64
	tip      map[Account]Link
	devices  map[Device]*DeviceState
	outbox   map[Account]map[uint64]*OutboxState
	shown    []Incoming // the visible history
	gaps     []OpGap
	progress map[MessageID]Progress
	forget   func(Op) bool // sabotage: ops that do not reach the disk; nil: none
}

func newDisk(t fataler) *disk {
	return &disk{
		t: t, next: map[Account]uint64{}, tip: map[Account]Link{}, devices: map[Device]*DeviceState{}, outbox: map[Account]map[uint64]*OutboxState{},
		progress: map[MessageID]Progress{},
	}
}

func (d *disk) device(fp Device) *DeviceState {
	if d.devices[fp] == nil {
		d.devices[fp] = &DeviceState{Device: fp, Account: ownerOf(fp)}
	}
	return d.devices[fp]
}

func (d *disk) apply(ops []Op) {
	for _, op := range ops {
		if d.forget != nil && d.forget(op) {
			continue
		}
		switch op := op.(type) {
		case OpEnqueue:
			m := op.Message
			if d.outbox[m.To] == nil {
				d.outbox[m.To] = map[uint64]*OutboxState{}
			}
			if m.N < d.next[m.To] {
				d.t.Fatalf("number %d to %s is used twice", m.N, m.To)
			}
			d.next[m.To], d.tip[m.To] = m.N+1, m.Prev.Next(m.ID)
			d.outbox[m.To][m.N] = &OutboxState{Message: m, Phases: map[Device]Phase{}}
		case OpCopy:
			d.outbox[op.To][op.N].Phases[op.Device] = op.Phase
		case OpProgress:
			if o := d.outbox[op.To][op.N]; o != nil {
				o.Progress = op.Progress
				d.progress[o.Message.ID] = op.Progress
			}
		case OpRead:
		case OpVoid:
			o := d.outbox[op.To][op.N]
			o.Message.Void, o.Message.Body, o.Message.Expires = true, "", op.Expires
		case OpRenumber:
			o := d.outbox[op.To][op.Old]
			if op.New < d.next[op.To] {
				d.t.Fatalf("number %d to %s is used twice", op.New, op.To)
			}
			delete(d.outbox[op.To], op.Old)
			o.Message.N, o.Message.Prev, o.Message.Renumbered = op.New, op.Prev, true
			d.outbox[op.To][op.New], d.next[op.To], d.tip[op.To] = o, op.New+1, op.Prev.Next(o.Message.ID)
		case OpSettle:
			delete(d.outbox[op.To], op.N)
		case OpStart:
			d.device(op.Device).Start = op.Start
		case OpReceive:
			if op.Held {
				s := d.device(op.Message.Device)
				s.Held = append(s.Held, op.Message)
			} else {
				d.show(op.Message)
			}
		case OpRelease:
			d.release(op)
		case OpDrop:
			s := d.device(op.Device)
			s.Held = slices.DeleteFunc(s.Held, func(m Incoming) bool { return m.N == op.N })
		case OpNext:
			d.device(op.Device).Next, d.device(op.Device).Tip = op.Next, op.Tip
		case OpGap:
			d.gaps = append(d.gaps, op)
		default:
			d.t.Fatalf("no rule for %T", op)
		}
	}
}

func (d *disk) release(op OpRelease) {
	s := d.device(op.Device)
	i := slices.IndexFunc(s.Held, func(m Incoming) bool { return m.N == op.N })
	if i < 0 {
		d.t.Fatalf("release of %d, which is not held", op.N)
	}
	d.show(s.Held[i])
	s.Held = slices.Delete(s.Held, i, i+1)
}

// show is where "exactly once, in order" is checked: nothing ever leaves this list.
func (d *disk) show(m Incoming) {
	for _, old := range slices.Backward(d.shown) {
		if old.Device == m.Device && old.N >= m.N {
			d.t.Fatalf("message %d of %s is shown after %d", m.N, m.Device.Device(), old.N)
		}
		if old.ID == m.ID {
			d.t.Fatalf("message %d of %s is shown again as %d", old.N, m.Device.Device(), m.N)
		}
	}
	d.shown = append(d.shown, m)
}

// Has makes the disk a Past.
func (d *disk) Has(from Device, id MessageID) bool {
	return slices.ContainsFunc(d.shown, func(m Incoming) bool { return m.Device == from && m.ID == id })
}

// backup returns a copy of the disk as it is now.
func (d *disk) backup() *disk {
	c := newDisk(d.t)
	maps.Copy(c.next, d.next)
	maps.Copy(c.tip, d.tip)
	maps.Copy(c.progress, d.progress)
	for fp, s := range d.devices {
		state := *s
		state.Held = slices.Clone(s.Held)
		c.devices[fp] = &state
	}
	for name, box := range d.outbox {
		c.outbox[name] = map[uint64]*OutboxState{}
		for n, o := range box {
			copied := *o
			copied.Phases = maps.Clone(o.Phases)
			c.outbox[name][n] = &copied
		}
	}
	c.shown, c.gaps = slices.Clone(d.shown), slices.Clone(d.gaps)
	return c
}

func (d *disk) snapshot() Snapshot {
	s := Snapshot{Past: d}
	for name, next := range d.next {
		s.Accounts = append(s.Accounts, AccountState{Name: name, Next: next, Tip: d.tip[name]})
	}
	for _, state := range d.devices {
		c := *state
		c.Held = slices.Clone(state.Held)
		s.Devices = append(s.Devices, c)
	}
	for _, box := range d.outbox {
		for _, o := range box {
			c := *o
			c.Phases = map[Device]Phase{}
			for fp, phase := range o.Phases {
				if phase == Sent {
					phase = Waiting
				}
				c.Phases[fp] = phase
			}
			s.Outbox = append(s.Outbox, c)
		}
	}
	return s
}

func (d *disk) pending() int {
	n := 0
	for box := range maps.Values(d.outbox) {
		n += len(box)
	}
	return n
}
