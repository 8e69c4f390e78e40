package relay_test

import (
	"context"
	"errors"
	"slices"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/byway-chat/byway/crypto/identity"
	"github.com/byway-chat/byway/rendezvous"
	"github.com/byway-chat/byway/rendezvous/relay"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

var errDisk = errors.New("no space left on device")

// memoryMailbox is a Mailbox in memory whose disk can fail, and can be held in the middle of a commit.
type memoryMailbox struct {
	hold chan struct{} // when not nil, Apply waits until it is closed or sent to

	mu      sync.Mutex
	lastID  uint64
	rows    []relay.Held
	failing bool
	latency time.Duration
	reads   int
}

func (b *memoryMailbox) Apply(ctx context.Context, batch *relay.Batch) error {
	b.mu.Lock()
	hold, latency := b.hold, b.latency
	b.mu.Unlock()
	if hold != nil {
		<-hold
	}
	if latency > 0 {
		time.Sleep(latency) // in a synctest bubble
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.failing {
		return errDisk
	}
	for _, d := range batch.Deletions {
		b.rows = slices.DeleteFunc(b.rows, func(h relay.Held) bool { return h.ID == d.ID && h.To == d.To })
	}
	for _, p := range batch.Puts {
		account, pair := b.usage(p.Envelope.To.User, ""), b.usage(p.Envelope.To.User, p.Envelope.From.User)
		if !fits(account, p, batch.Quota.Account) || !fits(pair, p, batch.Quota.Pair) {
			p.Refused = true
			continue
		}
		b.lastID++
		p.ID = b.lastID
		b.rows = append(b.rows, relay.Held{Envelope: *p.Envelope, ID: p.ID})
	}
	return nil
}

func fits(u relay.Usage, p *relay.Put, bound relay.Usage) bool {
	return u.Messages < bound.Messages && u.Bytes+uint64(len(p.Envelope.Data)) <= bound.Bytes
}

func (b *memoryMailbox) usage(to, from rendezvous.Username) relay.Usage {
	var u relay.Usage
	for _, h := range b.rows {
		if h.To.User == to && (from == "" || h.From.User == from) {
			u.Messages++
			u.Bytes += uint64(len(h.Data))
		}
	}
	return u
}

func (b *memoryMailbox) Page(_ context.Context, to relay.Address, after uint64, limit, maxBytes int) ([]relay.Held, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.reads++
	if b.failing {
		return nil, errDisk
	}
	var page []relay.Held
	for _, h := range b.rows {
		if h.To != to || h.ID <= after {
			continue
		}
		if len(page) == limit || len(page) > 0 && len(h.Data) > maxBytes {
			break
		}
		maxBytes -= len(h.Data)
		page = append(page, h)
	}
	return page, nil
}

func (b *memoryMailbox) Waiting(_ context.Context, to relay.Address) (relay.Usage, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	var u relay.Usage
	for _, h := range b.rows {
		if h.To == to {
			u.Messages++
			u.Bytes += uint64(len(h.Data))
		}
	}
	return u, nil
}

func (b *memoryMailbox) Usage(_ context.Context, account rendezvous.Username) (relay.Usage, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.usage(account, ""), nil
}

func (b *memoryMailbox) Expire(_ context.Context, before time.Time, limit int) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	n := 0
	b.rows = slices.DeleteFunc(b.rows, func(h relay.Held) bool {
		if n == limit || !h.Submitted.Before(before) {
			return false
		}
		n++
		return true
	})
	return n, nil
}

func (b *memoryMailbox) Purge(_ context.Context, to relay.Address) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.rows = slices.DeleteFunc(b.rows, func(h relay.Held) bool { return h.To == to })
	return nil
}

func (b *memoryMailbox) set(change func(b *memoryMailbox)) {
	b.mu.Lock()
	defer b.mu.Unlock()
	change(b)
}

// bodies returns what is held for a device, in order.
func (b *memoryMailbox) bodies(to relay.Address) []string {
	b.mu.Lock()
	defer b.mu.Unlock()
	var out []string
	for _, h := range b.rows {
		if h.To == to {
			out = append(out, string(h.Data))
		}
	}
	return out
}

// people is a Directory of fixed devices.
type people map[identity.Fingerprint]rendezvous.Username

func (p people) Owner(_ context.Context, device identity.Fingerprint) (rendezvous.Username, error) {
	if name, ok := p[device]; ok {
		return name, nil
	}
	return "", rendezvous.Errorf(rendezvous.CodeNoSuchDevice, "no such device")
}

func address(name string, device byte) relay.Address {
	return relay.Address{User: rendezvous.Username(name), Device: identity.Fingerprint{device}}
}

var (
	alice = address("alice", 1)
	bob   = address("bob", 2)
	bob2  = address("bob", 3)
	carol = address("carol", 4)
)

func everybody() people {
	p := make(people)
	for _, a := range []relay.Address{alice, bob, bob2, carol} {
		p[a.Device] = a.User
	}
	return p
}

// receiver is a connected device: it notes what it is given and takes it when told to.
type receiver struct {
	attachment *relay.Attachment
	taken      map[uint64]bool // for the test that owns it

	mu  sync.Mutex
	got []relay.Delivery
}

func (r *receiver) deliver(d relay.Delivery) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.got = append(r.got, d)
}

func (r *receiver) deliveries() []relay.Delivery {
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.Clone(r.got)
}

func (r *receiver) bodies() []string {
	var out []string
	for _, d := range r.deliveries() {
		out = append(out, string(d.Data))
	}
	return out
}

// takeAll says Taken for all deliveries so far.
func (r *receiver) takeAll() {
	var ids []uint64
	for _, d := range r.deliveries() {
		ids = append(ids, d.ID)
	}
	r.attachment.Taken(ids...)
}

func attach(t testing.TB, s *relay.Service, to relay.Address) *receiver {
	t.Helper()
	r := &receiver{taken: make(map[uint64]bool)}
	a, err := s.Attach(to, r.deliver)
	if err != nil {
		t.Fatalf("attach: %v", err)
	}
	r.attachment = a
	return r
}

// outcomes collects what submissions come to, by body.
type outcomes struct {
	mu  sync.Mutex
	got map[string][]relay.Outcome
}

func (o *outcomes) submit(s *relay.Service, from, to relay.Address, body string, liveOnly bool) {
	s.Submit(context.Background(), relay.Submission{From: from, Device: to.Device[:], Envelope: []byte(body), LiveOnly: liveOnly},
		func(outcome relay.Outcome) {
			o.mu.Lock()
			defer o.mu.Unlock()
			if o.got == nil {
				o.got = make(map[string][]relay.Outcome)
			}
			o.got[body] = append(o.got[body], outcome)
		})
}

// of is the outcome of a body: "TAKEN", "STORED", a code, or "" while it is open. It fails on a second one.
func (o *outcomes) of(t testing.TB, body string) string {
	t.Helper()
	o.mu.Lock()
	defer o.mu.Unlock()
	switch got := o.got[body]; {
	case len(got) == 0:
		return ""
	case len(got) > 1:
		t.Fatalf("%q got %d outcomes: %v", body, len(got), got)
		return ""
	case got[0].State == rendezvous.Outcome_REFUSED:
		return string(got[0].Code)
	default:
		return got[0].State.String()
	}
}
