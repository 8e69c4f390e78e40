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

	mu         sync.Mutex
	lastID     uint64
	rows       []relay.Held
	kept       map[uint64]relay.Moment // of rows
	clock      relay.Clock
	refused    []refusal
	marks      uint64
	commits    int
	failing    bool
	unreadable bool // only reads fail
	latency    time.Duration
	reads      int
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
	b.commits++
	for _, told := range batch.Told {
		b.refused = slices.DeleteFunc(b.refused, func(r refusal) bool { return r.to == told.To && r.mark <= told.Mark })
	}
	for _, d := range batch.Deletions {
		b.rows = slices.DeleteFunc(b.rows, func(h relay.Held) bool { return h.ID == d.ID && h.To == d.To })
	}
	for _, p := range batch.Puts {
		account, pair := b.usage(p.Envelope.To.User, ""), b.usage(p.Envelope.To.User, p.Envelope.From.User)
		if !fits(account, p, batch.Quota.Account) || !fits(pair, p, batch.Quota.Pair) {
			p.Refused = true
			b.marks++
			b.refused = append(b.refused, refusal{to: p.Envelope.To, from: p.Envelope.From.User, at: p.Envelope.Submitted, mark: b.marks})
			continue
		}
		b.lastID++
		p.ID = b.lastID
		h := relay.Held{Envelope: *p.Envelope, ID: p.ID}
		h.Data = slices.Clone(h.Data)
		b.rows = append(b.rows, h)
		if b.kept == nil {
			b.kept = make(map[uint64]relay.Moment)
		}
		b.kept[p.ID] = batch.Kept
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
	if b.failing || b.unreadable {
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

func (b *memoryMailbox) Clock(context.Context) (relay.Clock, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.failing {
		return relay.Clock{}, errDisk
	}
	return b.clock, nil
}

// refusal is one envelope that did not fit.
type refusal struct {
	to   relay.Address
	from rendezvous.Username
	at   time.Time
	mark uint64
}

func (b *memoryMailbox) Refusals(_ context.Context, to relay.Address) (relay.Refusals, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	var r relay.Refusals
	if b.unreadable {
		return r, errDisk
	}
	from := make(map[rendezvous.Username]bool)
	for _, one := range b.refused {
		if one.to == to {
			if r.Mark == 0 {
				r.Since = one.at
			}
			from[one.from] = true
			r.Messages, r.Accounts, r.Mark = r.Messages+1, uint64(len(from)), one.mark
		}
	}
	return r, nil
}

func (b *memoryMailbox) Expire(_ context.Context, now relay.Clock, before relay.Moment, limit int) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.clock = now
	n := 0
	b.rows = slices.DeleteFunc(b.rows, func(h relay.Held) bool {
		if n == limit || b.kept[h.ID] >= before {
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

// hang makes Apply wait from now on until the channel is closed, or once for each time that it is sent to.
func (b *memoryMailbox) hang() chan struct{} {
	hold := make(chan struct{})
	b.set(func(b *memoryMailbox) { b.hold = hold })
	return hold
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

	mu       sync.Mutex
	got      []relay.Delivery
	flushed  int // deliveries that were there at the last Flush
	refusals []relay.Refusals
	refused  []relay.Refusals // since the last Flush
}

func (r *receiver) Deliver(d *relay.Delivery) {
	r.mu.Lock()
	defer r.mu.Unlock()
	own := *d
	own.Data = slices.Clone(d.Data)
	r.got = append(r.got, own)
}

func (r *receiver) Settle(uint64, relay.Outcome) { panic("it submits nothing") }

func (r *receiver) Refused(refusals relay.Refusals) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.refused = append(r.refused, refusals)
}

func (r *receiver) Flush() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.flushed = len(r.got)
	r.refusals, r.refused = append(r.refusals, r.refused...), nil
}

// deliveries are those that have gone out.
func (r *receiver) deliveries() []relay.Delivery {
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.Clone(r.got[:r.flushed])
}

// toldOf is what it was told of refusals.
func (r *receiver) toldOf() []relay.Refusals {
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.Clone(r.refusals)
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
	a, err := s.Attach(to, r)
	if err != nil {
		t.Fatalf("attach: %v", err)
	}
	r.attachment = a
	return r
}

// funcs is a link of functions, which are nil where they are not expected to be called.
type funcs struct {
	deliver func(*relay.Delivery)
	settle  func(uint64, relay.Outcome)
}

func (f *funcs) Deliver(d *relay.Delivery)             { f.deliver(d) }
func (f *funcs) Settle(number uint64, o relay.Outcome) { f.settle(number, o) }
func (f *funcs) Refused(relay.Refusals)                {}
func (f *funcs) Flush()                                {}

// outcomes is where everybody submits: it collects what submissions come to, by body.
type outcomes struct {
	mu     sync.Mutex
	bodies []string // by number
	got    map[string][]relay.Outcome
	open   map[string]bool // told, and not yet flushed; TAKEN needs no flush

	sendersMu sync.Mutex // guards the following; apart from mu, which Settle takes with the Service's lock held
	senders   map[relay.Address]*relay.Sender
}

func (o *outcomes) sender(s *relay.Service, from relay.Address) *relay.Sender {
	o.sendersMu.Lock()
	defer o.sendersMu.Unlock()
	if o.senders == nil {
		o.senders = make(map[relay.Address]*relay.Sender)
	}
	sender := o.senders[from]
	if sender == nil {
		sender = s.Sender(from, o)
		o.senders[from] = sender
	}
	return sender
}

func (o *outcomes) submit(s *relay.Service, from, to relay.Address, body string, liveOnly bool) {
	o.submitAll(s, from, to, liveOnly, body)
}

// submitAll submits several bodies at once.
func (o *outcomes) submitAll(s *relay.Service, from, to relay.Address, liveOnly bool, bodies ...string) {
	sender := o.sender(s, from)
	o.mu.Lock()
	if o.got == nil {
		o.got, o.open = make(map[string][]relay.Outcome), make(map[string]bool)
	}
	var submissions []relay.Submission
	var wire [][]byte
	for _, body := range bodies {
		envelope := []byte(body)
		submissions = append(submissions, relay.Submission{Number: uint64(len(o.bodies)), Device: to.Device[:], Envelope: envelope, LiveOnly: liveOnly})
		o.bodies, wire = append(o.bodies, body), append(wire, envelope)
	}
	o.mu.Unlock()
	sender.Submit(context.Background(), submissions...)
	for _, envelope := range wire {
		clear(envelope) // the relay must have copied it
	}
}

func (o *outcomes) Settle(number uint64, outcome relay.Outcome) {
	o.mu.Lock()
	defer o.mu.Unlock()
	body := o.bodies[number]
	o.got[body] = append(o.got[body], outcome)
	o.open[body] = outcome.State != rendezvous.Outcome_TAKEN
}

func (o *outcomes) Flush() {
	o.mu.Lock()
	defer o.mu.Unlock()
	clear(o.open)
}

func (o *outcomes) Deliver(*relay.Delivery) { panic("it receives nothing") }
func (o *outcomes) Refused(relay.Refusals)  { panic("it receives nothing") }

// of is the outcome of a body: "TAKEN", "STORED", a code, or "" while it is open. It fails on a second one.
func (o *outcomes) of(t testing.TB, body string) string {
	t.Helper()
	o.mu.Lock()
	defer o.mu.Unlock()
	switch got := o.got[body]; {
	case len(got) == 0 || o.open[body]:
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
