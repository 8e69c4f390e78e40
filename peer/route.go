package peer

import (
	"context"
	"strings"

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
	for _, e := range c.look(d).Entries(&s) {
		r := RouteEntry{
			Device: d.Fingerprint.Device(), Way: e.Way, State: string(e.State), InUse: e.InUse, Addr: e.Addr,
			Reason: string(e.Reason), Remedy: e.Reason.Remedy(),
		}
		if e.Reason != "" {
			r.Sentence = e.Reason.Sentence()
		}
		rtt := 0.0
		switch {
		case e.State != route.StateOpen:
			r.Addr = c.dialled(d, e.Way)
		case e.Way.IsDirect() && d.link != nil:
			rtt = milliseconds(d.link.RTT())
		case e.Way == WayRelay && c.conn != nil:
			rtt = milliseconds(c.conn.RTT())
		}
		if rtt > 0 {
			r.RTT = &rtt
		}
		out = append(out, r)
	}
	return out
}

// dialled returns the addresses that are dialled for a way.
func (c *core) dialled(d *device, w Way) string {
	var list []string
	for _, a := range c.candidates(d) {
		if wayOver(a) == w {
			list = append(list, a.String())
		}
	}
	return strings.Join(list, " ")
}
