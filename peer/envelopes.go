package peer

import (
	"context"
	"errors"
	"log/slog"
	"time"

	"golang.org/x/time/rate"

	"github.com/byway-chat/byway/crypto/identity"
	"github.com/byway-chat/byway/crypto/session"
	"github.com/byway-chat/byway/peer/delivery"
	"github.com/byway-chat/byway/peer/history"
)

// How old an Init may be, and how far in the future by the sender's clock (docs/protocol.md, "Sessions").
const (
	initMaxAge  = 14 * 24 * time.Hour
	initMaxSkew = 10 * time.Minute
)

// An Init costs 3 ms of a core. These limits leave room for a person who runs one short command after another.
const (
	initsPerSecond = 10
	initBurst      = 200
	initRetry      = 500 * time.Millisecond
)

// inbound is an envelope on its way in. Who it is from is a claim of the link or of the rendezvous until it has been opened.
type inbound struct {
	name     delivery.Account
	device   delivery.Device
	way      Way
	envelope []byte
	taken    func() // marks it as dealt with, to be acknowledged after the commit
	asked    bool   // the directory was already asked because of it
}

// receiver is a session in which a device writes to us. Owned by the core.
type receiver struct {
	chain  *session.Receiver
	device delivery.Device
	dirty  bool // it is among the moved
}

// errUnknownSender is what Accept brings back for a device that is not pinned.
var errUnknownSender = errors.New("the sender's device is not known")

// receive opens an envelope. Whatever is wrong with one ends there, without an answer: the sender must learn nothing from our errors.
func (c *core) receive(in inbound) {
	if c.stall.cause != nil {
		return // it could not be kept, so it must come again
	}
	if c.strangers.expects(in.name) {
		c.strangers.add(in.name, in)
		return
	}
	header, err := session.Peek(in.envelope)
	if err != nil {
		c.discard(in, "not an envelope")
		return
	}
	if d := c.devices[in.device]; d != nil && d.Trust == history.Pending {
		c.block(in)
		return
	}
	if header.Kind == session.KindInit {
		c.receiveInit(in, header)
		return
	}
	r, known := c.receiver(header.Session)
	if r == nil {
		if known || !c.awaitInit(in, header.Session) {
			c.askReset(in, header.Session)
		}
		return
	}
	if r.device != in.device {
		c.discard(in, "session belongs to another device")
		return
	}
	if c.devices[in.device] == nil { // its contact was lost with a page of the file, the session was not
		c.introduce(in)
		return
	}
	payload, err := r.chain.Open(in.envelope)
	if errors.Is(err, session.ErrReplayed) {
		in.taken()
		return
	}
	if err != nil {
		c.discard(in, "envelope does not open")
		return
	}
	c.move(r)
	c.opened(in, payload)
}

// receiver finds a session in memory or on the disk. known is true also for one that is closed.
func (c *core) receiver(id session.ID) (r *receiver, known bool) {
	if r, ok := c.sessions.Get(id); ok {
		return r, true
	}
	stored, known, err := c.store.Session(context.Background(), id)
	if err != nil {
		c.log.Error("session does not load", slog.Any("error", err))
		return nil, false
	}
	if !known || stored.State == nil {
		return nil, known
	}
	chain, err := session.UnmarshalReceiver(stored.State)
	if err != nil {
		c.log.Error("session does not load", slog.Any("error", err))
		return nil, false
	}
	r = &receiver{chain: chain, device: stored.Device}
	c.keep(r)
	return r, true
}

// keep puts a session into memory. One that falls out while it is dirty is written with this batch.
func (c *core) keep(r *receiver) {
	if c.sessions.Len() >= openReceivers {
		c.movedSessions(time.Now())
	}
	c.sessions.Add(r.chain.ID(), r)
}

// move notes that a chain has moved since the last commit.
func (c *core) move(r *receiver) {
	if !r.dirty {
		r.dirty = true
		c.moved = append(c.moved, r)
	}
}

// movedSessions adds the chains that have moved to the batch.
func (c *core) movedSessions(now time.Time) {
	for _, r := range c.moved {
		r.dirty = false
		state, err := r.chain.MarshalBinary()
		if err != nil {
			c.log.Error("session does not encode", slog.Any("error", err))
			continue
		}
		c.batch.Sessions = append(c.batch.Sessions, history.Session{ID: r.chain.ID(), Device: r.device, Used: now, State: state})
	}
	clear(c.moved)
	c.moved = c.moved[:0]
}

