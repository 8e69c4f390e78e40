package directory

import (
	"context"
	"errors"
	"time"

	"github.com/libp2p/go-libp2p/core/peer"

	"github.com/byway-chat/byway/crypto/identity"
	"github.com/byway-chat/byway/rendezvous"
)

// Account is what is held of one user name.
type Account struct {
	Name     rendezvous.Username
	Skeleton string // unique among accounts
	Created  time.Time
	Password string // PHC string; never leaves the rendezvous
	Entry    []byte // signed directory entry, byte-exact
	Seq      uint64 // of Entry
	Ban      *Ban   // nil: none
	Devices  []Device
}

// Device is what is held of one device. Its key is in the account's Entry.
type Device struct {
	Fingerprint identity.Fingerprint // unique among all devices
	PeerID      peer.ID              // unique among all devices
	Added       time.Time
	LastSeen    time.Time // zero: never
	Bundle      []byte    // signed prekey bundle, byte-exact
	BundleSeq   uint64
	PeerRecord  []byte // signed libp2p peer record; nil: publishes no address
}

// Ban keeps an account from signing in.
type Ban struct {
	Since  time.Time
	Reason string // the operator's; shown to the user
}

// AccountChange changes fields of an account that are not nil.
type AccountChange struct {
	Password *string
	Ban      **Ban // points to nil: lift the ban
}

// DeviceChange changes fields of a device that are not nil.
type DeviceChange struct {
	Device     identity.Fingerprint
	Bundle     []byte // only together with BundleSeq, which must be higher than the one held
	BundleSeq  uint64
	PeerRecord *[]byte // points to nil: forget it
	// Withheld replaces from whom the device withholds its peer record: each name once, in byte order.
	Withheld *[]rendezvous.Username
	LastSeen *time.Time
}

// Errors of a Store on which the Service decides.
var (
	// ErrNotFound is returned for an account, device or invitation that is not there.
	ErrNotFound = errors.New("not in the directory")
	// ErrNameTaken is returned by Create where the name or its skeleton is in use.
	ErrNameTaken = errors.New("the name is taken")
	// ErrKeyTaken is returned by Create and Replace where a device's fingerprint or PeerID is on another account.
	ErrKeyTaken = errors.New("the key belongs to another account")
	// ErrConflict is returned by Replace and UpdateDevices where what is held is not older than the change supposes.
	ErrConflict = errors.New("what is held has changed meanwhile")
	// ErrInviteSpent is returned by Create for an invitation without a use left, past its end, or unknown.
	ErrInviteSpent = errors.New("the invitation is used up, expired or unknown")
)

// Store keeps accounts durably: what a method has done is on the disk when it returns nil, and nothing of it when it returns an error.
// Accounts and slices that go in or come out are not shared with the Store. Methods may be called from several goroutines.
type Store interface {
	Withholding
	// Account returns ErrNotFound for an unknown name. Devices are in the order in which they were added.
	Account(ctx context.Context, name rendezvous.Username) (*Account, error)
	// Owner returns the account of a device, or ErrNotFound.
	Owner(ctx context.Context, device identity.Fingerprint) (rendezvous.Username, error)
	// Create adds an account with its devices and, where invite is not nil, takes one use of that invitation at time a.Created. Errors:
	// ErrNameTaken, ErrKeyTaken, ErrInviteSpent.
	Create(ctx context.Context, a *Account, invite *InviteID) error
	// Replace sets Entry, Seq and the list of devices, provided that the Seq held is oldSeq: devices that are not held are added,
	// those that a lacks are removed, of the others nothing changes. Errors: ErrNotFound, ErrConflict, ErrKeyTaken.
	Replace(ctx context.Context, a *Account, oldSeq uint64) error
	// UpdateDevices makes the changes in one transaction; a list of Withheld that is held already is no change. Changes of LastSeen alone to unknown devices are
	// ignored. Errors: ErrNotFound, ErrConflict (a bundle that is not newer).
	UpdateDevices(ctx context.Context, changes ...DeviceChange) error
	// UpdateAccount returns ErrNotFound for an unknown name.
	UpdateAccount(ctx context.Context, name rendezvous.Username, change AccountChange) error
	// Accounts returns at most limit accounts with a name after the given one, in byte order of their names.
	Accounts(ctx context.Context, after rendezvous.Username, limit int) ([]*Account, error)
	// Names is Accounts without all but the names; banned accounts are left out.
	Names(ctx context.Context, after rendezvous.Username, limit int) ([]rendezvous.Username, error)
}

// Withholding keeps from which accounts devices withhold where they are. UpdateDevices of Store changes that; with a device it goes. Where a Store
// has lost what it knew of it, as on a damaged disk, it keeps no peer record either until that is published again.
type Withholding interface {
	// Withheld returns the accounts from which a device withholds its peer record, in byte order; none for an unknown device.
	Withheld(ctx context.Context, device identity.Fingerprint) ([]rendezvous.Username, error)
	// Shown is Account of Store as another account may see it: without the peer records that are withheld from that one. What it returns was held at one moment.
	Shown(ctx context.Context, name, to rendezvous.Username) (*Account, error)
}

// InviteID is the SHA-256 of an invitation's token: the token itself is never stored.
type InviteID [32]byte

// Invite admits registrations where registration is by invitation.
type Invite struct {
	ID      InviteID
	Created time.Time
	Expires time.Time // zero: never
	Uses    int       // as made
	Left    int
	Note    string // the operator's
}

// InviteStore keeps invitations. Create of Store takes their uses.
type InviteStore interface {
	AddInvite(ctx context.Context, i Invite) error
	// Invite returns ErrNotFound for an unknown one.
	Invite(ctx context.Context, id InviteID) (Invite, error)
	// Invites returns all, oldest first.
	Invites(ctx context.Context) ([]Invite, error)
	// RemoveInvite returns ErrNotFound for an unknown one.
	RemoveInvite(ctx context.Context, id InviteID) error
}
