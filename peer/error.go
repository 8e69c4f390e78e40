package peer

import (
	"context"
	"errors"

	"github.com/byway-chat/byway/peer/history"
	"github.com/byway-chat/byway/rendezvous"
	"github.com/byway-chat/byway/rendezvous/client"
)

// Code is the stable, machine-readable reason of an [Error], printed in error events and mapped to exit codes.
type Code string

// The codes. Those of the rendezvous (package rendezvous) that a person can meet have the same spelling.
const (
	CodeFailed                Code = "failed"
	CodeUsage                 Code = "usage"
	CodeUnreachable           Code = "unreachable" // the contact, by the ways that were allowed
	CodeNoSuchUser            Code = "no-such-user"
	CodeNotSignedIn           Code = "not-signed-in" // the home has no account, or the password was not given
	CodeBadCredentials        Code = "bad-credentials"
	CodeKeyChanged            Code = "key-changed"
	CodeRateLimited           Code = "rate-limited"
	CodeOverQuota             Code = "over-quota"
	CodeRendezvousUnreachable Code = "rendezvous-unreachable"
	CodeNotARendezvous        Code = "not-a-rendezvous"
	CodeNameTaken             Code = "name-taken"
	CodeNameNotAllowed        Code = "name-not-allowed"
	CodeRegistrationClosed    Code = "registration-closed"
	CodeNoRendezvousFound     Code = "no-rendezvous-found" // nothing answered on the LAN
	CodeTooLarge              Code = "too-large"
	CodeHomeInUse             Code = "home-in-use"
	CodeKeyFile               Code = "key-file" // unreadable, damaged, or open to others
	CodeDiskFull              Code = "disk-full"
	CodeHistoryDamaged        Code = "history-damaged" // and rescued: an event, never a failure
	CodePasswordTooWeak       Code = "password-too-weak"
	CodeTimeout               Code = "timeout"
)

// Error is a failure that a person or script is told about: a code to decide on, a sentence, and the cure where one is known.
type Error struct {
	Code    Code
	Message string // lower case, no full stop
	Hint    string // what to do; empty when nothing is known
	Reason  string // why there is no way, where that is what it is about: a code as route tells them
	Err     error  // the cause, for logs; may be nil
}

func (e *Error) Error() string {
	if e.Err != nil {
		return e.Message + ": " + e.Err.Error()
	}
	return e.Message
}

func (e *Error) Unwrap() error { return e.Err }

// CodeOf returns the code of the *Error in err's chain, and CodeFailed where there is none.
func CodeOf(err error) Code {
	if e, ok := errors.AsType[*Error](err); ok {
		return e.Code
	}
	return CodeFailed
}

func nameError(err error) error {
	return &Error{Code: CodeNameNotAllowed, Message: err.Error(), Hint: "choose another name with --user"}
}

func addressError(err error) error {
	e := &Error{Code: CodeUsage, Message: "the address of the rendezvous is wrong: " + err.Error()}
	if bad, ok := errors.AsType[*rendezvous.AddressError](err); ok {
		e.Hint = bad.Hint
	}
	return e
}

// rendezvousError says why there is no connection, in words and with a cure.
func (p *Peer) rendezvousError(err error) error {
	switch {
	case errors.Is(err, client.ErrNotARendezvous):
		return &Error{
			Code: CodeNotARendezvous, Message: "what answers at this address is not a rendezvous",
			Hint: "check the address with `rendezvous address` where it is served", Err: err,
		}
	case errors.Is(err, client.ErrWrongIdentity):
		return &Error{
			Code: CodeRendezvousUnreachable, Message: "another rendezvous answers at this address than the one expected", Err: err,
			Hint: "do not sign in there; ask the operator for the present address",
		}
	}
	if e, ok := errors.AsType[*rendezvous.Error](err); ok {
		return p.signInError(e)
	}
	return &Error{
		Code: CodeRendezvousUnreachable, Message: "the rendezvous cannot be reached", Err: err,
		Hint: "check that `rendezvous serve` runs there and that its port is open",
	}
}

