package peer

import (
	"context"
	"errors"
	"maps"
	"slices"
	"time"

	"github.com/byway-chat/byway/peer/delivery"
	"github.com/byway-chat/byway/peer/route"
	"github.com/byway-chat/byway/rendezvous"
	"github.com/byway-chat/byway/rendezvous/client"
)

// maxWho is how many users who lists at most.
const maxWho = 10_000

// maxWhoPages bounds how often the rendezvous is asked for them; a page of an honest one is full, but for the last.
const maxWhoPages = 4 * maxWho / rendezvous.MaxList

// connected returns the connection to the rendezvous, waiting for it until ctx ends.
func (p *Peer) connected(ctx context.Context) (*client.Conn, error) {
	var conn *client.Conn
	var reason string
	look := func() { conn, reason = p.core.conn, p.core.reason }
	events := p.hub.subscribe(EventOptions{})
	defer events.Close()
	if err := p.core.do(ctx, look); err != nil {
		return nil, err // and not conn, which the core may still be writing
	}
	if conn != nil {
		return conn, nil
	}
	for e, err := range events.Events(ctx) {
		if err != nil {
			return nil, errors.New(reason)
		}
		if e.Type != EventRendezvous {
			continue
		}
		if err := p.core.do(ctx, look); err != nil {
			return nil, err
		}
		if conn != nil {
			return conn, nil
		}
	}
	return nil, errStopped
}

// connection returns the connection to the rendezvous, or nil while there is none.
func (p *Peer) connection(ctx context.Context) (conn *client.Conn, err error) {
	var now *client.Conn
	if err := p.core.do(ctx, func() { now = p.core.conn }); err != nil {
		return nil, err // and not now, which the core may still be writing
	}
	return now, nil
}

// Who lists the users of the rendezvous and the contacts, by name. Without a rendezvous it lists the contacts.
func (p *Peer) Who(ctx context.Context) ([]Contact, error) {
	if err := p.up(); err != nil {
		return nil, err
	}
	listed, err := p.list(ctx)
	if err != nil {
		return nil, err
	}
	c := p.core
	var out []Contact
	err = c.do(ctx, func() {
		for name := range c.contacts {
			listed[name] = listed[name] || len(c.online[name]) > 0
		}
		for name := range c.online {
			listed[name] = true
		}
		delete(listed, delivery.Account(c.self.Name))
		for _, name := range slices.Sorted(maps.Keys(listed)) {
			out = append(out, c.describe(name, listed[name]))
		}
	})
	if err != nil {
		return nil, err // and not out, which the core may still be writing
	}
	return out, nil
}

// list asks the rendezvous for all names, where there is one.
func (p *Peer) list(ctx context.Context) (map[delivery.Account]bool, error) {
	out := map[delivery.Account]bool{}
	conn, err := p.connection(ctx)
	if err != nil || conn == nil {
		return out, err
	}
	err = readList(out, func(after string) (*rendezvous.Listed, error) { return conn.List(ctx, after, rendezvous.MaxList) })
	if err != nil && ctx.Err() != nil {
		return nil, ctx.Err()
	}
	return out, nil // where the connection has just gone, what is known must do
}

// readList takes in page after page. Names must rise from each to the next, so that a list has an end, whatever the rendezvous says.
func readList(out map[delivery.Account]bool, list func(after string) (*rendezvous.Listed, error)) error {
	after := ""
	for range maxWhoPages {
		page, err := list(after)
		if err != nil {
			return err
		}
		last := after
		for _, u := range page.GetUsers() {
			name, err := rendezvous.ParseUsername(u.GetUsername())
			if err != nil || string(name) != u.GetUsername() || u.GetUsername() <= after {
				continue
			}
			out[delivery.Account(name)] = u.GetOnline()
			last = max(last, u.GetUsername())
		}
		if !page.GetMore() || last == after || len(out) >= maxWho {
			return nil
		}
		after = last
	}
	return nil
}

func (c *core) describe(name delivery.Account, online bool) Contact {
	here := c.policy(name)
	out := Contact{
		Name: string(name), Online: online, Key: KeyNew, Policy: here.String(), Evidence: c.evidence(time.Now(), name, online),
		RendezvousConnected: c.conn != nil,
	}
	ct := c.contacts[name]
	left := here.Ways()
	if ct != nil {
		w := c.wayPolicy(ct)
		left, out.PolicyThere, out.Reason = route.SetOf(w.Ways), w.PolicyThere, w.Reason
	}
	switch {
	case c.conn == nil || !left.Has(WayRelay):
	case online:
		out.Way = WayRelay
	default:
		out.Way = WayMailbox
	}
	if ct == nil {
		return out
	}
	out.Key = ct.keyState()
	for _, fp := range ct.accepted(c.self.Fingerprint) {
		out.Devices++
		if d := ct.devices[fp]; d != nil && d.link != nil {
			out.Way, out.Online = d.linkWay, true
		}
	}
	if !ct.Active.IsZero() {
		seen := ct.Active
		out.LastSeen = &seen
	}
	return out
}
