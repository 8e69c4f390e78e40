package main

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/byway-chat/byway/cmd/internal/lab"
	"github.com/byway-chat/byway/cmd/internal/lab/report"
	"github.com/byway-chat/byway/cmd/internal/terminal"
	"github.com/byway-chat/byway/peer"
)

// The files of an experiment.
const (
	labReport  = "report.html"
	labSamples = "samples.csv"
)

// labOutput is the directory that an experiment is written to.
type labOutput struct{ dir string }

// openLabOutput makes the directory, and refuses one in which files of these names are none of ours.
func openLabOutput(dir string) (*labOutput, error) {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return nil, &peer.Error{Code: peer.CodeFailed, Message: "the directory for the report cannot be made", Hint: "name another with --out", Err: err}
	}
	for name, mark := range map[string]string{labReport: report.Marker, labSamples: lab.Header()} {
		ours, err := isOurs(filepath.Join(dir, name), mark)
		if err != nil {
			return nil, &peer.Error{Code: peer.CodeFailed, Message: "the directory for the report cannot be read", Hint: "name another with --out", Err: err}
		}
		if !ours {
			return nil, usage(fmt.Sprintf("%s holds a file %s that byway lab has not written", clean(dir), name), "name another directory with --out")
		}
	}
	return &labOutput{dir: dir}, nil
}

// isOurs reports whether a file may be replaced: there is none, or an ordinary one whose beginning holds the mark.
func isOurs(path, mark string) (bool, error) {
	info, err := os.Lstat(path)
	if errors.Is(err, fs.ErrNotExist) {
		return true, nil
	}
	if err != nil || !info.Mode().IsRegular() {
		return false, err
	}
	f, err := os.Open(path)
	if err != nil {
		return false, err
	}
	defer func() { _ = f.Close() }()
	const beginning = 1024
	head, err := io.ReadAll(io.LimitReader(f, beginning))
	return bytes.Contains(head, []byte(mark)), err
}

func (o *labOutput) path(name string) string { return filepath.Join(o.dir, name) }

// write writes the samples, reads them back, and writes the report of what it has read: so that the two agree.
func (o *labOutput) write(f report.Facts, rows []lab.Row) (lab.Figures, error) {
	err := o.replace(labSamples, func(w io.Writer) error { return lab.WriteCSV(w, rows) })
	if err != nil {
		return lab.Figures{}, err
	}
	samples, err := os.Open(o.path(labSamples))
	if err != nil {
		return lab.Figures{}, fmt.Errorf("reading the samples back: %w", err)
	}
	defer func() { _ = samples.Close() }()
	read, err := lab.ReadCSV(bufio.NewReader(samples))
	if err != nil {
		return lab.Figures{}, fmt.Errorf("reading the samples back: %w", err)
	}
	return lab.Compute(read), o.replace(labReport, func(w io.Writer) error { return report.Write(w, f, read) })
}

// replace writes a file beside its place and moves it there when it is whole.
func (o *labOutput) replace(name string, write func(io.Writer) error) error {
	temp, err := os.CreateTemp(o.dir, "."+name+"-*")
	if err != nil {
		return fmt.Errorf("writing %s: %w", name, err)
	}
	defer func() { _ = os.Remove(temp.Name()) }() // where it has been moved there is none
	w := bufio.NewWriter(temp)
	err = write(w)
	if err == nil {
		err = w.Flush()
	}
	err = errors.Join(err, temp.Chmod(0o644), temp.Close())
	if err == nil {
		err = os.Rename(temp.Name(), o.path(name))
	}
	if err != nil {
		return fmt.Errorf("writing %s: %w", name, err)
	}
	return nil
}

// labWay is the JSON of one way: latencies in ms of the phase turns, null where nothing has arrived.
type labWay struct {
	Way            string   `json:"way"`
	N              int      `json:"n"`
	Arrived        int      `json:"arrived"`
	Lost           int      `json:"lost"`
	P50            *float64 `json:"p50"`
	P90            *float64 `json:"p90"`
	P99            *float64 `json:"p99"`
	Max            *float64 `json:"max"`
	PerSecond      float64  `json:"per_second"` // under load
	BytesPerSecond float64  `json:"bytes_per_second"`
	Share          float64  `json:"share"` // of all that has arrived
	Lossy          *labWay  `json:"lossy,omitempty"`
}

// labFault is the JSON of one fault; times in ms, null where they did not come.
type labFault struct {
	Fault   string   `json:"fault"`
	Way     string   `json:"way"`
	Begin   *float64 `json:"begin"`
	End     *float64 `json:"end"`
	N       int      `json:"n"`
	Lost    int      `json:"lost"`
	Next    *float64 `json:"next"`
	Over    *float64 `json:"over"`
	Slowest *float64 `json:"slowest"`
	Back    *float64 `json:"back"`
}

// labSummary is the last JSON object. What cannot be seen is null.
type labSummary struct {
	User        string `json:"user"`
	Sent        int    `json:"sent"`
	Arrived     int    `json:"arrived"`
	Lost        int    `json:"lost"`
	GivenUp     int    `json:"given_up"`
	Pending     int    `json:"pending"`
	Doubled     *int   `json:"doubled"`
	Disorder    *int   `json:"out_of_order"`
	Unshown     *int   `json:"unshown"`
	Interrupted bool   `json:"interrupted"`
	Report      string `json:"report"`
	Samples     string `json:"samples"`
}

func inMS(o lab.Offset) *float64 {
	if o == lab.None {
		return nil
	}
	ms := o.MS()
	return &ms
}

