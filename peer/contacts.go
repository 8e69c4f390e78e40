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
	"github.com/byway-chat/byway/peer/route"
	"github.com/byway-chat/byway/peer/trace"
	"github.com/byway-chat/byway/rendezvous"
)

// contact is an account whose keys are pinned here, our own included. Owned by the core.
type contact struct {
	*history.Contact
	entrySeq uint64
	shownSeq uint64 // of the newest entry that was shown to this process, also by a signer that is not accepted
	devices  map[delivery.Device]*device
	asked    uint64 // connection on which the directory was last asked
	asking   bool   // a look-up is under way
	stale    bool   // the directory has said that there is something new since that has begun
}

// device is one device of a contact. Owned by the core.
type device struct {
	*history.Device
	contact  *contact
	key      *identity.PublicKey
	id       peer.ID
	bundle   *rendezvous.Bundle // nil: none is known that is valid
	link     *link.Link         // open direct way, or nil
	linkWay  Way
	since    time.Time // when link was taken into use
	ways     route.Table
	seen     map[Way]*experience
	steps    *rate.Limiter      // of what is told of it in the story of the ways; nil: nothing was yet
	punch    *punch             // under way, or nil
	punched  string             // the latest connection that a punch has made
	told     []ma.Multiaddr     // its addresses for the latest punch
	agreed   route.Ways         // the direct ways that were allowed when that was looked at last
	stopDial context.CancelFunc // ends the dial under way; nil: none is
	offered  time.Time          // when it last made us dial; zero again when a link has opened
	trying   chan struct{}      // closed when the look for a direct way that is under way has ended; nil: none is

	toldTerms time.Time // when it was last told our policy
	tells     int       // how often since we owe it that

	place // where it is, as far as others than the directory tell

	reached, published parsed // Reached and Addrs, parsed

	inits   *rate.Limiter // of the sessions that it opens
	resets  resets
	blocked int // envelopes kept while it is not accepted
}

