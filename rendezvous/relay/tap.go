package relay

import "time"

// Passed is one envelope that the relay has accepted, as an operator may see it.
type Passed struct {
	At       time.Time
	From, To Address
	Stored   bool   // in the mailbox; else it was taken live
	Envelope []byte // the ciphertext; shared, not to be changed
}

// Tap is a bounded view of the envelopes that pass.
type Tap struct{}

// Tap begins to watch the envelopes that pass. What does not fit into a buffer of the given size (at least 1) is dropped and counted,
// so a slow operator never slows the relay.
func (s *Service) Tap(buffer int) *Tap { return &Tap{} }

// C yields what passes; it is closed by Close and when the Service closes.
func (t *Tap) C() <-chan Passed { return nil }

// Dropped is how many envelopes did not fit since the Tap began.
func (t *Tap) Dropped() uint64 { return 0 }

// Close ends the Tap. It is idempotent.
func (t *Tap) Close() {}
