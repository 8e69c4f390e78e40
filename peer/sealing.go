package peer

import (
	"cmp"
	"crypto/rand"
	"errors"
	"log/slog"
	"slices"
	"time"

	"github.com/byway-chat/byway/crypto/session"
	"github.com/byway-chat/byway/peer/delivery"
	"github.com/byway-chat/byway/peer/link"
)

// When a session is replaced by a new one (docs/protocol.md, "Sessions").
const (
	sessionMessages = 1024
	sessionAge      = 15 * time.Minute
	maxSubmits      = 8192             // envelopes of whose fate the rendezvous has said nothing yet
	noBundlePause   = 10 * time.Second // between two looks for a device's missing bundle
)

// sender is a session in which we write to a device. It lives in memory only: after a restart a new one begins, so that no key
// is ever used twice. Owned by the core.
type sender struct {
	chain     *session.Sender
	begun     time.Time
	bundleSeq uint64
	by        *link.Link // that its opening went by; nil: the rendezvous
	opening   uint64     // number of the envelope that took its opening to the rendezvous; 0: none did
}

// freshSession is how old a session may be for its opening to have been lost, when the link that carried it was heard last.
const freshSession = 2 * time.Second

// lost reports whether the opening may be lost with the link that has carried it: then what goes by another way could not be opened there.
func (s *sender) lost() bool {
	return s.by != nil && (s.by.Doubtful() || s.by.Err() != nil) && s.begun.Add(freshSession).After(s.by.Heard())
}

// opens reports whether nothing but its opening was sealed yet.
func (s *sender) opens() bool { return s.chain.Count() == 1 }

// unopened forgets the session of a device whose opening has not left, or was refused: nothing that is sealed in it could be opened there.
func (c *core) unopened(d delivery.Device, lost func(s *sender) bool) {
	if s := c.senders[d]; s != nil && lost(s) {
		delete(c.senders, d)
	}
}

// lasts reports whether the session has room for so many envelopes more, and need not be replaced for another reason.
func (s *sender) lasts(now time.Time, d *device, envelopes int) bool {
	return s.chain.Count()+uint64(envelopes) <= sessionMessages && now.Sub(s.begun) < sessionAge && s.bundleSeq == d.bundle.Seq
}

// errNoBundle means that the directory has shown no valid prekey bundle of a device.
var errNoBundle = errors.New("the device has published no valid prekey bundle")

// seal encrypts a payload for a device, to go by a link or, for nil, by the rendezvous. It begins a new session where the old one has come to its end, or would
// with so many envelopes, this one among them: they go together, the surest way first, and that is the one on which a session must begin.
func (c *core) seal(now time.Time, d *device, by *link.Link, envelopes int, payload []byte) ([]byte, error) {
	if d.bundle == nil || !d.bundle.ValidAt(now) {
		return nil, errNoBundle
	}
	s := c.senders[d.Fingerprint]
	if s != nil && s.lasts(now, d, envelopes) && (s.by == by || !s.lost()) {
		return s.chain.Seal(payload)
	}
	start := session.Start{
		From: c.self, Signer: c.keys.Identity,
		To:  session.Party{Name: string(d.contact.Name), Fingerprint: d.Fingerprint},
		Key: d.bundle.Key, Time: now,
	}
	if s != nil {
		start.Prev, start.PrevCount = s.chain.ID(), s.chain.Count()
	}
	chain, envelope, err := session.Begin(rand.Reader, start, payload)
	if err != nil {
		return nil, err
	}
	c.senders[d.Fingerprint] = &sender{chain: chain, begun: now, bundleSeq: d.bundle.Seq, by: by}
	return envelope, nil
}

// parcel is what goes to one device by one way in one envelope.
type parcel struct {
	device delivery.Device
	via    delivery.Way
	live   bool // the rendezvous must not keep it
	size   int  // bytes of the payloads, at most
	sends  []delivery.Send
}

