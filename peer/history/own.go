package history

import (
	"fmt"
	"slices"

	"github.com/byway-chat/byway/peer/delivery"
)

// enqueue stores a new message in the outbox and, unless it is a copy for our own devices, in the history.
func (w *writer) enqueue(m *delivery.Message) error {
	a := w.account(m.To)
	if m.N < a.next {
		return fmt.Errorf("number %d is used already", m.N)
	}
	a.next, a.tip = m.N+1, m.Prev.Next(m.ID)
	like := &run{tag: a.tag, peer: m.To, copyOf: m.CopyOf, devices: m.Devices}
	if m.CopyOf != "" {
		like.ord = -1
	}
	r := w.place(like, message{n: m.N, id: m.ID, prev: m.Prev, sent: micros(m.Sent), expires: micros(m.Expires), policy: m.Policy, body: m.Body, state: new(state)})
	r.open++
	w.mem.outbox[outboxKey{m.To, m.N}] = place{r, len(r.msgs) - 1}
	if !r.hidden() {
		w.s.recent.Add(m.ID, w.mem.next-1)
	}
	return nil
}

// change alters the state of a message that is in the outbox.
func (w *writer) change(to delivery.Account, n uint64, f func(*run, *message)) error {
	at, ok := w.mem.outbox[outboxKey{to, n}]
	if !ok {
		return fmt.Errorf("message %d is not in the outbox", n)
	}
	f(at.run, &at.run.msgs[at.i])
	w.dirty[at.run] = struct{}{}
	return nil
}

// copied stores how far the copy for one device has come.
func (w *writer) copied(op delivery.OpCopy) error {
	return w.change(op.To, op.N, func(r *run, m *message) {
		i := slices.Index(r.devices, op.Device)
		if i < 0 {
			return
		}
		for len(m.state.phases) <= i {
			m.state.phases = append(m.state.phases, delivery.Waiting)
		}
		m.state.phases[i] = op.Phase
	})
}

// settle takes a message out of the outbox. The history keeps it.
func (w *writer) settle(op delivery.OpSettle) error {
	err := w.change(op.To, op.N, func(r *run, m *message) {
		m.state.settled, m.state.phases = true, nil
		r.open--
	})
	delete(w.mem.outbox, outboxKey{op.To, op.N})
	return err
}

// renumber gives a message of the outbox another number.
func (w *writer) renumber(op delivery.OpRenumber) error {
	a := w.account(op.To)
	if op.New < a.next {
		return fmt.Errorf("number %d is used already", op.New)
	}
	old := outboxKey{op.To, op.Old}
	err := w.change(op.To, op.Old, func(r *run, m *message) {
		a.next, a.tip = op.New+1, op.Prev.Next(m.id)
		m.n, m.prev, m.renamed = op.New, op.Prev, true
		w.renamed[r] = struct{}{}
		w.mem.outbox[outboxKey{op.To, op.New}] = w.mem.outbox[old]
		delete(w.mem.outbox, old)
	})
	return err
}
