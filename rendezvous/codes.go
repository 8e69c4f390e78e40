package rendezvous

import (
	"errors"
	"fmt"
	"time"
)

// Code is the machine-readable reason in Failure, Outcome and Goodbye. Codes are only ever added.
type Code string

// The codes, and who may act on them.
const (
	CodeBadRequest         Code = "bad-request"         // the frame breaks a rule; a bug in the sender
	CodeUnknownMessage     Code = "unknown-message"     // a newer client; it should do without
	CodeUnsupportedVersion Code = "unsupported-version" // the programs are too far apart
	CodeNotSignedIn        Code = "not-signed-in"       // sign in first
	CodeBadCredentials     Code = "bad-credentials"     // wrong name or wrong password: never said which
	CodeNotEnrolled        Code = "not-enrolled"        // Resume by a device that is not on the account
	CodeNameTaken          Code = "name-taken"          // Register: also where only the skeleton is taken
	CodeNameNotAllowed     Code = "name-not-allowed"    // reserved or against the rules of names
	CodeRegistrationClosed Code = "registration-closed" // only the operator adds users
	CodeInviteRequired     Code = "invite-required"     // no invitation, or one that is used up or expired
	CodePasswordTooWeak    Code = "password-too-weak"   // too short, too common, or the name itself
	CodeKeyRefused         Code = "key-refused"         // a key is malformed, or belongs to another account
	CodeStale              Code = "stale"               // entry or bundle is older than the one held: fetch and retry
	CodeNoSuchUser         Code = "no-such-user"
	CodeNoSuchDevice       Code = "no-such-device" // Submit to a device that is on no account
	CodeMailboxFull        Code = "mailbox-full"   // the recipient's quota, or this pair's
	CodeRecipientAway      Code = "recipient-away" // live_only and the device is not connected
	CodeTooLarge           Code = "too-large"
	CodeRateLimited        Code = "rate-limited" // see retry after
	CodeBusy               Code = "busy"         // see retry after
	CodeBanned             Code = "banned"
	CodeKicked             Code = "kicked"
	CodeReplaced           Code = "replaced" // the same device has connected anew
	CodeDraining           Code = "draining" // the rendezvous is stopping: reconnect with jitter
	CodeInternal           Code = "internal" // details are in the rendezvous's log
)

// Error is a refusal that crosses the wire as Failure. Callers match its Code with errors.As or [CodeOf].
type Error struct {
	Code       Code
	Message    string        // for people; cleaned before it is shown
	RetryAfter time.Duration // 0: no sense in retrying
}

func (e *Error) Error() string {
	if e.Message == "" {
		return string(e.Code)
	}
	return e.Message
}

// Errorf makes an Error of the given code.
func Errorf(code Code, format string, args ...any) *Error {
	return &Error{Code: code, Message: fmt.Sprintf(format, args...)}
}

// CodeOf returns the code of the *Error in err's chain, and CodeInternal for any other error.
func CodeOf(err error) Code {
	if e, ok := errors.AsType[*Error](err); ok {
		return e.Code
	}
	return CodeInternal
}

// FailureOf is what a remote may see of err: an *Error as it is, anything else as "internal" without its text.
func FailureOf(err error) *Failure {
	e, ok := errors.AsType[*Error](err)
	if !ok {
		return &Failure{Code: string(CodeInternal), Message: "the rendezvous could not do this; its log says why"}
	}
	return &Failure{Code: string(e.Code), Message: e.Message, RetryAfterMs: uint64(e.RetryAfter.Milliseconds())}
}

// Err turns a Failure from the wire back into an *Error. A hostile retry time is cut to an hour.
func (x *Failure) Err() error {
	retry := min(x.GetRetryAfterMs(), uint64(time.Hour/time.Millisecond))
	return &Error{Code: Code(x.GetCode()), Message: x.GetMessage(), RetryAfter: time.Duration(retry) * time.Millisecond}
}