func newLabWay(w *lab.WayFigures) labWay {
	return labWay{Way: w.Way, N: w.N, Arrived: w.Arrived, Lost: w.Lost, P50: inMS(w.P50), P90: inMS(w.P90), P99: inMS(w.P99), Max: inMS(w.Max)}
}

// labWays puts together what is known of each way.
func labWays(f *lab.Figures) []labWay {
	var out []labWay
	of := func(way string) *labWay {
		for i := range out {
			if out[i].Way == way {
				return &out[i]
			}
		}
		out = append(out, labWay{Way: way})
		return &out[len(out)-1]
	}
	for i := range f.Ways {
		w := newLabWay(&f.Ways[i])
		if f.Ways[i].Phase == lab.PhaseLoss {
			of(w.Way).Lossy = &w
		} else {
			*of(w.Way) = w
		}
	}
	for _, l := range f.Loads {
		w := of(l.Way)
		w.PerSecond, w.BytesPerSecond = l.PerSecond, l.BytesPerSecond
	}
	for _, s := range f.Shares {
		of(s.Way).Share = s.Part
	}
	return out
}

// tellLab prints the figures.
func (p *program) tellLab(user string, out *labOutput, f *lab.Figures, rows []lab.Row, interrupted bool) error {
	if p.flags.json {
		return p.labJSON(user, out, f, interrupted)
	}
	if err := p.table(labTable(f)); err != nil {
		return err
	}
	if len(f.Faults) > 0 {
		if err := p.table(faultTable(f)); err != nil {
			return err
		}
	}
	colour := isTerminal(p.stdout) && p.getenv("NO_COLOR") == "" && p.getenv("TERM") != "dumb"
	utf8 := terminal.UTF8(p.getenv) && p.getenv("TERM") != "dumb"
	if plot := report.Plot(rows, report.Look{UTF8: utf8, Colour: colour}); plot != "" {
		if err := p.write("\n" + plot + "\n"); err != nil {
			return err
		}
	}
	return p.say("%s\n%s", labAccount(&f.Total), clean(out.path(labReport)))
}

// labAccount is the account of an experiment in one line.
func labAccount(t *lab.Total) string {
	parts := []string{fmt.Sprintf("%d sent, %d arrived, %d lost", t.Sent, t.Arrived, t.Lost)}
	if t.Seen {
		parts = append(parts, fmt.Sprintf("%d shown twice, %d out of order, %d delivered and not shown", t.Doubled, t.Disorder, t.Unshown))
	}
	if t.GivenUp > 0 {
		parts = append(parts, fmt.Sprintf("%d given up, which their sender was told", t.GivenUp))
	}
	if t.Pending > 0 {
		parts = append(parts, fmt.Sprintf("%d still under way when it was interrupted", t.Pending))
	}
	return strings.Join(parts, ", ")
}

func labTable(f *lab.Figures) [][]string {
	table := [][]string{{"WAY", "N", "LOST", "P50", "P90", "P99", "MAX", "A SECOND", "SHARE"}}
	row := func(name string, w *labWay) []string {
		time := func(ms *float64) string {
			if ms == nil {
				return "-"
			}
			return inWords(milliseconds(*ms))
		}
		return []string{name, fmt.Sprint(w.N), fmt.Sprint(w.Lost), time(w.P50), time(w.P90), time(w.P99), time(w.Max)}
	}
	for _, w := range labWays(f) {
		table = append(table, append(row(w.Way, &w), fmt.Sprintf("%.0f", w.PerSecond), fmt.Sprintf("%.1f %%", 100*w.Share)))
		if w.Lossy != nil {
			table = append(table, append(row(w.Way+" with loss", w.Lossy), "-", "-"))
		}
	}
	return table
}

func faultTable(f *lab.Figures) [][]string {
	table := [][]string{{"FAULT", "FROM", "TO", "SENT", "LOST", "NEXT", "OTHER WAY AFTER", "SLOWEST", "BACK AFTER"}}
	at := func(o lab.Offset) string {
		if o == lab.None {
			return "-"
		}
		return fmt.Sprintf("%.1f s", o.MS()/1000)
	}
	took := func(o lab.Offset) string {
		if o == lab.None {
			return "-"
		}
		return inWords(milliseconds(o.MS()))
	}
	for _, x := range f.Faults {
		table = append(table, []string{
			x.What + " " + x.Way, at(x.Begin), at(x.End), fmt.Sprint(x.N), fmt.Sprint(x.Lost), took(x.Next), took(x.Over), took(x.Slowest), took(x.Back),
		})
	}
	return table
}

func (p *program) labJSON(user string, out *labOutput, f *lab.Figures, interrupted bool) error {
	if err := entries(p.lines, "way", labWays(f)); err != nil {
		return err
	}
	for _, x := range f.Faults {
		entry := labFault{
			Fault: x.What, Way: x.Way, Begin: inMS(x.Begin), End: inMS(x.End), N: x.N, Lost: x.Lost,
			Next: inMS(x.Next), Over: inMS(x.Over), Slowest: inMS(x.Slowest), Back: inMS(x.Back),
		}
		if err := p.lines.entry("fault", entry); err != nil {
			return err
		}
	}
	t := &f.Total
	sum := labSummary{
		User: user, Sent: t.Sent, Arrived: t.Arrived, Lost: t.Lost, GivenUp: t.GivenUp, Pending: t.Pending, Interrupted: interrupted,
		Report: out.path(labReport), Samples: out.path(labSamples),
	}
	if t.Seen {
		sum.Doubled, sum.Disorder, sum.Unshown = &t.Doubled, &t.Disorder, &t.Unshown
	}
	return p.lines.entry("summary", sum)
}
