package peer

import (
	"log/slog"
	"time"

	libpeer "github.com/libp2p/go-libp2p/core/peer"
	ma "github.com/multiformats/go-multiaddr"

	"github.com/byway-chat/byway/peer/delivery"
	"github.com/byway-chat/byway/peer/history"
	"github.com/byway-chat/byway/peer/route"
	"github.com/byway-chat/byway/peer/trace"
)

// standing is the policy for all contacts that have none of their own.
type standing struct {
	policy route.Policy
	set    uint64 // rises with each change; 0: it was never set
}

// noPolicy stands for one that a newer program has stored: it allows nothing.
const noPolicy route.Policy = 255

// storedPolicy reads a policy from the disk; empty is auto.
func storedPolicy(name string) route.Policy {
	p, err := route.ParsePolicy(name)
	if err != nil {
		return noPolicy
	}
	return p
}

// policy returns which ways this side allows to an account.
func (c *core) policy(name delivery.Account) route.Policy {
	if ct := c.contacts[name]; ct != nil && ct.Policy != "" {
		return storedPolicy(ct.Policy)
	}
	return c.standing.policy
}

// stamp tells one policy for a contact from those before: it rises with each change, also where the contact goes over to what holds for all, or back. 0 is
// auto from the beginning.
func (c *core) stamp(ct *contact) uint64 {
	if ct.Policy != "" {
		return ct.PolicySet
	}
	return max(ct.PolicySet, c.standing.set)
}

// nextStamp is above the last one, and mostly the time: a home that is put back from a backup does not fall behind what contacts have heard of it.
func nextStamp(now time.Time, last uint64) uint64 { return max(uint64(now.UnixMilli()), last+1) }

// agreed returns the ways to a device that both sides allow.
func (c *core) agreed(d *device) route.Ways {
	return c.policy(d.contact.Name).Ways() & d.ways.There.Policy.Ways()
}

// obey brings what there is with a device, and what is under way, in line with the policies of both sides: the link, the connections below it, a dial, a punch, and what
// goes by the rendezvous. It is called whenever one of the two may have changed.
func (c *core) obey(now time.Time, d *device) {
	d.ways.Policy = c.policy(d.contact.Name)
	agreed := c.agreed(d)
	direct := agreed
	if c.private {
		direct = 0
	}
	c.gate.set(d.id, direct)
	c.engine.Relayed(now, d.contact.Name, d.Fingerprint, agreed.Has(WayRelay))
	if d.link != nil && !c.permits(d, d.link.Stream().Conn().RemoteMultiaddr()) {
		c.linkDown(d, d.link, "not allowed any more")
	}
	lost, others := d.agreed&^direct, d.agreed != direct
	d.agreed = direct
	if others && d.link != nil {
		c.showCard(d) // it tells as much as the policy allows
	}
	if lost == 0 {
		return
	}
	if d.punch != nil {
		c.punchFailed(d, d.punch, errNotAllowed)
	}
	if d.stopDial != nil {
		d.stopDial() // where the LAN alone is left, it is looked for anew
	}
	c.spawn(func() { c.closeForbidden(d) })
}

// permits reports whether a connection with a device may go over that address of it.
func (c *core) permits(d *device, a ma.Multiaddr) bool { return c.gate.permits(d.id, a) }

// closeForbidden closes the connections with a device that are not allowed any more: libp2p would tell it our addresses on them whenever those change. It
// runs outside the core.
func (c *core) closeForbidden(d *device) {
	for _, conn := range c.host.Network().ConnsToPeer(d.id) {
		if !c.permits(d, conn.RemoteMultiaddr()) {
			_ = conn.Close()
		}
	}
}

// obeyAll brings everything in line with a new policy for all, and with what was read from the disk.
func (c *core) obeyAll(now time.Time) {
	others := c.standing.policy.Ways()
	if c.private {
		others = 0
	}
	c.gate.setOthers(others)
	c.mapper.Switch(others.Has(WayDirect)) // a mapping tells nobody where we are, but opens the way to whoever guesses it
	for _, d := range c.devices {
		c.obey(now, d)
		c.owe(now, d)
	}
}

