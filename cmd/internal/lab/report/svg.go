package report

import (
	"fmt"
	"html"
	"html/template"
	"math"
	"strconv"
	"strings"

	"github.com/byway-chat/byway/cmd/internal/lab"
)

// Sizes of a picture, in its own units.
const (
	width, height            = 900, 340
	left, right, top, bottom = 70, 20, 26, 46
	plotWidth, plotHeight    = width - left - right, height - top - bottom
)

// picture gathers the elements of an SVG. Numbers are written by it alone, and texts escaped, so that nothing else gets into it.
type picture struct {
	b      strings.Builder
	height int
}

// newPicture begins a picture whose title and description say in words what it shows.
func newPicture(id, title, description string, height int) *picture {
	p := &picture{height: height}
	p.add(`<svg viewBox="0 0 %d %d" role="img" aria-labelledby="%s-t %s-d" xmlns="http://www.w3.org/2000/svg">`, width, height, id, id)
	p.add(`<title id="%s-t">%s</title><desc id="%s-d">%s</desc>`, id, html.EscapeString(title), id, html.EscapeString(description))
	return p
}

// add appends an element. Arguments are numbers, names of classes and ids of this package, or escaped.
func (p *picture) add(format string, args ...any) { fmt.Fprintf(&p.b, format, args...) }

func (p *picture) text(x, y float64, class, anchor, s string) {
	p.add(`<text x="%s" y="%s" class="%s" text-anchor="%s">%s</text>`, num(x), num(y), class, anchor, html.EscapeString(s))
}

func (p *picture) line(x1, y1, x2, y2 float64, class string) {
	p.add(`<line x1="%s" y1="%s" x2="%s" y2="%s" class="%s"/>`, num(x1), num(y1), num(x2), num(y2), class)
}

func (p *picture) rect(x, y, w, h float64, class string) {
	p.add(`<rect x="%s" y="%s" width="%s" height="%s" class="%s"/>`, num(x), num(y), num(max(0, w)), num(h), class)
}

// html ends the picture.
func (p *picture) html() template.HTML {
	p.add(`</svg>`)
	return template.HTML(p.b.String()) //nolint:gosec // everything in it is a number, a constant of this package, or escaped, 2026-11-23
}

// num is a coordinate with one decimal.
func num(v float64) string { return strings.TrimSuffix(strconv.FormatFloat(v, 'f', 1, 64), ".0") }

// wayClass is the class that colours a way; what is none of ours has none.
func wayClass(way string) string {
	switch way {
	case "lan", "direct", "punched", "relay", "mailbox":
		return way
	}
	return "other"
}

// scale maps values to places, in logarithms or not.
type scale struct {
	low, high float64 // the values at its ends; low is below high
	from, to  float64 // the places of its ends
	log       bool
}

func (s *scale) at(v float64) float64 {
	low, high := s.low, s.high
	if s.log {
		v, low, high = math.Log10(max(v, s.low)), math.Log10(low), math.Log10(high)
	}
	part := (v - low) / (high - low)
	return s.from + (s.to-s.from)*max(0, min(1, part))
}

// logScale covers positive values from the power of ten, or its double or half, below the least to the one above the greatest.
func logScale(least, greatest, from, to float64) scale {
	least, greatest = max(least, 0.001), max(greatest, 0.002)
	low := math.Pow(10, math.Floor(math.Log10(least)))
	for _, step := range []float64{5, 2} {
		if step*low <= least {
			low *= step
			break
		}
	}
	high := math.Pow(10, math.Ceil(math.Log10(greatest)))
	for _, step := range []float64{5, 2} {
		if high/step >= greatest && high/step > low {
			high /= step
			break
		}
	}
	if high <= low {
		high = low * 10
	}
	return scale{low: low, high: high, from: from, to: to, log: true}
}

// ticks returns values that are labelled: of a logarithmic scale 1, 2 and 5 of each decade, of a wide one the powers of ten alone.
func (s *scale) ticks() []float64 {
	var out []float64
	if s.log {
		steps := []float64{1, 2, 5}
		if s.high/s.low > 10_000 {
			steps = steps[:1]
		}
		for decade := math.Pow(10, math.Floor(math.Log10(s.low))); decade <= s.high*1.001; decade *= 10 {
			for _, step := range steps {
				if v := step * decade; v >= s.low*0.999 && v <= s.high*1.001 {
					out = append(out, v)
				}
			}
		}
		return out
	}
	step := niceStep((s.high - s.low) / 8)
	for i := math.Ceil(s.low / step); i*step <= s.high*1.0001; i++ {
		out = append(out, i*step)
	}
	return out
}

// niceStep is the next of 1, 2, 5 times a power of ten.
func niceStep(least float64) float64 {
	least = max(least, 1e-6)
	base := math.Pow(10, math.Floor(math.Log10(least)))
	for _, f := range []float64{1, 2, 5} {
		if f*base >= least*0.9999 {
			return f * base
		}
	}
	return 10 * base
}

// label is a number on an axis.
func label(v float64) string {
	if v >= 1000 {
		return number(v)
	}
	return strconv.FormatFloat(v, 'g', 4, 64)
}

// latencyRange is the least and the greatest latency of what has arrived, in ms.
func latencyRange(rows []lab.Row) (least, greatest float64, ok bool) {
	least = math.Inf(1)
	for i := range rows {
		if r := &rows[i]; r.State.Arrived() && r.Latency != lab.None {
			least, greatest, ok = min(least, r.Latency.MS()), max(greatest, r.Latency.MS()), true
		}
	}
	return least, greatest, ok
}
