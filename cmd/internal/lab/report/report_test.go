package report

import (
	"encoding/xml"
	"errors"
	"fmt"
	"io"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/byway-chat/byway/cmd/internal/lab"
)

const msec = lab.Offset(time.Millisecond)

// experiment is rows of every kind: two ways in turns with and without loss, load, and a conversation with a drop.
func experiment() []lab.Row {
	var rows []lab.Row
	at := lab.Offset(0)
	add := func(phase lab.Phase, block int, asked, way string, took lab.Offset) {
		at += 20 * msec
		r := lab.Row{
			Kind: lab.Message, N: len(rows) + 1, Phase: phase, Block: block, Asked: asked, Way: way, State: lab.Delivered, Size: 200,
			Sent: at, Accepted: at, Shown: at + took, Done: at + took, Latency: took, Times: 1,
		}
		if way == "" {
			r.State, r.Shown, r.Done, r.Latency, r.Times, r.Note = lab.Lost, lab.None, lab.None, lab.None, 0, "no answer"
		}
		rows = append(rows, r)
	}
	for i := range lab.Offset(50) {
		add(lab.PhaseTurns, 1, "lan", "lan", msec+i*msec/40)
		add(lab.PhaseTurns, 1, "relay", "relay", 2*msec+i*msec/20)
		add(lab.PhaseLoss, 1, "lan", "lan", msec+i*i*i*msec/40)
		add(lab.PhaseLoad, 1, "lan", "lan", 30*msec)
	}
	begin := at
	for range 40 {
		add(lab.PhaseDrop, 1, lab.Auto, "relay", 3*msec)
	}
	add(lab.PhaseDrop, 1, lab.Auto, "", 0)
	add(lab.PhaseDrop, 1, lab.Auto, "mailbox", 700*msec)
	end := at
	add(lab.PhaseDrop, 1, lab.Auto, "punched", 3*msec)
	add(lab.PhaseDrop, 1, lab.Auto, "direct", 3*msec)
	event := lab.Row{Kind: lab.Fault, Accepted: lab.None, Shown: lab.None, Done: lab.None, Latency: lab.None, Times: -1}
	drop, loss := event, event
	drop.Asked, drop.Note, drop.Sent, drop.Done = lab.Direct, lab.FaultDrop, begin, end
	loss.Asked, loss.Note, loss.Sent, loss.Done = lab.Auto, lab.FaultLoss, 0, 600*msec
	return append(rows, loss, drop)
}

func facts() Facts {
	return Facts{
		From: "alice", To: "bob", Loopback: true, Kind: lab.Message, Begun: time.Unix(1_800_000_000, 0), Version: "test", Machine: "linux/amd64, 2 processors",
		Loss: 0.05, Routes: []Route{{Way: "lan", State: "open"}, {Way: "punched", State: "closed", Reason: "udp-blocked-here", Sentence: "UDP does not get out."}},
	}
}

func write(t *testing.T, f Facts, rows []lab.Row) string {
	t.Helper()
	var b strings.Builder
	if err := Write(&b, f, rows); err != nil {
		t.Fatal(err)
	}
	return b.String()
}

// cells returns the cells of the table row that has an attribute.
func cells(t *testing.T, page, attributes string) []string {
	t.Helper()
	_, rest, ok := strings.Cut(page, "<tr "+attributes+">")
	row, _, closed := strings.Cut(rest, "</tr>")
	if !ok || !closed {
		t.Fatalf("there is no row with %s", attributes)
	}
	var out []string
	for _, cell := range regexp.MustCompile(`<td>(?:<span class="swatch [a-z]+"></span>)?([^<]*)</td>`).FindAllStringSubmatch(row, -1) {
		out = append(out, cell[1])
	}
	return out
}

