package relay

import (
	"context"
	"errors"

	"github.com/byway-chat/byway/rendezvous"
)

// Service is the relay of one rendezvous.
type Service struct{}

// New makes a Service and starts its goroutines: one that commits, one that keeps time, and Options.Readers that read the
// mailbox. Close stops them and waits.
func New(m Mailbox, d Directory, o Options) *Service { return &Service{} }

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
func (s *Service) Submit(ctx context.Context, m Submission, done func(Outcome)) {
	done(refused(rendezvous.CodeInternal, 0))
}

// Delivery is one envelope for an attached device.
type Delivery struct {
	ID     uint64 // for Taken; unique on this attachment, never 0
	Stored bool   // it came out of the mailbox
	Envelope
}

// Wire is the delivery as the frame that is pushed to the device.
func (d Delivery) Wire() *rendezvous.Deliver { return nil }

// Attach says that a device is connected. From now until Close, deliver is called for each envelope: in order, one at a time, with the
// Service's lock held. So deliver must not block, must not call the Service, and must not take a lock that its owner holds while
// calling the Service; it should append to the connection's queue, which needs room for Options.Untaken and Options.Window
// together and never more. An older attachment of the same device is closed.
func (s *Service) Attach(to Address, deliver func(Delivery)) (*Attachment, error) {
	return nil, errors.ErrUnsupported
}

// Attachment is one connected device. Its methods may be called from any goroutine.
type Attachment struct{}

// Taken says that the device holds these deliveries, or will never want them: they are forgotten. Unknown IDs, and all IDs after
// Close, are ignored.
func (a *Attachment) Taken(ids ...uint64) {}

// Close says that the connection is gone. What was live and untaken goes to the mailbox. No deliver call is running or
// begins after it has returned. Close is idempotent.
func (a *Attachment) Close() {}

// Counters are totals since New.
type Counters struct {
	Relayed   Usage  // outcome TAKEN: through memory alone
	Stored    Usage  // outcome STORED
	Delivered Usage  // taken out of the mailbox by their devices
	Expired   uint64 // envelopes whose lifetime ended in the mailbox
	Refused   map[rendezvous.Code]uint64
	InMemory  Usage  // now: untaken live ones and those that wait for a commit
	Attached  int    // now
	Commits   uint64 // transactions of the mailbox
	Failures  uint64 // transactions that failed
}

// Counters returns the present totals.
func (s *Service) Counters() Counters { return Counters{} }

// Waiting says what the mailbox holds for one device; Usage says it for an account.
func (s *Service) Waiting(ctx context.Context, to Address) (Usage, error) { return Usage{}, nil }

// Usage says what the mailbox holds for all devices of an account.
func (s *Service) Usage(ctx context.Context, account rendezvous.Username) (Usage, error) {
	return Usage{}, nil
}

// Purge forgets all that is kept for a device that has been removed, and closes its attachment.
func (s *Service) Purge(ctx context.Context, to Address) error { return nil }

// Drain refuses new submissions with CodeDraining, puts everything that is in memory into the mailbox and returns when all outcomes
// have been told and all deletions are committed, or when ctx ends. Attachments stay until they are closed, and get nothing more.
func (s *Service) Drain(ctx context.Context) error { return nil }

// Close stops the goroutines and waits for them. What is still in memory is refused with CodeDraining: call Drain first. Close
// is idempotent.
func (s *Service) Close() error { return nil }
