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

// outages collects what the cuts of direct ways have led to.
var outages outageTable

// outageTable is what is printed of them.
type outageTable struct {
	mu   sync.Mutex // guards the following
	rows []cutRow
}

// cutRow is all cuts of one way.
type cutRow struct {
	order    int
	name     string
	all      []outage
	messages int
}

func (t *outageTable) add(r cutRow) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.rows = append(t.rows, r)
}

// worst has the longest of each time.
func (r cutRow) worst() (worst outage) {
	for _, o := range r.all {
		worst.arrived, worst.known = max(worst.arrived, o.arrived), max(worst.known, o.known)
		worst.left, worst.back = max(worst.left, o.left), max(worst.back, o.back)
	}
	return worst
}

// bad says which time is longer than it may be.
func (r cutRow) bad() string {
	w := r.worst()
	switch {
	case w.arrived > worstOnTheWay:
		return fmt.Sprintf("a message took %v, want %v at most", w.arrived, worstOnTheWay)
	case w.known > worstOnTheWay:
		return fmt.Sprintf("that a message was there was known after %v, want %v at most", w.known, worstOnTheWay)
	case w.left > worstLeft:
		return fmt.Sprintf("the way was left after %v, want %v at most", w.left, worstLeft)
	case w.back > worstBack:
		return fmt.Sprintf("the way was in use again after %v, want %v at most", w.back, worstBack)
	}
	return ""
}

// print writes the longest times of all cuts of each way.
func (t *outageTable) print(out io.Writer) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if len(t.rows) == 0 {
		return
	}
	slices.SortFunc(t.rows, func(a, b cutRow) int { return cmp.Compare(a.order, b.order) })
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, "the direct way that is cut\tmessages\tcuts\tarrived within\tknown within\tleft within\tused again within\t")
	for _, r := range t.rows {
		worst := r.worst()
		ms := func(d time.Duration) string { return d.Round(time.Millisecond).String() }
		fmt.Fprintf(w, "%s\t%d\t%d\t%s\t%s\t%s\t%s\t%s\n", r.name, r.messages, len(r.all),
			ms(worst.arrived), ms(worst.known), ms(worst.left), ms(worst.back), r.bad())
	}
	_ = w.Flush() // to standard output
	fmt.Fprintln(out, "of these messages none was lost, doubled or out of order")
}

// progress counts messages.
type progress struct {
	mu   sync.Mutex
	sent []time.Time // guarded by mu
}

func (p *progress) step() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.sent = append(p.sent, time.Now())
}

func (p *progress) count() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return len(p.sent)
}

// at returns when a message was sent; the first is 1. The zero time stands for one that was not.
func (p *progress) at(n int) time.Time {
	p.mu.Lock()
	defer p.mu.Unlock()
	if n < 1 || n > len(p.sent) {
		return time.Time{}
	}
	return p.sent[n-1]
}
