// Package doctor examines one home and the network around it step by step, and says of each step that it is in order, or what is wrong and what to do.
// Use [Examine].
//
// What it reports is made to be pasted into a public place. Without Config.Full it has no name of a user, no public address, no PeerID, no host name
// and no path; and it never has a password, a key, a token or a text of a message.
//
// It looks at the home without keeping its lock, and dials the rendezvous under a PeerID of its own that ends with it, so it works beside a running peer and without one. What
// only a peer can know it asks the one that Config.Ask finds.
package doctor

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/byway-chat/byway/peer"
)

// State is the result of one step.
type State string

// The states.
const (
	OK      State = "ok"
	Warning State = "warning" // it works; something would be better otherwise
	Failed  State = "failed"
	Skipped State = "skipped" // it could not be looked at, or does not apply
)

// Step is the result of one step.
type Step struct {
	Name   string    `json:"name"` // stable: see Names
	State  State     `json:"state"`
	Detail string    `json:"detail"`
	Code   peer.Code `json:"code,omitempty"` // of a failure
	Hint   string    `json:"hint,omitempty"` // what to do
	MS     *float64  `json:"ms,omitempty"`   // how long it took, where that says something
}

// Names are the names of the steps, in their order. Names are only ever added; the last may come several times.
var Names = []string{
	"version", "home", "lock", "key-file", "disk", "interfaces", "multicast", "rendezvous", "rendezvous-tcp", "rendezvous-quic", "clock",
	"sign-in", "network", "port-mapping", "listening", "contact",
}

// Config says what is examined. Home and Version are required.
type Config struct {
	Home       string
	Rendezvous string // as given on the command line; empty: the one of the home, else found on the network
	NoMDNS     bool
	Full       bool   // with names and addresses
	Version    string // of the program
	// Ask returns what the peer of the home says, and starts one where none runs. It is called for a home in which somebody has signed in. nil:
	// there is nobody to ask.
	Ask func(ctx context.Context) (peer.Checkup, error)
	// Answers reports whether the process that holds the lock of the home answers; it waits a moment for one that is just coming up. nil: it is
	// taken to.
	Answers func(ctx context.Context) bool
}

// examination is one run. It is for one goroutine.
type examination struct {
	cfg    Config
	tell   func(Step) error
	err    error // of tell
	steps  []Step
	mask   *mask
	home   peer.HomeInfo
	usable bool // the home
	broken bool // the home is there, and cannot be used as it is
	silent bool // the home is held by a process that does not answer
	offset *time.Duration
	local  bool // the rendezvous is on this machine
}

// Examine carries out all steps and hands each to tell as soon as it is known. It returns all of them, and the error of ctx or of tell, where one has
// ended it before its time.
func Examine(ctx context.Context, cfg Config, tell func(Step) error) ([]Step, error) {
	e := &examination{cfg: cfg, tell: tell, mask: newMask(cfg)}
	for _, step := range []func(context.Context){
		e.version, e.lookAtHome, e.lookAtLock, e.lookAtKeys, e.lookAtDisk, e.lookAtInterfaces, e.lookAtMulticast, e.lookAtRendezvous, e.lookAtClock, e.askPeer,
	} {
		step(ctx)
		if e.err != nil || ctx.Err() != nil {
			break
		}
	}
	if e.err == nil {
		e.err = ctx.Err()
	}
	return e.steps, e.err
}

// CodeOf returns the code of the first failure, or none where nothing has failed.
func CodeOf(steps []Step) peer.Code {
	if i := slices.IndexFunc(steps, func(s Step) bool { return s.State == Failed }); i >= 0 {
		return steps[i].Code
	}
	return ""
}

// add reports a step. Everything in it is cleaned of what does not belong into a public place.
func (e *examination) add(s Step) {
	s.Detail, s.Hint = e.mask.hide(s.Detail), e.mask.hide(s.Hint)
	if s.State == Failed && s.Code == "" {
		s.Code = peer.CodeFailed
	}
	e.steps = append(e.steps, s)
	if e.err == nil {
		e.err = e.tell(s)
	}
}

// fail reports a step that has failed because of an error.
func (e *examination) fail(name string, err error) {
	e.mask.forgetPaths(err)
	s := Step{Name: name, State: Failed, Code: peer.CodeOf(err), Detail: err.Error()}
	if told, ok := errors.AsType[*peer.Error](err); ok {
		s.Hint = told.Hint
	}
	e.add(s)
}

// skip reports a step that was not carried out.
func (e *examination) skip(name, why string) { e.add(Step{Name: name, State: Skipped, Detail: why}) }

func inWords(d time.Duration) string { return fmt.Sprintf("%.1f ms", *milliseconds(d)) }

func milliseconds(d time.Duration) *float64 {
	ms := float64(d.Microseconds()) / 1000
	return &ms
}
