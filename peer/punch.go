package peer

import (
	"context"
	"crypto/rand"
	"errors"
	"log/slog"
	"slices"
	"time"

	"github.com/libp2p/go-libp2p/core/network"
	"github.com/libp2p/go-libp2p/core/peer"
	ma "github.com/multiformats/go-multiaddr"

	"github.com/byway-chat/byway/peer/delivery"
	"github.com/byway-chat/byway/peer/history"
	"github.com/byway-chat/byway/peer/link"
	"github.com/byway-chat/byway/peer/route"
	"github.com/byway-chat/byway/peer/trace"
)

// Times of a punch.
const (
	punchTime = 5 * time.Second // of dialling each other
	offerTime = 5 * time.Second // for the offer and its answer; with observeTime and punchTime it bounds the whole
	maxTrip   = 10 * time.Second
	// offersApart bounds how often a contact can make us dial, also where each dial fails at once.
	offersApart = 2 * time.Second
)

// punch is an attempt to dial each other at the same moment. Owned by the core.
type punch struct {
	token   [8]byte
	ours    bool               // we have offered it
	began   time.Time          // when it was offered here or there
	dialled time.Time          // zero until then; a connection that is made later is the punch's
	stop    context.CancelFunc // of the dial; nil: it has not begun
	port    int                // from which TCP is dialled; 0: the one that we listen on
}

// offer proposes a punch to a device, unless there is no need, it is forbidden, or one has just failed.
func (c *core) offer(now time.Time, d *device) {
	table, s := c.look(d), c.surroundings()
	table.Want(now)
	if d.link != nil || d.Trust != history.Accepted || d.Fingerprint == c.self.Fingerprint || !table.MayPunch(now, &s) {
		return
	}
	if c.dials.take(now, 1, dialsToRendezvous) > 0 {
		return // too much is being dialled: improve comes back to it
	}
	p := &punch{ours: true, began: now}
	_, _ = rand.Read(p.token[:]) // never fails (crypto/rand)
	c.beginPunch(d, p)
	c.observe(now, func() {
		if c.stale(d, p) {
			return
		}
		p.began = time.Now()
		if addrs := c.meetingPoints(p); len(addrs) == 0 || !c.signal(d, p, delivery.PunchOffer, addrs) {
			c.punchFailed(d, p, errors.New("nobody can reach this device from outside"))
		}
	})
}

// beginPunch takes a punch in hand; it is given up when it has come to nothing in time.
func (c *core) beginPunch(d *device, p *punch) {
	d.punch = p
	d.ways.Punching()
	d.tries(p.began, WayPunched)
	c.spawn(func() {
		pause(c.dialCtx, observeTime+offerTime+punchTime)
		c.post(func() { c.punchFailed(d, p, errors.New("the other side is silent")) })
	})
}

// later runs f in the core after what it is doing now.
func (c *core) later(f func()) { c.spawn(func() { c.post(f) }) }

// stale reports whether a punch is over, or the core has begun again from the disk.
func (c *core) stale(d *device, p *punch) bool { return c.devices[d.Fingerprint] != d || d.punch != p }

// signal sends a step of a punch, with what we know of our network.
func (c *core) signal(d *device, p *punch, step byte, addrs []ma.Multiaddr) bool {
	if c.conn == nil {
		return false
	}
	s := c.surroundings()
	here := c.look(d).Findings(&s)
	if here.Policy == route.Relay {
		here, addrs = route.Network{Policy: route.Relay}, nil
	}
	out := &delivery.Punch{Step: step, Token: p.token, Trip: uint64(c.conn.RTT().Milliseconds()), Network: here.Append(nil)}
	for _, a := range addrs {
		out.Addrs = append(out.Addrs, a.Bytes())
	}
	c.noteSignal(d, step, addrs)
	return c.engine.Punch(d.contact.Name, d.Fingerprint, out)
}

