package report

import (
	"fmt"
	"html/template"
	"math"
	"strings"

	"github.com/byway-chat/byway/cmd/internal/lab"
)

// distribution draws for each way which share of the latencies is at most how long.
func distribution(rows []lab.Row, f *lab.Figures) template.HTML {
	var told []string
	least, greatest := math.Inf(1), 0.0
	for _, w := range f.Ways {
		latencies := lab.Latencies(rows, w.Phase, w.Way)
		if len(latencies) == 0 {
			continue
		}
		least, greatest = min(least, latencies[0].MS()), max(greatest, latencies[len(latencies)-1].MS())
		told = append(told, fmt.Sprintf("%s, %s: half within %s, 99 of 100 within %s.", w.Way, title(w.Phase), milliseconds(w.P50), milliseconds(w.P99)))
	}
	if len(told) == 0 {
		return ""
	}
	p := newPicture("distribution", "Distribution of latency by way", strings.Join(told, " "), height)
	x, y := logScale(least, greatest, left, left+plotWidth), scale{low: 0, high: 100, from: top + plotHeight, to: top}
	p.axes(&x, &y, "latency in ms (logarithmic)", "% of those that arrived")
	at := 0.0
	for _, w := range f.Ways {
		latencies := lab.Latencies(rows, w.Phase, w.Way)
		if len(latencies) == 0 {
			continue
		}
		class := "curve " + wayClass(w.Way) + " " + string(w.Phase)
		p.add(`<path class="%s" d="%s"/>`, class, curve(latencies, &x, &y))
		at = p.legend(at, class, w.Way+", "+title(w.Phase))
	}
	return p.html()
}

// curve is the path of a distribution: one step for each value, but no more than one for each place that can be told apart.
func curve(sorted []lab.Offset, x, y *scale) string {
	var b strings.Builder
	fmt.Fprintf(&b, "M%s %s", num(x.at(sorted[0].MS())), num(y.at(0)))
	last := ""
	for i, o := range sorted {
		across := num(x.at(o.MS()))
		if across != last {
			fmt.Fprintf(&b, "H%s", across)
			last = across
		}
		if i == len(sorted)-1 || num(x.at(sorted[i+1].MS())) != across {
			fmt.Fprintf(&b, "V%s", num(y.at(100*float64(i+1)/float64(len(sorted)))))
		}
	}
	return b.String()
}

// axes draws both axes with their ticks.
func (p *picture) axes(x, y *scale, below, beside string) {
	for _, v := range y.ticks() {
		p.line(left, y.at(v), left+plotWidth, y.at(v), "grid")
		p.text(left-8, y.at(v)+4, "tick", "end", label(v))
	}
	for _, v := range x.ticks() {
		p.line(x.at(v), top, x.at(v), top+plotHeight, "grid")
		p.text(x.at(v), top+plotHeight+18, "tick", "middle", label(v))
	}
	p.text(left+plotWidth/2, top+plotHeight+38, "axis", "middle", below)
	p.add(`<text class="axis" text-anchor="middle" transform="translate(16 %d) rotate(-90)">%s</text>`, top+plotHeight/2, beside)
}

// legend draws one entry above the plot and returns where the next begins.
func (p *picture) legend(at float64, class, what string) float64 {
	x := left + at
	p.add(`<path class="%s" d="M%s 12h26"/>`, class, num(x))
	p.text(x+32, 16, "key", "start", what)
	return at + 50 + 7*float64(len(what))
}

// ribbon is how high the strip of ways under the timeline is, with its label.
const ribbon = 62

// timeline draws what arrived when, by which way and how fast, what did not, and the faults.
func timeline(rows []lab.Row) template.HTML {
	least, greatest, ok := latencyRange(rows)
	if !ok {
		return ""
	}
	last := max(0.001, end(rows).MS()/1000)
	p := newPicture("timeline", "Timeline of ways", timelineWords(rows), height+ribbon)
	x, y := scale{low: 0, high: last, from: left, to: left + plotWidth}, logScale(least, greatest, top+plotHeight, top)
	for i := range rows {
		if r := &rows[i]; r.Kind == lab.Fault {
			p.fault(r, &x, last)
		}
	}
	p.axes(&x, &y, "seconds since the beginning", "latency in ms (log.)")
	at := 0.0
	for _, way := range []string{"lan", "direct", "punched", "relay", "mailbox", "other"} {
		if d := marks(rows, way, &x, &y); d != "" {
			p.add(`<path class="mark %s" d="%s"/>`, way, d)
			p.add(`<path class="mark %s" d="%s"/>`, way, mark(way, left+at+8, 12))
			p.text(left+at+18, 16, "key", "start", way)
			at += 40 + 7*float64(len(way))
		}
	}
	if d := misses(rows, &x); d != "" {
		p.add(`<path class="miss" d="%s"/>`, d)
		p.add(`<path class="miss" d="%s"/>`, cross(left+at+8, 12))
		p.text(left+at+18, 16, "key", "start", "did not arrive")
	}
	p.conversation(rows, &x)
	return p.html()
}

func timelineWords(rows []lab.Row) string {
	f := lab.Compute(rows)
	told := []string{fmt.Sprintf("%d sent in %s.", f.Total.Sent, seconds(end(rows)))}
	for _, s := range f.Shares {
		told = append(told, fmt.Sprintf("%d arrived by %s.", s.Arrived, s.Way))
	}
	for _, fault := range f.Faults {
		told = append(told, fmt.Sprintf("%s %s from %s to %s.", fault.What, fault.Way, seconds(fault.Begin), seconds(fault.End)))
	}
	return strings.Join(told, " ")
}

