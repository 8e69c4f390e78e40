package fault

import (
	"fmt"
	"io"
	"sort"
	"sync"
	"text/tabwriter"
)

// summary collects the tallies of all scenarios.
var summary table

// table is what is printed at the end.
type table struct {
	mu   sync.Mutex // guards the following
	rows []tableRow
}

type tableRow struct {
	scenario, faults string
	count            int
	tally            tally
}

// add records that a scenario has done count faults of a kind.
func (s *table) add(scenario, faults string, count int, sum tally) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.rows = append(s.rows, tableRow{scenario, faults, count, sum})
}

// print writes the table, and the sums of all rows.
func (s *table) print(out io.Writer) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.rows) == 0 {
		return
	}
	sort.SliceStable(s.rows, func(i, j int) bool { return s.rows[i].scenario < s.rows[j].scenario })
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintln(w, "scenario\tfaults\tof\taccepted\tlost\ttwice\tprinted again\tout of order\tphantom\tmissing\t")
	var all tally
	for _, r := range s.rows {
		t := r.tally
		fmt.Fprintf(w, "%s\t%d\t%s\t%d\t%d\t%d\t%d\t%d\t%d\t%d\t\n",
			r.scenario, r.count, r.faults, t.accepted, t.lost, t.twice, t.again, t.inverted, t.phantom, t.gaps)
		all.accepted += t.accepted
		all.lost += t.lost
		all.twice += t.twice
		all.again += t.again
		all.inverted += t.inverted
		all.phantom += t.phantom
		all.gaps += t.gaps
	}
	fmt.Fprintf(w, "all\t\t\t%d\t%d\t%d\t%d\t%d\t%d\t%d\t\n", all.accepted, all.lost, all.twice, all.again, all.inverted, all.phantom, all.gaps)
	_ = w.Flush() // to standard output
}
