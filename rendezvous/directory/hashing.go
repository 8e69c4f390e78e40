package directory

import (
	"context"
	"math/rand/v2"
	"time"

	"github.com/byway-chat/byway/rendezvous"
)

// hashing bounds the memory and processors that password hashes may take: each costs 64 MiB and a tenth of a second.
type hashing struct {
	slots  chan struct{} // one for each hash that runs
	queue  chan struct{} // one for each that runs or waits
	wait   time.Duration
	hasher Hasher
}

func newHashing(o Options) *hashing {
	return &hashing{
		slots:  make(chan struct{}, o.Hashes),
		queue:  make(chan struct{}, o.Hashes+o.HashQueue),
		wait:   o.HashWait,
		hasher: o.Hasher,
	}
}

// enter waits for a turn. The caller calls leave after its hash. The error is busy, or ctx's.
func (h *hashing) enter(ctx context.Context) (leave func(), err error) {
	select {
	case h.queue <- struct{}{}:
	default:
		return nil, h.busy()
	}
	timer := time.NewTimer(h.wait)
	defer timer.Stop()
	select {
	case h.slots <- struct{}{}:
		return func() { <-h.slots; <-h.queue }, nil
	case <-timer.C:
		<-h.queue
		return nil, h.busy()
	case <-ctx.Done():
		<-h.queue
		return nil, ctx.Err()
	}
}

// busy asks to come back after the time of one wait, more or less: those who are refused together must not return together.
func (h *hashing) busy() error {
	return &rendezvous.Error{
		Code:       rendezvous.CodeBusy,
		Message:    "too many people are signing in at this moment",
		RetryAfter: h.wait/2 + rand.N(h.wait),
	}
}
