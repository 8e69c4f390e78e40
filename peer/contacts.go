package peer

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"time"

	"github.com/libp2p/go-libp2p/core/peer"
	"github.com/libp2p/go-libp2p/core/record"
	ma "github.com/multiformats/go-multiaddr"
	"golang.org/x/time/rate"

	"github.com/byway-chat/byway/crypto/identity"
	"github.com/byway-chat/byway/peer/delivery"
	"github.com/byway-chat/byway/peer/history"
	"github.com/byway-chat/byway/peer/link"
	"github.com/byway-chat/byway/rendezvous"
)

// contact is an account whose keys are pinned here, our own included. Owned by the core.
type contact struct {
	*history.Contact
	entrySeq uint64
	devices  map[delivery.Device]*device
	asked    uint64 // connection on which the directory was last asked
	asking   bool   // a look-up is under way
	fresh    bool   // first seen by this process
	greeted  bool   // a message of it has been told
}

// device is one device of a contact. Owned by the core.
type device struct {
	*history.Device
	contact *contact
	key     *identity.PublicKey
	id      peer.ID
	bundle  *rendezvous.Bundle // nil: none is known that is valid
	link    *link.Link         // open direct way, or nil
	linkWay Way
	dial    dialState

	inits      *rate.Limiter // of the sessions that it opens
	resetAsked time.Time     // when we last asked it for a new session
	blocked    int           // envelopes kept while it is not accepted
}

// remember builds the working form of a stored contact. What does not parse was damaged here, after it was checked: it is left out.
func (c *core) remember(record *history.Contact) *contact {
	ct := &contact{Contact: record, devices: map[delivery.Device]*device{}}
	if entry, err := rendezvous.ParseEntry(record.Entry); err == nil {
		ct.entrySeq = entry.Seq
	}
	c.contacts[record.Name] = ct
	for _, d := range record.Devices {
		key, err := identity.ParsePublicKey(d.SPKI)
		if err != nil {
			c.log.Error("a pinned key does not parse", slog.String("device", d.Fingerprint.Device()))
			continue
		}
		id, err := peer.Decode(d.PeerID)
		if err != nil {
			c.log.Error("a pinned peer id does not parse", slog.String("device", d.Fingerprint.Device()))
			continue
		}
		dev := &device{Device: d, contact: ct, key: key, id: id, inits: newInitLimit()}
		if b, err := rendezvous.ParseBundle(d.Bundle, key); err == nil {
			dev.bundle = b
		}
		ct.devices[d.Fingerprint] = dev
		c.devices[d.Fingerprint] = dev
	}
	return ct
}

// accepted returns the devices that messages are sealed for: those that the person trusts, but not this one.
func (ct *contact) accepted(self delivery.Device) []delivery.Device {
	var out []delivery.Device
	for _, d := range ct.Devices {
		if d.Trust == history.Accepted && d.Fingerprint != self {
			out = append(out, d.Fingerprint)
		}
	}
	return out
}

// pending reports whether a device waits for the person.
func (ct *contact) pending() bool {
	return slices.ContainsFunc(ct.Devices, func(d *history.Device) bool { return d.Trust == history.Pending })
}

// keyState is what people are told of a contact's keys. A contact with nothing but unaccepted devices is blocked.
func (ct *contact) keyState(self delivery.Device) KeyState {
	switch {
	case len(ct.accepted(self)) == 0 && ct.pending():
		return KeyChanged
	case ct.Verified:
		return KeyVerified
	}
	return KeyPinned
}

// errRollback means that the rendezvous shows an older list of devices than it did before.
var errRollback = errors.New("the directory entry is older than the one pinned")

