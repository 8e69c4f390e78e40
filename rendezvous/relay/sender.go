package relay

import "github.com/byway-chat/byway/crypto/identity"

// Link is the connection of one device, as the relay uses it. Deliver, Settle and Refused are called with the Service's lock held, one at a
// time: they must not block, must not call the Service, and must not take a lock that its owner holds while calling the Service; they
// should append to the connection's queue. Flush is called without the lock.
type Link interface {
	// Deliver queues an envelope for the device. Of what d points to nothing may be kept.
	Deliver(d *Delivery)
	// Settle queues the outcome of a submission. For TAKEN no Flush follows: nobody waits for it, so it may go out with what comes next.
	Settle(number uint64, o Outcome)
	// Refused queues what was refused to the device.
	Refused(r Refusals)
	// Flush lets what has been queued go out soon.
	Flush()
}

// Sender is a connected device as one that submits. Its methods may be called from any goroutine, but Submit from one at a time.
type Sender struct {
	s    *Service
	from Address

	unresolved *unresolved // guarded by Service.mu, as is the following
	link       Link        // nil when it is closed
}

// unresolved is what a device has submitted, over all its connections, and not been told of. It is guarded by Service.mu.
type unresolved struct {
	Usage
	senders int // that are open
}

// Sender says that a device is connected and may submit. Until Close, outcomes are told on the link.
func (s *Service) Sender(from Address, link Link) *Sender {
	s.mu.Lock()
	defer s.mu.Unlock()
	u := s.senders[from.Device]
	if u == nil {
		u = new(unresolved)
		s.senders[from.Device] = u
	}
	u.senders++
	return &Sender{s: s, from: from, unresolved: u, link: link}
}

// Close says that the connection is gone: the outcomes of what is still under way are not told. It is idempotent.
func (x *Sender) Close() {
	x.s.mu.Lock()
	defer x.s.mu.Unlock()
	if x.link == nil {
		return
	}
	x.link = nil
	x.unresolved.senders--
	x.s.tidySenderLocked(x.from.Device)
}

// settleLocked tells an outcome.
func (x *Sender) settleLocked(number uint64, o Outcome, out *tidings) {
	if x.link == nil {
		x.s.tidySenderLocked(x.from.Device)
		return
	}
	x.link.Settle(number, o)
	if o != taken() {
		out.touch(x.link)
	}
}

func (s *Service) tidySenderLocked(device identity.Fingerprint) {
	if u := s.senders[device]; u != nil && u.senders == 0 && u.Messages == 0 {
		delete(s.senders, device)
	}
}