// TestFiguresOnThePage: the tables hold what lab.Compute says of the file that lies beside the page.
func TestFiguresOnThePage(t *testing.T) {
	var file strings.Builder
	if err := lab.WriteCSV(&file, experiment()); err != nil {
		t.Fatal(err)
	}
	rows, err := lab.ReadCSV(strings.NewReader(file.String()))
	if err != nil {
		t.Fatal(err)
	}
	page, f := write(t, facts(), experiment()), lab.Compute(rows)
	check := func(attributes string, want ...any) {
		t.Helper()
		if diff := cmp.Diff(strings.Fields(fmt.Sprintln(want...)), strings.Fields(strings.Join(cells(t, page, attributes), " "))); diff != "" {
			t.Errorf("%s (-want +got):\n%s", attributes, diff)
		}
	}
	for _, w := range f.Ways {
		check(fmt.Sprintf("data-way=%q data-phase=%q", w.Way, w.Phase),
			w.Way, title(w.Phase), w.N, w.Arrived, w.Lost, milliseconds(w.P50), milliseconds(w.P90), milliseconds(w.P99), milliseconds(w.Max))
	}
	for _, l := range f.Loads {
		check(fmt.Sprintf("data-load=%q", l.Way), l.Way, l.N, l.Arrived, l.Lost, number(l.PerSecond), number(l.BytesPerSecond))
	}
	for _, s := range f.Shares {
		check(fmt.Sprintf("data-share=%q", s.Way), s.Way, s.Arrived, percent(s.Part))
	}
	for _, x := range f.Faults {
		check(fmt.Sprintf("data-fault=%q", x.What), x.What, x.Way, seconds(x.Begin), seconds(x.End), x.N, x.Lost, milliseconds(x.Next), milliseconds(x.Over), milliseconds(x.Slowest), milliseconds(x.Back))
	}
	if len(f.Ways) != 3 || len(f.Loads) != 1 || len(f.Shares) != 5 || len(f.Faults) != 1 {
		t.Errorf("the experiment is too small: %+v", f)
	}
	if want := fmt.Sprintf("%d messages sent, %d delivered, %d lost, 0 shown twice", f.Total.Sent, f.Total.Arrived, f.Total.Lost); !strings.Contains(page, want) {
		t.Errorf("the page does not say %q", want)
	}
	rows[0].State = lab.Failed
	if !strings.Contains(write(t, facts(), rows), "1 given up, which their sender was told") {
		t.Error("the page does not say what was given up")
	}
	rows[0].State = lab.Delivered
	if again := write(t, facts(), rows); again != page {
		t.Error("the same rows make another page")
	}
}

// TestNothingFromElsewhere: the page loads nothing and runs nothing, and its beginning says whose it is.
func TestNothingFromElsewhere(t *testing.T) {
	page := write(t, facts(), experiment())
	if !strings.Contains(page[:1024], Marker) {
		t.Error("the beginning does not say who has written it")
	}
	page = strings.ReplaceAll(page, `xmlns="http://www.w3.org/2000/svg"`, "")
	page = strings.Replace(page, `<link rel="icon" href="data:,">`, "", 1) // without it browsers ask for one
	for _, forbidden := range []string{"<script", "<link", "<img", "<iframe", "src=", "href=", "url(", "@import", "http:", "https:", "javascript:"} {
		if i := strings.Index(page, forbidden); i >= 0 {
			t.Errorf("the page holds %q: %s", forbidden, page[i:i+40])
		}
	}
	if m := regexp.MustCompile(`<[^>]* on[a-z]+=`).FindString(page); m != "" {
		t.Errorf("the page holds a handler: %s", m)
	}
}

// TestHostileNames: what strangers have chosen is text on the page and nothing else.
func TestHostileNames(t *testing.T) {
	const evil = `"><script>alert(1)</script><img src=x onerror=alert(2)>'&amp;`
	f := facts()
	f.From, f.To, f.Version, f.Machine = evil, evil, evil, evil
	f.Routes = []Route{{evil, evil, evil, evil}}
	rows := experiment()
	for i := range rows {
		if i%3 == 0 {
			rows[i].Way, rows[i].Asked, rows[i].Note = evil, evil, evil
		}
	}
	page := write(t, f, rows)
	if strings.Contains(page, "<script") || strings.Contains(page, "<img") || !strings.Contains(page, "&lt;script&gt;") {
		t.Error("a name is more than text")
	}
	wellFormed(t, page)
}

// wellFormed checks that every picture is XML and has a title and a description.
func wellFormed(t interface{ Errorf(string, ...any) }, page string) {
	for i, picture := range regexp.MustCompile(`(?s)<svg .*?</svg>`).FindAllString(page, -1) {
		d := xml.NewDecoder(strings.NewReader(picture))
		var err error
		for err == nil {
			_, err = d.Token()
		}
		if !errors.Is(err, io.EOF) {
			t.Errorf("picture %d is not XML: %v", i, err)
		}
		if !regexp.MustCompile(`<title id="[a-z]+-t">[^<]+</title><desc id="[a-z]+-d">[^<]+</desc>`).MatchString(picture) {
			t.Errorf("picture %d has no words", i)
		}
		if m := regexp.MustCompile(`NaN|Inf|%!`).FindString(picture); m != "" {
			t.Errorf("picture %d holds %s", i, m)
		}
	}
}