// learn takes in what the directory says of an account. Everything in it is checked: it may come from a lying rendezvous.
func (c *core) learn(now time.Time, rec *rendezvous.Record) error {
	entry, err := rendezvous.ParseEntry(rec.GetEntry())
	if err != nil {
		return fmt.Errorf("check directory entry: %w", err)
	}
	if entry.Rendezvous != c.rendezvous || string(entry.Username) != rec.GetUsername() {
		return errors.New("check directory entry: it is for another name or another rendezvous")
	}
	name := delivery.Account(entry.Username)
	ct := c.contacts[name]
	first := ct == nil
	if first {
		ct = c.remember(&history.Contact{Name: name, FirstSeen: now})
		ct.fresh = true
	}
	if entry.Seq < ct.entrySeq {
		return errRollback
	}
	ct.asked = c.connNo
	changed := c.learnDevices(now, ct, entry, first)
	for _, d := range rec.GetDevices() {
		changed = c.learnDevice(now, ct, d) || changed
	}
	if changed || first {
		ct.Entry, ct.entrySeq = rec.GetEntry(), entry.Seq
		c.batch.Contacts = append(c.batch.Contacts, ct.Contact)
		c.engine.SetDevices(now, name, ct.accepted(c.self.Fingerprint))
	}
	return nil
}

// learnDevices compares the signed list of devices with what is pinned, and tells what is new.
func (c *core) learnDevices(now time.Time, ct *contact, entry *rendezvous.Entry, first bool) bool {
	if !first && entry.Seq == ct.entrySeq {
		return false
	}
	for _, d := range ct.Devices {
		if _, listed := entry.Device(d.Fingerprint); !listed && d.Trust != history.Gone {
			d.Trust = history.Gone
			c.unlink(ct.devices[d.Fingerprint])
		}
	}
	change := KeyDeviceAdded
	if !first && len(ct.accepted(delivery.Device{})) == 0 {
		change = KeyIdentityChanged
		ct.Verified = false
	}
	for _, listed := range entry.Devices {
		fp := listed.Key.Fingerprint()
		known := ct.devices[fp]
		switch {
		case known != nil && known.Trust != history.Gone:
			continue
		case known != nil:
			known.Trust = history.Pending // it comes back: ask again
		default:
			known = c.pin(now, ct, listed)
		}
		if first || fp == c.self.Fingerprint {
			known.Trust = history.Accepted
		}
		c.tellKey(ct, known, first, change)
	}
	return true
}

// pin adds a device that was never seen before.
func (c *core) pin(now time.Time, ct *contact, listed rendezvous.EntryDevice) *device {
	fp := listed.Key.Fingerprint()
	d := &device{
		Device: &history.Device{
			Fingerprint: fp, SPKI: listed.Key.SPKI(), PeerID: listed.PeerID.String(), Trust: history.Pending, FirstSeen: now,
		},
		contact: ct, key: listed.Key, id: listed.PeerID, inits: newInitLimit(),
	}
	ct.Devices = append(ct.Devices, d.Device)
	ct.devices[fp] = d
	c.devices[fp] = d
	return d
}

func (c *core) tellKey(ct *contact, d *device, first bool, change KeyChange) {
	if d.Fingerprint == c.self.Fingerprint {
		return
	}
	if first {
		change = KeyFirstSeen
	}
	blocked := d.Trust != history.Accepted
	if first && string(ct.Name) == c.self.Name {
		return // our own other devices, met when this one was enrolled
	}
	c.hub.publish(Event{Type: EventKey, User: string(ct.Name), Device: d.Fingerprint.Device(), Change: change, Fingerprint: d.Fingerprint.String(), Blocked: &blocked})
}

// learnDevice takes in a device's bundle and addresses, and reports whether something worth keeping has changed.
func (c *core) learnDevice(now time.Time, ct *contact, rec *rendezvous.DeviceRecord) bool {
	fp, err := identity.FingerprintFromBytes(rec.GetFingerprint())
	if err != nil {
		return false
	}
	d := ct.devices[fp]
	if d == nil || d.Trust == history.Gone {
		return false
	}
	changed := c.learnBundle(now, d, rec.GetBundle())
	if addrs := addressesOf(d.id, rec.GetPeerRecord()); !slices.Equal(addrs, d.Addrs) {
		d.Addrs = addrs
		d.dial.reset()
		changed = true
	}
	if rec.GetOnline() && !c.online[ct.Name][fp] {
		c.present(now, ct.Name, fp, true)
	}
	return changed
}

