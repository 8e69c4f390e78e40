package peer

import (
	"cmp"
	"context"
	"crypto/rand"
	"time"

	"github.com/byway-chat/byway/peer/delivery"
)

// pingWait is how long a ping is waited for.
const pingWait = 5 * time.Second

// Ping measures one round trip to a user: sealed, opened and answered by the other peer. way is a way, "direct" for the best direct one,
// or empty for the best. A ping that is not answered is Lost.
func (p *Peer) Ping(ctx context.Context, user, way string) (Pong, error) {
	if err := p.up(); err != nil {
		return Pong{}, err
	}
	name, err := parseUser(user)
	if err != nil {
		return Pong{}, err
	}
	if err := p.contact(ctx, name); err != nil {
		return Pong{}, err
	}
	c := p.core
	account := delivery.Account(name)
	if way != string(WayRelay) {
		c.waitForDirect(ctx, account, headStart)
	}
	answered := make(chan delivery.NoticePong, 1)
	var token [8]byte
	_, _ = rand.Read(token[:])
	var via Way
	var started time.Time
	defer c.post(func() { delete(c.pings, token) }) // after the next line has run, also where it is not waited for
	err = c.do(ctx, func() {
		started = time.Now()
		if via = c.ping(account, way, token); via != "" {
			c.pings[token] = answered
		}
	})
	if err != nil {
		return Pong{}, err
	}
	if via == "" {
		return Pong{}, &Error{
			Code: CodeUnreachable, Message: string(name) + " cannot be reached by " + cmp.Or(way, "any way"), Hint: "`byway route " + string(name) + "` says why",
		}
	}
	timer := time.NewTimer(pingWait)
	defer timer.Stop()
	select {
	case n := <-answered:
		rtt := milliseconds(time.Since(started))
		return Pong{Way: n.Way, RTT: &rtt}, nil
	case <-timer.C:
	case <-ctx.Done():
	}
	return Pong{Way: via, Lost: true, Reason: "no-answer"}, nil
}

// ping sends a ping to the device that is best reached, and returns the way, or none where no wanted way is open.
func (c *core) ping(name delivery.Account, way string, token [8]byte) Way {
	ct := c.contacts[name]
	for _, fp := range ct.accepted(c.self.Fingerprint) {
		d := ct.devices[fp]
		if d == nil {
			continue
		}
		var via Way
		switch {
		case d.link != nil && (way == "" || way == "auto" || way == "direct" || way == string(d.linkWay)):
			via = d.linkWay
		case c.online[name][fp] && (way == "" || way == "auto" || way == string(WayRelay)):
			via = WayRelay
		}
		if via != "" && c.engine.Ping(name, fp, via, token) {
			return via
		}
	}
	return ""
}
