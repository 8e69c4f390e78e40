package peer

import (
	"time"

	"github.com/byway-chat/byway/crypto/identity"
	"github.com/byway-chat/byway/peer/delivery"
	"github.com/byway-chat/byway/peer/route"
	"github.com/byway-chat/byway/peer/trace"
	"github.com/byway-chat/byway/rendezvous"
)

// maxPresent bounds how many accounts a rendezvous can make us remember as online.
const maxPresent = 100_000

// maxSnapshotEvents is how many users a first list of who is online may have for each of them to be told; of a longer one only contacts are.
const maxSnapshotEvents = 256

// presence takes in who came and went. A snapshot replaces what was known; only what differs is told.
func (c *core) presence(now time.Time, p *rendezvous.Presence) {
	if p.GetSnapshot() && c.snapshot == nil {
		c.snapshot = map[delivery.Account]map[delivery.Device]bool{}
	}
	for _, change := range p.GetChanges() {
		fp, err := identity.FingerprintFromBytes(change.GetDevice())
		name, nameErr := rendezvous.ParseUsername(change.GetUsername())
		if err != nil || nameErr != nil || string(name) != change.GetUsername() {
			continue
		}
		account := delivery.Account(name)
		switch {
		case change.GetKind() == rendezvous.Change_KEYS:
			if ct := c.contacts[account]; ct != nil {
				ct.stale = true // the answer to a look-up that is under way may be older
				c.refresh(ct)
			}
		case p.GetSnapshot():
			mark(c.snapshot, account, fp, true)
		default:
			c.present(now, account, fp, change.GetKind() == rendezvous.Change_JOIN)
		}
	}
	if p.GetSnapshot() && p.GetLast() {
		c.takeSnapshot(now)
	}
}

func (c *core) takeSnapshot(now time.Time) {
	snapshot := c.snapshot
	c.snapshot = nil
	for name, devices := range c.online {
		for fp := range devices {
			if !snapshot[name][fp] {
				c.present(now, name, fp, false)
			}
		}
	}
	few := len(snapshot) <= maxSnapshotEvents
	for name, devices := range snapshot {
		for fp := range devices {
			if few || c.contacts[name] != nil {
				c.present(now, name, fp, true)
			} else {
				mark(c.online, name, fp, true)
				c.hub.assume(string(name))
			}
		}
	}
	c.hub.retain(func(user string) bool { return c.there(delivery.Account(user)) })
}

func mark(m map[delivery.Account]map[delivery.Device]bool, name delivery.Account, fp delivery.Device, online bool) {
	switch {
	case !online:
		delete(m[name], fp)
		if len(m[name]) == 0 {
			delete(m, name)
		}
	case m[name] != nil:
		m[name][fp] = true
	case len(m) < maxPresent:
		m[name] = map[delivery.Device]bool{fp: true}
	}
}

// present records that one device came or went, and tells it where that changes whether its person is there.
func (c *core) present(now time.Time, name delivery.Account, fp delivery.Device, online bool) {
	was := c.online[name][fp]
	mark(c.online, name, fp, online)
	if d := c.devices[fp]; d != nil && d.contact.Name == name {
		if was != online {
			c.note(d, trace.Step{What: trace.Presence, Online: &online})
		}
		c.engine.Online(now, name, fp, online)
		if online {
			d.ways.Renewed()
			d.ways.There.Policy = route.Policy(d.Said.Policy) // not what it may have said in a punch, as one that tells nobody where it is
			c.obey(now, d)
			c.owe(now, d)
			c.refreshAddresses(d)
		}
	}
	if string(name) != c.self.Name {
		c.hub.present(string(name), c.there(name))
	}
}

// refreshAddresses asks for the addresses of a contact that has come back: they may be new.
func (c *core) refreshAddresses(d *device) {
	if d.Fingerprint != c.self.Fingerprint && time.Since(d.contact.Direct) < talking {
		c.refresh(d.contact)
	}
}
