package history

import (
	"cmp"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/byway-chat/byway/peer/delivery"
)

// model is the durable state in memory: what package delivery expects of a store.
type model struct {
	next    map[delivery.Account]uint64
	tip     map[delivery.Account]delivery.Link
	devices map[delivery.Device]*delivery.DeviceState
	outbox  map[outboxKey]*delivery.OutboxState
	shown   []string
}

func newModel() *model {
	return &model{next: map[delivery.Account]uint64{}, tip: map[delivery.Account]delivery.Link{}, devices: map[delivery.Device]*delivery.DeviceState{}, outbox: map[outboxKey]*delivery.OutboxState{}}
}

func (d *model) device(fp delivery.Device) *delivery.DeviceState {
	if d.devices[fp] == nil {
		d.devices[fp] = &delivery.DeviceState{Device: fp}
	}
	return d.devices[fp]
}

func (d *model) apply(op delivery.Op) {
	switch op := op.(type) {
	case delivery.OpEnqueue:
		o := &delivery.OutboxState{Message: op.Message, Phases: map[delivery.Device]delivery.Phase{}}
		for _, fp := range op.Message.Devices {
			o.Phases[fp] = delivery.Waiting
		}
		d.next[op.Message.To], d.outbox[outboxKey{op.Message.To, op.Message.N}] = op.Message.N+1, o
		d.tip[op.Message.To] = op.Message.Prev.Next(op.Message.ID)
	case delivery.OpCopy:
		d.outbox[outboxKey{op.To, op.N}].Phases[op.Device] = op.Phase
	case delivery.OpProgress:
		d.outbox[outboxKey{op.To, op.N}].Progress = op.Progress
	case delivery.OpVoid:
		m := &d.outbox[outboxKey{op.To, op.N}].Message
		m.Void, m.Body, m.Expires = true, "", op.Expires
	case delivery.OpRenumber:
		o := d.outbox[outboxKey{op.To, op.Old}]
		delete(d.outbox, outboxKey{op.To, op.Old})
		o.Message.N, o.Message.Prev, o.Message.Renumbered = op.New, op.Prev, true
		d.next[op.To], d.outbox[outboxKey{op.To, op.New}] = op.New+1, o
		d.tip[op.To] = op.Prev.Next(o.Message.ID)
	case delivery.OpSettle:
		delete(d.outbox, outboxKey{op.To, op.N})
	case delivery.OpStart:
		d.device(op.Device).Start = op.Start
	case delivery.OpNext:
		d.device(op.Device).Next, d.device(op.Device).Tip = op.Next, op.Tip
	case delivery.OpReceive:
		if !op.Held {
			d.shown = append(d.shown, fmt.Sprint(op.Message.Device.Device(), " ", op.Message.N, " ", op.Message.Body))
			break
		}
		s := d.device(op.Message.Device)
		s.Held = append(s.Held, op.Message)
	case delivery.OpDrop:
		s := d.device(op.Device)
		s.Held = slices.DeleteFunc(s.Held, func(m delivery.Incoming) bool { return m.N == op.N })
	case delivery.OpRelease:
		s := d.device(op.Device)
		i := slices.IndexFunc(s.Held, func(m delivery.Incoming) bool { return m.N == op.N })
		d.apply(delivery.OpReceive{Message: s.Held[i]})
		s.Held = slices.Delete(s.Held, i, i+1)
	}
}

func (d *model) snapshot() delivery.Snapshot {
	var s delivery.Snapshot
	for name, next := range d.next {
		s.Accounts = append(s.Accounts, delivery.AccountState{Name: name, Next: next, Tip: d.tip[name]})
	}
	for _, state := range d.devices {
		c := *state
		c.Held = slices.Clone(state.Held)
		s.Devices = append(s.Devices, c)
	}
	for _, o := range d.outbox {
		s.Outbox = append(s.Outbox, *o)
	}
	return s
}

// sorted puts a snapshot into one order; the engine does not care about it.
func sorted(s delivery.Snapshot) delivery.Snapshot {
	slices.SortFunc(s.Accounts, func(a, b delivery.AccountState) int { return cmp.Compare(a.Name, b.Name) })
	slices.SortFunc(s.Devices, func(a, b delivery.DeviceState) int { return slices.Compare(a.Device[:], b.Device[:]) })
	for i := range s.Devices {
		slices.SortFunc(s.Devices[i].Held, func(a, b delivery.Incoming) int { return cmp.Compare(a.N, b.N) })
	}
	slices.SortFunc(s.Outbox, func(a, b delivery.OutboxState) int {
		return cmp.Or(cmp.Compare(a.Message.To, b.Message.To), cmp.Compare(a.Message.N, b.Message.N))
	})
	return s
}

// rig drives an engine with random events and writes what it wants written to the store and to the model.
type rig struct {
	now    time.Time
	engine *delivery.Engine
	count  byte
}

func (r *rig) boot(s delivery.Snapshot) {
	for i := range s.Devices {
		s.Devices[i].Account = ownerOf(s.Devices[i].Device)
	}
	r.engine = delivery.New("alice", s, delivery.Limits{Window: 3, Reorder: 6})
	r.engine.SetDevices(r.now, "bob", []delivery.Device{bob1, bob2})
	r.engine.SetDevices(r.now, "alice", []delivery.Device{own2})
}

