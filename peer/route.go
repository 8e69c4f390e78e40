package peer

import (
	"context"
	"strings"
	"time"

	"github.com/byway-chat/byway/peer/delivery"
	"github.com/byway-chat/byway/peer/route"
)

// Route tells every way to each device of a user, and why it is or is not in use.
func (p *Peer) Route(ctx context.Context, user string) ([]RouteEntry, error) {
	if err := p.up(); err != nil {
		return nil, err
	}
	name, err := parseUser(user)
	if err != nil {
		return nil, err
	}
	if err := p.contact(ctx, name); err != nil {
		return nil, err
	}
	c := p.core
	if err := c.notOneself(ctx, name); err != nil {
		return nil, err
	}
	c.waitForDirect(ctx, delivery.Account(name), headStart)
	var out []RouteEntry
	err = c.do(ctx, func() {
		ct := c.contacts[delivery.Account(name)]
		for _, fp := range ct.accepted(c.self.Fingerprint) {
			if d := ct.devices[fp]; d != nil {
				out = append(out, c.routes(d)...)
			}
		}
	})
	if err != nil {
		return nil, err // and not out, which the core may still be writing
	}
	return out, nil
}

func (c *core) routes(d *device) []RouteEntry {
	s := c.surroundings()
	var out []RouteEntry
	table := c.look(d)
	here := table.Findings(&s)
	for _, e := range table.Entries(&s) {
		r := RouteEntry{
			Device: d.Fingerprint.Device(), Way: e.Way, State: string(e.State), InUse: e.InUse,
			Reason: string(e.Reason), Remedy: e.Reason.RemedyFor(string(d.contact.Name)), Addrs: c.addresses(d, &e),
			Evidence: d.evidence(e.Way), Here: networkOf(here, true),
		}
		r.Addr = strings.Join(r.Addrs, " ")
		if e.Reason != "" {
			r.Sentence = e.Reason.Sentence()
		}
		if table.There != (route.Network{}) {
			r.There = networkOf(table.There, true)
		}
		if rtt := c.roundTrip(d, &e); rtt > 0 {
			ms := milliseconds(rtt)
			r.RTT = &ms
		}
		c.lastTry(d, &r)
		out = append(out, r)
	}
	return out
}

// roundTrip returns the latest round trip by a way: to the device, by relay to the rendezvous. 0: none is known.
func (c *core) roundTrip(d *device, e *route.Entry) time.Duration {
	switch {
	case e.State != route.StateOpen:
	case e.Way.IsDirect() && d.link != nil:
		return d.link.RTT()
	case e.Way == WayRelay && c.conn != nil:
		return c.conn.RTT()
	}
	return 0
}

// lastTry says when a way was last tried and what came of it.
func (c *core) lastTry(d *device, r *RouteEntry) {
	at := c.sought
	if r.Way.IsDirect() {
		at = time.Time{}
		if x := d.seen[r.Way]; x != nil {
			at, r.Error = x.tried, x.failed
		}
	} else if c.conn == nil {
		r.Error = c.reason
	}
	if r.Reason == string(route.NotTriedYet) {
		at, r.Error = time.Time{}, "" // the first try has only begun
	}
	if !at.IsZero() {
		utc := at.UTC()
		r.Tried = &utc
	}
}

// addresses returns that of the way where it is open, else those that are dialled for it.
func (c *core) addresses(d *device, e *route.Entry) []string {
	list := []string{}
	switch {
	case e.Addr != "":
		return append(list, e.Addr)
	case !e.Way.IsDirect() && c.conn != nil:
		return append(list, c.conn.Remote())
	case e.Way == WayPunched:
		return append(list, texts(d.told)...)
	}
	for _, a := range c.candidates(d) {
		if wayOver(a) == e.Way {
			list = append(list, a.String())
		}
	}
	return list
}