// TestAnyRows: whatever was measured, or nothing at all, makes a page with pictures that are whole, and a plot that fits into a terminal.
func TestAnyRows(t *testing.T) {
	ways := []string{"lan", "direct", "punched", "relay", "mailbox", "auto", ""}
	rapid.Check(t, func(t *rapid.T) {
		var rows []lab.Row
		offset := func(name string) lab.Offset {
			if rapid.IntRange(0, 3).Draw(t, "no "+name) == 0 {
				return lab.None
			}
			return lab.Offset(rapid.Int64Range(0, 90_000_000).Draw(t, name)) * lab.Offset(time.Microsecond)
		}
		for i := range rapid.IntRange(0, 30).Draw(t, "n") {
			rows = append(rows, lab.Row{
				Kind: rapid.SampledFrom([]lab.Kind{lab.Message, lab.Probe, lab.Fault}).Draw(t, "kind"), N: i + 1,
				Phase: rapid.SampledFrom([]lab.Phase{lab.PhaseTurns, lab.PhaseLoss, lab.PhaseLoad, lab.PhaseDrop}).Draw(t, "phase"),
				Asked: rapid.SampledFrom(ways).Draw(t, "asked"), Way: rapid.SampledFrom(ways).Draw(t, "way"),
				State: rapid.SampledFrom([]lab.State{lab.Delivered, lab.Lost, lab.Pending}).Draw(t, "state"),
				Sent:  offset("sent"), Accepted: lab.None, Shown: lab.None, Done: offset("done"), Latency: offset("latency"), Times: 1,
			})
		}
		var b strings.Builder
		if err := Write(&b, facts(), rows); err != nil {
			t.Fatal(err)
		}
		wellFormed(t, b.String())
		for line := range strings.Lines(Plot(rows, Look{})) {
			if strings.ContainsFunc(line, func(r rune) bool { return r > '~' }) {
				t.Errorf("the plot is not ASCII: %q", line)
			}
		}
	})
}

func TestNumbers(t *testing.T) {
	for _, row := range []struct{ got, want string }{
		{milliseconds(lab.None), "–"},
		{milliseconds(1234 * msec / 1000), "1.23 ms"},
		{milliseconds(56_780 * msec / 1000), "56.8 ms"},
		{milliseconds(3001 * msec), "3\u202f001 ms"},
		{number(0), "0"},
		{number(999.6), "1\u202f000"},
		{number(1_234_567), "1\u202f234\u202f567"},
		{percent(0.5), "50 %"},
		{percent(1.0 / 3), "33.3 %"},
		{seconds(1500 * msec), "1.50 s"},
	} {
		if row.got != row.want {
			t.Errorf("got %q, want %q", row.got, row.want)
		}
	}
}

// TestScales: every latency lies on the picture, at a tick or between two.
func TestScales(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		a, b := rapid.Float64Range(0, 100_000).Draw(t, "a"), rapid.Float64Range(0, 100_000).Draw(t, "b")
		s := logScale(min(a, b), max(a, b), 0, 100)
		ticks := s.ticks()
		if s.low > max(a, b, 0.002) || s.high < max(a, b) || len(ticks) < 2 || len(ticks) > 20 {
			t.Errorf("of %v and %v: got %+v with the ticks %v", a, b, s, ticks)
		}
		if low, high := s.at(min(a, b)), s.at(max(a, b)); low < 0 || high > 100 || low > high {
			t.Errorf("of %v and %v: got the places %v and %v", a, b, low, high)
		}
	})
}

func TestPlot(t *testing.T) {
	plot := Plot(experiment(), Look{UTF8: true})
	for _, want := range []string{"* lan, undisturbed", "o relay, undisturbed", "+ lan, with loss", "┤", "100%"} {
		if !strings.Contains(plot, want) {
			t.Errorf("the plot has no %q:\n%s", want, plot)
		}
	}
	if strings.Contains(plot, "\x1b") || !strings.Contains(Plot(experiment(), Look{Colour: true}), "\x1b") {
		t.Error("colours are where none are wanted, or are not where they are")
	}
	for line := range strings.Lines(plot) {
		if n := len([]rune(line)); n > 80 {
			t.Errorf("a line has %d characters: %s", n, line)
		}
	}
	if Plot(nil, Look{}) != "" {
		t.Error("a plot of nothing")
	}
}
