package lab

import (
	"bytes"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"
)

// sample is a message with every column filled.
func sample(n int) Row {
	ms := func(v float64) Offset { return rounded(time.Duration(v * float64(time.Millisecond))) }
	return Row{
		Kind: Message, N: n, Phase: PhaseTurns, Block: 1, Asked: "lan", Way: "lan", State: Delivered, Size: 200,
		Sent: ms(1), Accepted: ms(1.5), Shown: ms(2), Done: ms(2.125), Latency: ms(0.625), Times: 1,
	}
}

func TestCSVGolden(t *testing.T) {
	lost := Row{Kind: Probe, N: 2, Phase: PhaseDrop, Block: 1, Asked: "auto", State: Lost, Size: 16, Sent: 0, Accepted: None, Shown: None, Done: None, Latency: None, Times: -1, Note: "no-answer"}
	fault := Row{Kind: Fault, Asked: "direct", Sent: 5_000_000, Accepted: None, Shown: None, Done: None, Latency: None, Times: -1, Note: FaultDrop}
	twice := sample(3)
	twice.Times, twice.Disorder, twice.Note = 2, true, "a, \"b\""
	var b strings.Builder
	if err := WriteCSV(&b, []Row{sample(1), lost, twice, fault}); err != nil {
		t.Fatal(err)
	}
	want := Header() + `
message,1,turns,1,lan,lan,delivered,200,1.000,1.500,2.000,2.125,0.625,1,0,
probe,2,drop,1,auto,,lost,16,0.000,,,,,,,no-answer
message,3,turns,1,lan,lan,delivered,200,1.000,1.500,2.000,2.125,0.625,2,1,"a, ""b"""
fault,,,,direct,,,,5.000,,,,,,,drop
`
	if diff := cmp.Diff(want, b.String()); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

func TestReadCSVRefuses(t *testing.T) {
	good := "message,1,turns,1,lan,lan,delivered,200,1.000,1.500,2.000,2.125,0.625,1,0,"
	for name, text := range map[string]string{
		"nothing":          "",
		"other columns":    "a,b\n1,2\n",
		"too few fields":   Header() + "\nmessage,1\n",
		"a kind of none":   Header() + "\n" + strings.Replace(good, "message", "owl", 1) + "\n",
		"no number":        Header() + "\n" + strings.Replace(good, ",1,turns", ",x,turns", 1) + "\n",
		"no time":          Header() + "\n" + strings.Replace(good, "2.125", "soon", 1) + "\n",
		"not a number":     Header() + "\n" + strings.Replace(good, "2.125", "NaN", 1) + "\n",
		"a negative count": Header() + "\n" + strings.Replace(good, ",200,", ",-1,", 1) + "\n",
	} {
		if rows, err := ReadCSV(strings.NewReader(text)); !errors.Is(err, ErrFormat) {
			t.Errorf("%s: got %v, %v", name, rows, err)
		}
	}
}

func offsets() *rapid.Generator[Offset] {
	return rapid.Custom(func(t *rapid.T) Offset {
		if rapid.IntRange(0, 4).Draw(t, "none") == 0 {
			return None
		}
		return Offset(rapid.Int64Range(0, 3_600_000_000).Draw(t, "us")) * Offset(time.Microsecond)
	})
}

// rows are rows as a recorder makes them.
func rows(t *rapid.T) []Row {
	var out []Row
	ways := rapid.SampledFrom([]string{"lan", "relay", "punched", "mailbox", "auto", ""})
	for i := range rapid.IntRange(0, 60).Draw(t, "n") {
		r := Row{
			Kind: rapid.SampledFrom([]Kind{Message, Message, Probe, Fault, Route}).Draw(t, "kind"), Asked: ways.Draw(t, "asked"), Way: ways.Draw(t, "way"),
			Sent: offsets().Draw(t, "sent"), Accepted: offsets().Draw(t, "accepted"), Shown: offsets().Draw(t, "shown"), Done: offsets().Draw(t, "done"),
			Latency: offsets().Draw(t, "latency"), Times: rapid.IntRange(-1, 3).Draw(t, "times"), Note: rapid.StringMatching(`[a-z", \n=]{0,12}`).Draw(t, "note"),
		}
		r.Disorder = r.Times >= 0 && rapid.Bool().Draw(t, "disorder")
		if r.Kind == Message || r.Kind == Probe {
			r.N, r.Block, r.Size = i+1, rapid.IntRange(1, 4).Draw(t, "block"), rapid.IntRange(16, 300).Draw(t, "size")
			r.Phase = rapid.SampledFrom([]Phase{PhaseTurns, PhaseLoss, PhaseLoad, PhaseDrop, PhaseKill}).Draw(t, "phase")
			r.State = rapid.SampledFrom([]State{Pending, Delivered, Answered, Lost, Failed}).Draw(t, "state")
		}
		out = append(out, r)
	}
	return out
}

// TestFileHoldsTheRows: what is read back is what was written, and so the figures are the same.
func TestFileHoldsTheRows(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		want := rows(t)
		var b bytes.Buffer
		if err := WriteCSV(&b, want); err != nil {
			t.Fatal(err)
		}
		got, err := ReadCSV(&b)
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Fatalf("(-want +got):\n%s", diff)
		}
		if diff := cmp.Diff(Compute(want), Compute(got)); diff != "" {
			t.Fatalf("figures (-want +got):\n%s", diff)
		}
	})
}

func FuzzReadCSV(f *testing.F) {
	f.Add(Header() + "\nmessage,1,turns,1,lan,lan,delivered,200,1.000,1.500,2.000,2.125,0.625,1,0,\n")
	f.Add(Header() + "\nfault,,,,direct,,,,5.000,,,9,,,,\"drop\n\"\n")
	f.Fuzz(func(t *testing.T, text string) {
		rows, err := ReadCSV(strings.NewReader(text))
		if err != nil {
			return
		}
		_ = Compute(rows) // whatever it holds
		var b bytes.Buffer
		if err := WriteCSV(&b, rows); err != nil {
			t.Fatal(err)
		}
		if _, err := ReadCSV(&b); err != nil {
			t.Errorf("what was read cannot be read again: %v", err)
		}
	})
}
