package main

import (
	"encoding/csv"
	"encoding/json"
	"fmt"
	"html"
	"maps"
	"math"
	"os/exec"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/google/go-cmp/cmp"
	"github.com/rogpeppe/go-internal/testscript"
)

// sampleTable is samples.csv as anybody would read it, by the names of its columns.
type sampleTable []map[string]string

func readSamples(ts *testscript.TestScript, path string) sampleTable {
	records, err := csv.NewReader(strings.NewReader(ts.ReadFile(path))).ReadAll()
	ts.Check(err)
	var table sampleTable
	for _, record := range records[1:] {
		row := map[string]string{}
		for i, name := range records[0] {
			row[name] = record[i]
		}
		table = append(table, row)
	}
	return table
}

func (t sampleTable) where(column, value string) sampleTable {
	return slices.DeleteFunc(slices.Clone(t), func(row map[string]string) bool { return row[column] != value })
}

func (t sampleTable) numbers(column string) []float64 {
	var out []float64
	for _, row := range t {
		if v, err := strconv.ParseFloat(row[column], 64); err == nil {
			out = append(out, v)
		}
	}
	slices.Sort(out)
	return out
}

// rank is the nearest rank of a percentile.
func rank(sorted []float64, percent int) float64 {
	return sorted[(percent*len(sorted)+99)/100-1]
}

// way computes the figures of a way in a phase.
func (t sampleTable) way(phase, way string) map[string]any {
	sent := t.where("phase", phase).where("asked", way)
	arrived := sent.where("state", "delivered")
	ms := arrived.numbers("latency_ms")
	return map[string]any{
		"way": way, "n": float64(len(sent)), "arrived": float64(len(arrived)), "lost": float64(len(sent) - len(arrived)),
		"p50": rank(ms, 50), "p90": rank(ms, 90), "p99": rank(ms, 99), "max": ms[len(ms)-1],
	}
}

// load computes how many a second a way took.
func (t sampleTable) load(way string) float64 {
	sent, busy := t.where("phase", "load").where("asked", way), 0.0
	blocks := map[string]bool{}
	for _, row := range sent {
		blocks[row["block"]] = true
	}
	for block := range maps.Keys(blocks) {
		of := sent.where("block", block)
		done := of.numbers("done_ms")
		busy += done[len(done)-1] - of.numbers("sent_ms")[0]
	}
	return 1000 * float64(len(sent)) / busy
}

// agrees DIR JSON computes the figures of DIR/samples.csv anew, and compares them with those that were printed and those in DIR/report.html.
func agrees(ts *testscript.TestScript, _ bool, args []string) {
	samples, page := readSamples(ts, args[0]+"/samples.csv"), html.UnescapeString(ts.ReadFile(args[0]+"/report.html"))
	arrived := samples.where("state", "delivered")
	same := func(what string, want, got any) {
		if diff := cmp.Diff(want, got, cmp.Comparer(func(a, b float64) bool { return math.Abs(a-b) <= 1e-6*math.Abs(a) })); diff != "" {
			ts.Fatalf("%s (-samples +told):\n%s", what, diff)
		}
	}
	shown := func(phase, way string, figures map[string]any) {
		cells := tableCells(page, fmt.Sprintf("data-way=%q data-phase=%q", way, phase))
		for i, name := range []string{"n", "arrived", "lost", "p50", "p90", "p99", "max"} {
			want, _ := figures[name].(float64)
			if i+2 >= len(cells) || math.Abs(numberIn(cells[i+2])-want) > 0.006*max(1, want) {
				ts.Fatalf("the report's row of %s in %s is %q, and %s is %v", way, phase, cells, name, want)
			}
		}
	}
	ways := 0
	for line := range strings.Lines(ts.ReadFile(args[1])) {
		var told map[string]any
		ts.Check(json.Unmarshal([]byte(line), &told))
		switch told["type"] {
		case "way":
			way, _ := told["way"].(string)
			same(way+"'s share", float64(len(arrived.where("way", way)))/float64(len(arrived)), told["share"])
			if told["n"] == 0.0 { // only the conversations went by it
				continue
			}
			ways++
			same(way+" under load", samples.load(way), told["per_second"])
			want := samples.way("turns", way)
			for name := range want {
				same(way+"'s "+name, want[name], told[name])
			}
			shown("turns", way, want)
			if lossy, ok := told["lossy"].(map[string]any); ok {
				want := samples.way("loss", way)
				for name := range want {
					same(way+"'s "+name+" with loss", want[name], lossy[name])
				}
				shown("loss", way, want)
			}
		case "fault":
			row := samples.where("kind", "fault").where("note", fmt.Sprint(told["fault"]))[0]
			same("the fault's time", []any{rounded(row["sent_ms"]), rounded(row["done_ms"])}, []any{told["begin"], told["end"]})
		case "summary":
			same("the account", []any{float64(len(samples.where("kind", "message"))), float64(len(arrived)), float64(len(arrived.where("shown_times", "1")))},
				[]any{told["sent"], told["arrived"], told["arrived"]})
			if want := fmt.Sprintf("%v messages sent, %v delivered, 0 lost, 0 shown twice, 0 out of order", told["sent"], told["arrived"]); !strings.Contains(page, want) {
				ts.Fatalf("the report does not say %q", want)
			}
		}
	}
	if ways == 0 {
		ts.Fatalf("%s tells no way", args[1])
	}
}

// tableCells returns the cells of a row of the page.
func tableCells(page, attributes string) []string {
	_, row, _ := strings.Cut(page, "<tr "+attributes+">")
	row, _, _ = strings.Cut(row, "</tr>")
	var cells []string
	for cell := range strings.SplitSeq(row, "</td>") {
		cells = append(cells, regexp.MustCompile(`<[^>]*>`).ReplaceAllString(cell, ""))
	}
	return cells
}

// numberIn is a number as the page writes it: digits grouped by thin spaces, and a unit.
func numberIn(cell string) float64 {
	return rounded(strings.TrimSuffix(strings.ReplaceAll(cell, "\u202f", ""), " ms"))
}

func rounded(s string) float64 {
	v, _ := strconv.ParseFloat(s, 64)
	return v
}

// opens FILE opens a page in a browser without a window, where there is one: it is read, and nothing is complained about.
func opens(ts *testscript.TestScript, _ bool, args []string) {
	path, err := exec.LookPath("chromium")
	if err != nil {
		ts.Logf("there is no chromium: %s is not opened in a browser", args[0])
		return
	}
	cmd := exec.Command(path, "--headless", "--no-sandbox", "--disable-gpu", "--enable-logging=stderr", "--user-data-dir="+ts.MkAbs("browser"),
		"--dump-dom", "file://"+ts.MkAbs(args[0]))
	var told strings.Builder
	cmd.Stderr = &told
	page, err := cmd.Output()
	if err != nil || !strings.Contains(string(page), `<svg viewBox=`) || !strings.Contains(string(page), "</main>") {
		ts.Fatalf("the browser does not show %s: %v\n%s\n%s", args[0], err, page, told.String())
	}
	if strings.Contains(told.String(), "CONSOLE") {
		ts.Fatalf("the browser complains:\n%s", told.String())
	}
}
