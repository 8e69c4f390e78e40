package directory

import (
	"context"
	"errors"
	"sync/atomic"
	"time"

	"github.com/libp2p/go-libp2p/core/peer"

	"github.com/byway-chat/byway/crypto/identity"
	"github.com/byway-chat/byway/crypto/password"
	"github.com/byway-chat/byway/rendezvous"
)

// enrolTime is how long a right password may be used to enrol a device.
const enrolTime = time.Minute

// SignedIn is a connection's device after it has signed in.
type SignedIn struct {
	User   rendezvous.Username
	Device identity.Fingerprint
	PeerID peer.ID
	Entry  []byte // the account's directory entry at that time
}

// Enrolment is a right password: the right to add the caller's device with Enrol, for a minute and once.
type Enrolment struct {
	name    rendezvous.Username // immutable
	entry   []byte              // immutable
	expires time.Time           // immutable
	used    atomic.Bool
}

// Entry is the directory entry to extend.
func (e *Enrolment) Entry() []byte { return e.entry }

// Login checks a password. Codes: bad-credentials (unknown name or wrong password, indistinguishable), rate-limited, busy, banned.
func (s *Service) Login(ctx context.Context, c Caller, r *rendezvous.Login) (*Enrolment, error) {
	name, err := rendezvous.ParseUsername(r.GetUsername())
	if err != nil {
		name = "" // no account has it: the work below is done all the same
	}
	if err := s.guesses.begin(name, c.Source); err != nil {
		return nil, err
	}
	result := guessUnknown
	defer func() { s.guesses.end(name, c.Source, result) }()
	a, err := s.checkPassword(ctx, name, r.GetPassword())
	if err != nil {
		return nil, err
	}
	if a == nil {
		result = guessWrong
		s.o.Logger.Info("wrong name or password") // not which: a password typed as a name must not get into a log
		return nil, rendezvous.Errorf(rendezvous.CodeBadCredentials, "wrong name or password")
	}
	result = guessRight
	if a.Ban != nil {
		return nil, banned(a)
	}
	return &Enrolment{name: a.Name, entry: a.Entry, expires: s.o.Now().Add(enrolTime)}, nil
}

// checkPassword returns the account where name and password are right, and nil where one of them is not, after the same work.
func (s *Service) checkPassword(ctx context.Context, name rendezvous.Username, typed string) (*Account, error) {
	leave, err := s.hashing.enter(ctx)
	if err != nil {
		return nil, err
	}
	defer leave()
	a, err := s.store.Account(ctx, name)
	known := err == nil
	if !known && !errors.Is(err, ErrNotFound) {
		return nil, err
	}
	record := s.o.Hasher.Dummy()
	if known {
		record = a.Password
	}
	prepared, err := password.PrepareLogin(typed)
	typeable := err == nil
	defer clear(prepared)
	ok, rehash, err := s.o.Hasher.Verify(record, prepared)
	if err != nil {
		return nil, err
	}
	if !known || !typeable || !ok {
		return nil, nil
	}
	if rehash {
		s.rehash(ctx, name, prepared)
	}
	return a, nil
}

// rehash brings a record to the present cost while the password is at hand. It may fail: the old record still serves.
func (s *Service) rehash(ctx context.Context, name rendezvous.Username, prepared []byte) {
	record, err := s.o.Hasher.Hash(prepared)
	if err == nil {
		err = s.store.UpdateAccount(ctx, name, AccountChange{Password: &record})
	}
	if err != nil {
		s.o.Logger.Warn("a password could not be hashed anew", userAttr(name), errAttr(err))
	}
}

// Enrol adds the caller's device to the account whose password it has shown. A nil Enrolment is refused. Codes: not-signed-in, stale (log in
// again: another device was quicker), key-refused, bad-request, banned.
func (s *Service) Enrol(ctx context.Context, c Caller, e *Enrolment, r *rendezvous.Enrol) (*SignedIn, error) {
	if e == nil || s.o.Now().After(e.expires) || e.used.Swap(true) {
		return nil, rendezvous.Errorf(rendezvous.CodeNotSignedIn, "log in first, and enrol within a minute")
	}
	held, err := s.store.Account(ctx, e.name)
	if err != nil {
		return nil, refusalOf(err)
	}
	if held.Ban != nil {
		return nil, banned(held)
	}
	device, entry, err := s.extend(c, held, r)
	if err != nil {
		return nil, err
	}
	next := *held
	next.Entry, next.Seq, next.Devices = r.GetEntry(), entry.Seq, append(next.Devices, device)
	if err := s.store.Replace(ctx, &next, held.Seq); err != nil {
		return nil, refusalOf(err)
	}
	s.o.Logger.Info("device enrolled", userAttr(e.name), deviceAttr(device.Fingerprint))
	s.o.Presence.KeysChanged(e.name, device.Fingerprint)
	return &SignedIn{User: e.name, Device: device.Fingerprint, PeerID: c.PeerID, Entry: r.GetEntry()}, nil
}

// extend checks that the new entry is the held one, unchanged, with the caller's device added at its end.
func (s *Service) extend(c Caller, held *Account, r *rendezvous.Enrol) (Device, *rendezvous.Entry, error) {
	entry, err := s.parseEntry(r.GetEntry(), held.Name)
	if err != nil {
		return Device{}, nil, err
	}
	old, err := rendezvous.ParseEntry(held.Entry)
	if err != nil {
		return Device{}, nil, err
	}
	if entry.Seq != old.Seq+1 {
		return Device{}, nil, stale()
	}
	if len(entry.Devices) != len(old.Devices)+1 {
		return Device{}, nil, badRequest("enrolment adds one device and keeps the others")
	}
	for i, d := range old.Devices {
		if !sameDevice(d, entry.Devices[i]) {
			return Device{}, nil, badRequest("enrolment adds one device and keeps the others")
		}
	}
	d, err := s.newDevice(c, entry, entry.Devices[len(old.Devices)], r.GetBundle(), r.GetPossession())
	return d, entry, err
}

func sameDevice(a, b rendezvous.EntryDevice) bool {
	return a.Key.Equal(b.Key) && a.PeerID == b.PeerID && a.Added.Equal(b.Added)
}

// Resume admits a device that is enrolled. Codes: not-enrolled (also for an unknown name), banned.
func (s *Service) Resume(ctx context.Context, c Caller, r *rendezvous.Resume) (*SignedIn, error) {
	name, err := rendezvous.ParseUsername(r.GetUsername())
	if err != nil {
		return nil, notEnrolled()
	}
	a, err := s.store.Account(ctx, name)
	if errors.Is(err, ErrNotFound) {
		return nil, notEnrolled()
	} else if err != nil {
		return nil, err
	}
	for _, d := range a.Devices {
		if d.PeerID != c.PeerID {
			continue
		}
		if a.Ban != nil {
			return nil, banned(a)
		}
		return &SignedIn{User: name, Device: d.Fingerprint, PeerID: c.PeerID, Entry: a.Entry}, nil
	}
	return nil, notEnrolled()
}

// Bans numbers the state of the bans, for Admissible.
func (s *Service) Bans() uint64 { return s.bans.Load() }

// Admissible says whether an account that could sign in when Bans returned since may still be signed in. Codes: banned, no-such-user.
func (s *Service) Admissible(ctx context.Context, name rendezvous.Username, since uint64) error {
	if s.bans.Load() == since {
		return nil
	}
	a, err := s.store.Account(ctx, name)
	if err != nil {
		return refusalOf(err)
	}
	if a.Ban != nil {
		return banned(a)
	}
	return nil
}
