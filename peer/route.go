package peer

import (
	"cmp"
	"context"
	"strings"

	"github.com/byway-chat/byway/peer/delivery"
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
	used := c.wayTo(d)
	direct := RouteEntry{Way: WayLAN, State: "closed", Reason: cmp.Or(d.dial.reason, "not-tried-yet"), Addr: strings.Join(d.Addrs, " ")}
	switch {
	case d.link != nil:
		direct.Way, direct.State, direct.Reason = d.linkWay, "open", ""
		direct.Addr = d.link.Stream().Conn().RemoteMultiaddr().String()
		if rtt := milliseconds(d.link.RTT()); rtt > 0 {
			direct.RTT = &rtt
		}
	case d.dial.trying != nil:
		direct.State = "trying"
	case c.private:
		direct.Reason = "policy-here"
	case c.conn != nil && !c.online[d.contact.Name][d.Fingerprint]:
		direct.Reason = "peer-offline"
	}
	relay := RouteEntry{Way: WayRelay, State: "closed"}
	mailbox := RouteEntry{Way: WayMailbox, State: "open"}
	switch {
	case c.conn == nil:
		relay.Reason, mailbox.State, mailbox.Reason = "rendezvous-unreachable", "closed", "rendezvous-unreachable"
	case !c.online[d.contact.Name][d.Fingerprint]:
		relay.Reason = "peer-offline"
	default:
		relay.State = "open"
		if rtt := milliseconds(c.conn.RTT()); rtt > 0 {
			relay.RTT = &rtt
		}
	}
	out := []RouteEntry{direct, relay, mailbox}
	for i := range out {
		out[i].Device = d.Fingerprint.Device()
		out[i].InUse = out[i].Way == used && out[i].State == "open"
		if out[i].State == "open" && !out[i].InUse {
			out[i].Reason = "better-way-open"
		}
	}
	return out
}