// fault shades the time of a fault.
func (p *picture) fault(r *lab.Row, x *scale, last float64) {
	from, to := r.Sent.MS()/1000, last
	if r.Done != lab.None {
		to = r.Done.MS() / 1000
	}
	class := "fault"
	if r.Note == lab.FaultLoss {
		class = "fault loss"
	}
	p.rect(x.at(from), top, x.at(to)-x.at(from), plotHeight, class)
	if name := r.Note + " " + r.Asked; r.Note != lab.FaultLoss {
		p.text(x.at(from)+4, top+14, "faultname", "start", name)
	} else if x.at(to)-x.at(from) > 30 {
		p.text(x.at(from)+4, top+14, "faultname", "start", r.Note)
	}
}

// marks is the path of all marks of a way. Marks that would cover each other are drawn once.
func marks(rows []lab.Row, way string, x, y *scale) string {
	var b strings.Builder
	drawn := map[[2]int]bool{}
	for i := range rows {
		r := &rows[i]
		if r.Kind != lab.Message && r.Kind != lab.Probe || !r.State.Arrived() || r.Latency == lab.None || wayClass(r.Way) != way {
			continue
		}
		across, up := x.at(r.Sent.MS()/1000), y.at(r.Latency.MS())
		if place := [2]int{int(across), int(up)}; !drawn[place] {
			drawn[place] = true
			b.WriteString(mark(way, across, up))
		}
	}
	return b.String()
}

// mark has a shape of its own for each way, so that colours are not needed.
func mark(way string, x, y float64) string {
	switch way {
	case "lan":
		return fmt.Sprintf("M%s %sa2.5 2.5 0 1 0 5 0a2.5 2.5 0 1 0 -5 0", num(x-2.5), num(y))
	case "relay":
		return fmt.Sprintf("M%s %sh4.6v4.6h-4.6z", num(x-2.3), num(y-2.3))
	case "mailbox":
		return fmt.Sprintf("M%s %sl3.2 5.6h-6.4z", num(x), num(y-3.4))
	case "direct":
		return fmt.Sprintf("M%s %sl3.2 3.2l-3.2 3.2l-3.2 -3.2z", num(x), num(y-3.2))
	}
	return fmt.Sprintf("M%s %sl3.2 -5.6h-6.4z", num(x), num(y+3.4))
}

// misses is the path of a cross at the upper edge for each that did not arrive.
func misses(rows []lab.Row, x *scale) string {
	var b strings.Builder
	drawn := map[int]bool{}
	for i := range rows {
		r := &rows[i]
		if r.State != lab.Lost && r.State != lab.Failed {
			continue
		}
		if at := x.at(r.Sent.MS() / 1000); !drawn[int(at)] {
			drawn[int(at)] = true
			b.WriteString(cross(at, top+5))
		}
	}
	return b.String()
}

func cross(x, y float64) string {
	return fmt.Sprintf("M%s %sl6 6m0 -6l-6 6", num(x-3), num(y-3))
}

// conversation draws, under the timeline, the way that each message took that could choose.
func (p *picture) conversation(rows []lab.Row, x *scale) {
	const y, thick = height + 8, 14
	begun, way, from, to := false, "", 0.0, 0.0
	flush := func() {
		if begun {
			p.rect(x.at(from), y, max(1.5, x.at(to)-x.at(from)), thick, "stretch "+wayClass(way))
			if x.at(to)-x.at(from) > 7*float64(len(way)) {
				p.text((x.at(from)+x.at(to))/2, y+thick+14, "key", "middle", way)
			}
		}
	}
	for i := range rows {
		r := &rows[i]
		if r.Asked != lab.Auto || !r.State.Arrived() {
			continue
		}
		at := r.Sent.MS() / 1000
		const pause = 1.5 // seconds; a longer one is between two conversations
		if begun && way == r.Way && at-to < pause {
			to = at
			continue
		}
		if begun && at-to < pause {
			to = at
		}
		flush()
		begun, way, from, to = true, r.Way, at, at
	}
	flush()
	if begun {
		p.text(left, y+thick+30, "axis", "start", "the way of the conversation, which chooses by itself")
	}
}

// throughput draws a bar for each way.
func throughput(f *lab.Figures) template.HTML {
	const row, name = 44, 90
	greatest := 0.0
	var told []string
	for _, l := range f.Loads {
		greatest = max(greatest, l.PerSecond)
		told = append(told, fmt.Sprintf("%s: %s a second.", l.Way, number(l.PerSecond)))
	}
	if greatest == 0 {
		return ""
	}
	p := newPicture("throughput", "Throughput by way", strings.Join(told, " "), len(f.Loads)*row+10)
	for i, l := range f.Loads {
		y := float64(i*row + 10)
		long := (width - name - 150) * l.PerSecond / greatest
		p.text(name-10, y+19, "key", "end", l.Way)
		p.rect(name, y, max(1, long), 28, "stretch "+wayClass(l.Way))
		p.text(name+long+10, y+19, "key", "start", number(l.PerSecond)+" a second")
	}
	return p.html()
}
