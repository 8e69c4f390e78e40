// Package lab is the pure part of an experiment with two peers: what is sent and in which order ([Turns], [Load]), what was seen of it ([Recorder]), the
// file that it is kept in ([WriteCSV], [ReadCSV]), and the figures ([Compute]). It has no network, no disk, and no clock but the one it is given.
//
// Figures are computed from rows alone. Whoever has the file can compute them again, and gets the same.
package lab

import (
	"math"
	"slices"
	"time"
)

// Kind says what a [Row] is about.
type Kind string

// The kinds of rows, in the order in which they stand in the file.
const (
	Message Kind = "message" // a message with a receipt
	Probe   Kind = "probe"   // a round trip, with nothing in the other person's conversation
	Fault   Kind = "fault"   // a fault from its beginning to its end
	Route   Kind = "route"   // the way in use has changed
)

// Phase is a part of an experiment.
type Phase string

// The phases.
const (
	PhaseTurns Phase = "turns" // the same over each way in turns, one after the other: latency
	PhaseLoss  Phase = "loss"  // the same while frames are lost; its blocks alternate with those of turns
	PhaseLoad  Phase = "load"  // as much as a way takes, in blocks that take turns: throughput
	PhaseDrop  Phase = "drop"  // a conversation of which a way is cut off and restored
	PhaseKill  Phase = "kill"  // a conversation of which the rendezvous is stopped and started
)

// The ways that a conversation may be asked to take, besides the ways themselves.
const (
	Auto   = "auto"   // the best that is open
	Direct = "direct" // every way past the rendezvous
	relay  = "relay"
)

// The faults, as they stand in Note.
const (
	FaultLoss = "loss" // a share of the frames is lost
	FaultDrop = "drop" // every frame is lost
	FaultKill = "kill" // the rendezvous is gone
)

// State is what became of a message or probe.
type State string

// The states. Of those, Delivered and Answered have arrived; Pending is only left in an experiment that was interrupted.
const (
	Pending   State = "pending"
	Delivered State = "delivered" // the other device has it on its disk, and its receipt has come back
	Answered  State = "answered"
	Lost      State = "lost"   // nothing had come back when the experiment ended, or the time for an answer was over
	Failed    State = "failed" // it was refused or given up, for the reason in Note
)

// Arrived reports whether it is known that the other side has it.
func (s State) Arrived() bool { return s == Delivered || s == Answered }

// Offset is a time since the beginning of the experiment, or a duration, in whole microseconds; or [None].
type Offset time.Duration

// None is the time of what has not happened.
const None Offset = math.MinInt64

// Row is one line of the file.
type Row struct {
	Kind  Kind
	N     int    // of messages and probes: from 1, in the order of sending
	Phase Phase  // of messages and probes
	Block int    // of messages and probes: what belongs together, from 1 in each phase
	Asked string // the way that was asked for; of a Fault the way that has it, of a Route the way before
	Way   string // the way that it took, as the receipt or answer says; of a Route the way after
	State State  // of messages and probes
	Size  int    // of messages and probes: bytes of text

	Sent     Offset // when it was handed to the peer; of a Fault its beginning, of a Route when it was told
	Accepted Offset // when it was on the sender's disk
	Shown    Offset // when the other side first showed it, where that can be seen
	Done     Offset // when its receipt or answer was there; of a Fault its end
	Latency  Offset // from acceptance to receipt, as the peer has measured it; of a probe the round trip

	Times    int    // how often the other side has shown it; -1 where that cannot be seen
	Disorder bool   // it was shown after one that was accepted later
	Note     string // of a Fault what it is, of a Route why, and else why it failed
}

// Affects reports whether a fault of a way concerns messages that went by another name of a way: "direct" is every way past the rendezvous, and who has no
// relay has no mailbox.
func Affects(fault, way string) bool {
	switch fault {
	case Auto:
		return way != ""
	case Direct:
		return way == "lan" || way == Direct || way == "punched"
	case "punched":
		return way == Direct || way == "punched"
	case relay:
		return way == relay || way == "mailbox"
	}
	return fault == way
}

// Step is one message of a plan.
type Step struct {
	Phase Phase
	Block int
	Asked string
}

// lossBlocks is how often an experiment with loss changes between lossy and lossless blocks.
const lossBlocks = 4

// Turns plans n messages over each way. Each round has one of each, and begins with another way than the round before, so that neither a drift of the machine nor
// the place within a round prefers one. With lossy there are as many again while frames are lost; blocks of both take turns.
func Turns(n int, ways []string, lossy bool) []Step {
	var steps []Step
	if !lossy {
		return appendRounds(steps, PhaseTurns, 1, 0, n, ways)
	}
	blocks := min(n, lossBlocks)
	for b := range blocks {
		from, to := n*b/blocks, n*(b+1)/blocks
		phases := []Phase{PhaseTurns, PhaseLoss}
		if b%2 == 1 {
			slices.Reverse(phases)
		}
		for _, p := range phases {
			steps = appendRounds(steps, p, b+1, from, to, ways)
		}
	}
	return steps
}

func appendRounds(steps []Step, p Phase, block, from, to int, ways []string) []Step {
	for round := from; round < to; round++ {
		for i := range ways {
			steps = append(steps, Step{Phase: p, Block: block, Asked: ways[(round+i)%len(ways)]})
		}
	}
	return steps
}

// loadBlock is how many messages of a way follow each other under load, at most.
const loadBlock = 100

// Load plans n messages over each way, in blocks of one way that take turns as the messages of [Turns] do.
func Load(n int, ways []string) []Step {
	var steps []Step
	block := 0
	rounds := (n + loadBlock - 1) / loadBlock
	for round := range rounds {
		from, to := n*round/rounds, n*(round+1)/rounds
		for i := range ways {
			block++
			for range to - from {
				steps = append(steps, Step{Phase: PhaseLoad, Block: block, Asked: ways[(round+i)%len(ways)]})
			}
		}
	}
	return steps
}
