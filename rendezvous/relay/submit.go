package relay

import (
	"context"
	"time"

	"github.com/byway-chat/byway/crypto/identity"
	"github.com/byway-chat/byway/rendezvous"
)

// busyRetry is when a sender that was refused for want of room in memory may try again.
const busyRetry = time.Second

// fullRetry is when a sender that found a mailbox full may try again: it empties when its owner returns.
const fullRetry = time.Minute

// Submission is one envelope that an authenticated device hands over.
type Submission struct {
	From     Address
	Device   []byte // the recipient's fingerprint as it came from the wire
	Envelope []byte // owned by the Service from here on
	LiveOnly bool   // refuse it with CodeRecipientAway rather than keep it
}

// Submit hands over one envelope and returns soon: it may read the directory, and never waits for the mailbox or for the recipient.
// done is called exactly once with the outcome: perhaps before Submit returns, perhaps on another goroutine, never with a
// lock of the Service held. It must not block. Calls for one sender that come one after another keep their order.
//
// The codes of a refusal: bad-request (no envelope), too-large, rate-limited, no-such-device, recipient-away, mailbox-full, busy, draining,
// internal (a read or commit failed).
func (s *Service) Submit(ctx context.Context, sub Submission, done func(Outcome)) {
	m := &message{
		Envelope: Envelope{From: sub.From, Data: sub.Envelope, Submitted: s.o.Now()},
		liveOnly: sub.LiveOnly,
		size:     uint64(len(sub.Envelope)),
		done:     done,
	}
	refusal, ok := s.address(ctx, m, sub.Device)
	var out tidings
	s.mu.Lock()
	if ok {
		refusal, ok = s.chargeLocked(m)
	}
	if ok {
		s.routeLocked(m, &out)
	} else {
		m.state = over
		s.resolveLocked(m, refusal, &out)
	}
	s.mu.Unlock()
	out.tell()
}

// address checks what can be checked without the lock and finds the recipient.
func (s *Service) address(ctx context.Context, m *message, device []byte) (Outcome, bool) {
	if len(m.Data) == 0 {
		return refused(rendezvous.CodeBadRequest, 0), false
	}
	if len(m.Data) > rendezvous.MaxEnvelope {
		return refused(rendezvous.CodeTooLarge, 0), false
	}
	fingerprint, err := identity.FingerprintFromBytes(device)
	if err != nil {
		return refused(rendezvous.CodeNoSuchDevice, 0), false
	}
	if retry := s.inits.take(m.From.User, m.Data); retry > 0 {
		return refused(rendezvous.CodeRateLimited, retry), false
	}
	user, err := s.directory.Owner(ctx, fingerprint)
	if err != nil {
		code := rendezvous.CodeOf(err)
		if code == rendezvous.CodeInternal {
			s.o.Logger.Error("the directory could not tell a recipient's account", errAttr(err))
			return refused(code, busyRetry), false
		}
		return refused(code, 0), false
	}
	m.To = Address{User: user, Device: fingerprint}
	return Outcome{}, true
}

// chargeLocked counts the envelope against the bounds of memory, or refuses it.
func (s *Service) chargeLocked(m *message) (Outcome, bool) {
	if s.draining || s.closed {
		return refused(rendezvous.CodeDraining, busyRetry), false
	}
	u := s.senders[m.From.Device]
	if u == nil {
		u = new(Usage)
	}
	if !u.admits(m.size, s.o.Unresolved) || !s.counters.InMemory.admits(m.size, s.o.Memory) {
		return refused(rendezvous.CodeBusy, busyRetry), false
	}
	s.senders[m.From.Device] = u
	u.add(m.size)
	m.charged = true
	s.counters.InMemory.add(m.size)
	return Outcome{}, true
}

// routeLocked decides between live and mailbox.
func (s *Service) routeLocked(m *message, out *tidings) {
	d := s.deviceLocked(m.To)
	a := d.attachment
	switch {
	case a != nil && a.hasRoomLocked(m) && (m.liveOnly || !a.behind && !a.slow):
		a.giveLocked(m)
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
		s.storeLocked(m)
	default:
		s.storeLocked(m)
	}
}

// storeLocked queues an envelope for the mailbox.
func (s *Service) storeLocked(m *message) {
	m.state = queued
	s.deviceLocked(m.To).storing++
	s.queue.puts = append(s.queue.puts, m)
	s.work.Signal()
}