// punchStep takes what a device says about a punch.
func (c *core) punchStep(now time.Time, n delivery.NoticePunch) {
	d := c.devices[n.Device]
	if d == nil || d.contact.Name != n.From || d.Trust != history.Accepted || c.conn == nil {
		return
	}
	there, err := route.ParseNetwork(n.Punch.Network)
	if err != nil {
		c.log.Debug("punch refused", slog.String("device", d.Fingerprint.Device()), slog.Any("error", err))
		return
	}
	if d.ways.There != there {
		d.ways.There = there
		c.noteCaused(d, trace.Step{What: trace.There, Network: networkOf(there, true)})
		c.obey(now, d)
	}
	addrs := c.theirs(n.Punch.Addrs)
	switch p := d.punch; n.Punch.Step {
	case delivery.PunchOffer:
		c.noteCaused(d, trace.Step{What: trace.PunchOffered, Addrs: texts(addrs)})
		c.answerOffer(now, d, n.Punch, addrs)
	case delivery.PunchAnswer:
		if p == nil || !p.ours || p.token != n.Punch.Token || !p.dialled.IsZero() {
			return
		}
		if len(addrs) == 0 {
			c.punchFailed(d, p, errors.New("the other side does not want it"))
			return
		}
		c.note(d, trace.Step{What: trace.PunchAgreed, Addrs: texts(addrs)})
		c.meet(d, p, addrs, 0)
	}
}

// answerOffer answers an offer, and dials when the answer has arrived, as far as that is known.
func (c *core) answerOffer(now time.Time, d *device, offer *delivery.Punch, addrs []ma.Multiaddr) {
	if old := d.punch; old != nil && old.ours && c.peerID < d.id {
		return // both have offered: the one of the smaller PeerID counts
	}
	if now.Sub(d.offered) < offersApart {
		return
	}
	if l := d.link; l != nil && now.Sub(d.since) > offerTime {
		// Who offers has no link, so ours is dead and we have not noticed yet. What is below it must go too, or nothing would be dialled.
		l.End(link.ErrSilent)
		c.linkDown(d, l, "the other side has lost the link")
	}
	p := &punch{token: offer.Token, began: now}
	s := c.surroundings()
	if !c.look(d).MayMeet(&s) || len(addrs) == 0 {
		c.signal(d, p, delivery.PunchAnswer, nil)
		return
	}
	if c.dials.take(now, 1, dialsToRendezvous) > 0 {
		return
	}
	d.offered = now
	c.beginPunch(d, p)
	c.observe(now, func() {
		if c.stale(d, p) || !c.signal(d, p, delivery.PunchAnswer, c.meetingPoints(p)) {
			return
		}
		c.meet(d, p, addrs, together(c.conn.RTT(), offer.Trip))
	})
}

// together returns how long to wait for the other side to dial too: as long as our answer takes. theirs is its round trip to the rendezvous in milliseconds, as it
// claims.
func together(ours time.Duration, theirs uint64) time.Duration {
	return (ours + time.Duration(min(theirs, uint64(maxTrip.Milliseconds())))*time.Millisecond) / 2
}

// meetingPoints returns the addresses at which a device meets us in a punch. Where the router keeps ports, that of TCP is drawn anew; where there is no router,
// that on which we listen is told too, as nothing may be between the two.
func (c *core) meetingPoints(p *punch) []ma.Multiaddr {
	if c.here.network.Ports != route.PortsKept {
		return c.here.addrs
	}
	p.port = freshPort()
	var out []ma.Multiaddr
	for _, a := range c.here.addrs {
		if a = withPort(a, p.port); !ma.Contains(out, a) {
			out = append(out, a)
		}
	}
	for _, a := range c.here.own {
		if !ma.Contains(out, a) && len(out) < delivery.MaxAddrs {
			out = append(out, a)
		}
	}
	return out
}

