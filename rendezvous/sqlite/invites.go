package sqlite

import (
	"context"
	"database/sql"
	"errors"
	"fmt"

	"github.com/byway-chat/byway/rendezvous/directory"
)

// AddInvite implements directory.InviteStore.
func (db *DB) AddInvite(ctx context.Context, i directory.Invite) error {
	return db.update(ctx, "add an invitation", func(tx *sql.Tx) error {
		_, err := tx.ExecContext(ctx, "INSERT INTO invites (id, created, expires, uses, left, note) VALUES (?, ?, ?, ?, ?, ?)",
			i.ID[:], millis(i.Created), millis(i.Expires), i.Uses, i.Left, i.Note)
		return err
	})
}

const selectInvites = "SELECT id, created, expires, uses, left, note FROM invites "

func scanInvite(scan func(...any) error) (directory.Invite, error) {
	var i directory.Invite
	var id []byte
	var created, expires int64
	if err := scan(&id, &created, &expires, &i.Uses, &i.Left, &i.Note); err != nil {
		return i, err
	}
	if len(id) != len(i.ID) {
		return i, fmt.Errorf("%w: an invitation's number of %d bytes", ErrDamaged, len(id))
	}
	copy(i.ID[:], id)
	i.Created, i.Expires = fromMillis(created), fromMillis(expires)
	return i, nil
}

// Invite implements directory.InviteStore.
func (db *DB) Invite(ctx context.Context, id directory.InviteID) (directory.Invite, error) {
	i, err := scanInvite(db.read.QueryRowContext(ctx, selectInvites+"WHERE id = ?", id[:]).Scan)
	if errors.Is(err, sql.ErrNoRows) {
		err = directory.ErrNotFound
	}
	return i, classify("read an invitation", err)
}

// Invites implements directory.InviteStore.
func (db *DB) Invites(ctx context.Context) ([]directory.Invite, error) {
	rows, err := db.read.QueryContext(ctx, selectInvites+"ORDER BY rowid")
	if err != nil {
		return nil, classify("list invitations", err)
	}
	var invites []directory.Invite
	err = each(rows, func() error {
		i, err := scanInvite(rows.Scan)
		invites = append(invites, i)
		return err
	})
	return invites, classify("list invitations", err)
}

// RemoveInvite implements directory.InviteStore.
func (db *DB) RemoveInvite(ctx context.Context, id directory.InviteID) error {
	return db.update(ctx, "remove an invitation", func(tx *sql.Tx) error {
		r, err := tx.ExecContext(ctx, "DELETE FROM invites WHERE id = ?", id[:])
		if err != nil {
			return err
		}
		if n, err := r.RowsAffected(); err != nil || n == 1 {
			return err
		}
		return directory.ErrNotFound
	})
}
