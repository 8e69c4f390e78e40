// Package sqlite keeps a rendezvous's accounts, invitations and mailbox in one SQLite file. [Open] it; a [DB] is a directory.Store, a
// directory.InviteStore and a relay.Mailbox.
package sqlite

import (
	"context"
	"errors"
	"log/slog"
	"time"

	"github.com/byway-chat/byway/crypto/identity"
	"github.com/byway-chat/byway/rendezvous"
	"github.com/byway-chat/byway/rendezvous/directory"
	"github.com/byway-chat/byway/rendezvous/relay"
)

// Errors of Open and of every method, on which a caller can decide.
var (
	// ErrDamaged means that the file is not a database, or that pages of it are malformed.
	ErrDamaged = errors.New("the database file is damaged")
	// ErrNewer means that a newer version of this program has written the file. It is left untouched.
	ErrNewer = errors.New("the database was written by a newer version of rendezvous")
	// ErrDiskFull means that there is no room to write. Nothing was changed, and it works again when there is room.
	ErrDiskFull = errors.New("the disk is full")
	// ErrInUse means that another process holds the file.
	ErrInUse = errors.New("the database is in use by another process")
)

// DB is an open database.
type DB struct{}

// Open opens the file or makes it (0600), and brings its schema up to date. Its directory must exist. Only one process may have it open.
func Open(ctx context.Context, path string, log *slog.Logger) (*DB, error) { return &DB{}, nil }

// Close closes the file. It is idempotent.
func (db *DB) Close() error { return nil }

var (
	_ directory.Store       = (*DB)(nil)
	_ directory.InviteStore = (*DB)(nil)
	_ relay.Mailbox         = (*DB)(nil)
)

func (db *DB) Account(ctx context.Context, name rendezvous.Username) (*directory.Account, error) {
	return nil, nil
}
func (db *DB) Owner(ctx context.Context, device identity.Fingerprint) (rendezvous.Username, error) {
	return "", nil
}
func (db *DB) Create(ctx context.Context, a *directory.Account, invite *directory.InviteID) error {
	return nil
}
func (db *DB) Replace(ctx context.Context, a *directory.Account, oldSeq uint64) error     { return nil }
func (db *DB) UpdateDevices(ctx context.Context, changes ...directory.DeviceChange) error { return nil }
func (db *DB) UpdateAccount(ctx context.Context, name rendezvous.Username, change directory.AccountChange) error {
	return nil
}
func (db *DB) Accounts(ctx context.Context, after rendezvous.Username, limit int) ([]*directory.Account, error) {
	return nil, nil
}
func (db *DB) Names(ctx context.Context, after rendezvous.Username, limit int) ([]rendezvous.Username, error) {
	return nil, nil
}
func (db *DB) AddInvite(ctx context.Context, i directory.Invite) error { return nil }
func (db *DB) Invite(ctx context.Context, id directory.InviteID) (directory.Invite, error) {
	return directory.Invite{}, nil
}
func (db *DB) Invites(ctx context.Context) ([]directory.Invite, error)       { return nil, nil }
func (db *DB) RemoveInvite(ctx context.Context, id directory.InviteID) error { return nil }
func (db *DB) Apply(ctx context.Context, b *relay.Batch) error               { return nil }
func (db *DB) Page(ctx context.Context, to relay.Address, after uint64, limit, maxBytes int) ([]relay.Held, error) {
	return nil, nil
}
func (db *DB) Waiting(ctx context.Context, to relay.Address) (relay.Usage, error) {
	return relay.Usage{}, nil
}
func (db *DB) Usage(ctx context.Context, account rendezvous.Username) (relay.Usage, error) {
	return relay.Usage{}, nil
}
func (db *DB) Expire(ctx context.Context, before time.Time, limit int) (int, error) { return 0, nil }
func (db *DB) Purge(ctx context.Context, to relay.Address) error                    { return nil }