// Times of telling a device our policy.
const (
	tellPause    = 5 * time.Second // without an answer, doubled each time
	maxTellPause = 10 * time.Minute
	// remindPause is how long a device that acts against our policy is not told again.
	remindPause = 10 * time.Second
	// Each Terms may cost an opening of a session on both sides. So many devices are told in a second, and at once.
	tellsPerSecond = 8
	tellsBurst     = 32
)

// owe has a device told our policy where it has not heard it: now, where it is there, or later.
func (c *core) owe(now time.Time, d *device) {
	if d.Said.Heard == c.stamp(d.contact) || d.Trust != history.Accepted || d.Fingerprint == c.self.Fingerprint {
		delete(c.owed, d.Fingerprint)
		return
	}
	c.owed[d.Fingerprint] = true
	d.tells = 0
	c.tellTerms(now, d)
}

// settleDebts tells those who have not heard our policy. It runs every second.
func (c *core) settleDebts(now time.Time) {
	for fp := range c.owed {
		d := c.devices[fp]
		if d == nil || d.Said.Heard == c.stamp(d.contact) {
			delete(c.owed, fp)
		} else if d.tells == 0 || !now.Before(d.toldTerms.Add(min(tellPause<<min(d.tells-1, 12), maxTellPause))) {
			c.tellTerms(now, d)
		}
	}
}

// tellTerms tells a device our policy, if it is there.
func (c *core) tellTerms(now time.Time, d *device) {
	there := c.online[d.contact.Name][d.Fingerprint] || c.conn == nil && d.link != nil
	if !there || !c.telling.AllowN(now, 1) {
		return
	}
	terms := delivery.Terms{Policy: byte(c.policy(d.contact.Name)), Set: c.stamp(d.contact), Heard: d.Said.Set}
	if c.engine.Terms(d.contact.Name, d.Fingerprint, terms) {
		d.toldTerms = now
		d.tells++
	}
}

// remind tells a device our policy again when it has acted against it: it may have forgotten.
func (c *core) remind(now time.Time, d *device) {
	if d.Said.Heard != 0 && now.Sub(d.toldTerms) >= remindPause {
		d.Said.Heard = 0
		c.owe(now, d)
	}
}

// hearTerms takes in what is said of policies in an envelope, and answers a device that has sent something by a way that ours does not allow.
func (c *core) hearTerms(now time.Time, d *device, came Way, parts []*delivery.Payload) {
	signals := true
	for _, part := range parts {
		switch part.Kind {
		case delivery.KindTerms:
			c.heard(now, d, *part.Terms)
		case delivery.KindReset, delivery.KindPunch:
		default:
			signals = false
		}
	}
	if !signals && !came.IsDirect() && !c.policy(d.contact.Name).Allows(came) {
		c.remind(now, d)
	}
}

// heard takes in what a device says of its owner's policy.
func (c *core) heard(now time.Time, d *device, t delivery.Terms) {
	news := t.Set > d.Said.Set
	if !news && t.Heard == d.Said.Heard {
		return
	}
	d.Said.Heard = t.Heard
	if news {
		old := d.ways.There.Policy
		d.Said = t
		d.ways.There.Policy = route.Policy(t.Policy)
		c.log.Info("a contact's policy", slog.String("device", d.Fingerprint.Device()), slog.String("policy", d.ways.There.Policy.String()))
		c.noteCaused(d, trace.Step{What: trace.PolicyThere, Old: old.String(), New: d.ways.There.Policy.String()})
		c.obey(now, d)
	}
	c.batch.Contacts = append(c.batch.Contacts, d.contact.Contact)
	c.owe(now, d)
	if news && !c.owed[d.Fingerprint] {
		c.tellTerms(now, d) // so that it need not tell again
	}
}

// cameInVain hears of a device that was not let in. It may be called from any goroutine.
func (c *core) cameInVain(id libpeer.ID) {
	remind := func() {
		for _, d := range c.devices {
			if d.id == id {
				c.remind(time.Now(), d)
			}
		}
	}
	select {
	case c.inbox <- remind:
	default: // it comes again
	}
}
