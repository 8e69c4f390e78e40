package main

import (
	"context"
	"os"
	"runtime"
	"runtime/debug"
	"runtime/metrics"
	"time"
)

// How much memory the process has beyond what it uses. Go's own rule, as much again as is in use, is made for programs whose garbage grows with
// their memory. Here memory grows with the connected peers and garbage with the traffic: ten thousand silent peers need no room for
// garbage, and two that talk need more than Go would give them.
const (
	// leastRoom is the room for garbage of a small process, in bytes: with less, a busy rendezvous with few peers would collect many times a second.
	leastRoom = 16 << 20
	// roomPercent is the room of a large one, in percent of what is in use.
	roomPercent = 50
	// settleCheck is how often is looked whether many peers have come or gone.
	settleCheck = 2 * time.Second
	// leastChange is how many goroutines more or fewer are worth a collection; a peer has five.
	leastChange = 250
)

// memory gives memory back to the system when a wave of peers has come or gone: signing in takes far more than being signed in, and Go would
// keep it for minutes. It owns the process's rate of collection, except where the environment sets GOGC.
type memory struct {
	samples []metrics.Sample // goroutines, live bytes, stacks
	tuned   bool             // the rate is ours

	// Owned by run.
	settled int // goroutines at the last collection
	last    int // goroutines at the last look
	percent int // as set; 0: not yet
}

func newMemory() *memory {
	return &memory{
		tuned:   os.Getenv("GOGC") == "",
		samples: []metrics.Sample{{Name: "/sched/goroutines:goroutines"}, {Name: "/gc/heap/live:bytes"}, {Name: "/memory/classes/heap/stacks:bytes"}},
	}
}

// run looks until ctx ends. When memory is given back, release gives back what others have cached.
func (m *memory) run(ctx context.Context, release func(context.Context)) {
	tick := time.NewTicker(settleCheck)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		metrics.Read(m.samples)
		if m.calm(int(m.samples[0].Value.Uint64())) {
			release(ctx)
			runtime.GC()         // what sync.Pools hold survives one collection
			debug.FreeOSMemory() // collects once more
			metrics.Read(m.samples)
		}
		m.tune()
	}
}

// calm takes the present number of goroutines and reports whether it is a tenth away from the one at the last collection and changes no more.
func (m *memory) calm(goroutines int) bool {
	distance := func(from int) int { return max(goroutines-from, from-goroutines) }
	changing := distance(m.last) > max(leastChange/10, m.last/100)
	m.last = goroutines
	if changing || distance(m.settled) < max(leastChange, m.settled/10) {
		return false
	}
	m.settled = goroutines
	return true
}

// tune sets the rate of collection by what was in use at the last one. Setting it stops everything for a moment, so small changes wait.
func (m *memory) tune() {
	percent := room(m.samples[1].Value.Uint64() + m.samples[2].Value.Uint64())
	if !m.tuned || max(percent-m.percent, m.percent-percent) <= m.percent/8 {
		return
	}
	m.percent = percent
	debug.SetGCPercent(percent)
}

// room is the percentage for debug.SetGCPercent, which counts live bytes and stacks, both together inUse.
func room(inUse uint64) int {
	return int(max(roomPercent, leastRoom*100/max(inUse, 1<<20)))
}
