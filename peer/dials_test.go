package peer

import (
	"context"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// TestDialsBudget: while a hundred contacts and the rendezvous want to be dialled all the time, there are two dials a second, and the rendezvous waits for
// its turn no longer than a second and a half.
func TestDialsBudget(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const lasts = 5 * time.Minute
		budget := newDials()
		ctx, cancel := context.WithTimeout(t.Context(), lasts)
		defer cancel()
		var mu sync.Mutex
		contacts, tries := 0, 0
		var longest time.Duration
		var all sync.WaitGroup
		for range 100 {
			all.Go(func() {
				for ctx.Err() == nil {
					if budget.forContact(ctx) {
						mu.Lock()
						contacts++
						mu.Unlock()
					}
				}
			})
		}
		all.Go(func() {
			for ctx.Err() == nil {
				asked := time.Now()
				if budget.forRendezvous(ctx) {
					longest = max(longest, time.Since(asked))
					tries++
				}
				pause(ctx, 2*time.Second)
			}
		})
		all.Wait()
		if sum, most := contacts+tries*dialsToRendezvous, int(lasts.Seconds())*dialsPerSecond+dialsBurst; sum > most || sum < most*9/10 {
			t.Errorf("%d dials in %v, want nearly %d", sum, lasts, most)
		}
		if longest > 1500*time.Millisecond || tries < 80 || contacts < 100 {
			t.Errorf("the rendezvous had %d tries and waited up to %v, contacts %d", tries, longest, contacts)
		}
	})
}
