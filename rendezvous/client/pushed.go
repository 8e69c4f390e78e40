package client

import (
	"slices"
	"sync"
	"time"

	"github.com/byway-chat/byway/rendezvous"
	"github.com/byway-chat/byway/rendezvous/framing"
)

// Pushed is what the rendezvous has sent of its own accord, in the order of its coming within each kind. It belongs to who has received it.
type Pushed struct {
	Deliveries []rendezvous.Delivery // to be answered by Taken
	Outcomes   []Outcome             // of what was submitted
	Presence   []*rendezvous.Presence
	Refusals   *rendezvous.Refusals // what was refused because the mailbox was full, to be answered by Told; nil: nothing
	Goodbye    *rendezvous.Goodbye  // the connection ends; nil: it does not
}

// Outcome is what has become of one submission.
type Outcome struct {
	ID uint64 // that Submit has returned
	rendezvous.Settled
}

// batch gathers what one read brings. What it holds of deliveries aliases what was read, until take.
type batch struct {
	Pushed
	ids   []uint64
	last  rendezvous.Delivery // its name serves the next one
	bytes int                 // of all deliveries
}

// add takes in a frame that carries envelopes or says what became of them, and reports false for any other.
func (b *batch) add(frame []byte) bool {
	_, kind, body, ok := rendezvous.SplitFrame(frame)
	if !ok {
		return false
	}
	switch kind {
	case rendezvous.KindDeliver:
		if !rendezvous.ParseDeliver(body, &b.last) {
			return false
		}
		b.deliver(b.last)
		return true
	case rendezvous.KindOutcome:
		ids, settled, ok := rendezvous.ParseOutcome(body, b.ids[:0])
		if ok {
			b.settle(ids, settled)
		}
		b.ids = ids
		return ok
	default:
		return false
	}
}

func (b *batch) deliver(d rendezvous.Delivery) {
	b.Deliveries = append(b.Deliveries, d)
	b.bytes += len(d.Device) + len(d.Envelope)
}

func (b *batch) settle(ids []uint64, s rendezvous.Settled) {
	b.Outcomes = slices.Grow(b.Outcomes, len(ids))
	for _, id := range ids {
		b.Outcomes = append(b.Outcomes, Outcome{ID: id, Settled: s})
	}
}

// addParsed takes in a push as the generated code has parsed it, and reports false for what is none.
func (b *batch) addParsed(f *rendezvous.Frame) bool {
	switch body := f.GetBody().(type) {
	case *rendezvous.Frame_Deliver:
		d := body.Deliver
		b.deliver(rendezvous.Delivery{
			ID: d.GetId(), Username: d.GetUsername(), Device: d.GetDevice(), Envelope: d.GetEnvelope(), Stored: d.GetStored(),
			SubmittedMs: d.GetSubmittedMs(),
		})
	case *rendezvous.Frame_Outcome:
		o := body.Outcome
		ids, _ := rendezvous.Numbers(nil, o.GetSubmits()) // of one that names too many, the first
		b.settle(ids, rendezvous.Settled{State: o.GetState(), Code: rendezvous.Code(o.GetCode()), RetryAfterMs: o.GetRetryAfterMs()})
	case *rendezvous.Frame_Presence:
		b.Presence = append(b.Presence, body.Presence)
	case *rendezvous.Frame_Refusals:
		b.Refusals = body.Refusals
	case *rendezvous.Frame_Goodbye:
		b.Goodbye = body.Goodbye
	default:
		return false
	}
	return true
}

// full says that enough has gathered: a small frame can tell the outcome of thousands of submissions.
func (b *batch) full() bool { return len(b.Outcomes) >= rendezvous.MaxNumbers }

// take returns what has gathered, with memory of its own, and begins anew. any is false when that is nothing.
func (b *batch) take() (p Pushed, any bool) {
	p = b.Pushed
	own := make([]byte, 0, b.bytes)
	for i := range p.Deliveries {
		d := &p.Deliveries[i]
		own = append(own, d.Device...)
		d.Device = own[len(own)-len(d.Device) : len(own) : len(own)]
		own = append(own, d.Envelope...)
		d.Envelope = own[len(own)-len(d.Envelope) : len(own) : len(own)]
	}
	b.Pushed, b.bytes = Pushed{}, 0
	b.last = rendezvous.Delivery{Username: b.last.Username}
	if cap(b.ids) > 64 {
		b.ids = nil
	}
	return p, len(p.Deliveries)+len(p.Outcomes)+len(p.Presence) > 0 || p.Refusals != nil || p.Goodbye != nil
}

const (
	// takenLag is how long Taken may wait for a Submit to go out with: it only makes room at the rendezvous.
	takenLag = 25 * time.Millisecond
	// takenMany is how many deliveries are taken before it is told at once.
	takenMany = 128
)

// taken is what the rendezvous is still to be told that this device holds.
type taken struct {
	mu       sync.Mutex // guards the following; held while a frame is queued
	ids      []uint64
	refusals uint64
	timer    *time.Timer // flushes; nil: nothing was taken yet
	closed   bool
}

// take gathers what was taken.
func (c *Conn) take(ids []uint64, refusals uint64) error {
	t := &c.taken
	t.mu.Lock()
	if t.closed {
		t.mu.Unlock()
		return c.added(framing.ErrClosed)
	}
	waiting := len(t.ids) > 0 || t.refusals > 0
	t.ids = append(t.ids, ids...)
	t.refusals = max(t.refusals, refusals)
	many := len(t.ids) >= takenMany
	if !waiting && !many {
		t.armLocked(c.writer)
	}
	t.mu.Unlock()
	if many {
		t.flush(c.writer)
	}
	return nil
}

func (t *taken) armLocked(w *framing.Writer) {
	if t.timer == nil {
		t.timer = time.AfterFunc(takenLag, func() { t.flush(w) })
	} else {
		t.timer.Reset(takenLag)
	}
}

// flush queues what has gathered. What finds no room waits for the next time.
func (t *taken) flush(w *framing.Writer) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for len(t.ids) > 0 || t.refusals > 0 {
		n := min(len(t.ids), rendezvous.MaxNumbers)
		err := w.AddAppended(func(buf []byte) []byte { return rendezvous.AppendTaken(buf, t.ids[:n], t.refusals) })
		if err != nil {
			if !t.closed {
				t.armLocked(w)
			}
			return
		}
		t.ids, t.refusals = t.ids[:copy(t.ids, t.ids[n:])], 0
	}
}

func (t *taken) close() {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.closed = true
	if t.timer != nil {
		t.timer.Stop()
	}
}
