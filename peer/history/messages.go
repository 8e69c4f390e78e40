package history

import (
	"fmt"
	"time"

	"github.com/byway-chat/byway/peer/delivery"
)

// stored is what is sealed of a message, in either direction and in the outbox. Fields are only ever added.
type stored struct {
	Peer     string            `json:"peer"` // the other side of the conversation
	CopyOf   string            `json:"copy_of,omitempty"`
	From     string            `json:"from,omitempty"`
	Body     string            `json:"body"`
	Sent     int64             `json:"sent"` // Unix microseconds
	Received int64             `json:"received,omitempty"`
	Expires  int64             `json:"expires,omitempty"`
	Policy   delivery.Policy   `json:"policy,omitempty"`
	Devices  []delivery.Device `json:"devices,omitempty"`
	ID       []byte            `json:"id,omitempty"`
	Way      delivery.Way      `json:"way,omitempty"`
	Void     bool              `json:"void,omitempty"`
}

func micros(t time.Time) int64 {
	if t.IsZero() {
		return 0
	}
	return t.UnixMicro()
}

func fromMicros(us int64) time.Time {
	if us == 0 {
		return time.Time{}
	}
	return time.UnixMicro(us).UTC()
}

func messageLabel(tag []byte, device delivery.Device, n uint64) string {
	return fmt.Sprintf("message %x %x %d", tag, device[:], n)
}
func accountLabel(tag []byte) string          { return fmt.Sprintf("account %x", tag) }
func outboxLabel(tag []byte, n uint64) string { return fmt.Sprintf("outbox %x %d", tag, n) }
func heldLabel(device delivery.Device, n uint64) string {
	return fmt.Sprintf("held %x %d", device[:], n)
}

// enqueue stores a new message in the outbox and, unless it is a copy for our own devices, in the history.
func (w *writer) enqueue(m delivery.Message) error {
	tag := w.s.tag(string(m.To))
	row := stored{
		Peer: string(m.To), CopyOf: string(m.CopyOf), Body: m.Body, Sent: micros(m.Sent), Expires: micros(m.Expires),
		Policy: m.Policy, Devices: m.Devices, ID: m.ID[:],
	}
	sealed, err := w.s.box.sealJSON(outboxLabel(tag, m.N), row)
	if err != nil {
		return err
	}
	if _, err := w.exec("INSERT INTO outbox (tag, n, sealed) VALUES (?, ?, ?)", tag, m.N, sealed); err != nil {
		return err
	}
	for _, d := range m.Devices {
		if _, err := w.exec("INSERT INTO copies (tag, n, device, phase) VALUES (?, ?, ?, 0)", tag, m.N, d[:]); err != nil {
			return err
		}
	}
	name := w.s.box.seal(accountLabel(tag), []byte(m.To))
	if _, err := w.exec(`INSERT INTO accounts (tag, name, next) VALUES (?, ?, ?)
		ON CONFLICT (tag) DO UPDATE SET next = excluded.next`, tag, name, m.N+1); err != nil {
		return err
	}
	if m.CopyOf != "" {
		return nil
	}
	var self delivery.Device // our own messages are unique by conversation and number, whichever home they lie in
	row.Devices = nil
	if sealed, err = w.s.box.sealJSON(messageLabel(tag, self, m.N), row); err != nil {
		return err
	}
	_, err = w.exec(`INSERT INTO messages (tag, device, n, own, shown, id, sealed) VALUES (?, ?, ?, 1, 1, ?, ?)`, tag, self[:], m.N, m.ID[:], sealed)
	return err
}

func (w *writer) progress(op delivery.OpProgress) error {
	p := op.Progress
	_, err := w.exec("UPDATE messages SET stage = ?, way = ?, took = ?, reason = ? WHERE tag = ? AND own = 1 AND n = ?",
		p.Stage, p.Way, p.Took.Microseconds(), p.Reason, w.s.tag(string(op.To)), op.N)
	return err
}

