package peer

import (
	"crypto/rand"
	"errors"
	"log/slog"
	"time"

	"github.com/byway-chat/byway/crypto/session"
	"github.com/byway-chat/byway/peer/delivery"
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
}

// errNoBundle means that the directory has shown no valid prekey bundle of a device.
var errNoBundle = errors.New("the device has published no valid prekey bundle")

// seal encrypts a payload for a device, and begins a new session where the old one has come to its end.
func (c *core) seal(now time.Time, d *device, payload []byte) ([]byte, error) {
	if d.bundle == nil || !d.bundle.ValidAt(now) {
		return nil, errNoBundle
	}
	s := c.senders[d.Fingerprint]
	if s != nil && s.chain.Count() < sessionMessages && now.Sub(s.begun) < sessionAge && s.bundleSeq == d.bundle.Seq {
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
	c.senders[d.Fingerprint] = &sender{chain: chain, begun: now, bundleSeq: d.bundle.Seq}
	return envelope, nil
}

// send seals what the engine wants sent and hands it to its way. What cannot leave now goes back to the engine.
func (c *core) send(now time.Time, s delivery.Send) {
	d := c.devices[s.Device]
	if d == nil {
		return // the device left the account while its payload was on the way here
	}
	envelope, err := c.seal(now, d, s.Payload.Append(nil))
	if err == nil {
		err = c.transmit(d, s, envelope)
	}
	if err == nil {
		return
	}
	if errors.Is(err, errNoBundle) {
		c.refresh(d.contact)
		c.engine.Refused(now, s.To, s.Device, s.N, "no-key-published", noBundlePause)
		return
	}
	c.log.Debug("payload could not leave", slog.String("way", string(s.Via)), slog.Any("error", err))
	c.engine.Unsent(now, s)
	c.retry = true
}

func (c *core) transmit(d *device, s delivery.Send, envelope []byte) error {
	if s.Via.IsDirect() {
		if d.link == nil {
			return errors.New("the link has just closed")
		}
		return d.link.Send(envelope)
	}
	if c.conn == nil {
		return errors.New("the rendezvous has just gone")
	}
	if len(c.submits) >= maxSubmits {
		return errors.New("the rendezvous owes too many answers")
	}
	id, err := c.conn.Submit(d.Fingerprint, envelope, s.LiveOnly)
	if err != nil {
		return err
	}
	s.Payload = delivery.Payload{} // its body is in the outbox: this is only to know what an Outcome is about
	c.submits[id] = s
	return nil
}
