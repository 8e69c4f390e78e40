package history

import (
	"sync"

	"github.com/byway-chat/byway/peer/delivery"
)

// recent knows where in the history the newest of our own messages stand, between half of its size and all of it. It holds no pointers, so that the
// garbage collector need not look through it. Any goroutine may use it.
type recent struct {
	mu         sync.Mutex
	young, old map[delivery.MessageID]int64 // guarded by mu; the young become the old when they are half of all
}

// recentMessages is how many ids are held at most.
const recentMessages = 8192

func newRecent() *recent {
	return &recent{young: map[delivery.MessageID]int64{}, old: map[delivery.MessageID]int64{}}
}

func (r *recent) add(id delivery.MessageID, ord int64) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if len(r.young) >= recentMessages/2 {
		r.young, r.old = r.old, r.young
		clear(r.young)
	}
	r.young[id] = ord
}

func (r *recent) find(id delivery.MessageID) (ord int64, ok bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if ord, ok = r.young[id]; !ok {
		ord, ok = r.old[id]
	}
	return ord, ok
}
