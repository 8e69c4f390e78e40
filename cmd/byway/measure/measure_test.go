package measure_test

import "testing"

// TestStudies keeps the benchmarks alive: each study runs once with as little as can be. No speed is asserted.
func TestStudies(t *testing.T) {
	for _, all := range [][]study{
		relayStudies(), endToEndStudies(), latencyStudies(), mailboxStudies(), signInStudies(), memoryStudies(), startStudies(),
	} {
		for _, s := range all {
			if s.more {
				continue
			}
			t.Run(s.name, func(t *testing.T) {
				for _, f := range s.measure(t, tinyScale()) {
					if f.value < 0 {
						t.Errorf("%s is %v", f.unit, f.value)
					}
				}
			})
		}
	}
}
