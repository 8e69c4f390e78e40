package measure_test

import (
	"cmp"
	"fmt"
	"os"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"
)

// taken is everything that this process has measured.
var taken ledger

type ledger struct {
	mu    sync.Mutex
	order []string             // of the names; guarded by mu
	runs  map[string][]figures // by name; guarded by mu
}

func (l *ledger) add(name string, f figures) {
	name = strings.TrimPrefix(name, "Benchmark")
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.runs == nil {
		l.runs = map[string][]figures{}
	}
	if l.runs[name] == nil {
		l.order = append(l.order, name)
	}
	l.runs[name] = append(l.runs[name], f)
}

// valuesLocked returns what all runs of a study have for a unit, in ascending order.
func (l *ledger) valuesLocked(name, unit string) []float64 {
	var values []float64
	for _, r := range l.runs[name] {
		for _, f := range r {
			if f.unit == unit {
				values = append(values, f.value)
			}
		}
	}
	slices.Sort(values)
	return values
}

// target is what one figure has to reach.
type target struct {
	what, study, unit string
	most              bool // it is an upper bound
	bound             float64
	beside            string // unit of the yardstick's figure in the same study; empty: none
}

// targets are those of docs/performance.md. No run fails for missing one: that is for a person to judge, who knows what else the machine did.
var targets = []target{
	{"CPU of the rendezvous for a live message of 64 B, 10 pairs, a Write for each: times the hub's", "Relay/load=separate", "x-hub", true, 2, "hub-us/msg"},
	{"the same, coalesced", "Relay/load=crowded", "x-hub", true, 2, "hub-us/msg"},
	{"end to end by relay, 64 B, 10 pairs: messages a second", "EndToEnd/way=relay/size=64/pairs=10", "msg/s", false, 40_000, "hub-msg/s"},
	{"mailbox, fsynced: envelopes in a second", "Mailbox/size=64", "in/s", false, 80_000, ""},
	{"mailbox, fsynced: envelopes out a second", "Mailbox/size=64", "out/s", false, 80_000, ""},
	{"mailbox: envelopes lost", "Mailbox/size=64", "lost", true, 0, ""},
	{"send to shown by relay, one in flight: ms that the p50 exceeds two fsyncs", "Latency/load=one", "p50-over-2-fsyncs-ms", true, 0.3, "hub-p50-ms"},
	{"send to shown by relay at half the highest load, one pair: p99 in ms", "Latency/load=half/pairs=1", "p99-ms", true, 10, "hub-p99-ms"},
	{"the same with ten pairs", "Latency/load=half/pairs=10", "p99-ms", true, 10, "hub-p99-ms"},
	{"the same with ten pairs in one process", "Latency/load=half/pairs=10/together", "p99-ms", true, 10, "hub-p99-ms"},
	{"sign-ins a second of enrolled devices", "SignIn/with=key", "sign-ins/s", false, 500, "hub-sign-ins/s"},
	{"memory of the rendezvous for an idle peer: KiB", "Memory/idle", "KiB/peer", true, 56, "hub-KiB/peer"},
}

// write writes two tables: the targets, and all figures with the median of all runs, the least and the greatest.
func (l *ledger) write(path string) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if path == "" || len(l.order) == 0 {
		return nil
	}
	var t strings.Builder
	fmt.Fprintf(&t, "Measured %s with %s on %s/%s, %d processors (%s).\n\n", time.Now().UTC().Format("2006-01-02 15:04 UTC"),
		runtime.Version(), runtime.GOOS, runtime.GOARCH, runtime.NumCPU(), processor())
	t.WriteString("| what | must be | is | from - to | yardstick | reached |\n|---|---:|---:|---:|---:|---|\n")
	for _, goal := range targets {
		if values := l.valuesLocked(goal.study, goal.unit); len(values) > 0 {
			goal.write(&t, values, l.valuesLocked(goal.study, goal.beside))
		}
	}
	t.WriteString("\n| study | unit | median | from | to | runs |\n|---|---|---:|---:|---:|---:|\n")
	for _, name := range l.order {
		for _, f := range l.runs[name][0] {
			values := l.valuesLocked(name, f.unit)
			fmt.Fprintf(&t, "| %s | %s | %s | %s | %s | %d |\n", name, f.unit, digits(median(values)), digits(values[0]),
				digits(values[len(values)-1]), len(values))
		}
	}
	return os.WriteFile(path, []byte(t.String()), 0o644)
}

func (g target) write(t *strings.Builder, values, beside []float64) {
	sign, reached := "≥", median(values) >= g.bound
	if g.most {
		sign, reached = "≤", median(values) <= g.bound
	}
	yardstick, verdict := "", "no"
	if len(beside) > 0 {
		yardstick = digits(median(beside)) + " " + g.beside
	}
	if reached {
		verdict = "yes"
	}
	fmt.Fprintf(t, "| %s | %s %s | %s | %s - %s | %s | %s |\n", g.what, sign, digits(g.bound), digits(median(values)), digits(values[0]),
		digits(values[len(values)-1]), yardstick, verdict)
}

// median returns the middle one of values in ascending order, of which there is at least one.
func median(values []float64) float64 { return values[len(values)/2] }

// digits prints what a reader can make use of.
func digits(v float64) string {
	switch {
	case v >= 100 || v == float64(int64(v)):
		return strconv.FormatFloat(v, 'f', 0, 64)
	case v >= 10:
		return strconv.FormatFloat(v, 'f', 1, 64)
	case v >= 0.1:
		return strconv.FormatFloat(v, 'f', 2, 64)
	}
	return strconv.FormatFloat(v, 'f', 4, 64)
}

// processor is the name that the machine gives its processor.
func processor() string {
	text, _ := os.ReadFile("/proc/cpuinfo")
	for line := range strings.Lines(string(text)) {
		if name, ok := strings.CutPrefix(line, "model name"); ok {
			return strings.Trim(name, "\t :\n")
		}
	}
	return "unknown"
}

// quantile returns the value below which the share q of all values lies. It sorts them.
func quantile[T cmp.Ordered](values []T, q float64) T {
	if len(values) == 0 {
		var none T
		return none
	}
	slices.Sort(values)
	return values[min(int(q*float64(len(values))), len(values)-1)]
}
