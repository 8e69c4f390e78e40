package directory

import (
	"errors"
	"log/slog"

	"github.com/byway-chat/byway/crypto/identity"
	"github.com/byway-chat/byway/rendezvous"
)

// refusalOf maps what a Store says to what a remote may be told. Other errors stay as they are: the rendezvous's own trouble.
func refusalOf(err error) error {
	switch {
	case errors.Is(err, ErrNotFound):
		return rendezvous.Errorf(rendezvous.CodeNoSuchUser, "there is no such user")
	case errors.Is(err, ErrNameTaken):
		return nameTaken()
	case errors.Is(err, ErrKeyTaken):
		return rendezvous.Errorf(rendezvous.CodeKeyRefused, "this device or its key is already on an account")
	case errors.Is(err, ErrConflict):
		return stale()
	case errors.Is(err, ErrInviteSpent):
		return inviteRequired()
	}
	return err
}

func nameTaken() error {
	return rendezvous.Errorf(rendezvous.CodeNameTaken, "the name is taken, or looks like one that is")
}

func inviteRequired() error {
	return rendezvous.Errorf(rendezvous.CodeInviteRequired, "a valid invitation is needed to register here")
}

func stale() error {
	return rendezvous.Errorf(rendezvous.CodeStale, "the rendezvous holds something newer; fetch it and try again")
}

func notEnrolled() error {
	return rendezvous.Errorf(rendezvous.CodeNotEnrolled, "this device is not enrolled for that name; log in with the password")
}

func badRequest(why string) error { return rendezvous.Errorf(rendezvous.CodeBadRequest, "%s", why) }

func banned(a *Account) error {
	if a.Ban.Reason == "" {
		return rendezvous.Errorf(rendezvous.CodeBanned, "the operator has banned this user")
	}
	return rendezvous.Errorf(rendezvous.CodeBanned, "the operator has banned this user: %s", a.Ban.Reason)
}

func userAttr(name rendezvous.Username) slog.Attr { return slog.String("user", string(name)) }

func deviceAttr(f identity.Fingerprint) slog.Attr { return slog.String("device", f.Device()) }

func errAttr(err error) slog.Attr { return slog.Any("err", err) }
