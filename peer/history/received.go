package history

import (
	"database/sql"
	"fmt"
	"slices"

	"github.com/byway-chat/byway/peer/delivery"
)

func heldLabel(device delivery.Device, n uint64) string {
	return fmt.Sprintf("held %x %d", device[:], n)
}

// receive stores a message that has arrived.
func (w *writer) receive(op delivery.OpReceive) error {
	if !op.Held {
		return w.show(&op.Message)
	}
	m := &op.Message
	ref := Ref{m.Device, m.N}
	if _, ok := w.mem.held[ref]; ok {
		return fmt.Errorf("number %d is held already", m.N)
	}
	if d := w.mem.devices[m.Device]; d != nil && m.N <= d.high {
		return fmt.Errorf("number %d is shown already", m.N)
	}
	w.mem.held[ref] = *m
	r := runOf(m)
	r.add(messageOf(m))
	w.do("INSERT INTO held (device, n, sealed) VALUES (?, ?, ?)", slices.Clone(m.Device[:]), m.N, w.s.box.seal(heldLabel(m.Device, m.N), r.encode()))
	return nil
}

// unhold forgets a message that is held.
func (w *writer) unhold(device delivery.Device, n uint64) {
	delete(w.mem.held, Ref{device, n})
	w.do("DELETE FROM held WHERE device = ? AND n = ?", slices.Clone(device[:]), n)
}

// runOf makes the run in which a received message can stand; its tag and its place are missing.
func runOf(m *delivery.Incoming) *run {
	r := &run{device: m.Device, peer: m.From, from: m.From, copyOf: m.CopyOf}
	if m.CopyOf != "" {
		r.peer = m.CopyOf
	}
	return r
}

func messageOf(m *delivery.Incoming) message {
	return message{n: m.N, id: m.ID, prev: m.Prev, sent: micros(m.Sent), received: micros(m.Received), way: m.Way, body: m.Body}
}

// incoming is the i-th message of a run as it arrived.
func (r *run) incoming(i int) delivery.Incoming {
	m := &r.msgs[i]
	return delivery.Incoming{
		From: r.from, Device: r.device, N: m.n, ID: m.id, Prev: m.prev, CopyOf: r.copyOf, Body: m.body, Sent: fromMicros(m.sent), Received: fromMicros(m.received), Way: m.way,
	}
}

// show appends a message to the visible history. That the numbers of a device only rise there is the last line against showing anything twice.
func (w *writer) show(m *delivery.Incoming) error {
	d := w.device(m.Device)
	if m.N <= d.high {
		return fmt.Errorf("number %d is shown already", m.N)
	}
	d.high = m.N
	like := runOf(m)
	like.tag = w.tag(like.peer)
	r := w.place(like, messageOf(m))
	if w.s.ids != nil && w.s.idsOf == m.Device {
		w.s.ids[m.ID] = struct{}{}
	}
	r.unshown |= 1 << (len(r.msgs) - 1)
	if w.orders == nil {
		w.orders = map[Ref]int64{}
	}
	w.orders[Ref{m.Device, m.N}] = w.mem.next - 1
	return nil
}

// tag is that of an account, from memory where it is known.
func (w *writer) tag(name delivery.Account) [16]byte {
	if a := w.mem.accounts[name]; a != nil {
		return a.tag
	}
	tag, ok := w.mem.tags[name]
	if !ok {
		tag = [16]byte(w.s.tag(string(name)))
		w.mem.tags[name] = tag
	}
	return tag
}

func (w *writer) release(op delivery.OpRelease) error {
	m, ok := w.mem.held[Ref{op.Device, op.N}]
	if !ok {
		return fmt.Errorf("number %d is not held", op.N)
	}
	if err := w.show(&m); err != nil {
		return err
	}
	w.unhold(op.Device, op.N)
	return nil
}

func (s *Store) openHeld(device delivery.Device, n uint64, sealed []byte) (delivery.Incoming, error) {
	plain, err := s.box.open(heldLabel(device, n), sealed)
	if err != nil {
		return delivery.Incoming{}, err
	}
	r := run{device: device}
	if err := r.decode(plain, 1); err != nil {
		return delivery.Incoming{}, err
	}
	return r.incoming(0), nil
}

func (s *Store) heldRow(r *sql.Rows, mem *memory) error {
	var fp, sealed []byte
	var n uint64
	if err := r.Scan(&fp, &n, &sealed); err != nil {
		return err
	}
	var d delivery.Device
	copy(d[:], fp)
	m, err := s.openHeld(d, n, sealed)
	if err != nil {
		return err
	}
	mem.held[Ref{d, n}] = m
	return nil
}
