package relay

import (
	"time"

	"github.com/byway-chat/byway/rendezvous"
)

// Delivery is one envelope for an attached device.
type Delivery struct {
	ID     uint64 // for Taken; 1, 2, 3 … on this attachment
	Stored bool   // it came out of the mailbox
	Envelope
}

// Wire is the delivery as it travels to the device. It shares the Data of d.
func (d *Delivery) Wire() rendezvous.Delivery {
	return rendezvous.Delivery{
		ID: d.ID, Username: string(d.From.User), Device: d.From.Device[:], Envelope: d.Data,
		Stored: d.Stored, SubmittedMs: uint64(d.Submitted.UnixMilli()),
	}
}

// Attachment is one connected device. Its methods may be called from any goroutine.
type Attachment struct {
	s      *Service
	device *device
	link   Link

	// The following are guarded by Service.mu.
	lastID  uint64
	out     given               // and not taken
	live    Usage               // those of them that are live
	window  Usage               // those of them that came out of the mailbox
	slow    bool                // something was not taken in time, and nothing has been taken since
	behind  bool                // the mailbox may hold what this attachment has not been given
	cursor  uint64              // ID of the last envelope read from the mailbox
	inReads bool                // it waits for a reader
	reading bool                // a reader is at it
	retry   *time.Timer         // for a read that failed
	rows    map[uint64]struct{} // IDs in the mailbox of what is in out
	ask     bool                // a reader is to ask for what was refused
	refused announced           // what it was told of that
	closed  bool
}

// Attach says that a device is connected. From now until Close, envelopes are delivered on the link, in order, whose queue needs room for
// Options.Untaken and Options.Window together and never more. An older attachment of the same device is closed. The error is
// CodeDraining.
func (s *Service) Attach(to Address, link Link) (*Attachment, error) {
	var out tidings
	defer func() { out.tell() }()
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.draining || s.closed {
		return nil, &rendezvous.Error{Code: rendezvous.CodeDraining, Message: "the rendezvous is stopping", RetryAfter: busyRetry}
	}
	d := s.deviceLocked(to)
	if d.attachment != nil {
		s.detachLocked(d.attachment, &out)
		d = s.deviceLocked(to)
	}
	a := &Attachment{
		s:      s,
		device: d,
		link:   link,
		rows:   make(map[uint64]struct{}),
		behind: true, // nobody has looked yet
		ask:    true,
	}
	d.attachment = a
	s.counters.Attached++
	s.wantReadLocked(a)
	return a, nil
}

// hasRoomLocked says whether one more may be given live.
func (a *Attachment) hasRoomLocked(m *message) bool { return a.live.admits(m.size, a.s.o.Untaken) }

// giveLocked delivers a submitted envelope and begins to wait for Taken.
func (a *Attachment) giveLocked(m *message, out *tidings) {
	m.state = live
	a.live.add(m.size)
	a.s.live.push(m)
	if !a.s.armed {
		a.s.armed = true
		select {
		case a.s.alarm <- struct{}{}:
		default:
		}
	}
	a.handLocked(m, out)
}

func (a *Attachment) handLocked(m *message, out *tidings) {
	a.lastID++
	m.given, m.id = a, a.lastID
	a.out.add(m)
	a.s.delivery = Delivery{ID: m.id, Stored: m.state == kept, Envelope: m.Envelope}
	a.link.Deliver(&a.s.delivery)
	out.touch(a.link)
}

// Taken says that the device holds these deliveries, or will never want them: they are forgotten. Unknown IDs, and all IDs after
// Close, are ignored.
func (a *Attachment) Taken(ids ...uint64) {
	var out tidings
	s := a.s
	s.mu.Lock()
	for _, id := range ids {
		if m := a.out.get(id); m != nil {
			a.slow = false
			s.takenLocked(m, &out)
		}
	}
	s.wantReadLocked(a)
	s.mu.Unlock()
	out.tell()
}

// takenLocked forgets an envelope that its device holds.
func (s *Service) takenLocked(m *message, out *tidings) {
	a := m.given
	a.out.remove(m.id)
	m.given = nil
	switch m.state {
	case live:
		s.live.remove(m)
		a.live.remove(m.size)
		s.resolveLocked(m, taken(), out)
		data := m.Data
		s.dropLocked(m, over)
		if len(s.taps) > 0 {
			data = nil // they show it
		}
		s.recycleLocked(m, data)
	case queued, committing:
		m.forget = true
		a.device.spilling--
		s.resolveLocked(m, taken(), out)
	case kept:
		s.counters.Delivered.add(m.size)
		delete(a.rows, m.row)
		if m.windowed {
			a.window.remove(m.size)
		}
		s.forgetLocked(a.device, m)
		s.recycleLocked(m, nil)
	case over:
	}
}

// Close says that the connection is gone. What was live and untaken goes to the mailbox. No deliver call is running or
// begins after it has returned. Close is idempotent.
func (a *Attachment) Close() {
	var out tidings
	a.s.mu.Lock()
	a.s.detachLocked(a, &out)
	a.s.mu.Unlock()
	out.tell()
}

func (s *Service) detachLocked(a *Attachment, out *tidings) {
	if a.closed {
		return
	}
	a.closed = true
	s.spillAllLocked(a, out)
	a.out.all(func(m *message) { m.given = nil })
	a.out, a.rows = given{}, nil
	for _, t := range []*time.Timer{a.retry, a.refused.again} {
		if t != nil {
			t.Stop()
		}
	}
	s.counters.Attached--
	a.device.attachment = nil
	a.device.spilling = 0
	s.tidyLocked(a.device)
}

// spillAllLocked moves all that is live on an attachment to the mailbox, in order.
func (s *Service) spillAllLocked(a *Attachment, out *tidings) {
	if a.live.Messages == 0 {
		return
	}
	a.out.all(func(m *message) {
		if m.state == live {
			s.spillLocked(m, out)
		}
	})
}

// spillLocked moves a live envelope to the mailbox. It stays with its attachment, which may still say Taken.
func (s *Service) spillLocked(m *message, out *tidings) {
	a := m.given
	s.live.remove(m)
	a.live.remove(m.size)
	if !m.liveOnly && !s.closed {
		a.device.spilling++
		s.storeLocked(a.device, m)
		return
	}
	code := rendezvous.CodeRecipientAway
	if s.draining || s.closed {
		code = rendezvous.CodeDraining
	}
	a.out.remove(m.id)
	m.given = nil
	s.resolveLocked(m, refused(code, 0), out)
	s.dropLocked(m, over)
}
