package main

import (
	"context"
	"errors"

	"github.com/byway-chat/byway/peer"
)

// The exit codes of the contract.
const (
	exitDone        = 0
	exitFailed      = 1
	exitUsage       = 2
	exitOnlyRelayed = 3
	exitStored      = 4 // or queued: not yet delivered
	exitUnreachable = 5
	exitNoSuchUser  = 6
	exitNotSignedIn = 7
	exitKeyChanged  = 8
	exitLimited     = 9
	exitRendezvous  = 10
	exitName        = 11
	exitNotFound    = 20 // no rendezvous on the LAN
	exitInterrupted = 130
)

// exitOf is the one table from codes to exit codes. What is not in it has failed.
var exitOf = map[peer.Code]int{
	peer.CodeFailed:                exitFailed,
	peer.CodeUsage:                 exitUsage,
	peer.CodeUnreachable:           exitUnreachable,
	peer.CodeNoSuchUser:            exitNoSuchUser,
	peer.CodeNotSignedIn:           exitNotSignedIn,
	peer.CodeBadCredentials:        exitNotSignedIn,
	peer.CodePasswordTooWeak:       exitNotSignedIn,
	peer.CodeKeyChanged:            exitKeyChanged,
	peer.CodeRateLimited:           exitLimited,
	peer.CodeOverQuota:             exitLimited,
	peer.CodeRendezvousUnreachable: exitRendezvous,
	peer.CodeNotARendezvous:        exitRendezvous,
	peer.CodeNameTaken:             exitName,
	peer.CodeNameNotAllowed:        exitName,
	peer.CodeRegistrationClosed:    exitName,
	peer.CodeNoRendezvousFound:     exitNotFound,
	peer.CodeTooLarge:              exitUsage,
	peer.CodeHomeInUse:             exitFailed,
	peer.CodeKeyFile:               exitFailed,
	peer.CodeDiskFull:              exitFailed,
	peer.CodeTimeout:               exitUnreachable,
}

// exitHelp is the table of exit codes for the help; docs/bots.md has it, too.
const exitHelp = "Exit codes:\n" +
	"  0  done                               7  not signed in, or wrong name or password\n" +
	"  1  failed                             8  key changed, refused\n" +
	"  2  usage                              9  rate limited or over quota\n" +
	"  3  only relayed (ping, route)        10  rendezvous unreachable\n" +
	"  4  stored or queued                  11  name taken or not allowed\n" +
	"  5  unreachable                       20  no rendezvous found on the LAN\n" +
	"  6  no such user                     130  interrupted"

// outcome ends a command that has already said everything with an exit code other than 0.
type outcome int

func (outcome) Error() string { return "the command has told its outcome" }

// exitCode is the exit code of a command that ended with err.
func exitCode(ctx context.Context, err error) int {
	if err == nil {
		return exitDone
	}
	if o, ok := errors.AsType[outcome](err); ok {
		return int(o)
	}
	if interrupted(ctx, err) {
		return exitInterrupted
	}
	if code, ok := exitOf[peer.CodeOf(err)]; ok {
		return code
	}
	return exitFailed
}

// interrupted says whether err is only the echo of the program being asked to leave.
func interrupted(ctx context.Context, err error) bool {
	_, asked := errors.AsType[leave](context.Cause(ctx))
	_, told := errors.AsType[leave](err)
	return asked && (told || errors.Is(err, context.Canceled))
}

// usage is a mistake on the command line.
func usage(message, hint string) error {
	return &peer.Error{Code: peer.CodeUsage, Message: message, Hint: hint}
}
