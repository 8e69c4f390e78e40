package lab

import (
	"cmp"
	"slices"
	"sync"
	"time"
)

// Recorder notes what happens in an experiment. It may be used by several goroutines. It keeps every row: who makes the plan bounds them.
type Recorder struct {
	now      func() time.Time // immutable
	begun    time.Time        // immutable
	observed bool             // immutable: what the other side shows is noted too

	mu      sync.Mutex // guards the following
	rows    []Row      // messages and probes; row n is at n - 1
	others  []Row
	waiting int           // messages and probes of which nothing final is known
	newest  uint64        // the highest number that the other side has shown
	changed chan struct{} // closed and replaced when waiting falls
}

// NewRecorder returns a recorder whose time begins now. observed says that the other side's screen will be noted.
func NewRecorder(now func() time.Time, observed bool) *Recorder {
	return &Recorder{now: now, begun: now(), observed: observed, changed: make(chan struct{})}
}

func (r *Recorder) offset() Offset { return rounded(r.now().Sub(r.begun)) }

// rounded is a duration as the file can hold it.
func rounded(d time.Duration) Offset { return Offset(d.Round(time.Microsecond)) }

// Begun is when the experiment began.
func (r *Recorder) Begun() time.Time { return r.begun }

// Send notes that one is handed to the peer, and returns its number.
func (r *Recorder) Send(kind Kind, step Step, size int) (n int) {
	r.mu.Lock()
	defer r.mu.Unlock()
	row := Row{
		Kind: kind, N: len(r.rows) + 1, Phase: step.Phase, Block: step.Block, Asked: step.Asked, State: Pending, Size: size,
		Sent: r.offset(), Accepted: None, Shown: None, Done: None, Latency: None, Times: -1,
	}
	if r.observed {
		row.Times = 0
	}
	r.rows = append(r.rows, row)
	r.waiting++
	return row.N
}

// with calls f with row n, if there is one.
func (r *Recorder) with(n int, f func(row *Row)) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if n >= 1 && n <= len(r.rows) {
		f(&r.rows[n-1])
	}
}

// Accept notes that a message is on the sender's disk.
func (r *Recorder) Accept(n int) {
	r.with(n, func(row *Row) { row.Accepted = r.offset() })
}

// Arrive notes that one has arrived by a way; what is told again, or after it was given up, changes nothing.
func (r *Recorder) Arrive(n int, state State, way string, latency time.Duration) {
	r.with(n, func(row *Row) {
		if row.State != Pending {
			return
		}
		row.State, row.Way, row.Latency, row.Done = state, way, rounded(latency), r.offset()
		r.settledLocked()
	})
}

// GiveUp notes that one will not arrive, or that its time is over.
func (r *Recorder) GiveUp(n int, state State, why string) {
	r.with(n, func(row *Row) {
		if row.State != Pending {
			return
		}
		row.State, row.Note = state, why
		r.settledLocked()
	})
}

func (r *Recorder) settledLocked() {
	r.waiting--
	close(r.changed)
	r.changed = make(chan struct{})
}

// Show notes that the other side has shown a message. number is the one that the message has in the conversation: numbers must rise.
func (r *Recorder) Show(n int, number uint64) {
	r.with(n, func(row *Row) {
		if row.Times <= 0 {
			row.Times, row.Shown = 0, r.offset()
			row.Disorder = number < r.newest
		}
		row.Times++
		r.newest = max(r.newest, number)
	})
}

// Unshown returns how many messages have arrived that the other side has not shown, as far as is noted.
func (r *Recorder) Unshown() int {
	r.mu.Lock()
	defer r.mu.Unlock()
	n := 0
	for i := range r.rows {
		if r.rows[i].State.Arrived() && r.rows[i].Times == 0 {
			n++
		}
	}
	return n
}

// BeginFault notes a fault of a way from now until end is called, or for ever.
func (r *Recorder) BeginFault(what, way string) (end func()) {
	r.mu.Lock()
	defer r.mu.Unlock()
	at := len(r.others)
	r.others = append(r.others, Row{Kind: Fault, Asked: way, Note: what, Sent: r.offset(), Accepted: None, Shown: None, Done: None, Latency: None, Times: -1})
	return func() {
		r.mu.Lock()
		defer r.mu.Unlock()
		r.others[at].Done = r.offset()
	}
}

// maxRoutes bounds how many changes of the way are noted.
const maxRoutes = 10_000

// ChangeRoute notes that another way is in use.
func (r *Recorder) ChangeRoute(before, after, why string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if len(r.others) < maxRoutes {
		r.others = append(r.others, Row{Kind: Route, Asked: before, Way: after, Note: why, Sent: r.offset(), Accepted: None, Shown: None, Done: None, Latency: None, Times: -1})
	}
}

// Waiting returns of how many nothing final is known, and a channel that is closed when they become fewer.
func (r *Recorder) Waiting() (n int, changed <-chan struct{}) {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.waiting, r.changed
}

// Arrived reports whether something that was sent after a time has arrived by one of some ways.
func (r *Recorder) Arrived(after Offset, by func(way string) bool) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	for i := range slices.Backward(r.rows) {
		row := &r.rows[i]
		if row.Sent < after {
			return false
		}
		if row.State.Arrived() && by(row.Way) {
			return true
		}
	}
	return false
}

// Now is the time since the beginning.
func (r *Recorder) Now() Offset { return r.offset() }

// Rows returns everything noted, in the order of the file. Unless the experiment was interrupted, what is still pending is lost.
func (r *Recorder) Rows(interrupted bool) []Row {
	r.mu.Lock()
	defer r.mu.Unlock()
	out := slices.Concat(r.rows, r.others)
	for i := range out {
		if out[i].State == Pending && !interrupted {
			out[i].State = Lost
		}
	}
	sortRows(out)
	return out
}

// sortRows puts rows into the order of the file: messages and probes by number, then faults, then routes, both by time.
func sortRows(rows []Row) {
	place := map[Kind]int{Message: 0, Probe: 0, Fault: 1, Route: 2}
	slices.SortStableFunc(rows, func(a, b Row) int {
		return cmp.Or(cmp.Compare(place[a.Kind], place[b.Kind]), cmp.Compare(a.N, b.N), cmp.Compare(a.Sent, b.Sent))
	})
}
