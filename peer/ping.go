package peer

import (
	"cmp"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"time"

	"github.com/byway-chat/byway/peer/delivery"
	"github.com/byway-chat/byway/peer/route"
)

// pingWait is how long a ping is waited for.
const pingWait = 5 * time.Second

// Ping measures one round trip to a user: sealed, opened and answered by the other peer. way is a way, "direct" for the best direct one,
// or empty for the best. A ping that is not answered is Lost.
func (p *Peer) Ping(ctx context.Context, user, way string) (Pong, error) {
	return p.Probe(ctx, user, way, 0)
}

// Probe is Ping with a ping that is larger by so many bytes, as a message of that length is. At most 65,536 are allowed.
func (p *Peer) Probe(ctx context.Context, user, way string, size int) (Pong, error) {
	if size < 0 || size > delivery.MaxFill {
		return Pong{}, &Error{Code: CodeTooLarge, Message: fmt.Sprintf("a probe cannot have %d bytes; at most %d fit", size, delivery.MaxFill)}
	}
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
	if err := c.notOneself(ctx, name); err != nil {
		return Pong{}, err
	}
	switch {
	case way == string(WayRelay):
	case way == "direct" || Way(way).IsDirect():
		c.waitForDirect(ctx, account, directTime) // there is no other to take meanwhile
	default:
		c.waitForDirect(ctx, account, headStart)
	}
	answered := make(chan delivery.NoticePong, 1)
	ping := delivery.Ping{Fill: size}
	_, _ = rand.Read(ping.Token[:]) // never fails (crypto/rand)
	var via Way
	var started time.Time
	defer c.post(func() { delete(c.pings, ping.Token) }) // after the next line has run, also where it is not waited for
	err = c.do(ctx, func() {
		started = time.Now()
		if via = c.ping(account, way, ping); via != "" {
			c.pings[ping.Token] = answered
		}
	})
	if err != nil {
		return Pong{}, err
	}
	if via == "" {
		return Pong{}, c.unreached(ctx, account, way)
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

// unreached is the error of a ping that found no open way, and says why. Where the rendezvous has refused this device that is what the person has to know.
func (c *core) unreached(ctx context.Context, name delivery.Account, way string) error {
	message := string(name) + " cannot be reached by " + cmp.Or(way, "any way")
	wanted, err := route.ParsePolicy(way)
	if err == nil {
		doErr := c.do(ctx, func() { _, err = c.limit(c.contacts[name], wanted) })
		if told, ok := errors.AsType[*Error](err); doErr == nil && ok {
			return noWay(message, name, route.Reason(told.Reason))
		}
	}
	var refused error
	if doErr := c.do(ctx, func() { refused = c.refusal(message) }); doErr == nil && refused != nil {
		return refused
	}
	var why route.Reason
	if doErr := c.do(ctx, func() { why = c.whyNot(name, way) }); doErr == nil && why != "" {
		none := noWay(message, name, why)
		if why == route.PeerOffline {
			none.Hint = fmt.Sprintf("a ping is not kept for later: try again when `byway who` shows %s online; a message by `byway send %s` is", name, name)
		}
		return none
	}
	return &Error{Code: CodeUnreachable, Message: message, Hint: "`byway route " + string(name) + "` says why"}
}

// whyNot returns why a way is not open, "direct" for the best direct one and empty for the relay, which is there where any is.
func (c *core) whyNot(name delivery.Account, way string) (why route.Reason) {
	ct, s := c.contacts[name], c.surroundings()
	if way == "direct" {
		return c.whyNotDirect(ct, &s)
	}
	wanted := Way(way)
	if way == "" || way == "auto" {
		wanted = WayRelay
	}
	for _, fp := range ct.accepted(c.self.Fingerprint) {
		d := ct.devices[fp]
		if d == nil || why != "" && !c.online[name][fp] {
			continue
		}
		for _, e := range c.look(d).Entries(&s) {
			if e.Way == wanted {
				why = e.Reason
			}
		}
	}
	return why
}

// ping sends a ping to the device that is best reached, and returns the way, or none where no wanted way is open. Where any way will do and the direct one is
// in doubt it goes by the relay too, as messages do.
func (c *core) ping(name delivery.Account, way string, ping delivery.Ping) Way {
	ct := c.contacts[name]
	for _, fp := range ct.accepted(c.self.Fingerprint) {
		d := ct.devices[fp]
		if d == nil {
			continue
		}
		var via Way
		whichever, relay := way == "" || way == "auto", c.online[name][fp]
		switch {
		case d.link != nil && (whichever || way == "direct" || way == string(d.linkWay)):
			via = d.linkWay
		case relay && (whichever || way == string(WayRelay)):
			via = WayRelay
		}
		if via.IsDirect() && whichever && relay && d.link.Doubtful() {
			c.engine.Ping(name, fp, WayRelay, ping)
		}
		if via != "" && c.engine.Ping(name, fp, via, ping) {
			return via
		}
	}
	return ""
}