func (c *core) learnBundle(now time.Time, d *device, signed []byte) bool {
	b, err := rendezvous.ParseBundle(signed, d.key)
	if err != nil || !b.ValidAt(now) || b.Rendezvous != c.rendezvous || b.Username != rendezvous.Username(d.contact.Name) || b.PeerID != d.id {
		return false
	}
	if d.bundle != nil && b.Seq <= d.bundle.Seq {
		return false
	}
	d.bundle, d.Bundle = b, signed
	return true
}

// maxContactAddrs is how many addresses of one device are tried: a record with more is cut.
const maxContactAddrs = 8

// addressesOf opens a signed peer record and returns what is dialable in it; a record of somebody else counts as none.
func addressesOf(id peer.ID, envelope []byte) []string {
	if len(envelope) == 0 || len(envelope) > rendezvous.MaxPeerRecord {
		return nil
	}
	_, untyped, err := record.ConsumeEnvelope(envelope, peer.PeerRecordEnvelopeDomain)
	if err != nil {
		return nil
	}
	rec, ok := untyped.(*peer.PeerRecord)
	if !ok || rec.PeerID != id {
		return nil
	}
	var out []string
	for _, a := range rec.Addrs {
		if dialable(a) && len(out) < maxContactAddrs {
			out = append(out, a.String())
		}
	}
	return out
}

func parseAddrs(texts []string) []ma.Multiaddr {
	var out []ma.Multiaddr
	for _, s := range texts {
		if a, err := ma.NewMultiaddr(s); err == nil {
			out = append(out, a)
		}
	}
	return out
}

// known returns a contact that is fresh enough to write to: asked for on this connection, or from the disk while there is none.
func (c *core) known(name delivery.Account) *contact {
	ct := c.contacts[name]
	if ct == nil || (c.conn != nil && ct.asked != c.connNo) {
		return nil
	}
	return ct
}

// contact returns the account of that name, asking the directory where that is needed and possible.
func (p *Peer) contact(ctx context.Context, name rendezvous.Username) error {
	c := p.core
	var found bool
	if err := c.do(ctx, func() { found = c.known(delivery.Account(name)) != nil }); err != nil || found {
		return err
	}
	return p.lookup(ctx, name)
}

// lookupWait is how long a look-up waits for the rendezvous to come back.
const lookupWait = 5 * time.Second

// lookup asks the directory for an account. Without a rendezvous a contact that is known from before must do.
func (p *Peer) lookup(ctx context.Context, name rendezvous.Username) error {
	c := p.core
	ctx, cancel := context.WithTimeout(ctx, lookupWait)
	defer cancel()
	conn, err := p.connected(ctx)
	if err == nil {
		var records []*rendezvous.Record
		if records, err = conn.Lookup(ctx, string(name)); err == nil {
			return p.learnNow(ctx, name, records)
		}
	}
	var found bool
	if doErr := c.do(context.WithoutCancel(ctx), func() { found = c.contacts[delivery.Account(name)] != nil }); doErr != nil || found {
		return doErr
	}
	return p.rendezvousError(err)
}

func (p *Peer) learnNow(ctx context.Context, name rendezvous.Username, records []*rendezvous.Record) error {
	var learnErr error
	err := p.core.do(ctx, func() {
		for _, rec := range records {
			switch {
			case rec.GetUsername() != string(name):
			case rec.GetUnknown():
				learnErr = noSuchUser(string(name))
			default:
				learnErr = p.core.learn(time.Now(), rec)
			}
		}
	})
	if err != nil {
		return err
	}
	if learnErr != nil && CodeOf(learnErr) == CodeFailed {
		return &Error{
			Code: CodeKeyChanged, Message: "the directory's record of " + string(name) + " cannot be trusted", Err: learnErr,
			Hint: "the rendezvous may be damaged or lying: ask its operator",
		}
	}
	return learnErr
}

func noSuchUser(name string) error {
	return &Error{Code: CodeNoSuchUser, Message: "there is no user " + name, Hint: "`byway who` lists the users"}
}
