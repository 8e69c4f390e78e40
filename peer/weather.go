package peer

import (
	"context"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"time"

	"github.com/libp2p/go-libp2p/core/network"
	"github.com/libp2p/go-libp2p/core/peer"

	"github.com/byway-chat/byway/peer/delivery"
)

// MaxDisturbance is how long a [Disturbance] and an interruption last at most. Whoever wants more asks again.
const MaxDisturbance = 5 * time.Minute

// Disturbance is what an experiment does to a way to one contact: at this end whole frames are lost, those that leave and those that arrive. Delivery
// mends it, as it mends a bad network. It ends by itself, so that it does not outlive whoever asked for it.
type Disturbance struct {
	Way  string        // lan, direct (every way past the rendezvous), punched (those over public addresses), relay; auto or empty: all
	Loss float64       // the share of frames that is lost, from 0, which ends it, to 1, which is a way that is dead
	For  time.Duration // more than 0 where something is lost, at most MaxDisturbance
}

// ways returns the ways that a name of a [Disturbance] stands for.
func (d *Disturbance) ways() ([]Way, error) {
	switch d.Way {
	case "", "auto":
		return []Way{WayLAN, WayDirect, WayRelay}, nil
	case "direct":
		return []Way{WayLAN, WayDirect}, nil
	case string(WayLAN):
		return []Way{WayLAN}, nil
	case string(WayPunched):
		return []Way{WayDirect}, nil
	case string(WayRelay):
		return []Way{WayRelay}, nil
	}
	return nil, &Error{Code: CodeUsage, Message: fmt.Sprintf("%q is not a way that can be disturbed", d.Way), Hint: "use lan, direct, punched, relay or auto"}
}

func (d *Disturbance) check() error {
	if !(d.Loss >= 0 && d.Loss <= 1) { // not a number is neither
		return &Error{Code: CodeUsage, Message: "the share of lost frames is not between 0 and 1"}
	}
	if d.For < 0 || d.Loss > 0 && d.For == 0 || d.For > MaxDisturbance {
		return &Error{Code: CodeUsage, Message: fmt.Sprintf("a disturbance lasts up to %v", MaxDisturbance)}
	}
	return nil
}

// weather is what experiments do to the ways. Links ask it from their own goroutines, for each frame.
type weather struct {
	random func() float64 // immutable; below 1
	stormy atomic.Bool    // there may be storms; what is asked first

	mu     sync.Mutex // guards the following
	storms map[spot]storm
	apart  time.Time // until then there is no rendezvous for us
}

// spot is a way to a device. Public addresses are the way direct here, whether a punch was needed or not.
type spot struct {
	id  peer.ID
	way Way
}

type storm struct {
	loss  float64
	until time.Time
}

func newWeather() *weather { return &weather{random: rand.Float64, storms: map[spot]storm{}} }

// maxStorms bounds what is remembered: a contact has at most eight devices and three ways to each, and what is over is forgotten.
const maxStorms = 1024

func (w *weather) set(now time.Time, s spot, loss float64, until time.Time) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for s, storm := range w.storms {
		if !now.Before(storm.until) {
			delete(w.storms, s)
		}
	}
	delete(w.storms, s)
	if loss > 0 && len(w.storms) < maxStorms {
		w.storms[s] = storm{loss, until}
	}
	w.stormy.Store(len(w.storms) > 0)
}

// loses decides about one frame.
func (w *weather) loses(id peer.ID, way Way) bool {
	if !w.stormy.Load() {
		return false
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	s, ok := w.storms[spot{id, way}]
	return ok && time.Now().Before(s.until) && w.random() < s.loss
}

// losesOn decides about a frame of a link.
func (w *weather) losesOn(s network.Stream) bool {
	return w.stormy.Load() && w.loses(s.Conn().RemotePeer(), wayOver(s.Conn().RemoteMultiaddr()))
}

// interrupt keeps the rendezvous away until then.
func (w *weather) interrupt(until time.Time) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.apart = until
}

// away returns how long the rendezvous is still to be kept away.
func (w *weather) away() time.Duration {
	w.mu.Lock()
	defer w.mu.Unlock()
	return max(0, time.Until(w.apart))
}

// wait returns when the rendezvous is not to be kept away any more. It looks now and then: that may be sooner than was asked for at first.
func (w *weather) wait(ctx context.Context) {
	for away := w.away(); away > 0 && ctx.Err() == nil; away = w.away() {
		pause(ctx, min(away, 200*time.Millisecond))
	}
}

// Disturb loses frames on a way to a user, for an experiment, until its time is over or it is called again with another share for that way. It is for
// whoever owns this peer: the other side sees a bad network.
func (p *Peer) Disturb(ctx context.Context, user string, d Disturbance) error {
	if err := p.up(); err != nil {
		return err
	}
	ways, err := d.ways()
	if err == nil {
		err = d.check()
	}
	if err != nil {
		return err
	}
	name, err := parseUser(user)
	if err != nil {
		return err
	}
	if err := p.contact(ctx, name); err != nil {
		return err
	}
	p.log.Warn("an experiment disturbs a way", slog.String("user", string(name)), slog.String("way", d.Way), slog.Float64("loss", d.Loss), slog.Duration("for", d.For))
	return p.core.do(ctx, func() {
		ct := p.core.contacts[delivery.Account(name)]
		if ct == nil {
			return
		}
		now := time.Now()
		for _, device := range ct.devices {
			for _, way := range ways {
				p.weather.set(now, spot{device.id, way}, d.Loss, now.Add(d.For))
			}
		}
	})
}

// Interrupt cuts the connection to the rendezvous, for an experiment, and makes none for a time, at most MaxDisturbance; 0 ends that.
func (p *Peer) Interrupt(ctx context.Context, long time.Duration) error {
	if err := p.up(); err != nil {
		return err
	}
	if long < 0 || long > MaxDisturbance {
		return &Error{Code: CodeUsage, Message: fmt.Sprintf("an interruption lasts up to %v", MaxDisturbance)}
	}
	p.log.Warn("an experiment keeps the rendezvous away", slog.Duration("for", long))
	p.weather.interrupt(time.Now().Add(long))
	if long == 0 {
		return nil
	}
	return p.core.do(ctx, p.core.hangUp)
}