func (c *core) receiveInit(in inbound, header session.Header) {
	if _, known := c.receiver(header.Session); known {
		in.taken() // a replay, or a delivery that we took before and could not say so
		return
	}
	key := c.keys.EncryptionKey(header.Key)
	if key == nil {
		c.askReset(in, header.Session)
		return
	}
	if d := c.devices[in.device]; d != nil && !d.inits.Allow() {
		if in.way.IsDirect() {
			return // the sender has had no acknowledgement and sends again; keeping it would let a link fill our memory
		}
		// The rendezvous has at most its window of these under way.
		time.AfterFunc(initRetry, func() { c.post(func() { c.receive(in) }) })
		return
	}
	var from session.Party
	opened, err := session.Accept(in.envelope, key, c.self, func(claimed session.Party) (*identity.PublicKey, error) {
		from = claimed
		d := c.devices[claimed.Fingerprint]
		if d == nil || string(d.contact.Name) != claimed.Name || d.Trust == history.Gone {
			return nil, errUnknownSender
		}
		return d.key, nil
	})
	if errors.Is(err, errUnknownSender) {
		in.name, in.device = delivery.Account(from.Name), from.Fingerprint
		c.introduce(in)
		return
	}
	now := time.Now()
	switch {
	case err != nil:
		c.discard(in, "envelope does not open")
	case opened.From.Fingerprint != in.device:
		c.discard(in, "envelope is from another device")
	case now.Sub(opened.Time) > initMaxAge || opened.Time.Sub(now) > initMaxSkew:
		c.discard(in, "session opening is too old or from the future")
	default:
		r := &receiver{chain: opened.Receiver, device: in.device}
		c.keep(r)
		c.move(r)
		c.opened(in, opened.Payload)
		for _, early := range c.early.leave(header.Session) {
			c.receive(early)
		}
	}
}

// opened hands what an authenticated envelope carried to the delivery engine.
func (c *core) opened(in inbound, payload []byte) {
	p, err := delivery.ParsePayload(payload)
	if err != nil {
		c.discard(in, "payload is malformed")
		return
	}
	in.taken()
	d, now := c.devices[in.device], time.Now()
	c.hearTerms(now, d, in.way, p.Parts()) // before a message beside them makes us look for a way
	for _, part := range p.Parts() {
		if part.Kind == delivery.KindReset && !c.resetSession(d, part.Reset.Session) {
			continue
		}
		if in.way != WayMailbox { // that was sent at some time
			d.hears(now, in.way, signOf(part.Kind))
		}
		if part.Kind == delivery.KindText {
			c.active(now, d.contact, !part.Text.Apart)
		}
		if part.Kind == delivery.KindTerms {
			continue // not for the engine
		}
		c.engine.Arrived(now, d.contact.Name, in.device, in.way, part)
	}
}

// discard drops an envelope that will never open. It is dealt with: nobody must send it again.
func (c *core) discard(in inbound, why string) {
	c.log.Info("envelope discarded", slog.String("why", why), slog.String("way", string(in.way)), slog.String("device", in.device.Device()))
	in.taken()
}

// block keeps an envelope of a device that the person has not accepted, unopened and unanswered.
func (c *core) block(in inbound) {
	d := c.devices[in.device]
	in.taken()
	if d.blocked >= maxBlockedNow {
		// It is taken all the same: left with the rendezvous it would hold up what others have sent. Its sender has had no acknowledgement.
		c.log.Info("envelope of an unaccepted device is not kept", slog.String("device", in.device.Device()))
		return
	}
	d.blocked++
	c.batch.Blocked = append(c.batch.Blocked, history.Blocked{Account: d.contact.Name, Device: in.device, Way: in.way, Envelope: in.envelope})
}

// maxBlockedNow is how many envelopes of an unaccepted device this process keeps; the history has a bound of its own.
const maxBlockedNow = 500

func newInitLimit() *rate.Limiter { return rate.NewLimiter(initsPerSecond, initBurst) }
