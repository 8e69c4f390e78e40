package directory

import (
	"bytes"
	"context"
	"slices"

	"github.com/libp2p/go-libp2p/core/peer"
	"github.com/libp2p/go-libp2p/core/record"

	"github.com/byway-chat/byway/crypto/identity"
	"github.com/byway-chat/byway/rendezvous"
)

// maxAddresses is how many addresses a peer record may have.
const maxAddresses = 32

// Publish replaces what is held of the device, all of it or, where one field is refused, nothing; what is already held changes nothing. Codes: key-refused,
// bad-request, stale, too-large, not-enrolled (the device has been removed).
func (s *Service) Publish(ctx context.Context, who *SignedIn, p *rendezvous.Publish) error {
	a, err := s.store.Account(ctx, who.User)
	if err != nil {
		return refusalOf(err)
	}
	i := slices.IndexFunc(a.Devices, func(d Device) bool { return d.Fingerprint == who.Device })
	if i < 0 {
		return notEnrolled()
	}
	change, err := s.changed(ctx, a, a.Devices[i], p)
	if err != nil {
		return err
	}
	if change.Bundle == nil && change.PeerRecord == nil && change.Withheld == nil {
		return nil
	}
	if err := s.store.UpdateDevices(ctx, change); err != nil {
		return refusalOf(err)
	}
	s.o.Presence.KeysChanged(who.User, who.Device)
	return nil
}

// changed checks what is published and returns what of it is new.
func (s *Service) changed(ctx context.Context, a *Account, held Device, p *rendezvous.Publish) (change DeviceChange, err error) {
	change.Device = held.Fingerprint
	if p.GetBundle() != nil && !bytes.Equal(p.GetBundle(), held.Bundle) {
		if change.BundleSeq, err = s.newerBundle(a, held, p.GetBundle()); err != nil {
			return change, err
		}
		change.Bundle = p.GetBundle()
	}
	switch {
	case p.GetHideAddresses():
		if held.PeerRecord != nil {
			change.PeerRecord = new([]byte)
		}
	case p.GetPeerRecord() != nil && !bytes.Equal(p.GetPeerRecord(), held.PeerRecord):
		if err := checkPeerRecord(p.GetPeerRecord(), held); err != nil {
			return change, err
		}
		change.PeerRecord = &p.PeerRecord
	}
	change.Withheld, err = s.newlyWithheld(ctx, held.Fingerprint, p.GetWithheld())
	return change, err
}

// newerBundle checks a bundle against the account's entry and the bundle that is held.
func (s *Service) newerBundle(a *Account, held Device, b []byte) (seq uint64, err error) {
	entry, err := rendezvous.ParseEntry(a.Entry)
	if err != nil {
		return 0, err
	}
	d, ok := entry.Device(held.Fingerprint)
	if !ok {
		return 0, notEnrolled()
	}
	bundle, err := s.parseBundle(b, a.Name, d)
	if err != nil {
		return 0, err
	}
	if bundle.Seq <= held.BundleSeq {
		return 0, stale()
	}
	return bundle.Seq, nil
}

// checkPeerRecord checks that a libp2p peer record is the device's own, newer than the one held, and of bounded length.
func checkPeerRecord(b []byte, held Device) error {
	if len(b) > rendezvous.MaxPeerRecord {
		return rendezvous.Errorf(rendezvous.CodeTooLarge, "the peer record is over %d bytes", rendezvous.MaxPeerRecord)
	}
	r, err := parsePeerRecord(b)
	if err != nil || r.PeerID != held.PeerID || len(r.Addrs) > maxAddresses {
		return badRequest("the peer record is malformed or another device's")
	}
	if held.PeerRecord == nil {
		return nil
	}
	if old, err := parsePeerRecord(held.PeerRecord); err == nil && r.Seq <= old.Seq {
		return stale()
	}
	return nil
}

// parsePeerRecord opens a signed envelope and checks that the peer it speaks of has signed it.
func parsePeerRecord(b []byte) (*peer.PeerRecord, error) {
	var r peer.PeerRecord
	envelope, err := record.ConsumeTypedEnvelope(b, &r)
	if err != nil {
		return nil, err
	}
	if !r.PeerID.MatchesPublicKey(envelope.PublicKey) {
		return nil, badRequest("the peer record is signed by another peer")
	}
	return &r, nil
}

// RemoveDevices replaces the account's entry by one that lacks some of its devices, signed by one that stays. It returns those that are gone: the
// caller ends their connections and purges their mail. Codes: stale, key-refused, bad-request, not-enrolled.
func (s *Service) RemoveDevices(ctx context.Context, who *SignedIn, signed []byte) ([]identity.Fingerprint, error) {
	held, err := s.store.Account(ctx, who.User)
	if err != nil {
		return nil, refusalOf(err)
	}
	entry, err := s.parseEntry(signed, who.User)
	if err != nil {
		return nil, err
	}
	old, err := rendezvous.ParseEntry(held.Entry)
	if err != nil {
		return nil, err
	}
	if entry.Seq != old.Seq+1 {
		return nil, stale()
	}
	if entry.Signer != who.Device || len(entry.Devices) >= len(old.Devices) {
		return nil, badRequest("the entry must lack a device and be signed by this one")
	}
	for _, d := range entry.Devices {
		if kept, ok := old.Device(d.Key.Fingerprint()); !ok || !sameDevice(kept, d) {
			return nil, badRequest("the entry must not change the devices that stay")
		}
	}
	next := *held
	next.Entry, next.Seq, next.Devices = signed, entry.Seq, nil
	var gone []identity.Fingerprint
	for _, d := range held.Devices {
		if _, stays := entry.Device(d.Fingerprint); stays {
			next.Devices = append(next.Devices, d)
		} else {
			gone = append(gone, d.Fingerprint)
		}
	}
	if err := s.store.Replace(ctx, &next, held.Seq); err != nil {
		return nil, refusalOf(err)
	}
	for _, f := range gone {
		s.owners.Remove(f)
		s.o.Logger.Info("device removed", userAttr(who.User), deviceAttr(f))
		s.o.Presence.KeysChanged(who.User, f)
	}
	return gone, nil
}
