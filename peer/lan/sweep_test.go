package lan

import (
	"context"
	"net/netip"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
)

func TestTargets(t *testing.T) {
	for _, tc := range []struct {
		name        string
		networks    []netip.Prefix
		count       int
		first, last string
	}{
		{"a /24", prefixes("192.168.1.7/24"), 253, "192.168.1.1", "192.168.1.254"},
		{"of a /16 only what is near", prefixes("10.1.2.3/16"), 253, "10.1.2.1", "10.1.2.254"},
		{"a small one", prefixes("192.168.1.6/29"), 5, "192.168.1.1", "192.168.1.5"},
		{"two of one", prefixes("192.168.1.7/24", "192.168.1.8/24"), 252, "192.168.1.1", "192.168.1.254"},
		{"a public one", prefixes("45.0.0.7/24"), 0, "", ""},
		{"loopback", prefixes("127.0.0.1/8"), 0, "", ""},
		{"IPv6", prefixes("fd00::7/64"), 0, "", ""},
		{"a link of two", prefixes("10.0.0.1/31"), 0, "", ""},
		{"too many", prefixes("10.0.0.1/24", "10.0.1.1/24", "10.0.2.1/24", "10.0.3.1/24", "10.0.4.1/24"), 4 * 253, "10.0.0.2", "10.0.3.254"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			got := Targets(tc.networks)
			if len(got) != tc.count {
				t.Fatalf("%d targets, want %d", len(got), tc.count)
			}
			if tc.count == 0 {
				return
			}
			if got[0].String() != tc.first || got[len(got)-1].String() != tc.last {
				t.Errorf("from %s to %s, want from %s to %s", got[0], got[len(got)-1], tc.first, tc.last)
			}
			for _, n := range tc.networks {
				for _, a := range got {
					if a == n.Addr() {
						t.Errorf("our own address %s is a target", a)
					}
				}
			}
		})
	}
}

// knocks notes when something was knocked at.
type knocks struct {
	mu sync.Mutex
	at []time.Duration
}

func (k *knocks) note(since time.Time) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.at = append(k.at, time.Since(since))
}

func TestSweepKeepsToItsRate(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var k knocks
		began := time.Now()
		there := netip.MustParseAddrPort("192.168.1.200:7")
		got := sweep(t.Context(), Targets(prefixes("192.168.1.7/24")), []uint16{7}, func(_ context.Context, at netip.AddrPort) bool {
			k.note(began)
			<-time.After(knockTime) // as where nobody is
			return at == there
		})
		if diff := cmp.Diff([]netip.AddrPort{there}, got, cmp.Comparer(func(a, b netip.AddrPort) bool { return a == b })); diff != "" {
			t.Error(diff)
		}
		if len(k.at) != 253 {
			t.Errorf("%d knocks, want 253", len(k.at))
		}
		second := 0
		for _, at := range k.at {
			if at < time.Second {
				second++
			}
		}
		if second > SweepRate+1 {
			t.Errorf("%d knocks in the first second, want at most %d", second, SweepRate)
		}
	})
}

func TestSweepIsCancelled(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		var k knocks
		began := time.Now()
		sweep(ctx, Targets(prefixes("192.168.1.7/24")), []uint16{7, 8}, func(ctx context.Context, _ netip.AddrPort) bool {
			k.note(began)
			<-ctx.Done()
			return false
		})
		if took := time.Since(began); took != time.Second || len(k.at) > SweepRate+1 {
			t.Errorf("it ended after %v and %d knocks", took, len(k.at))
		}
	})
}
