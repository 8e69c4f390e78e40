package directory

import (
	"context"
	"errors"

	"github.com/libp2p/go-libp2p/core/peer"

	"github.com/byway-chat/byway/crypto/password"
	"github.com/byway-chat/byway/rendezvous"
)

// Caller is a connection that has not signed in yet.
type Caller struct {
	PeerID peer.ID // proven by the transport handshake
	Nonce  []byte  // of this stream's Welcome
	Source string  // network prefix that wrong guesses are counted by; empty: all such callers count as one
}

// Register makes an account with the caller's device. Codes: registration-closed, invite-required, name-not-allowed, name-taken,
// password-too-weak, key-refused, bad-request, busy.
func (s *Service) Register(ctx context.Context, c Caller, r *rendezvous.Register) (*SignedIn, error) {
	invite, err := s.mayRegister(ctx, r.GetInvite())
	if err != nil {
		return nil, err
	}
	name, err := rendezvous.ParseUsername(r.GetUsername())
	if err != nil {
		return nil, err
	}
	device, err := s.firstDevice(c, name, r)
	if err != nil {
		return nil, err
	}
	// Known before the expensive hash. Whether a name exists is no secret here: who registers learns it in any case.
	if _, err := s.store.Account(ctx, name); err == nil {
		return nil, nameTaken()
	} else if !errors.Is(err, ErrNotFound) {
		return nil, err
	}
	record, err := s.hashNew(ctx, name, r.GetPassword())
	if err != nil {
		return nil, err
	}
	a := &Account{
		Name:     name,
		Skeleton: name.Skeleton(),
		Created:  s.o.Now(),
		Password: record,
		Entry:    r.GetEntry(),
		Seq:      1,
		Devices:  []Device{device},
	}
	if err := s.store.Create(ctx, a, invite); err != nil {
		return nil, refusalOf(err)
	}
	s.o.Logger.Info("user registered", userAttr(name), deviceAttr(device.Fingerprint))
	return &SignedIn{User: name, Device: device.Fingerprint, PeerID: c.PeerID, Entry: r.GetEntry()}, nil
}

// mayRegister applies the policy. It returns the invitation to use, where one is needed.
func (s *Service) mayRegister(ctx context.Context, token string) (*InviteID, error) {
	switch s.Policy() {
	case Open:
		return nil, nil
	case ByInvite:
		i, err := s.usableInvite(ctx, token)
		if err != nil {
			return nil, err
		}
		return &i.ID, nil
	default:
		return nil, rendezvous.Errorf(rendezvous.CodeRegistrationClosed, "registration is closed here; ask the operator")
	}
}

// firstDevice checks the entry of a new account and makes its device.
func (s *Service) firstDevice(c Caller, name rendezvous.Username, r *rendezvous.Register) (Device, error) {
	entry, err := s.parseEntry(r.GetEntry(), name)
	if err != nil {
		return Device{}, err
	}
	if entry.Seq != 1 || len(entry.Devices) != 1 {
		return Device{}, badRequest("the first directory entry has number 1 and one device")
	}
	return s.newDevice(c, entry, entry.Devices[0], r.GetBundle(), r.GetPossession())
}

// parseEntry reads an entry and checks that it is for this name, here.
func (s *Service) parseEntry(b []byte, name rendezvous.Username) (*rendezvous.Entry, error) {
	entry, err := rendezvous.ParseEntry(b)
	if err != nil {
		return nil, err
	}
	if entry.Rendezvous != s.o.Rendezvous || entry.Username != name {
		return nil, badRequest("the directory entry is for another name or another rendezvous")
	}
	return entry, nil
}

// newDevice checks that a device is the caller's and signed the entry, that its key is held, and that its bundle fits.
func (s *Service) newDevice(c Caller, entry *rendezvous.Entry, d rendezvous.EntryDevice, bundle, possession []byte) (Device, error) {
	if d.PeerID != c.PeerID || entry.Signer != d.Key.Fingerprint() {
		return Device{}, badRequest("the directory entry is not signed by the device at the other end of this connection")
	}
	if err := rendezvous.VerifyPossession(d.Key, s.o.Rendezvous, entry.Username, c.PeerID, c.Nonce, possession); err != nil {
		return Device{}, err
	}
	b, err := s.parseBundle(bundle, entry.Username, d)
	if err != nil {
		return Device{}, err
	}
	return Device{
		Fingerprint: d.Key.Fingerprint(),
		PeerID:      d.PeerID,
		Added:       s.o.Now(),
		Bundle:      bundle,
		BundleSeq:   b.Seq,
	}, nil
}

// parseBundle reads a bundle and checks that it is this device's, here.
func (s *Service) parseBundle(b []byte, name rendezvous.Username, d rendezvous.EntryDevice) (*rendezvous.Bundle, error) {
	bundle, err := rendezvous.ParseBundle(b, d.Key)
	if err != nil {
		return nil, err
	}
	if bundle.Rendezvous != s.o.Rendezvous || bundle.Username != name || bundle.PeerID != d.PeerID ||
		bundle.Device != d.Key.Fingerprint() {
		return nil, badRequest("the prekey bundle is for another name, device or rendezvous")
	}
	return bundle, nil
}

// hashNew makes the record of a new password.
func (s *Service) hashNew(ctx context.Context, name rendezvous.Username, chosen string) (string, error) {
	prepared, err := password.Prepare(string(name), chosen)
	switch {
	case errors.Is(err, password.ErrTooWeak):
		return "", rendezvous.Errorf(rendezvous.CodePasswordTooWeak, "%v", err)
	case err != nil:
		return "", badRequest("the password has characters that cannot be used")
	}
	defer clear(prepared)
	leave, err := s.hashing.enter(ctx)
	if err != nil {
		return "", err
	}
	defer leave()
	return s.o.Hasher.Hash(prepared)
}
