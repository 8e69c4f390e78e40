package lab

import (
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"
)

const msec = Offset(time.Millisecond)

func TestQuantile(t *testing.T) {
	ten := []Offset{1, 2, 3, 4, 5, 6, 7, 8, 9, 10}
	for _, row := range []struct {
		values []Offset
		q      float64
		want   Offset
	}{
		{ten, 0, 1},
		{ten, 0.5, 5},
		{ten, 0.51, 6},
		{ten, 0.9, 9},
		{ten, 0.99, 10},
		{ten, 1, 10},
		{ten[:1], 0.5, 1},
		{ten[:3], 0.5, 2},
	} {
		if got := Quantile(row.values, row.q); got != row.want {
			t.Errorf("%v of %v: got %v, want %v", row.q, row.values, got, row.want)
		}
	}
}

// TestQuantileIsANearestRank: at least the share q is not above it, and less than that is below it.
func TestQuantileIsANearestRank(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		values := rapid.SliceOfN(rapid.Map(rapid.Int64Range(0, 50), func(v int64) Offset { return Offset(v) }), 1, 200).Draw(t, "values")
		slices.Sort(values)
		hundredths := rapid.IntRange(1, 100).Draw(t, "q")
		got := Quantile(values, float64(hundredths)/100)
		below, upto := 0, 0
		for _, v := range values {
			if v < got {
				below++
			}
			if v <= got {
				upto++
			}
		}
		if 100*upto < hundredths*len(values) || 100*below >= hundredths*len(values) {
			t.Errorf("%d%% of %v is %v", hundredths, values, got)
		}
	})
}

// message is one that was sent at a time and took so long.
func message(phase Phase, block int, asked, way string, sent, took Offset) Row {
	r := Row{Kind: Message, Phase: phase, Block: block, Asked: asked, Way: way, State: Delivered, Size: 100, Sent: sent, Accepted: sent, Shown: None, Done: sent + took, Latency: took, Times: 1}
	if way == "" {
		r.State, r.Done, r.Latency, r.Times = Lost, None, None, 0
	}
	return r
}

