package measure_test

import (
	"os"
	"slices"
	"testing"
)

// benchmarks are the studies by the name of the benchmark that runs them.
var benchmarks = []struct {
	name    string
	studies []study
}{
	{"Relay", relayStudies()},
	{"EndToEnd", endToEndStudies()},
	{"Latency", latencyStudies()},
	{"Mailbox", mailboxStudies()},
	{"SignIn", signInStudies()},
	{"Memory", memoryStudies()},
	{"Start", startStudies()},
}

// TestStudies keeps the benchmarks alive: each study runs once with as little as can be. No speed is asserted.
func TestStudies(t *testing.T) {
	look(t, os.Getpid()) // skips where nothing can be measured
	units := map[string][]string{}
	for _, b := range benchmarks {
		for _, s := range b.studies {
			if s.more {
				continue
			}
			name := b.name + "/" + s.name
			units[name] = nil
			t.Run(name, func(t *testing.T) {
				for _, f := range s.measure(t, tinyScale()) {
					units[name] = append(units[name], f.unit)
				}
			})
		}
	}
	// A target whose figure nothing measures would be missing from the table, and nobody would notice.
	for _, g := range targets {
		if has, ok := units[g.study]; !ok || has != nil && !slices.Contains(has, g.unit) {
			t.Errorf("no study %s has a figure %s", g.study, g.unit)
		}
	}
}
