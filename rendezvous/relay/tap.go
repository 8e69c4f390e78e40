package relay

import (
	"time"

	"github.com/byway-chat/byway/rendezvous"
)

// Passed is one envelope that the relay has accepted, as an operator may see it.
type Passed struct {
	At       time.Time // when its outcome was known
	From, To Address
	Stored   bool   // in the mailbox; else it was taken live
	Envelope []byte // the ciphertext; shared, not to be changed
}

// Tap is a bounded view of the envelopes that pass.
type Tap struct {
	s  *Service
	ch chan Passed

	dropped uint64 // guarded by Service.mu
	closed  bool   // guarded by Service.mu
}

// Tap begins to watch the envelopes that pass. What does not fit into a buffer of the given size (at least 1) is dropped and counted,
// so a slow operator never slows the relay.
func (s *Service) Tap(buffer int) *Tap {
	t := &Tap{s: s, ch: make(chan Passed, max(1, buffer))}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.taps[t] = struct{}{}
	if s.closed {
		t.closeLocked()
	}
	return t
}

// C yields what passes; it is closed by Close and when the Service closes.
func (t *Tap) C() <-chan Passed { return t.ch }

// Dropped is how many envelopes did not fit since the Tap began.
func (t *Tap) Dropped() uint64 {
	t.s.mu.Lock()
	defer t.s.mu.Unlock()
	return t.dropped
}

// Close ends the Tap. It is idempotent.
func (t *Tap) Close() {
	t.s.mu.Lock()
	defer t.s.mu.Unlock()
	t.closeLocked()
}

func (t *Tap) closeLocked() {
	if !t.closed {
		t.closed = true
		delete(t.s.taps, t)
		close(t.ch)
	}
}

// countLocked counts an outcome and shows an accepted envelope to the taps.
func (s *Service) countLocked(m *message, o Outcome) {
	switch o.State {
	case rendezvous.Outcome_TAKEN:
		s.counters.Relayed.add(m.size)
	case rendezvous.Outcome_STORED:
		s.counters.Stored.add(m.size)
	default:
		s.counters.Refused[o.Code]++
		return
	}
	if len(s.taps) == 0 {
		return
	}
	p := Passed{At: s.o.Now(), From: m.From, To: m.To, Stored: o.State == rendezvous.Outcome_STORED, Envelope: m.Data}
	for t := range s.taps {
		select {
		case t.ch <- p:
		default:
			t.dropped++
		}
	}
}
