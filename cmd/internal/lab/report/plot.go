package report

import (
	"math"
	"strconv"
	"strings"

	"github.com/guptarohit/asciigraph"

	"github.com/byway-chat/byway/cmd/internal/lab"
)

// Look is what a terminal can show.
type Look struct{ UTF8, Colour bool }

// The size of a plot in characters: with the axis it fits into 80 columns.
const (
	textWidth  = 60
	textHeight = 12
)

// lines are the characters of the curves, so that they can be told apart without colours.
var lines = []string{"*", "o", "+", "x", "#", "%"}

var colours = []asciigraph.AnsiColor{asciigraph.DodgerBlue, asciigraph.DarkOrange, asciigraph.MediumSeaGreen, asciigraph.Orchid, asciigraph.Gold, asciigraph.Gray}

// ascii replaces the characters of asciigraph's axes.
var ascii = strings.NewReplacer("┤", "|", "┼", "+", "│", "|", "─", "-", "└", "+", "┬", "+", "■", "*")

// logFrom is from which range on the axis is logarithmic: else the shorter latencies would all lie on the ground.
const logFrom = 20

// axisLabel is a latency beside the axis.
func axisLabel(v float64) string {
	if v < 100 {
		return strconv.FormatFloat(v, 'f', 2, 64)
	}
	return strconv.FormatFloat(v, 'f', 0, 64)
}

// Plot draws for a terminal how long the latencies by each way are: from the shortest on the left to the longest on the right. It is empty where there are none.
func Plot(rows []lab.Row, look Look) string {
	var curves [][]float64
	var names []string
	var sets []asciigraph.CharSet
	least, greatest := math.Inf(1), 0.0
	for _, w := range lab.Compute(rows).Ways {
		latencies := lab.Latencies(rows, w.Phase, w.Way)
		if len(latencies) == 0 || len(curves) == len(lines) {
			continue
		}
		curve := make([]float64, textWidth)
		for i := range curve {
			curve[i] = max(0.001, lab.Quantile(latencies, float64(i)/(textWidth-1)).MS())
			least, greatest = min(least, curve[i]), max(greatest, curve[i])
		}
		char := lines[len(curves)]
		names = append(names, char+" "+w.Way+", "+title(w.Phase))
		sets = append(sets, asciigraph.CreateCharSet(char))
		curves = append(curves, curve)
	}
	if len(curves) == 0 {
		return ""
	}
	options := []asciigraph.Option{
		asciigraph.Height(textHeight), asciigraph.SeriesChars(sets...), asciigraph.XAxisRange(0, 100),
		asciigraph.XAxisTickCount(5), asciigraph.XAxisValueFormatter(func(v float64) string { return strconv.FormatFloat(v, 'f', 0, 64) + "%" }),
	}
	if greatest > logFrom*least {
		for _, curve := range curves {
			for i := range curve {
				curve[i] = math.Log10(curve[i])
			}
		}
		options = append(options, asciigraph.YAxisValueFormatter(func(v float64) string { return axisLabel(math.Pow(10, v)) }))
	} else {
		options = append(options, asciigraph.LowerBound(0), asciigraph.YAxisValueFormatter(axisLabel))
	}
	if look.Colour {
		options = append(options, asciigraph.SeriesColors(colours[:len(curves)]...))
	}
	drawn := "latency in ms that so many of 100 do not exceed\n" + asciigraph.PlotMany(curves, options...) + "\n    " + strings.Join(names, "   ") + "\n"
	if !look.UTF8 {
		drawn = ascii.Replace(drawn)
	}
	return drawn
}
