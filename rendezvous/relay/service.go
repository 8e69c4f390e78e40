package relay

import (
	"context"
	"sync"

	"github.com/byway-chat/byway/crypto/identity"
	"github.com/byway-chat/byway/rendezvous"
)

// Service is the relay of one rendezvous.
type Service struct {
	mailbox   Mailbox
	directory Directory
	o         Options
	inits     *initLimit
	clock     *mailboxClock
	cancel    context.CancelFunc // ends reads of the mailbox; never a commit
	stop      chan struct{}      // closed by Close
	alarm     chan struct{}      // capacity 1: sent to when armed becomes true
	running   sync.WaitGroup

	mu       sync.Mutex // guards the following, and every device, Attachment, message and Tap
	work     *sync.Cond // the committer has something to do
	readable *sync.Cond // reads is not empty
	settled  *sync.Cond // a commit has ended
	devices  map[identity.Fingerprint]*device
	senders  map[identity.Fingerprint]*unresolved
	spare    []*message // records for the next envelopes
	delivery Delivery   // the one that is being delivered
	live     liveList   // in the order of their deadlines
	armed    bool       // watchDeadlines looks again by itself
	queue    commitQueue
	reads    []*Attachment // that wait for a reader, each once
	taps     map[*Tap]struct{}
	counters Counters
	draining bool
	closed   bool
}

// device is what is known of a recipient while it is attached or something is under way for it.
type device struct {
	to         Address
	attachment *Attachment         // nil while it is away
	storing    int                 // puts that are queued or being committed
	spilling   int                 // those of them that the present attachment has been given
	commits    uint64              // puts that have been settled
	forgetting map[uint64]struct{} // IDs whose deletion is queued or being committed
}

// New makes a Service and starts its goroutines: one that commits, one that keeps time, one that deletes what has expired, and
// Options.Readers that read the mailbox. Close stops them and waits.
func New(m Mailbox, d Directory, o Options) *Service {
	o = o.withDefaults()
	ctx, cancel := context.WithCancel(context.Background())
	s := &Service{
		mailbox:   m,
		directory: d,
		o:         o,
		inits:     newInitLimit(o),
		clock:     &mailboxClock{mailbox: m, wall: o.Now},
		cancel:    cancel,
		stop:      make(chan struct{}),
		alarm:     make(chan struct{}, 1),
		devices:   make(map[identity.Fingerprint]*device),
		senders:   make(map[identity.Fingerprint]*unresolved),
		taps:      make(map[*Tap]struct{}),
	}
	s.counters.Refused = make(map[rendezvous.Code]uint64)
	s.work = sync.NewCond(&s.mu)
	s.readable = sync.NewCond(&s.mu)
	s.settled = sync.NewCond(&s.mu)
	s.running.Go(s.commitAll)
	s.running.Go(s.watchDeadlines)
	s.running.Go(func() { s.sweepAll(ctx) })
	for range o.Readers {
		s.running.Go(func() { s.readAll(ctx) })
	}
	return s
}

// deviceLocked returns the record of a device, making it where there is none. Whoever ends something calls tidyLocked.
func (s *Service) deviceLocked(to Address) *device {
	d := s.devices[to.Device]
	if d == nil {
		d = &device{to: to, forgetting: make(map[uint64]struct{})}
		s.devices[to.Device] = d
	}
	return d
}

func (s *Service) tidyLocked(d *device) {
	if d.attachment == nil && d.storing == 0 && len(d.forgetting) == 0 {
		delete(s.devices, d.to.Device)
	}
}

// Counters are totals since New, and a few present values.
type Counters struct {
	Relayed   Usage                      // outcome TAKEN before it was stored
	Stored    Usage                      // outcome STORED
	Delivered Usage                      // taken by their devices after they were stored
	Expired   uint64                     // envelopes whose lifetime ended in the mailbox
	Refused   map[rendezvous.Code]uint64 // outcome REFUSED, by code
	Kept      uint64                     // deletions given up after failures: these envelopes come again
	Commits   uint64                     // transactions of the mailbox
	Failures  uint64                     // transactions that failed
	InMemory  Usage                      // now: untaken live ones and those that wait for a commit
	Attached  int                        // now
}

// Counters returns the present totals.
func (s *Service) Counters() Counters {
	s.mu.Lock()
	defer s.mu.Unlock()
	c := s.counters
	c.Refused = make(map[rendezvous.Code]uint64, len(s.counters.Refused))
	for code, n := range s.counters.Refused {
		c.Refused[code] = n
	}
	return c
}

// Waiting says what the mailbox holds for one device.
func (s *Service) Waiting(ctx context.Context, to Address) (Usage, error) {
	return s.mailbox.Waiting(ctx, to)
}

// Usage says what the mailbox holds for all devices of an account.
func (s *Service) Usage(ctx context.Context, account rendezvous.Username) (Usage, error) {
	return s.mailbox.Usage(ctx, account)
}
