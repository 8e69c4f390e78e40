package lab

import (
	"maps"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"
)

func asks(steps []Step) (out []string) {
	for _, s := range steps {
		out = append(out, s.Asked)
	}
	return out
}

func TestTurns(t *testing.T) {
	if diff := cmp.Diff([]string{"lan", "relay", "relay", "lan", "lan", "relay"}, asks(Turns(3, []string{"lan", "relay"}, false))); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	var phases []Phase
	for _, s := range Turns(8, []string{"lan"}, true) {
		phases = append(phases, s.Phase)
	}
	want := []Phase{"turns", "turns", "loss", "loss", "loss", "loss", "turns", "turns", "turns", "turns", "loss", "loss", "loss", "loss", "turns", "turns"}
	if diff := cmp.Diff(want, phases); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

// TestPlansAreFair: each way gets as many as every other in each phase, none is ever more than one ahead in turns, and a block of load is of one way.
func TestPlansAreFair(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		n := rapid.IntRange(1, 350).Draw(t, "n")
		ways := []string{"lan", "punched", "relay"}[:rapid.IntRange(1, 3).Draw(t, "ways")]
		lossy := rapid.Bool().Draw(t, "lossy")
		count := map[Phase]map[string]int{PhaseTurns: {}, PhaseLoss: {}, PhaseLoad: {}}
		for _, s := range Turns(n, ways, lossy) {
			count[s.Phase][s.Asked]++
			all := slices.Collect(maps.Values(count[s.Phase]))
			if len(all) == len(ways) && slices.Max(all)-slices.Min(all) > 1 {
				t.Fatalf("%v in the middle of %s", count, s.Phase)
			}
		}
		block := map[int]string{}
		for _, s := range Load(n, ways) {
			count[s.Phase][s.Asked]++
			if other := block[s.Block]; other != "" && other != s.Asked {
				t.Fatalf("block %d has %s and %s", s.Block, s.Asked, other)
			}
			block[s.Block] = s.Asked
		}
		for phase, each := range count {
			for _, way := range ways {
				if want := n; (phase != PhaseLoss || lossy) && each[way] != want {
					t.Errorf("%s has %d by %s, want %d", phase, each[way], way, want)
				}
			}
		}
	})
}

func TestAffects(t *testing.T) {
	for _, row := range []struct {
		fault string
		hits  []string
	}{
		{"lan", []string{"lan"}},
		{"direct", []string{"lan", "direct", "punched"}},
		{"punched", []string{"direct", "punched"}},
		{"relay", []string{"relay", "mailbox"}},
		{"auto", []string{"lan", "direct", "punched", "relay", "mailbox"}},
	} {
		var got []string
		for _, way := range []string{"lan", "direct", "punched", "relay", "mailbox", ""} {
			if Affects(row.fault, way) {
				got = append(got, way)
			}
		}
		if diff := cmp.Diff(row.hits, got); diff != "" {
			t.Errorf("%s (-want +got):\n%s", row.fault, diff)
		}
	}
}
