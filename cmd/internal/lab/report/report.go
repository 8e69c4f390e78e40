// Package report writes what an experiment has shown as one HTML page that needs nothing else: no script, no font, no picture from elsewhere. Use [Write].
// The page can be read in light and dark, on paper, and by a screen reader.
package report

import (
	_ "embed"
	"fmt"
	"html/template"
	"io"
	"math"
	"strconv"
	"strings"
	"time"

	"github.com/byway-chat/byway/cmd/internal/lab"
)

// Marker stands near the beginning of every page, so that a program knows its own before it replaces one.
const Marker = `<meta name="generator" content="byway lab">`

// Facts is what a page tells besides the rows. Its texts may hold anything: they are escaped.
type Facts struct {
	From, To    string
	Loopback    bool // both ran on this machine, for the experiment
	Kind        lab.Kind
	Begun       time.Time
	Version     string
	Machine     string
	Loss        float64 // of the phase loss
	Interrupted bool
	Routes      []Route // at the beginning
}

// Route is one way as it was at the beginning.
type Route struct{ Way, State, Reason, Sentence string }

//go:embed page.html
var source string

var page = template.Must(template.New("page").Funcs(template.FuncMap{
	"ms": milliseconds, "number": number, "percent": percent, "title": title, "seconds": seconds,
}).Parse(source))

// view is what the template sees.
type view struct {
	Facts
	lab.Figures
	Marker                              template.HTML
	Noun, Verb, Measure                 string
	Distribution, Timeline, Throughputs template.HTML
	Columns                             []lab.Column
	Took                                lab.Offset
}

// Write writes the page of an experiment. The figures in it are those of lab.Compute.
func Write(w io.Writer, f Facts, rows []lab.Row) error {
	figures := lab.Compute(rows)
	v := view{
		Facts: f, Figures: figures, Marker: Marker, Noun: "messages", Verb: "delivered", Measure: "from acceptance until the receipt is back",
		Distribution: distribution(rows, &figures), Timeline: timeline(rows), Throughputs: throughput(&figures), Columns: lab.Columns, Took: end(rows),
	}
	if f.Kind == lab.Probe {
		v.Noun, v.Verb, v.Measure = "probes", "answered", "round trip"
	}
	if err := page.Execute(w, &v); err != nil {
		return fmt.Errorf("write the report: %w", err)
	}
	return nil
}

// end is when the last thing happened.
func end(rows []lab.Row) lab.Offset {
	var last lab.Offset
	for i := range rows {
		last = max(last, rows[i].Sent, rows[i].Done)
	}
	return last
}

// milliseconds is a time for people, with three digits that mean something, or a dash for none.
func milliseconds(o lab.Offset) string {
	switch ms := o.MS(); {
	case o == lab.None:
		return "–"
	case ms < 10:
		return strconv.FormatFloat(ms, 'f', 2, 64) + " ms"
	case ms < 100:
		return strconv.FormatFloat(ms, 'f', 1, 64) + " ms"
	default:
		return number(ms) + " ms"
	}
}

func seconds(o lab.Offset) string {
	if o == lab.None {
		return "–"
	}
	return strconv.FormatFloat(o.MS()/1000, 'f', 2, 64) + " s"
}

// number groups the digits before the point by thousands, and leaves out what is behind it.
func number(v float64) string {
	s := strconv.FormatFloat(math.Round(v), 'f', 0, 64)
	for i := len(s) - 3; i > 0 && s[i-1] != '-'; i -= 3 {
		s = s[:i] + "\u202f" + s[i:]
	}
	return s
}

func percent(part float64) string {
	return strings.TrimSuffix(strconv.FormatFloat(100*part, 'f', 1, 64), ".0") + " %"
}

// title is the name of a phase.
func title(p lab.Phase) string {
	if p == lab.PhaseLoss {
		return "with loss"
	}
	return "undisturbed"
}