// parcels puts together what may share an envelope. What the rendezvous will store goes alone: its quotas count envelopes.
func (c *core) parcels(sends []delivery.Send) []*parcel {
	var all []*parcel
	type key struct {
		device delivery.Device
		via    delivery.Way
		live   bool
	}
	open := map[key]*parcel{}
	for _, s := range sends {
		k := key{s.Device, s.Via, s.LiveOnly}
		size := s.Payload.Size()
		p := open[k]
		if p == nil || len(p.sends) == delivery.MaxBundle || p.size+size > delivery.MaxPayload {
			p = &parcel{device: s.Device, via: s.Via, live: s.LiveOnly}
			all = append(all, p)
			if s.Via.IsDirect() || c.online[s.To][s.Device] {
				open[k] = p
			}
		}
		p.sends = append(p.sends, s)
		p.size += size
	}
	return all
}

func (p *parcel) payload() []byte {
	if len(p.sends) == 1 {
		return p.sends[0].Payload.Append(nil)
	}
	bundle := delivery.Payload{Kind: delivery.KindBundle, Bundle: make([]*delivery.Payload, len(p.sends))}
	for i := range p.sends {
		bundle.Bundle[i] = &p.sends[i].Payload
	}
	return bundle.Append(make([]byte, 0, p.size))
}

// dispatch seals what the engine wants sent and hands it to its way. What cannot leave now goes back to the engine.
func (c *core) dispatch(now time.Time, sends []delivery.Send) {
	parcels := c.parcels(sends)
	// A session must not begin on a way that is in doubt: what goes by the relay could not be opened.
	slices.SortStableFunc(parcels, func(a, b *parcel) int { return cmp.Compare(c.doubtful(a), c.doubtful(b)) })
	left := map[delivery.Device]int{} // envelopes that are still to be sealed
	for _, p := range parcels {
		left[p.device]++
	}
	for _, p := range parcels {
		d := c.devices[p.device]
		if d == nil {
			continue // the device left the account while its payload was on the way here
		}
		var by *link.Link
		if p.via.IsDirect() {
			by = d.link
		}
		envelope, err := c.seal(now, d, by, min(left[p.device], sessionMessages/2), p.payload())
		left[p.device]--
		if err == nil {
			err = c.transmit(d, p, envelope)
		}
		if err == nil {
			continue
		}
		if errors.Is(err, errNoBundle) {
			c.refresh(d.contact)
			for _, s := range p.sends {
				c.engine.Refused(now, s.To, s.Device, s.N, "no-key-published", noBundlePause)
			}
			continue
		}
		c.unopened(p.device, (*sender).opens)
		c.log.Debug("payload could not leave", slog.String("way", string(p.via)), slog.Any("error", err))
		for _, s := range p.sends {
			c.engine.Unsent(now, s)
		}
		c.retry = true
	}
}

// doubtful is 1 for a parcel that goes by a link in doubt, else 0.
func (c *core) doubtful(p *parcel) int {
	if d := c.devices[p.device]; p.via.IsDirect() && d != nil && d.link != nil && d.link.Doubtful() {
		return 1
	}
	return 0
}

func (c *core) transmit(d *device, p *parcel, envelope []byte) error {
	if p.via.IsDirect() {
		if d.link == nil {
			return errors.New("the link has just closed")
		}
		return d.link.Send(envelope)
	}
	if c.conn == nil {
		return errors.New("the rendezvous has just gone")
	}
	if c.weather.loses(d.id, WayRelay) {
		return nil // and nothing is known of its fate
	}
	if len(c.submits) >= maxSubmits {
		return errors.New("the rendezvous owes too many answers")
	}
	id, err := c.conn.Submit(d.Fingerprint, envelope, p.live)
	if err != nil {
		return err
	}
	for i := range p.sends {
		p.sends[i].Payload = delivery.Payload{} // the bodies are in the outbox: this is only to know what an Outcome is about
	}
	c.submits[id] = p.sends
	if s := c.senders[p.device]; s != nil && s.opens() {
		s.opening = id
	}
	return nil
}
