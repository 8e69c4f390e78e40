package peer

import (
	"context"
	"fmt"
	"slices"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	libpeer "github.com/libp2p/go-libp2p/core/peer"
)

// TestProve searches among candidates most of which swallow what is sent to them.
func TestProve(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var dialled, most atomic.Int64
		speaks := func(ctx context.Context, info libpeer.AddrInfo) bool {
			most.Store(max(most.Load(), dialled.Add(1)))
			defer dialled.Add(-1)
			wait := 3 * time.Second
			if info.ID[0] == 'r' {
				wait = 10 * time.Millisecond
			}
			select {
			case <-time.After(wait):
				return info.ID[0] == 'r'
			case <-ctx.Done():
				return false
			}
		}
		search := func(names ...string) (string, time.Duration) {
			candidates := make(chan libpeer.AddrInfo)
			go func() {
				defer close(candidates)
				over := time.After(browseTime)
				for _, name := range names {
					select {
					case candidates <- libpeer.AddrInfo{ID: libpeer.ID(name)}:
					case <-over:
						return
					}
				}
				<-over
			}()
			began := time.Now()
			var found []string
			for _, info := range prove(t.Context(), candidates, speaks) {
				found = append(found, string(info.ID))
			}
			took := time.Since(began)
			for range candidates { // let it end
			}
			if left := dialled.Load(); left != 0 {
				t.Errorf("%d dials are left", left)
			}
			slices.Sort(found)
			return fmt.Sprint(found), took
		}
		if got, took := search("x1", "x2", "x3", "r1", "r1", "x4"); got != "[r1]" || took > time.Second {
			t.Errorf("got %s after %v, want r1 within a second", got, took)
		}
		if got, _ := search("x1", "r1", "r2"); got != "[r1 r2]" {
			t.Errorf("got %s, want both", got)
		}
		if got, took := search(); got != "[]" || took != browseTime {
			t.Errorf("got %s after %v, want nothing after the whole search", got, took)
		}
		var many []string
		for i := range 100 {
			many = append(many, fmt.Sprint("x", i))
		}
		if got, _ := search(many...); got != "[]" || most.Load() != maxProving {
			t.Errorf("got %s with %d dials at a time, want nothing with %d", got, most.Load(), maxProving)
		}
	})
}
