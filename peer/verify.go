package peer

import (
	"cmp"
	"context"
	"slices"
	"time"

	"github.com/byway-chat/byway/crypto/identity"
	"github.com/byway-chat/byway/peer/delivery"
	"github.com/byway-chat/byway/peer/history"
)

// Verify returns what two people compare. With accept it records that they have: pending devices are trusted from then on, keys
// that were replaced are not any more, and what waited unopened is opened.
func (p *Peer) Verify(ctx context.Context, user string, accept bool) (Verification, error) {
	if err := p.up(); err != nil {
		return Verification{}, err
	}
	name, err := parseUser(user)
	if err != nil {
		return Verification{}, err
	}
	if err := p.contact(ctx, name); err != nil {
		return Verification{}, err
	}
	if err := p.contact(ctx, p.user); err != nil {
		return Verification{}, err
	}
	c := p.core
	if accept {
		if err := c.commit(ctx, func() error { return c.acceptKeys(delivery.Account(name)) }); err != nil {
			return Verification{}, err
		}
	}
	var out Verification
	err = c.do(ctx, func() { out = c.verification(c.contacts[delivery.Account(name)]) })
	return out, err
}

func (c *core) verification(ct *contact) Verification {
	out := Verification{User: string(ct.Name), Key: ct.keyState(c.self.Fingerprint)}
	theirs := identity.Party{Name: string(ct.Name)}
	for _, d := range ct.Devices {
		switch d.Trust {
		case history.Accepted:
			theirs.Keys = append(theirs.Keys, d.Fingerprint)
			out.Fingerprints = append(out.Fingerprints, d.Fingerprint.String())
		case history.Pending:
			out.Pending = append(out.Pending, d.Fingerprint.String())
		case history.Gone:
		}
	}
	if len(theirs.Keys) == 0 { // a changed identity: the number is that of the new keys, to be compared before they are accepted
		for _, d := range ct.Devices {
			if d.Trust == history.Pending {
				theirs.Keys = append(theirs.Keys, d.Fingerprint)
			}
		}
	}
	ours := identity.Party{Name: c.self.Name, Keys: []delivery.Device{c.self.Fingerprint}}
	if self := c.contacts[delivery.Account(c.self.Name)]; self != nil {
		ours.Keys = append(ours.Keys, self.accepted(c.self.Fingerprint)...)
	}
	out.SafetyNumber = identity.SafetyNumber(ours, theirs)
	return out
}

// acceptKeys trusts what the directory shows of a contact.
func (c *core) acceptKeys(name delivery.Account) error {
	ct := c.contacts[name]
	if ct == nil {
		return noSuchUser(string(name))
	}
	ct.Verified = true
	var released []history.Blocked
	for fp, d := range ct.devices {
		if d.Trust != history.Pending {
			continue
		}
		d.Trust, d.blocked = history.Accepted, 0
		blocked, err := c.store.BlockedOf(context.Background(), name, fp)
		if err != nil {
			return storeError(err)
		}
		released = append(released, blocked...)
	}
	c.batch.Contacts = append(c.batch.Contacts, ct.Contact)
	c.engine.SetDevices(time.Now(), name, ct.accepted(c.self.Fingerprint))
	slices.SortFunc(released, func(a, b history.Blocked) int { return cmp.Compare(a.ID, b.ID) })
	for _, b := range released {
		c.receive(inbound{name: name, device: b.Device, way: b.Way, envelope: b.Envelope, taken: func() {
			c.batch.Released = append(c.batch.Released, b.ID)
		}})
	}
	return nil
}
