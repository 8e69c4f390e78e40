package directory

import (
	"context"
	"time"

	"github.com/libp2p/go-libp2p/core/peer"

	"github.com/byway-chat/byway/crypto/identity"
	"github.com/byway-chat/byway/rendezvous"
)

// User is an account as its operator sees it.
type User struct {
	Name     rendezvous.Username
	Created  time.Time
	LastSeen time.Time // the latest of its devices; now while one is online; zero: never
	Online   bool
	Password string // scheme and parameters, never more of the record
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

// Users returns at most limit accounts with a name after the given one, in byte order of their names.
func (s *Service) Users(ctx context.Context, after rendezvous.Username, limit int) ([]User, error) {
	accounts, err := s.store.Accounts(ctx, after, limit)
	if err != nil {
		return nil, err
	}
	users := make([]User, len(accounts))
	for i, a := range accounts {
		users[i] = s.user(a)
	}
	return users, nil
}

// User returns one account. Code: no-such-user.
func (s *Service) User(ctx context.Context, name rendezvous.Username) (*User, error) {
	a, err := s.store.Account(ctx, name)
	if err != nil {
		return nil, refusalOf(err)
	}
	u := s.user(a)
	return &u, nil
}

func (s *Service) user(a *Account) User {
	u := User{Name: a.Name, Created: a.Created, Password: s.o.Hasher.Describe(a.Password), Ban: a.Ban}
	for _, d := range a.Devices {
		shown := UserDevice{
			Fingerprint: d.Fingerprint,
			PeerID:      d.PeerID,
			Added:       d.Added,
			LastSeen:    s.lastSeen(d),
			Online:      s.o.Presence.DeviceOnline(d.Fingerprint),
		}
		if shown.Online {
			u.Online = true
			shown.LastSeen = s.o.Now()
		}
		if shown.LastSeen.After(u.LastSeen) {
			u.LastSeen = shown.LastSeen
		}
		u.Devices = append(u.Devices, shown)
	}
	return u
}

// Ban keeps an account from signing in; the caller ends its connections. Code: no-such-user.
func (s *Service) Ban(ctx context.Context, name rendezvous.Username, reason string) error {
	return s.setBan(ctx, name, &Ban{Since: s.o.Now(), Reason: reason})
}

// Unban lets an account sign in again. Code: no-such-user.
func (s *Service) Unban(ctx context.Context, name rendezvous.Username) error {
	return s.setBan(ctx, name, nil)
}

func (s *Service) setBan(ctx context.Context, name rendezvous.Username, ban *Ban) error {
	if err := s.store.UpdateAccount(ctx, name, AccountChange{Ban: &ban}); err != nil {
		return refusalOf(err)
	}
	s.bans.Add(1) // after the ban is written, and before the caller looks for connections
	if ban != nil {
		s.o.Logger.Info("user banned", userAttr(name))
	} else {
		s.o.Logger.Info("user unbanned", userAttr(name))
	}
	return nil
}
