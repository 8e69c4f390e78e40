package peer

import (
	"time"

	"github.com/byway-chat/byway/peer/delivery"
	"github.com/byway-chat/byway/peer/trace"
)

// Sign is what was heard of a contact, on which it is based that they are there.
type Sign string

// The signs. All but the last were sent by the contact's device itself, and are authenticated.
const (
	SignHeartbeat Sign = "heartbeat" // of the direct link, or anything else on it
	SignMessage   Sign = "message"
	SignReceipt   Sign = "receipt" // one of our messages has arrived or was read
	SignPong      Sign = "pong"    // a ping was answered
	SignSignal    Sign = "signal"  // anything else that a device sends in its session
	SignPresence  Sign = "rendezvous"
)

// Evidence is the latest sign of life of a contact: what "online" is based on. The zero value is none.
type Evidence struct {
	Heard    *time.Time `json:"heard,omitempty"`
	HeardWay Way        `json:"heard_way,omitempty"` // by which it came; none where the rendezvous has said it
	HeardBy  Sign       `json:"heard_by,omitempty"`
}

// after reports whether e is the newer one.
func (e *Evidence) after(than *Evidence) bool {
	return e.Heard != nil && (than.Heard == nil || e.Heard.After(*than.Heard))
}

// experience is what one way to a device has shown. Owned by the core.
type experience struct {
	tried  time.Time // the latest attempt; zero: none
	failed string    // why that came to nothing; empty: it has not, or is still under way
	heard  time.Time // the latest sign of life by it; zero: none
	by     Sign
}

// tries notes that a way is being tried.
func (d *device) tries(now time.Time, w Way) { d.learnt(w).tried, d.learnt(w).failed = now, "" }

// fails notes why the latest attempt came to nothing.
func (d *device) fails(w Way, why string) { d.learnt(w).failed = trace.Clean(why) }

// hears notes a sign of life.
func (d *device) hears(now time.Time, w Way, by Sign) { d.learnt(w).heard, d.learnt(w).by = now, by }

// learnt returns what is known of a way, to be added to. There are five ways, so it is bounded.
func (d *device) learnt(w Way) *experience {
	if d.seen == nil {
		d.seen = map[Way]*experience{}
	}
	if d.seen[w] == nil {
		d.seen[w] = &experience{}
	}
	return d.seen[w]
}

// evidence returns the latest sign of life by one way. The time is UTC.
func (d *device) evidence(w Way) Evidence {
	out := Evidence{}
	if x := d.seen[w]; x != nil && !x.heard.IsZero() {
		at := x.heard.UTC()
		out = Evidence{Heard: &at, HeardWay: w, HeardBy: x.by}
	}
	if d.link != nil && d.linkWay == w {
		at := d.link.Heard().UTC()
		if beat := (Evidence{Heard: &at, HeardWay: w, HeardBy: SignHeartbeat}); beat.after(&out) {
			return beat
		}
	}
	return out
}

// evidence returns the latest sign of life of a contact: what one of the devices has sent, else that the rendezvous says so now.
func (c *core) evidence(now time.Time, name delivery.Account, online bool) Evidence {
	var out Evidence
	if ct := c.contacts[name]; ct != nil {
		for _, d := range ct.devices {
			for _, w := range []Way{WayLAN, WayDirect, WayPunched, WayRelay} {
				if e := d.evidence(w); e.after(&out) {
					out = e
				}
			}
		}
	}
	if out.Heard == nil && online && c.conn != nil {
		at := now.UTC()
		out = Evidence{Heard: &at, HeardBy: SignPresence}
	}
	return out
}

// signOf says what kind of sign a payload is.
func signOf(k delivery.Kind) Sign {
	switch k {
	case delivery.KindText:
		return SignMessage
	case delivery.KindAck, delivery.KindRead:
		return SignReceipt
	case delivery.KindPong:
		return SignPong
	default:
		return SignSignal
	}
}