// theirs returns the addresses of a punch that may be dialled.
func (c *core) theirs(raw [][]byte) []ma.Multiaddr {
	var out []ma.Multiaddr
	for _, b := range raw {
		if a, err := ma.NewMultiaddrBytes(b); err == nil && c.reachable(a) {
			out = append(out, a)
		}
	}
	return out
}

// meet dials a device, which dials us, after a wait. The side that has offered opens the link.
func (c *core) meet(d *device, p *punch, addrs []ma.Multiaddr, wait time.Duration) {
	p.dialled, d.told = time.Now(), addrs
	ctx, stop := context.WithCancel(c.dialCtx)
	p.stop = stop
	ms := milliseconds(wait)
	c.note(d, trace.Step{What: trace.PunchDial, Addrs: texts(addrs), MS: &ms})
	c.spawn(func() {
		defer stop()
		pause(ctx, wait)
		if !c.stillMeets(d, p) {
			return
		}
		l, err := c.openTogether(ctx, d.id, addrs, p)
		c.post(func() {
			switch now := c.devices[d.Fingerprint]; {
			case l != nil && now != nil:
				c.linkUp(now, l, true, time.Since(p.began))
			case l != nil:
				l.End(errNotAllowed)
			case err != nil:
				c.punchFailed(d, p, err)
			}
		})
	})
}

// stillMeets reports whether a punch is still to be made. It is given up where a policy that was set meanwhile keeps our address from the contact. It runs
// outside the core.
func (c *core) stillMeets(d *device, p *punch) (ok bool) {
	err := c.do(c.dialCtx, func() {
		s := c.surroundings()
		if ok = !c.stale(d, p) && c.look(d).MayMeet(&s); !ok {
			c.punchFailed(d, p, errNotAllowed)
		}
	})
	return err == nil && ok
}

// openTogether dials a device that dials us. It returns no link where the other side opens it. It runs outside the core.
func (c *core) openTogether(ctx context.Context, id peer.ID, addrs []ma.Multiaddr, p *punch) (*link.Link, error) {
	ctx, cancel := context.WithTimeout(ctx, punchTime)
	defer cancel()
	c.clearBackoff(id)
	c.host.Peerstore().ClearAddrs(id) // libp2p dials eight at most at a time, and those of earlier punches lead nowhere
	if p.port != 0 {
		defer c.fresh.use(id, p.port)()
	}
	together := network.WithForceDirectDial(network.WithSimultaneousConnect(ctx, p.ours, "punch"), "punch")
	if err := c.host.Connect(together, peer.AddrInfo{ID: id, Addrs: addrs}); err != nil || !p.ours {
		return nil, err
	}
	return c.greet(ctx, id)
}

// punchFailed gives a punch up.
func (c *core) punchFailed(d *device, p *punch, cause error) {
	if d.punch != p {
		return
	}
	d.punch = nil
	if p.stop != nil {
		p.stop()
	}
	d.ways.PunchFailed(time.Now())
	c.log.Debug("no punch", slog.String("device", d.Fingerprint.Device()), slog.Any("error", cause))
	ms := milliseconds(time.Since(p.began))
	d.fails(WayPunched, cause.Error())
	c.note(d, trace.Step{What: trace.PunchFailed, Error: cause.Error(), MS: &ms})
	c.searched(d)
}

// wayBy names the direct way to a device over a connection. One that a punch has made goes to an address which was told for it and not published, or was made
// while we dialled each other; a punch may make two, and the second is used when the first has ended.
func (d *device) wayBy(conn network.Conn) Way {
	w, there := wayOver(conn.RemoteMultiaddr()), conn.RemoteMultiaddr()
	if w != WayDirect {
		return w
	}
	p := d.punch
	during := p != nil && !p.dialled.IsZero() && !conn.Stat().Opened.Before(p.dialled)
	if during || conn.ID() == d.punched || ma.Contains(d.told, there) && !slices.Contains(d.Addrs, there.String()) {
		d.punched = conn.ID()
		return WayPunched
	}
	return w
}