// void forgets the text of a message that was given up. The history keeps it, as failed.
func (w *writer) void(op delivery.OpVoid) error {
	tag := w.s.tag(string(op.To))
	var sealed []byte
	if err := w.tx.QueryRowContext(w.ctx, "SELECT sealed FROM outbox WHERE tag = ? AND n = ?", tag, op.N).Scan(&sealed); err != nil {
		return err
	}
	var row stored
	if err := w.s.box.openJSON(outboxLabel(tag, op.N), sealed, &row); err != nil {
		return err
	}
	row.Body, row.Void, row.Expires = "", true, micros(op.Expires)
	sealed, err := w.s.box.sealJSON(outboxLabel(tag, op.N), row)
	if err != nil {
		return err
	}
	_, err = w.exec("UPDATE outbox SET sealed = ? WHERE tag = ? AND n = ?", sealed, tag, op.N)
	return err
}

func (w *writer) settle(op delivery.OpSettle) error {
	tag := w.s.tag(string(op.To))
	if _, err := w.exec("DELETE FROM outbox WHERE tag = ? AND n = ?", tag, op.N); err != nil {
		return err
	}
	_, err := w.exec("DELETE FROM copies WHERE tag = ? AND n = ?", tag, op.N)
	return err
}

func rowOf(m delivery.Incoming) stored {
	peer := m.From
	if m.CopyOf != "" {
		peer = m.CopyOf
	}
	return stored{
		Peer: string(peer), From: string(m.From), CopyOf: string(m.CopyOf), Body: m.Body,
		Sent: micros(m.Sent), Received: micros(m.Received), ID: m.ID[:], Way: m.Way,
	}
}

func (r *stored) incoming(device delivery.Device, n uint64) delivery.Incoming {
	m := delivery.Incoming{
		From: delivery.Account(r.From), Device: device, N: n, CopyOf: delivery.Account(r.CopyOf), Body: r.Body,
		Sent: fromMicros(r.Sent), Received: fromMicros(r.Received), Way: r.Way,
	}
	copy(m.ID[:], r.ID)
	return m
}

func (w *writer) receive(op delivery.OpReceive) error {
	m := op.Message
	if !op.Held {
		return w.show(m.Device, m.N, rowOf(m))
	}
	sealed, err := w.s.box.sealJSON(heldLabel(m.Device, m.N), rowOf(m))
	if err != nil {
		return err
	}
	_, err = w.exec("INSERT INTO held (device, n, sealed) VALUES (?, ?, ?)", m.Device[:], m.N, sealed)
	return err
}

// show appends a message to the visible history. The unique index on device, conversation and number is the last
// line against showing anything twice.
func (w *writer) show(device delivery.Device, n uint64, row stored) error {
	tag := w.s.tag(row.Peer)
	sealed, err := w.s.box.sealJSON(messageLabel(tag, device, n), row)
	if err != nil {
		return err
	}
	result, err := w.exec("INSERT INTO messages (tag, device, n, own, shown, id, way, sealed) VALUES (?, ?, ?, 0, 0, ?, ?, ?)",
		tag, device[:], n, row.ID, row.Way, sealed)
	if err != nil {
		return err
	}
	w.orders[Ref{device, n}], err = result.LastInsertId()
	return err
}

func (w *writer) release(op delivery.OpRelease) error {
	var sealed []byte
	err := w.tx.QueryRowContext(w.ctx, "SELECT sealed FROM held WHERE device = ? AND n = ?", op.Device[:], op.N).Scan(&sealed)
	if err != nil {
		return err
	}
	var row stored
	if err := w.s.box.openJSON(heldLabel(op.Device, op.N), sealed, &row); err != nil {
		return err
	}
	if err := w.show(op.Device, op.N, row); err != nil {
		return err
	}
	_, err = w.exec("DELETE FROM held WHERE device = ? AND n = ?", op.Device[:], op.N)
	return err
}
