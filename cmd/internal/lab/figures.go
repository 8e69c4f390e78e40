package lab

import (
	"cmp"
	"maps"
	"slices"
	"time"
)

// Figures are what an experiment says. Each is computed from the rows and from nothing else.
type Figures struct {
	Ways   []WayFigures   // of the phases turns and loss
	Loads  []LoadFigures  // of the phase load
	Shares []Share        // of everything that has arrived
	Faults []FaultFigures // of ways that were cut off, in the order in which they began
	Total  Total
}

// WayFigures is how messages or probes fared that were sent by a way, one after the other. Times are latencies, None where nothing has arrived.
type WayFigures struct {
	Phase              Phase
	Way                string // that was asked for
	N, Arrived, Lost   int
	P50, P90, P99, Max Offset
}

// LoadFigures is how much a way took.
type LoadFigures struct {
	Way              string
	N, Arrived, Lost int
	Busy             Offset  // from the first that was sent to the last that arrived, all blocks together
	PerSecond        float64 // that have arrived; 0 where nothing has
	BytesPerSecond   float64 // of their text
}

// Share is how much of everything that has arrived went by a way.
type Share struct {
	Way     string
	Arrived int
	Part    float64 // of all that have arrived
}

// FaultFigures is what a fault has cost. Times that did not come are None.
type FaultFigures struct {
	What, Way  string
	Begin, End Offset
	N, Lost    int    // sent while it lasted
	Next       Offset // latency of the first that was sent while it lasted and could choose its way; None too where that one was lost
	Over       Offset // from its beginning to the first arrival by another way
	Slowest    Offset // the longest latency of those sent while it lasted
	Back       Offset // from its end to the first arrival by the way that had it
}

// Total is the account of everything that was sent.
type Total struct {
	Sent, Arrived, Lost, Pending int
	GivenUp                      int  // refused, or given up for a reason that its sender was told, as what may only go by a way that did not carry it
	Seen                         bool // what the other side has shown is known: only then the following say something
	Unshown                      int  // arrived, and not shown
	Doubled                      int  // shown more than once
	Disorder                     int  // shown after one that was accepted later
}

// Compute returns the figures of rows, which stand in the order of the file.
func Compute(rows []Row) Figures {
	var samples []*Row
	for i := range rows {
		if k := rows[i].Kind; k == Message || k == Probe {
			samples = append(samples, &rows[i])
		}
	}
	f := Figures{Total: total(samples), Shares: shares(samples)}
	for _, p := range []Phase{PhaseTurns, PhaseLoss} {
		for _, way := range asked(samples, p) {
			f.Ways = append(f.Ways, wayFigures(samples, p, way))
		}
	}
	for _, way := range asked(samples, PhaseLoad) {
		f.Loads = append(f.Loads, loadFigures(samples, way))
	}
	for i := range rows {
		if rows[i].Kind == Fault && rows[i].Note != FaultLoss { // what loss costs stands among the ways
			f.Faults = append(f.Faults, faultFigures(samples, &rows[i]))
		}
	}
	return f
}

// order puts ways the best first, and what is none of them behind.
var order = []string{"lan", Direct, "punched", relay, "mailbox", Auto}

func byRank(a, b string) int {
	rank := func(w string) int {
		if i := slices.Index(order, w); i >= 0 {
			return i
		}
		return len(order)
	}
	return cmp.Or(cmp.Compare(rank(a), rank(b)), cmp.Compare(a, b))
}

// asked returns the ways that were asked for in a phase, the best first.
func asked(samples []*Row, p Phase) []string {
	set := map[string]bool{}
	for _, s := range samples {
		if s.Phase == p {
			set[s.Asked] = true
		}
	}
	return slices.SortedFunc(maps.Keys(set), byRank)
}

// lost reports whether one has not arrived and is not under way any more.
func lost(s *Row) bool { return !s.State.Arrived() && s.State != Pending }

// excused reports whether a message was given up for a reason that is no fault of delivery: it was refused before it was accepted, or found no way of the kind that it was
// restricted to.
func (r *Row) excused() bool {
	return r.State == Failed && (r.Accepted == None || r.Asked != Auto && r.Asked != relay)
}

func total(samples []*Row) Total {
	t := Total{Sent: len(samples)}
	for _, s := range samples {
		switch {
		case s.State.Arrived():
			t.Arrived++
		case s.State == Pending:
			t.Pending++
		case s.excused():
			t.GivenUp++
		default:
			t.Lost++
		}
		t.Seen = t.Seen || s.Times >= 0
		if s.State.Arrived() && s.Times == 0 {
			t.Unshown++
		}
		if s.Times > 1 {
			t.Doubled++
		}
		if s.Disorder {
			t.Disorder++
		}
	}
	return t
}