func TestCompute(t *testing.T) {
	var rows []Row
	for i := range Offset(10) {
		rows = append(rows, message(PhaseTurns, 1, "lan", "lan", i*msec, (i+1)*msec), message(PhaseTurns, 1, "relay", "relay", i*msec, 2*(i+1)*msec))
	}
	rows = append(
		rows, message(PhaseLoss, 1, "lan", "", 0, 0),
		message(PhaseLoad, 1, "lan", "lan", 100*msec, 10*msec), message(PhaseLoad, 1, "lan", "lan", 100*msec, 50*msec),
		message(PhaseLoad, 3, "lan", "lan", 200*msec, 50*msec), message(PhaseLoad, 2, "relay", "", 150*msec, 0),
	)
	rows[0].Times, rows[1].Times, rows[2].Disorder = 2, 0, true
	rows = append(rows, Row{Kind: Probe, Phase: PhaseKill, Asked: "auto", State: Pending, Sent: 0, Done: None, Latency: None, Times: -1})
	want := Figures{
		Ways: []WayFigures{
			{Phase: PhaseTurns, Way: "lan", N: 10, Arrived: 10, P50: 5 * msec, P90: 9 * msec, P99: 10 * msec, Max: 10 * msec},
			{Phase: PhaseTurns, Way: "relay", N: 10, Arrived: 10, P50: 10 * msec, P90: 18 * msec, P99: 20 * msec, Max: 20 * msec},
			{Phase: PhaseLoss, Way: "lan", N: 1, Lost: 1, P50: None, P90: None, P99: None, Max: None},
		},
		Loads: []LoadFigures{
			{Way: "lan", N: 3, Arrived: 3, Busy: 100 * msec, PerSecond: 30, BytesPerSecond: 3000},
			{Way: "relay", N: 1, Lost: 1},
		},
		Shares: []Share{{Way: "lan", Arrived: 13, Part: 13.0 / 23}, {Way: "relay", Arrived: 10, Part: 10.0 / 23}},
		Total:  Total{Sent: 26, Arrived: 23, Lost: 2, Pending: 1, Seen: true, Unshown: 1, Doubled: 1, Disorder: 1},
	}
	if diff := cmp.Diff(want, Compute(rows)); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

func TestFaultFigures(t *testing.T) {
	fault := func(what, way string, from, to Offset) Row {
		return Row{Kind: Fault, Asked: way, Note: what, Sent: from, Done: to, Accepted: None, Shown: None, Latency: None, Times: -1}
	}
	talk := []Row{
		message(PhaseDrop, 1, Auto, "lan", 900*msec, msec),
		message(PhaseDrop, 1, Auto, "relay", 1100*msec, 700*msec),
		message(PhaseDrop, 1, Auto, "", 1200*msec, 0),
		message(PhaseDrop, 1, Auto, "relay", 1500*msec, 250*msec),
		message(PhaseDrop, 1, Auto, "relay", 2100*msec, 3*msec),
		message(PhaseDrop, 1, Auto, "lan", 2500*msec, 2*msec),
	}
	for _, row := range []struct {
		name  string
		fault Row
		want  FaultFigures
	}{
		{
			"a drop", fault(FaultDrop, Direct, 1000*msec, 2000*msec),
			FaultFigures{N: 3, Lost: 1, Next: 700 * msec, Over: 750 * msec, Slowest: 700 * msec, Back: 502 * msec},
		},
		{
			"of which the next is lost", fault(FaultDrop, Direct, 1200*msec, 2000*msec),
			FaultFigures{N: 2, Lost: 1, Next: None, Over: 550 * msec, Slowest: 250 * msec, Back: 502 * msec},
		},
		{
			"of a way that is not in use", fault(FaultDrop, "relay", 800*msec, 850*msec),
			FaultFigures{Next: None, Over: 101 * msec, Slowest: None, Back: 900 * msec},
		},
		{
			"without an end", fault(FaultKill, "relay", 2400*msec, None),
			FaultFigures{N: 1, Next: 2 * msec, Over: 102 * msec, Slowest: 2 * msec, Back: None},
		},
		{
			"after everything", fault(FaultDrop, "lan", 3000*msec, 4000*msec),
			FaultFigures{Next: None, Over: None, Slowest: None, Back: None},
		},
	} {
		want := row.want
		want.What, want.Way, want.Begin, want.End = row.fault.Note, row.fault.Asked, row.fault.Sent, row.fault.Done
		got := Compute(append(slices.Clone(talk), row.fault, fault(FaultLoss, Auto, 0, 1))).Faults
		if diff := cmp.Diff([]FaultFigures{want}, got); diff != "" {
			t.Errorf("%s (-want +got):\n%s", row.name, diff)
		}
	}
}

// TestGivenUp: what its sender was told of is not lost in the account, and did not arrive by its way.
func TestGivenUp(t *testing.T) {
	up := message(PhaseLoss, 1, "lan", "", 0, None)
	up.State, up.Note = Failed, "no-direct-way"
	gone := message(PhaseLoss, 1, "lan", "", msec, None)
	gone.State = Lost
	f := Compute([]Row{up, gone})
	if want := (Total{Sent: 2, Lost: 1, GivenUp: 1}); f.Total.Sent != want.Sent || f.Total.Lost != want.Lost || f.Total.GivenUp != want.GivenUp {
		t.Errorf("the account is %+v", f.Total)
	}
	free := up
	free.Asked = Auto
	refused := free
	refused.Accepted = None
	if got := Compute([]Row{free, refused}).Total; got.Lost != 1 || got.GivenUp != 1 {
		t.Errorf("where any way would do, one accepted and one refused, the account is %+v", got)
	}
	if len(f.Ways) != 1 || f.Ways[0].Lost != 2 {
		t.Errorf("the ways are %+v", f.Ways)
	}
}