func ownerOf(d delivery.Device) delivery.Account {
	if d == own2 {
		return "alice"
	}
	return "bob"
}

func (r *rig) step(t *rapid.T) {
	device := rapid.SampledFrom([]delivery.Device{bob1, bob2, own2}).Draw(t, "device")
	account := ownerOf(device)
	n := uint64(rapid.IntRange(1, 12).Draw(t, "n"))
	r.now = r.now.Add(time.Duration(rapid.IntRange(0, 20_000).Draw(t, "ms")) * time.Millisecond)
	switch rapid.IntRange(0, 8).Draw(t, "event") {
	case 0, 1:
		r.count++
		m := delivery.Message{
			To: account, ID: delivery.MessageID{r.count}, Body: fmt.Sprint("out ", r.count), Sent: r.now,
			Policy: rapid.SampledFrom([]delivery.Policy{delivery.Auto, delivery.DirectOnly}).Draw(t, "policy"),
		}
		if account == "alice" {
			m.CopyOf = "bob"
		}
		if rapid.Bool().Draw(t, "expires") {
			m.Expires = r.now.Add(time.Minute)
		}
		if _, err := r.engine.Accept(r.now, m); err != nil {
			t.Fatalf("accept: %v", err)
		}
	case 2, 3:
		low := max(1, n-uint64(rapid.IntRange(0, 3).Draw(t, "below"))%n)
		r.arrived(device, &delivery.Payload{Kind: delivery.KindText, Text: &delivery.Text{
			ID: delivery.MessageID{device[0], byte(n)}, N: n, Prev: linkOf(device, n-1), Low: low, Base: linkOf(device, low-1), Start: 1, Sent: t0, Body: fmt.Sprint("in ", n),
		}})
	case 4:
		r.arrived(device, &delivery.Payload{Kind: delivery.KindAck, Ack: &delivery.Ack{Next: n, Ranges: []delivery.Range{{First: n + 1, Count: 2}}}})
	case 5:
		r.arrived(device, &delivery.Payload{Kind: delivery.KindLow, Low: &delivery.Low{Low: n, Base: linkOf(device, n-1), Start: 1}})
	case 6:
		r.engine.Stored(r.now, account, device, n)
	case 7:
		r.engine.DirectUp(r.now, account, device, delivery.WayLAN)
	case 8:
		r.engine.RelayUp(r.now)
	}
	r.engine.Tick(r.now)
}

// linkOf is the link of a number of a device whose messages have ids made of its name and their numbers.
func linkOf(device delivery.Device, n uint64) (l delivery.Link) {
	for i := range n {
		l = l.Next(delivery.MessageID{device[0], byte(i + 1)})
	}
	return l
}

func (r *rig) arrived(d delivery.Device, p *delivery.Payload) {
	r.engine.Arrived(r.now, ownerOf(d), d, delivery.WayRelay, p)
}

// TestLikeTheModel wants the file to hold exactly what the model holds, over any history of an engine and any number of restarts.
func TestLikeTheModel(t *testing.T) {
	t.Parallel() // it waits for the disk
	dir, runs := t.TempDir(), 0
	path := filepath.Join(dir, "new.db")
	if err := open(t, path).Close(); err != nil {
		t.Fatalf("close: %v", err)
	}
	blank, err := os.ReadFile(path)
	if err != nil {
		t.Fatalf("read: %v", err)
	}
	rapid.Check(t, func(rt *rapid.T) {
		runs++
		path := filepath.Join(dir, fmt.Sprint(runs, ".db"))
		if err := os.WriteFile(path, blank, 0o600); err != nil {
			t.Fatalf("write: %v", err)
		}
		s, m := open(t, path), newModel()
		defer func() { _ = s.Close() }()
		r := rig{now: t0}
		r.boot(delivery.Snapshot{})
		for range rapid.IntRange(1, 2).Draw(rt, "lives") {
			for range rapid.IntRange(1, 3).Draw(rt, "commits") {
				for range rapid.IntRange(1, 12).Draw(rt, "steps") {
					r.step(rt)
				}
				effects := r.engine.Take(r.now)
				for _, op := range effects.Ops {
					m.apply(op)
				}
				if err := s.Commit(rt.Context(), &Batch{Ops: effects.Ops}); err != nil {
					rt.Fatalf("commit: %v", err)
				}
			}
			s = reopen(t, s, path)
			got, err := s.Snapshot(rt.Context())
			if err != nil {
				rt.Fatalf("snapshot: %v", err)
			}
			equal(rt, "snapshot", sorted(got), sorted(m.snapshot()))
			equal(rt, "visible", visible(t, s), m.shown)
			r.boot(got)
		}
	})
}

func visible(t testing.TB, s *Store) []string {
	var out []string
	for _, e := range find(t, s, Query{}) {
		if !e.Own {
			out = append(out, fmt.Sprint(e.Device.Device(), " ", e.N, " ", e.Body))
		}
	}
	return out
}
