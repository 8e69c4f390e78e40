package history

import (
	"encoding/binary"
	"fmt"
	"slices"
	"time"

	"github.com/byway-chat/byway/peer/delivery"
)

// Bounds of a run: its messages fit the bits of one integer, and reading one message of it stays cheap.
const (
	maxRun     = 64
	maxRunSize = 32 << 10 // bytes of bodies; a single message may be longer
)

// run is messages that one device has sent to one conversation, in the order of the history. It is a row of the table runs.
type run struct {
	ord     int64 // of the first message
	tag     [16]byte
	device  delivery.Device // zero: this one
	peer    delivery.Account
	from    delivery.Account // of received ones
	copyOf  delivery.Account
	devices []delivery.Device // of our own: sealed for each of these
	unshown uint64
	open    int
	size    int // bytes of bodies
	msgs    []message
}

// message is one of a run.
type message struct {
	n        uint64
	id       delivery.MessageID
	prev     delivery.Link // as its sender has it
	sent     int64         // Unix microseconds, as the next two; 0: none
	received int64
	expires  int64
	policy   delivery.Policy
	renamed  bool         // of our own: its number is not the one that it was accepted with
	way      delivery.Way // of a received one
	body     string
	state    *state // of our own
}

// state is how far one of our own messages has come.
type state struct {
	progress delivery.Progress
	settled  bool // it has left the outbox
	void     bool
	expires  time.Time        // of a void one
	phases   []delivery.Phase // by the run's devices; shorter: the rest waits
}

// hidden reports whether the run is copies for our own devices, which are no part of the history.
func (r *run) hidden() bool { return r.ord < 0 }

func (r *run) own() bool { return r.device == delivery.Device{} }

// takes reports whether a message can be put at the run's end.
func (r *run) takes(like *run, m *message) bool {
	return len(r.msgs) < maxRun && r.size+len(m.body) <= maxRunSize &&
		r.tag == like.tag && r.device == like.device && r.from == like.from && r.copyOf == like.copyOf &&
		r.hidden() == like.hidden() && slices.Equal(r.devices, like.devices)
}

func (r *run) add(m message) {
	r.msgs = append(r.msgs, m)
	r.size += len(m.body)
}

func (r *run) span() (first, last uint64) {
	first, last = r.msgs[0].n, r.msgs[0].n
	for i := range r.msgs {
		first, last = min(first, r.msgs[i].n), max(last, r.msgs[i].n)
	}
	return first, last
}

func (r *run) label() string { return fmt.Sprintf("run %d %x %x", r.ord, r.tag[:], r.device[:]) }

// encode writes what is sealed of a run: strings and lists with a length before them, times in Unix microseconds. The first byte is the format.
func (r *run) encode() []byte {
	b := make([]byte, 0, 64+len(r.devices)*32+len(r.msgs)*64+r.size)
	b = append(b, 1)
	b = appendText(b, string(r.peer))
	b = appendText(b, string(r.from))
	b = appendText(b, string(r.copyOf))
	b = binary.AppendUvarint(b, uint64(len(r.devices)))
	for _, d := range r.devices {
		b = append(b, d[:]...)
	}
	for i := range r.msgs {
		m := &r.msgs[i]
		b = binary.AppendUvarint(b, m.n)
		b = append(b, m.id[:]...)
		b = append(b, m.prev[:]...)
		b = binary.AppendVarint(b, m.sent)
		b = binary.AppendVarint(b, m.received)
		b = binary.AppendVarint(b, m.expires)
		b = append(b, byte(m.policy), flag(m.renamed))
		b = appendText(b, string(m.way))
		b = appendText(b, m.body)
	}
	return b
}

// decode reads what encode wrote; count, ord, tag and device are those of the row.
func (r *run) decode(b []byte, count int) error {
	d := decoder{b: b}
	if d.byte() != 1 || count < 1 || count > maxRun {
		return ErrDamaged
	}
	r.peer, r.from, r.copyOf = delivery.Account(d.text()), delivery.Account(d.text()), delivery.Account(d.text())
	for range min(d.uvarint(), maxRun) {
		r.devices = append(r.devices, delivery.Device(d.take(32)))
	}
	r.msgs = make([]message, 0, count)
	for range count {
		m := message{n: d.uvarint(), id: delivery.MessageID(d.take(16))}
		m.prev = delivery.Link(d.take(8))
		m.sent, m.received, m.expires = d.varint(), d.varint(), d.varint()
		m.policy, m.renamed = delivery.Policy(d.byte()), d.byte() == 1
		m.way, m.body = delivery.Way(d.text()), d.text()
		r.add(m)
	}
	if d.bad || len(d.b) > 0 {
		return ErrDamaged
	}
	return nil
}

// encodeStates writes the states of our own messages.
func (r *run) encodeStates() []byte {
	if !r.own() {
		return []byte{}
	}
	b := make([]byte, 0, 12*len(r.msgs))
	for i := range r.msgs {
		s := r.msgs[i].state
		b = append(b, flag(s.settled)|flag(s.void)<<1, byte(s.progress.Stage))
		b = appendText(b, string(s.progress.Way))
		b = binary.AppendVarint(b, s.progress.Took.Microseconds())
		b = appendText(b, s.progress.Reason)
		if s.void {
			b = binary.AppendVarint(b, micros(s.expires))
		}
		b = binary.AppendUvarint(b, uint64(len(s.phases)))
		for _, p := range s.phases {
			b = append(b, byte(p))
		}
	}
	return b
}

func (r *run) decodeStates(b []byte) error {
	if !r.own() {
		return nil
	}
	d := decoder{b: b}
	for i := range r.msgs {
		s := new(state)
		r.msgs[i].state = s
		flags := d.byte()
		s.settled, s.void = flags&1 != 0, flags&2 != 0
		s.progress = delivery.Progress{Stage: delivery.Stage(d.byte()), Way: delivery.Way(d.text())}
		s.progress.Took = time.Duration(d.varint()) * time.Microsecond
		s.progress.Reason = d.text()
		if s.void {
			s.expires = d.time()
		}
		for range min(d.uvarint(), maxRun) {
			s.phases = append(s.phases, delivery.Phase(d.byte()))
		}
	}
	if d.bad || len(d.b) > 0 {
		return ErrDamaged
	}
	return nil
}

func flag(b bool) byte {
	if b {
		return 1
	}
	return 0
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

func appendText(b []byte, s string) []byte {
	return append(binary.AppendUvarint(b, uint64(len(s))), s...)
}

// decoder takes fields off b. After the first short field it is bad and returns zeros.
type decoder struct {
	b   []byte
	bad bool
}

func (d *decoder) take(n int) []byte {
	if d.bad || n > len(d.b) {
		d.bad = true
		return make([]byte, min(n, 32))
	}
	out := d.b[:n]
	d.b = d.b[n:]
	return out
}

func (d *decoder) byte() byte { return d.take(1)[0] }

func (d *decoder) uvarint() uint64 {
	v, n := binary.Uvarint(d.b)
	if d.bad || n <= 0 {
		d.bad = true
		return 0
	}
	d.b = d.b[n:]
	return v
}

func (d *decoder) varint() int64 {
	v, n := binary.Varint(d.b)
	if d.bad || n <= 0 {
		d.bad = true
		return 0
	}
	d.b = d.b[n:]
	return v
}

func (d *decoder) time() time.Time { return fromMicros(d.varint()) }

func (d *decoder) text() string {
	n := d.uvarint()
	if n > uint64(len(d.b)) {
		d.bad = true
		return ""
	}
	return string(d.take(int(n)))
}