func shares(samples []*Row) []Share {
	count, all := map[string]int{}, 0
	for _, s := range samples {
		if s.State.Arrived() {
			count[s.Way]++
			all++
		}
	}
	var out []Share
	for _, way := range slices.SortedFunc(maps.Keys(count), byRank) {
		out = append(out, Share{Way: way, Arrived: count[way], Part: float64(count[way]) / float64(all)})
	}
	return out
}

// Latencies returns the latencies, in ascending order, of what was sent by a way in a phase and has arrived.
func Latencies(rows []Row, p Phase, way string) []Offset {
	var out []Offset
	for i := range rows {
		if r := &rows[i]; r.Phase == p && r.Asked == way && r.State.Arrived() && r.Latency != None {
			out = append(out, r.Latency)
		}
	}
	slices.Sort(out)
	return out
}

func wayFigures(samples []*Row, p Phase, way string) WayFigures {
	f := WayFigures{Phase: p, Way: way}
	var latencies []Offset
	for _, s := range samples {
		if s.Phase != p || s.Asked != way {
			continue
		}
		f.N++
		if lost(s) {
			f.Lost++
		}
		if s.State.Arrived() {
			f.Arrived++
			latencies = append(latencies, s.Latency)
		}
	}
	if len(latencies) == 0 {
		f.P50, f.P90, f.P99, f.Max = None, None, None, None
		return f
	}
	slices.Sort(latencies)
	f.P50, f.P90, f.P99, f.Max = Quantile(latencies, 0.5), Quantile(latencies, 0.9), Quantile(latencies, 0.99), Quantile(latencies, 1)
	return f
}

// Quantile is the nearest rank: the smallest of the sorted values, of which there is one at least, that the share q, from 0 to 1, of them does not exceed.
func Quantile[T cmp.Ordered](sorted []T, q float64) T {
	const slack = 1e-9 // 0.9 of 10 is the ninth, whatever the multiplication says
	rank := int(q*float64(len(sorted)) - slack)
	return sorted[max(0, min(rank, len(sorted)-1))]
}

func loadFigures(samples []*Row, way string) LoadFigures {
	type span struct{ first, last Offset }
	f := LoadFigures{Way: way}
	spans := map[int]span{}
	bytes := 0
	for _, s := range samples {
		if s.Phase != PhaseLoad || s.Asked != way {
			continue
		}
		f.N++
		if lost(s) {
			f.Lost++
		}
		if !s.State.Arrived() {
			continue
		}
		f.Arrived++
		bytes += s.Size
		at, ok := spans[s.Block]
		if !ok {
			at = span{s.Sent, s.Done}
		}
		spans[s.Block] = span{min(at.first, s.Sent), max(at.last, s.Done)}
	}
	for _, s := range spans {
		f.Busy += s.last - s.first
	}
	if seconds := time.Duration(f.Busy).Seconds(); seconds > 0 {
		f.PerSecond, f.BytesPerSecond = float64(f.Arrived)/seconds, float64(bytes)/seconds
	}
	return f
}

func faultFigures(samples []*Row, fault *Row) FaultFigures {
	f := FaultFigures{
		What: fault.Note, Way: fault.Asked, Begin: fault.Sent, End: fault.Done, Next: None, Over: None, Slowest: None, Back: None,
	}
	first := true
	for _, s := range samples {
		during := s.Sent >= f.Begin && (f.End == None || s.Sent < f.End)
		if during {
			f.N++
			if lost(s) {
				f.Lost++
			}
		}
		if during && s.Asked == Auto && first {
			f.Next, first = s.Latency, false
		}
		if !s.State.Arrived() {
			continue
		}
		if during {
			f.Slowest = max(f.Slowest, s.Latency) // None is below all
		}
		hit := Affects(f.Way, s.Way)
		if s.Sent >= f.Begin && s.Asked == Auto && !hit {
			f.Over = earlier(f.Over, s.Done-f.Begin)
		}
		if f.End != None && s.Done >= f.End && hit {
			f.Back = earlier(f.Back, s.Done-f.End)
		}
	}
	return f
}

// earlier is the smaller of two times, of which the first may be None.
func earlier(a, b Offset) Offset {
	if a == None {
		return b
	}
	return min(a, b)
}
