package peer

import (
	"log/slog"
	"time"

	"golang.org/x/time/rate"

	"github.com/byway-chat/byway/crypto/session"
	"github.com/byway-chat/byway/peer/delivery"
)

// How often a device is asked for a new session, and how often it may ask for one: so many times at once, then once in a while. A home that was put
// back, or that runs as two copies in turns, needs some at once; but each costs an opening, and has everything sent again that was not acknowledged.
const (
	resetEvery = 10 * time.Second
	resetBurst = 8
	resetAgain = 2 * time.Second // until it is asked once more for the same: a Reset may be lost, and a whole window may have come in that session
)

// resets is what was asked of a device and by it because of sessions that one of the two could not open. Owned by the core.
type resets struct {
	asked    *rate.Limiter // of our asking it
	of       session.ID    // for which session of its own that was last
	at       time.Time     // and when
	taken    *rate.Limiter // of its asking us
	later    session.ID    // for which it has asked when that was too often: it is heeded later; zeros: none
	replaced session.ID    // the session that we ended ourselves when we asked it: it may ask for the same, and what went into it is sent again
}

func newResets() resets {
	limit := func() *rate.Limiter { return rate.NewLimiter(rate.Every(resetEvery), resetBurst) }
	return resets{asked: limit(), taken: limit()}
}

// askReset tells a device that we cannot open its session, so that it begins a new one and sends again.
func (c *core) askReset(in inbound, id session.ID) {
	d := c.devices[in.device]
	if d == nil {
		if !in.asked && in.name != "" {
			c.introduce(in)
			return
		}
		c.discard(in, "session is not known")
		return
	}
	in.taken()
	now := time.Now()
	if id == d.resets.of && now.Sub(d.resets.at) < resetAgain || !d.resets.asked.AllowN(now, 1) {
		return
	}
	d.resets.of, d.resets.at = id, now
	// It goes in a new session: the device may know ours as little as we know its, and then would never open what we ask.
	if s := c.senders[d.Fingerprint]; s != nil {
		d.resets.replaced = s.chain.ID()
		delete(c.senders, d.Fingerprint)
	}
	c.engine.Reset(d.contact.Name, in.device, in.way, id)
}

// resetSession ends the session that a device says it cannot open, before anything is sent again: it must go into a new one. A Reset of the
// one that we ended when we asked for a Reset ourselves is as good; one of any other session is no reason to send everything again. One too many is
// heeded later: nobody could open what is sent until then.
func (c *core) resetSession(d *device, id session.ID) bool {
	s := c.senders[d.Fingerprint]
	current := s != nil && s.chain.ID() == id
	again := id == d.resets.replaced && id != (session.ID{})
	if !current && !again {
		return false
	}
	if !d.resets.taken.AllowN(time.Now(), 1) {
		c.resetLater(d, id)
		return false
	}
	d.resets.replaced = session.ID{}
	if current {
		delete(c.senders, d.Fingerprint)
	}
	return true
}

// resetLater takes a Reset for one that comes when the next may.
func (c *core) resetLater(d *device, id session.ID) {
	waits := d.resets.later != session.ID{}
	if d.resets.later = id; waits {
		return
	}
	c.log.Info("a device asks for new sessions too often", slog.String("device", d.Fingerprint.Device()))
	time.AfterFunc(resetEvery, func() {
		c.post(func() {
			id := d.resets.later
			d.resets.later = session.ID{}
			if c.devices[d.Fingerprint] == d && c.resetSession(d, id) {
				reset := &delivery.Payload{Kind: delivery.KindReset, Reset: &delivery.Reset{Session: id}}
				c.engine.Arrived(time.Now(), d.contact.Name, d.Fingerprint, WayRelay, reset)
			}
		})
	})
}
