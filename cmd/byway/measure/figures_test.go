package measure_test

import (
	"runtime"
	"testing"
	"time"
)

// scale says how much is done. Benchmarks do much, the test that keeps them alive as little as can be.
type scale struct {
	span   time.Duration // measured for each of those that take turns
	warm   time.Duration // not counted, before each turn
	rounds int           // turns of each; span is shared out among them
	small  bool          // sizes that need no speed at all
	quick  bool          // sizes for a run of minutes
}

func fullScale() scale {
	s := scale{span: *span, rounds: 3, quick: testing.Short()}
	if s.quick {
		s.span = min(s.span, time.Second)
	}
	s.warm = max(s.span/8, 100*time.Millisecond)
	return s
}

func tinyScale() scale {
	return scale{span: 60 * time.Millisecond, warm: 20 * time.Millisecond, rounds: 1, small: true}
}

// pick returns the size for this scale.
func (s scale) pick(full, quick, tiny int) int {
	switch {
	case s.small:
		return tiny
	case s.quick:
		return quick
	}
	return full
}

// turn is how long one turn is measured.
func (s scale) turn() time.Duration { return s.span / time.Duration(s.rounds) }

// figures is what one run of a study has measured, in the order of its units.
type figures []figure

type figure struct {
	unit  string // benchstat's name for it: what is counted, by what
	value float64
}

func (f *figures) add(unit string, value float64) { *f = append(*f, figure{unit, value}) }

// study is one thing to be measured.
type study struct {
	name string // after that of the benchmark; key=value parts where there are several
	body func(testing.TB, scale) figures
	long bool // left out with -short
	more bool // differs from the one before only in numbers: the test that keeps studies alive leaves it out
}

// measure runs the study and adds which share of all processors other programs had meanwhile: figures with a large one are of no use
// but for their ratios.
func (s study) measure(tb testing.TB, size scale) figures {
	tb.Helper()
	begun, before, own := time.Now(), machineSpare(), ownBusy(tb)
	out := s.body(tb, size)
	after := machineSpare()
	if after == 0 {
		return out // not known here
	}
	all := time.Since(begun) * time.Duration(runtime.NumCPU())
	others := all - (after - before) - (ownBusy(tb) - own)
	out.add("others-%", 100*max(0, others.Seconds())/all.Seconds())
	return out
}

// run makes sub-benchmarks of studies. One run of a study is one measurement, whatever -benchtime says: how long it takes is its own
// choice, from -span.
func run(b *testing.B, studies []study) {
	for _, s := range studies {
		if s.long && testing.Short() {
			continue
		}
		var last figures
		b.Run(s.name, func(b *testing.B) {
			if b.N == 1 {
				last = s.measure(b, fullScale())
				taken.add(b.Name(), last)
			}
			b.ReportMetric(0, "ns/op") // leaves it out: it would be the time of the whole study
			for _, f := range last {
				b.ReportMetric(f.value, f.unit)
			}
		})
	}
}

func inMicroseconds(d time.Duration) float64 { return float64(d) / float64(time.Microsecond) }
func inMilliseconds(d time.Duration) float64 { return float64(d) / float64(time.Millisecond) }
