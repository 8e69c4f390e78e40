package relay

import (
	"bytes"
	"context"
	"time"

	"github.com/byway-chat/byway/crypto/identity"
	"github.com/byway-chat/byway/rendezvous"
)

// busyRetry is when a sender that was refused for want of room in memory may try again.
const busyRetry = time.Second

// fullRetry is when a sender that found a mailbox full may try again: it empties when its owner returns. emptyingRetry is the same for a
// mailbox whose owner is connected, so that it empties now.
const (
	fullRetry     = time.Minute
	emptyingRetry = time.Second
)

// Submission is one envelope that an authenticated device hands over. The Service keeps nothing of what it points to.
type Submission struct {
	Number   uint64 // by which the outcome is told
	Device   []byte // the recipient's fingerprint as it came from the wire
	Envelope []byte
	LiveOnly bool // refuse it with CodeRecipientAway rather than keep it
}

// addressed is a submission whose recipient is known.
type addressed struct {
	to      Address
	data    []byte // a copy of the envelope where it is large: copying takes its time, and the lock is for all
	refusal Outcome
}

// Submit hands over envelopes in their order and returns soon: it may read the directory, and never waits for the mailbox or for a
// recipient. The outcome of each is told on the Sender's link exactly once, perhaps before Submit returns.
//
// The codes of a refusal: bad-request (no envelope), too-large, rate-limited, no-such-device, recipient-away, mailbox-full, busy, draining,
// internal (a read or commit failed).
func (x *Sender) Submit(ctx context.Context, submissions ...Submission) {
	var few [16]addressed // more at once would have to be cleared for each single one
	for len(submissions) > 0 {
		n := min(len(submissions), len(few))
		for i := range n {
			few[i] = addressed{}
			if i > 0 && bytes.Equal(submissions[i].Device, submissions[i-1].Device) {
				few[i].to = few[i-1].to
			}
			x.s.address(ctx, x.from, &submissions[i], &few[i])
		}
		x.submit(submissions[:n], few[:n])
		submissions = submissions[n:]
	}
}

func (x *Sender) submit(submissions []Submission, addressed []addressed) {
	s, submitted, now := x.s, x.s.o.Now(), time.Now()
	var out tidings
	var d *device // of the submission before
	s.mu.Lock()
	for i := range submissions {
		sub, to := &submissions[i], &addressed[i]
		size := uint64(len(sub.Envelope))
		refusal := to.refusal
		if refusal.State == rendezvous.Outcome_STATE_UNSPECIFIED {
			refusal = s.chargeLocked(x, size)
		}
		if refusal.State != rendezvous.Outcome_STATE_UNSPECIFIED {
			x.settleLocked(sub.Number, refusal, &out)
			s.counters.Refused[refusal.Code]++
			continue
		}
		m := s.newMessageLocked()
		m.From, m.To, m.Submitted, m.deadline = x.from, to.to, submitted, now.Add(s.o.TakeTimeout)
		m.liveOnly, m.size, m.sender, m.number = sub.LiveOnly, size, x, sub.Number
		if to.data != nil {
			m.Data = to.data
		} else {
			m.Data = append(m.Data[:0], sub.Envelope...)
		}
		if d == nil || d.attachment == nil || d.to != m.To { // one without an attachment may have been forgotten
			d = s.deviceLocked(m.To)
		}
		s.routeLocked(d, m, &out)
	}
	s.mu.Unlock()
	out.tell()
}

// address checks what can be checked without the lock and finds the recipient, where a already holds none.
func (s *Service) address(ctx context.Context, from Address, sub *Submission, a *addressed) {
	if len(sub.Envelope) == 0 {
		a.refusal = refused(rendezvous.CodeBadRequest, 0)
		return
	}
	if len(sub.Envelope) > rendezvous.MaxEnvelope {
		a.refusal = refused(rendezvous.CodeTooLarge, 0)
		return
	}
	fingerprint, err := identity.FingerprintFromBytes(sub.Device)
	if err != nil {
		a.refusal = refused(rendezvous.CodeNoSuchDevice, 0)
		return
	}
	if retry := s.inits.take(from.User, sub.Envelope); retry > 0 {
		a.refusal = refused(rendezvous.CodeRateLimited, retry)
		return
	}
	if a.to.User == "" {
		user, err := s.directory.Owner(ctx, fingerprint)
		if err != nil {
			code, retry := rendezvous.CodeOf(err), time.Duration(0)
			if code == rendezvous.CodeInternal {
				s.o.Logger.Error("the directory could not tell a recipient's account", errAttr(err))
				retry = busyRetry
			}
			a.refusal = refused(code, retry)
			return
		}
		a.to = Address{User: user, Device: fingerprint}
	}
	if len(sub.Envelope) > spareData {
		a.data = bytes.Clone(sub.Envelope)
	}
}

// chargeLocked counts an envelope against the bounds of memory, or returns why it is refused.
func (s *Service) chargeLocked(x *Sender, size uint64) Outcome {
	if s.draining || s.closed {
		return refused(rendezvous.CodeDraining, busyRetry)
	}
	if !x.unresolved.admits(size, s.o.Unresolved) || !s.counters.InMemory.admits(size, s.o.Memory) {
		return refused(rendezvous.CodeBusy, busyRetry)
	}
	x.unresolved.add(size)
	s.counters.InMemory.add(size)
	return Outcome{}
}

// routeLocked decides between live and mailbox.
func (s *Service) routeLocked(d *device, m *message, out *tidings) {
	a := d.attachment
	switch {
	case a != nil && a.hasRoomLocked(m) && (m.liveOnly || !a.behind && !a.slow):
		a.giveLocked(m, out)
	case m.liveOnly:
		refusal := refused(rendezvous.CodeRecipientAway, 0)
		if a != nil {
			refusal = refused(rendezvous.CodeBusy, busyRetry)
		}
		s.resolveLocked(m, refusal, out)
		s.dropLocked(m, over)
		s.tidyLocked(d)
	case a != nil:
		// Whatever is live was submitted earlier, so it must come to lie before this one in the mailbox.
		s.spillAllLocked(a, out)
		a.behind = true
		s.storeLocked(d, m)
	default:
		s.storeLocked(d, m)
	}
}

// storeLocked queues an envelope for the mailbox.
func (s *Service) storeLocked(d *device, m *message) {
	m.state = queued
	d.storing++
	s.queue.puts = append(s.queue.puts, m)
	s.work.Signal()
}
