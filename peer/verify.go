package peer

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/byway-chat/byway/crypto/identity"
	"github.com/byway-chat/byway/peer/delivery"
	"github.com/byway-chat/byway/peer/history"
	"github.com/byway-chat/byway/rendezvous"
)

// freshStart is how old a process may be to count as one command of the person: what such a process has only just learnt nobody has been told.
const freshStart = time.Minute

// Verify returns what two people compare: a number over everything that accepting would trust. With accept it records that they have: pending devices
// are trusted from then on, keys that were replaced are not any more, and what waited unopened is opened. It refuses (key-changed) where
// another device has appeared since the number was shown.
func (p *Peer) Verify(ctx context.Context, user string, accept bool) (Verification, error) {
	if err := p.up(); err != nil {
		return Verification{}, err
	}
	name, err := parseUser(user)
	if err != nil {
		return Verification{}, err
	}
	for _, n := range []rendezvous.Username{name, p.user} {
		if err := p.contact(ctx, n); err != nil {
			return Verification{}, err
		}
	}
	c := p.core
	young := time.Since(p.started) < freshStart
	answer := make(chan Verification, 1)
	err = c.commit(ctx, func() error {
		ct := c.contacts[delivery.Account(name)]
		if ct == nil {
			return noSuchUser(string(name))
		}
		if string(name) == c.self.Name && !ct.elsewhere(c.self.Fingerprint) {
			return errOwnName
		}
		if accept {
			if err := c.acceptKeys(ct, young, p.started); err != nil {
				return err
			}
		}
		answer <- c.verification(ct)
		return nil
	})
	if err != nil {
		return Verification{}, err
	}
	return <-answer, nil
}

// elsewhere reports whether an account has another device than this one, trusted or not.
func (ct *contact) elsewhere(self delivery.Device) bool {
	for fp := range ct.devices {
		if fp != self {
			return true
		}
	}
	return len(ct.pinned(history.Pending)) > 0
}

// comparable returns the devices that a safety number must cover: those that are trusted, or will be when it is accepted.
func (ct *contact) comparable() []delivery.Device {
	pending := ct.pinned(history.Pending)
	if ct.Changed {
		return pending
	}
	return append(ct.pinned(history.Accepted), pending...)
}

// verification makes the number and remembers over which devices the person was shown it.
func (c *core) verification(ct *contact) Verification {
	theirs := identity.Party{Name: string(ct.Name), Keys: ct.comparable()}
	out := Verification{User: string(ct.Name), Key: ct.keyState()}
	for _, fp := range ct.pinned(history.Accepted) {
		out.Fingerprints = append(out.Fingerprints, fp.String())
	}
	for _, fp := range ct.pinned(history.Pending) {
		out.Pending = append(out.Pending, fp.String())
	}
	ours := identity.Party{Name: c.self.Name, Keys: []delivery.Device{c.self.Fingerprint}}
	if self := c.contacts[delivery.Account(c.self.Name)]; self != nil {
		ours.Keys = append(ours.Keys, self.accepted(c.self.Fingerprint)...)
	}
	out.SafetyNumber = identity.SafetyNumber(ours, theirs)
	out.SafetyDigits = strings.ReplaceAll(out.SafetyNumber, " ", "")
	if !slices.Equal(ct.Shown, theirs.Keys) {
		ct.Shown = theirs.Keys
		c.batch.Contacts = append(c.batch.Contacts, ct.Contact)
	}
	return out
}

// acceptKeys trusts what the directory shows of a contact. A young process, which is one command of a person, does not accept what it has only
// just met itself, if a number without it was shown before.
func (c *core) acceptKeys(ct *contact, young bool, started time.Time) error {
	for _, d := range ct.Devices {
		unseen := d.Trust == history.Pending && len(ct.Shown) > 0 && !slices.Contains(ct.Shown, d.Fingerprint)
		if unseen && young && !d.FirstSeen.Before(started) {
			c.verification(ct)
			return &Error{
				Code: CodeKeyChanged, Message: fmt.Sprintf("another device of %s has appeared since the number was shown", ct.Name),
				Hint: fmt.Sprintf("compare the number that `byway verify %s` shows now, then accept it", ct.Name),
			}
		}
	}
	ct.Verified = true
	var released []history.Blocked
	for fp, d := range ct.devices {
		switch {
		case d.Trust == history.Accepted && ct.Changed:
			d.Trust = history.Gone
			c.unlink(d)
		case d.Trust == history.Pending:
			d.Trust, d.blocked = history.Accepted, 0
			blocked, err := c.store.BlockedOf(context.Background(), ct.Name, fp)
			if err != nil {
				return storeError(err)
			}
			released = append(released, blocked...)
			c.owe(time.Now(), d)
		}
	}
	ct.Changed = false
	ct.Found()
	c.batch.Contacts = append(c.batch.Contacts, ct.Contact)
	c.engine.SetDevices(time.Now(), ct.Name, ct.accepted(c.self.Fingerprint))
	slices.SortFunc(released, func(a, b history.Blocked) int { return cmp.Compare(a.ID, b.ID) })
	for _, b := range released {
		c.receive(inbound{name: ct.Name, device: b.Device, way: b.Way, envelope: b.Envelope, taken: func() {
			c.batch.Released = append(c.batch.Released, b.ID)
		}})
	}
	return nil
}