// signInErrors are the refusals of a rendezvous that a person can do something about.
var signInErrors = map[rendezvous.Code]Error{
	rendezvous.CodeBadCredentials:     {Code: CodeBadCredentials, Message: "wrong name or password", Hint: "check both; a name that is still free is registered with `byway register`"},
	rendezvous.CodeNameTaken:          {Code: CodeNameTaken, Message: "the name is taken", Hint: "choose another with --user, or sign in to it with `byway login`"},
	rendezvous.CodeNameNotAllowed:     {Code: CodeNameNotAllowed, Message: "the name is not allowed", Hint: "choose another with --user"},
	rendezvous.CodeRegistrationClosed: {Code: CodeRegistrationClosed, Message: "this rendezvous does not register new users", Hint: "ask its operator"},
	rendezvous.CodeInviteRequired:     {Code: CodeRegistrationClosed, Message: "this rendezvous registers by invitation only", Hint: "ask its operator for an invitation link and give it as --rendezvous"},
	rendezvous.CodePasswordTooWeak:    {Code: CodePasswordTooWeak, Message: "the password is too weak", Hint: "use at least 12 characters: several words are easy to remember"},
	rendezvous.CodeRateLimited:        {Code: CodeRateLimited, Message: "too many attempts", Hint: "wait a little and try again"},
	rendezvous.CodeBusy:               {Code: CodeRateLimited, Message: "the rendezvous is busy", Hint: "wait a little and try again"},
	rendezvous.CodeNotEnrolled:        {Code: CodeNotSignedIn, Message: "the rendezvous does not know this account and device any more", Hint: "ask its operator what became of them; `byway login` with an empty --home signs in anew, `byway register` if the name is free again; this home keeps the history"},
	rendezvous.CodeBanned:             {Code: CodeNotSignedIn, Message: "the operator has banned this account", Hint: "ask the operator"},
	rendezvous.CodeUnsupportedVersion: {Code: CodeFailed, Message: "the rendezvous speaks another version of the protocol", Hint: "update the older of the two programs"},
}

// refusal is the error of what cannot be done because the rendezvous has refused this device, or nil where it has not. what is put before what the
// rendezvous has said, and may be empty.
func (c *core) refusal(what string) error {
	said, ok := signInErrors[c.refused]
	if !ok {
		return nil
	}
	said.Reason = string(c.refused)
	if what != "" {
		said.Message = what + ": " + said.Message
	}
	return &said
}

// signInError turns what came of a sign-in into an *Error. nil stays nil.
func (p *Peer) signInError(err error) error {
	if err == nil {
		return nil
	}
	if e, ok := errors.AsType[*Error](err); ok {
		return e
	}
	if e, ok := errors.AsType[*rendezvous.Error](err); ok {
		if known, ok := signInErrors[e.Code]; ok {
			known.Err = nil
			return &known
		}
		if e.Code == rendezvous.CodeInternal {
			return &Error{Code: CodeFailed, Message: "the rendezvous has failed", Hint: "try again; if it stays so, tell its operator", Err: e}
		}
		return &Error{Code: CodeFailed, Message: "the rendezvous refused: " + string(e.Code), Err: e}
	}
	if errors.Is(err, context.DeadlineExceeded) || errors.Is(err, client.ErrSilent) || errors.Is(err, client.ErrClosed) {
		return &Error{Code: CodeRendezvousUnreachable, Message: "the rendezvous does not answer", Hint: "try again; if it stays so, ask its operator", Err: err}
	}
	return &Error{Code: CodeFailed, Message: "signing in failed", Err: err}
}

// hintHistory does not say to begin a new history: what the person has decided about the keys of contacts is in it.
const hintHistory = "restore " + historyFileName + " from a backup, or sign in from an empty --home, as a further device"

// storeError gives what the history says the code and the cure that a person needs.
func storeError(err error) error {
	switch {
	case errors.Is(err, history.ErrDiskFull):
		return &Error{Code: CodeDiskFull, Message: "the disk is full", Hint: "free some space; nothing that was accepted is lost"}
	case errors.Is(err, history.ErrOldFormat):
		return &Error{Code: CodeFailed, Message: err.Error(), Hint: "sign in from an empty --home, as a further device", Err: err}
	case errors.Is(err, history.ErrDamaged):
		return &Error{Code: CodeFailed, Message: "the history file is damaged", Hint: hintHistory, Err: err}
	}
	return &Error{Code: CodeFailed, Message: "the history cannot be written", Hint: "check the disk and who owns the home", Err: err}
}

// faultOf is what Status tells of an error that lasts; nil: there is none.
func faultOf(err error) *Trouble {
	if err == nil {
		return nil
	}
	return &Trouble{Code: CodeOf(err), Message: err.Error(), Hint: hintOf(err)}
}

func hintOf(err error) string {
	if e, ok := errors.AsType[*Error](err); ok {
		return e.Hint
	}
	return ""
}
