package directory

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"strings"
	"time"
)

// String returns the first 16 hexadecimal digits, by which an operator names an invitation. It says nothing of the token.
func (id InviteID) String() string { return hex.EncodeToString(id[:8]) }

// inviteID is the number of an invitation with this token. A token is read as people retype it: in either case.
func inviteID(token string) InviteID {
	return sha256.Sum256([]byte("byway/v1 invite\x00" + strings.ToUpper(token)))
}

// Invite makes an invitation with a number of uses (at least 1) and a lifetime (0: for ever). The token, 26 letters and digits with
// 130 random bits, is returned once and not stored. Code: bad-request.
func (s *Service) Invite(ctx context.Context, uses int, lifetime time.Duration, note string) (token string, i Invite, err error) {
	if uses < 1 || lifetime < 0 {
		return "", Invite{}, badRequest("an invitation has at least one use and no negative lifetime")
	}
	token = rand.Text()
	i = Invite{ID: inviteID(token), Created: s.o.Now(), Uses: uses, Left: uses, Note: note}
	if lifetime > 0 {
		i.Expires = i.Created.Add(lifetime)
	}
	if err := s.invites.AddInvite(ctx, i); err != nil {
		return "", Invite{}, fmt.Errorf("make an invitation: %w", err)
	}
	return token, i, nil
}

// Invites returns all invitations, also those that are used up or expired, oldest first.
func (s *Service) Invites(ctx context.Context) ([]Invite, error) { return s.invites.Invites(ctx) }

// RevokeInvite removes an invitation. Code: bad-request for an unknown one.
func (s *Service) RevokeInvite(ctx context.Context, id InviteID) error {
	err := s.invites.RemoveInvite(ctx, id)
	if errors.Is(err, ErrNotFound) {
		return badRequest("there is no such invitation")
	}
	return err
}

// usableInvite finds the invitation of a token before the expensive work is done. Create of the Store decides in the end.
func (s *Service) usableInvite(ctx context.Context, token string) (Invite, error) {
	i, err := s.invites.Invite(ctx, inviteID(token))
	switch {
	case errors.Is(err, ErrNotFound):
		return Invite{}, inviteRequired()
	case err != nil:
		return Invite{}, err
	case i.Left < 1 || !i.Expires.IsZero() && !i.Expires.After(s.o.Now()):
		return Invite{}, inviteRequired()
	}
	return i, nil
}