// remember builds the working form of a stored contact. What does not parse was damaged here, after it was checked: it is left out.
func (c *core) remember(record *history.Contact) *contact {
	ct := &contact{Contact: record, devices: map[delivery.Device]*device{}}
	if entry, err := rendezvous.ParseEntry(record.Entry); err == nil {
		ct.entrySeq = entry.Seq
	}
	c.contacts[record.Name] = ct
	for _, d := range record.Devices {
		if len(d.SPKI) == 0 && record.Lost() {
			continue
		}
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
		dev := &device{Device: d, contact: ct, key: key, id: id, inits: newInitLimit(), resets: newResets()}
		dev.ways.There.Policy = route.Policy(d.Said.Policy)
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

// pinned returns the devices of one level of trust.
func (ct *contact) pinned(t history.Trust) []delivery.Device {
	var out []delivery.Device
	for _, d := range ct.Devices {
		if d.Trust == t {
			out = append(out, d.Fingerprint)
		}
	}
	return out
}

// keyState is what people are told of a contact's keys.
func (ct *contact) keyState() KeyState {
	switch {
	case ct.Changed:
		return KeyChanged
	case ct.Verified:
		return KeyVerified
	}
	return KeyPinned
}

// errRollback means that the rendezvous shows an older list of devices than it did before.
var errRollback = errors.New("the directory entry is older than the one pinned")

// learn takes in what the directory says of an account. Everything in it is checked: it may come from a lying rendezvous. A device counts
// only if it has signed a bundle for this very name, so that nobody's key is listed under another's. Only an entry that an accepted device
// has signed may take devices away; what any other adds waits for the person, and changes nothing for the devices that are accepted.
func (c *core) learn(now time.Time, rec *rendezvous.Record) error {
	if err := c.takeIn(now, rec); err != nil {
		return err
	}
	c.contacts[delivery.Account(rec.GetUsername())].asked = c.connNo
	return nil
}

// takeIn is learn of a record that need not come from the directory.
func (c *core) takeIn(now time.Time, rec *rendezvous.Record) error {
	entry, err := rendezvous.ParseEntry(rec.GetEntry())
	if err != nil {
		return fmt.Errorf("check directory entry: %w", err)
	}
	if entry.Rendezvous != c.rendezvous || string(entry.Username) != rec.GetUsername() {
		return errors.New("check directory entry: it is for another name or another rendezvous")
	}
	name := delivery.Account(entry.Username)
	proven, err := c.proven(name, entry, rec)
	if err != nil {
		return err
	}
	ct := c.contacts[name]
	first := ct == nil || len(ct.Devices) == 0
	if ct == nil {
		ct = c.remember(&history.Contact{Name: name, FirstSeen: now, Unmet: true})
	}
	trusted := first || ct.trusts(entry.Signer)
	if trusted && entry.Seq < ct.entrySeq {
		return errRollback
	}
	ct.shownSeq = max(ct.shownSeq, entry.Seq)
	changed := c.learnDevices(now, ct, proven, listing{entry: entry, first: first, trusted: trusted})
	for _, d := range rec.GetDevices() {
		changed = c.learnDevice(now, ct, d) || changed
	}
	if trusted && entry.Seq > ct.entrySeq {
		ct.Entry, ct.entrySeq, changed = rec.GetEntry(), entry.Seq, true
	}
	if changed || first {
		c.batch.Contacts = append(c.batch.Contacts, ct.Contact)
		c.engine.SetDevices(now, name, ct.accepted(c.self.Fingerprint))
	}
	return nil
}

// trusts reports whether a device is one that the person has accepted.
func (ct *contact) trusts(fp delivery.Device) bool {
	d := ct.devices[fp]
	return d != nil && d.Trust == history.Accepted
}

// proven returns the listed devices that have signed a bundle for this name. A key or PeerID that is pinned under another name makes the
// whole record suspect.
func (c *core) proven(name delivery.Account, entry *rendezvous.Entry, rec *rendezvous.Record) ([]rendezvous.EntryDevice, error) {
	bundles := map[delivery.Device][]byte{}
	for _, d := range rec.GetDevices() {
		if fp, err := identity.FingerprintFromBytes(d.GetFingerprint()); err == nil {
			bundles[fp] = d.GetBundle()
		}
	}
	var out []rendezvous.EntryDevice
	for _, d := range entry.Devices {
		fp := d.Key.Fingerprint()
		if fp == c.self.Fingerprint && string(name) == c.self.Name {
			out = append(out, d)
			continue
		}
		b, err := rendezvous.ParseBundle(bundles[fp], d.Key)
		if err != nil || b.Rendezvous != c.rendezvous || string(b.Username) != string(name) || b.PeerID != d.PeerID {
			continue
		}
		for _, known := range c.devices {
			if known.contact.Name != name && (known.Fingerprint == fp || known.id == d.PeerID) {
				return nil, fmt.Errorf("check directory entry: a key of it is pinned for %s", known.contact.Name)
			}
		}
		out = append(out, d)
	}
	return out, nil
}

// listing is a directory entry and what it is worth.
type listing struct {
	entry   *rendezvous.Entry
	first   bool // of this account, ever
	trusted bool // signed by a device that is accepted
}

// learnDevices compares the devices that are listed with those that are pinned, tells what is new, and reports whether anything has changed.
func (c *core) learnDevices(now time.Time, ct *contact, proven []rendezvous.EntryDevice, l listing) bool {
	changed, stays := false, false
	for _, d := range ct.Devices {
		_, listed := l.entry.Device(d.Fingerprint)
		stays = stays || listed && d.Trust == history.Accepted
		if !listed && (d.Trust == history.Pending || d.Trust == history.Accepted && l.trusted) {
			d.Trust, changed = history.Gone, true
			c.unlink(ct.devices[d.Fingerprint])
		}
	}
	broken := !l.first && !stays
	changed = changed || broken != ct.Changed
	news := broken && !ct.Changed
	ct.Changed = broken
	change := KeyDeviceAdded
	switch {
	case l.first:
		change = KeyFirstSeen
	case broken:
		change, ct.Verified = KeyIdentityChanged, false
	}
	for _, listed := range proven {
		fp := listed.Key.Fingerprint()
		d := ct.devices[fp]
		known := d != nil && d.Trust != history.Gone
		if known && (d.Trust == history.Accepted || !news) {
			continue
		}
		if d == nil {
			d = c.pin(now, ct, listed)
		}
		d.Trust, changed = history.Pending, true
		if l.first || fp == c.self.Fingerprint {
			d.Trust = history.Accepted
			c.owe(now, d)
		}
		c.tellKey(ct, d, change)
	}
	return changed
}

// pin adds a device that was never seen before.
func (c *core) pin(now time.Time, ct *contact, listed rendezvous.EntryDevice) *device {
	fp := listed.Key.Fingerprint()
	d := &device{
		Device: &history.Device{
			Fingerprint: fp, SPKI: listed.Key.SPKI(), PeerID: listed.PeerID.String(), Trust: history.Pending, FirstSeen: now,
		},
		contact: ct, key: listed.Key, id: listed.PeerID, inits: newInitLimit(), resets: newResets(),
	}
	ct.Devices = append(ct.Devices, d.Device)
	ct.devices[fp] = d
	c.devices[fp] = d
	c.obey(now, d)
	return d
}

// tellKey tells of a device whose key is new, our own other ones included: whoever runs the rendezvous could have put one there.
func (c *core) tellKey(ct *contact, d *device, change KeyChange) {
	if d.Fingerprint == c.self.Fingerprint {
		return
	}
	c.hub.publish(keyEvent(ct.Name, d.Device, change))
}

func keyEvent(name delivery.Account, d *history.Device, change KeyChange) Event {
	blocked := d.Trust != history.Accepted
	return Event{
		V: 1, Type: EventKey, User: string(name), Device: d.Fingerprint.Device(), Change: change, Fingerprint: d.Fingerprint.String(), Blocked: &blocked,
	}
}

// acquaint notes which message is the first that a contact has written, in the commit that takes it in: whoever shows it says so, also a process of later.
func (c *core) acquaint(m *delivery.Incoming) {
	ct := c.contacts[m.From]
	if ct == nil || !ct.Unmet {
		return
	}
	ct.Unmet, ct.First = false, m.ID.String()
	c.batch.Contacts = append(c.batch.Contacts, ct.Contact)
}

// keyOf is what is told of the keys of whom a message is from. They are new with the first message that it signs for, unless they were compared,
// or have changed, before that was shown.
func (c *core) keyOf(from delivery.Account, id delivery.MessageID) keyNews {
	ct := c.contacts[from]
	if ct == nil {
		return keyNews{state: KeyPinned}
	}
	news := keyNews{state: ct.keyState()}
	if news.state != KeyPinned || ct.First != id.String() {
		return news
	}
	news.state = KeyNew
	for _, d := range ct.Devices {
		if d.Fingerprint != c.self.Fingerprint && d.FirstSeen.Equal(ct.FirstSeen) {
			news.firsts = append(news.firsts, keyEvent(ct.Name, d, KeyFirstSeen))
		}
	}
	return news
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
		d.ways.Renewed()
		c.note(d, trace.Step{What: trace.Addresses, Addrs: addrs})
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
	var refused error
	look := func() {
		found = c.contacts[delivery.Account(name)] != nil
		refused = c.refusal("nobody can be asked who " + string(name) + " is")
	}
	if doErr := c.do(context.WithoutCancel(ctx), look); doErr != nil || found {
		return doErr
	}
	if refused != nil {
		return refused
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
	if learnErr == nil {
		err = p.core.do(ctx, func() {
			if p.core.contacts[delivery.Account(name)] == nil {
				learnErr = errors.New("the answer is about somebody else")
			}
		})
		if err != nil {
			return err
		}
	}
	if learnErr != nil && CodeOf(learnErr) == CodeFailed {
		return &Error{
			Code: CodeKeyChanged, Message: "the directory's record of " + string(name) + " cannot be trusted", Err: learnErr,
			Hint: "the rendezvous may be damaged or lying: ask its operator",
		}
	}
	return learnErr
}

// noSuchUser is told of a name that nobody has, and of what is no name.
func noSuchUser(name string) error {
	return &Error{Code: CodeNoSuchUser, Message: fmt.Sprintf("there is no user %.64q", name), Hint: "`byway who` lists the users"}
}
