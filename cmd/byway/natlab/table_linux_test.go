package natlab

import (
	"cmp"
	"fmt"
	"io"
	"slices"
	"sync"
	"text/tabwriter"
	"time"
)

// results collects what all pairs have found.
var results table

// table is what is printed at the end.
type table struct {
	mu   sync.Mutex // guards the following
	rows []row
}

// row is one pair of networks.
type row struct {
	order          int
	networks       string
	want, found    string        // ways
	because, given string        // why no better way: the true reason, and the one that was given
	took           time.Duration // from the first message until the way was in use; 0: it never was
}

// right reports whether everything is as it must be.
func (r row) right() bool { return r.found == r.want && r.given == r.because }

func (t *table) add(r row) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.rows = append(t.rows, r)
}

// print writes the table in the order of the pairs.
func (t *table) print(out io.Writer) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if len(t.rows) == 0 {
		return
	}
	slices.SortFunc(t.rows, func(a, b row) int { return cmp.Compare(a.order, b.order) })
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, "networks\texpected\tfound\treason\ttime\t")
	wrong := 0
	for _, r := range t.rows {
		took, verdict := "-", ""
		if r.took > 0 {
			took = r.took.Round(time.Millisecond).String()
		}
		if !r.right() {
			wrong++
			verdict = "NOT AS EXPECTED"
			if r.given != r.because {
				verdict += ": the reason is " + cmp.Or(r.because, "none")
			}
		}
		fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%s\t%s\n", r.networks, r.want, cmp.Or(r.found, "none"), cmp.Or(r.given, "-"), took, verdict)
	}
	_ = w.Flush() // to standard output
	fmt.Fprintf(out, "%d of %d pairs are as expected\n", len(t.rows)-wrong, len(t.rows))
}

// outages collects what the cuts of a direct way have led to.
var outages outageTable

// outageTable is what is printed of them.
type outageTable struct {
	mu       sync.Mutex // guards the following
	all      []outage
	messages int
}

func (t *outageTable) add(all []outage, messages int) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.all, t.messages = all, messages
}

// print writes the longest times of all cuts.
func (t *outageTable) print(out io.Writer) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if len(t.all) == 0 {
		return
	}
	var worst outage
	for _, o := range t.all {
		worst.slowest, worst.left, worst.back = max(worst.slowest, o.slowest), max(worst.left, o.left), max(worst.back, o.back)
	}
	fmt.Fprintf(out, "%d messages while the direct way was cut %d times: none lost, doubled or out of order\n", t.messages, len(t.all))
	fmt.Fprintf(out, "the slowest message took %v; the way was given up after %v at most, and used again %v after its return\n",
		worst.slowest.Round(time.Millisecond), worst.left.Round(time.Millisecond), worst.back.Round(time.Millisecond))
}

// progress counts messages.
type progress struct {
	mu   sync.Mutex
	sent int // guarded by mu
}

func (p *progress) step() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.sent++
}

func (p *progress) count() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.sent
}
