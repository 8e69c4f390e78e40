package directory

import (
	"context"
	"log/slog"
	"time"

	"github.com/byway-chat/byway/crypto/identity"
	"github.com/byway-chat/byway/rendezvous"
	"github.com/libp2p/go-libp2p/core/peer"
)

// Policy says who may register.
type Policy string

// The policies, as Welcome spells them.
const (
	Open     Policy = "open"
	ByInvite Policy = "invite"
	Closed   Policy = "closed"
)

// Presence is what the Service needs of presence.Tracker.
type Presence interface {
	Online(user rendezvous.Username) bool
	DeviceOnline(device identity.Fingerprint) bool
	KeysChanged(user rendezvous.Username, device identity.Fingerprint)
}

// Options configure a Service. Rendezvous, Hasher and Presence are required; another zero field takes the default named with it.
type Options struct {
	Rendezvous peer.ID // whose PeerID entries, bundles and proofs must name
	Hasher     Hasher
	Presence   Presence
	Policy     Policy        // default Closed: a forgotten setting admits nobody
	Hashes     int           // password checks at once; default max(1, cores/2)
	HashQueue  int           // that may wait for their turn; default 64
	HashWait   time.Duration // longest wait, then "busy"; default 5 s
	Now        func() time.Time
	Logger     *slog.Logger // default: discard; gets user names, never passwords or tokens
}

// Caller is a connection that has not signed in yet.
type Caller struct {
	PeerID peer.ID // proven by the transport handshake
	Nonce  []byte  // of this stream's Welcome
	Source string  // network prefix that wrong guesses are counted by; may be empty
}

// SignedIn is a connection's device after it has signed in.
type SignedIn struct {
	User   rendezvous.Username
	Device identity.Fingerprint
	PeerID peer.ID
	Entry  []byte // the account's present directory entry
}

// Service is the directory of one rendezvous. Its methods may be called from any goroutine.
type Service struct{}

// New makes a Service. It starts no goroutine.
func New(store Store, invites InviteStore, o Options) *Service { return &Service{} }

// Register makes an account with the caller's device. Codes: registration-closed, invite-required, name-not-allowed, name-taken,
// password-too-weak, key-refused, bad-request, busy.
func (s *Service) Register(ctx context.Context, c Caller, r *rendezvous.Register) (*SignedIn, error) {
	return nil, rendezvous.Errorf(rendezvous.CodeInternal, "")
}

// Enrolment is a right password: the right to add the caller's device with Enrol, for a minute and once.
type Enrolment struct{}

// Entry is the directory entry to extend.
func (e *Enrolment) Entry() []byte { return nil }

// Login checks a password. Codes: bad-credentials (unknown name or wrong password, indistinguishable), rate-limited, busy, banned.
func (s *Service) Login(ctx context.Context, c Caller, r *rendezvous.Login) (*Enrolment, error) {
	return nil, rendezvous.Errorf(rendezvous.CodeInternal, "")
}

// Enrol adds the caller's device to the account whose password it has shown. A nil Enrolment is refused. Codes: not-signed-in, stale (log in
// again: another device was quicker), key-refused, bad-request.
func (s *Service) Enrol(ctx context.Context, c Caller, e *Enrolment, r *rendezvous.Enrol) (*SignedIn, error) {
	return nil, rendezvous.Errorf(rendezvous.CodeInternal, "")
}

// Resume admits a device that is enrolled. Codes: not-enrolled (also for an unknown name), banned.
func (s *Service) Resume(ctx context.Context, c Caller, r *rendezvous.Resume) (*SignedIn, error) {
	return nil, rendezvous.Errorf(rendezvous.CodeInternal, "")
}

// Publish replaces what is held of the device. Codes: key-refused, bad-request, stale, too-large.
func (s *Service) Publish(ctx context.Context, who *SignedIn, p *rendezvous.Publish) error {
	return nil
}

// RemoveDevices replaces the account's entry by one that lacks some of its devices, signed by one that stays. It returns those that are gone: the
// caller ends their connections and purges their mail. Codes: stale, key-refused, bad-request.
func (s *Service) RemoveDevices(ctx context.Context, who *SignedIn, entry []byte) ([]identity.Fingerprint, error) {
	return nil, nil
}

// Lookup returns a record for each name in their order; a name that is not one is unknown. Codes: bad-request (over MaxLookup).
func (s *Service) Lookup(ctx context.Context, r *rendezvous.Lookup) (*rendezvous.Found, error) {
	return nil, nil
}

// List returns a page of names.
func (s *Service) List(ctx context.Context, r *rendezvous.List) (*rendezvous.Listed, error) {
	return nil, nil
}

// Owner returns the account of a device, for the relay. Code: no-such-device.
func (s *Service) Owner(ctx context.Context, device identity.Fingerprint) (rendezvous.Username, error) {
	return "", nil
}

// Seen notes that a device is or was here now. It is written some seconds later, many at once; Close writes the rest.
func (s *Service) Seen(device identity.Fingerprint) {}

// Close writes what Seen has noted. It is idempotent.
func (s *Service) Close(ctx context.Context) error { return nil }

// Policy returns who may register now.
func (s *Service) Policy() Policy { return Closed }

// SetPolicy changes who may register.
func (s *Service) SetPolicy(p Policy) {}

// User is an account as its operator sees it.
type User struct {
	Name     rendezvous.Username
	Created  time.Time
	LastSeen time.Time // the latest of its devices; now while one is online; zero: never
	Online   bool
	Password string // scheme and parameters
	Ban      *Ban
	Devices  []UserDevice
}

// UserDevice is a device as the operator sees it.
type UserDevice struct {
	Fingerprint identity.Fingerprint
	PeerID      peer.ID
	Added       time.Time
	LastSeen    time.Time
	Online      bool
}

// Users returns at most limit accounts with a name after the given one, in the order of their names.
func (s *Service) Users(ctx context.Context, after rendezvous.Username, limit int) ([]User, error) {
	return nil, nil
}

// User returns one account. Code: no-such-user.
func (s *Service) User(ctx context.Context, name rendezvous.Username) (*User, error) { return nil, nil }

// Ban keeps an account from signing in; the caller ends its connections. Unban lifts it. Code: no-such-user.
func (s *Service) Ban(ctx context.Context, name rendezvous.Username, reason string) error { return nil }

// Unban lets an account sign in again. Code: no-such-user.
func (s *Service) Unban(ctx context.Context, name rendezvous.Username) error { return nil }

// Invite makes an invitation with a number of uses (at least 1) and a lifetime (0: for ever). The token is returned once and not stored.
func (s *Service) Invite(ctx context.Context, uses int, lifetime time.Duration, note string) (token string, i Invite, err error) {
	return "", Invite{}, nil
}

// Invites returns all invitations, oldest first.
func (s *Service) Invites(ctx context.Context) ([]Invite, error) { return nil, nil }

// RevokeInvite removes an invitation. Code: bad-request for an unknown one.
func (s *Service) RevokeInvite(ctx context.Context, id InviteID) error { return nil }
