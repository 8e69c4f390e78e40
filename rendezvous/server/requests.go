package server

import (
	"context"
	"sync"

	"github.com/byway-chat/byway/rendezvous"
)

// Bounds of the requests of one stream that take time: reading the database or hashing a password.
const (
	maxRunning = 4
	maxWaiting = 64
)

// requests does the requests of one stream that may take long, a few at a time, so that the reader always gets on to the next
// heartbeat. The zero value is ready.
type requests struct {
	wg sync.WaitGroup // running

	mu      sync.Mutex // guards the following
	waiting []func(context.Context)
	running map[int]context.CancelFunc // by number; nil: none
	started int
	closed  bool
}

// do runs f on a goroutine soon, with a context that ends with ctx or the stream; it reports false where too many wait.
func (r *requests) do(ctx context.Context, f func(context.Context)) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.closed || len(r.waiting) >= maxWaiting {
		return false
	}
	if len(r.running) >= maxRunning {
		r.waiting = append(r.waiting, f)
		return true
	}
	if r.running == nil {
		r.running = make(map[int]context.CancelFunc)
	}
	r.started++
	n := r.started
	ctx, r.running[n] = context.WithCancel(ctx)
	r.wg.Go(func() { r.work(ctx, n, f) })
	return true
}

// work is runner n: it does f and then what waits.
func (r *requests) work(ctx context.Context, n int, f func(context.Context)) {
	for f != nil {
		f(ctx)
		f = r.next(n)
	}
}

func (r *requests) next(n int) func(context.Context) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if len(r.waiting) == 0 || r.closed {
		r.running[n]()
		delete(r.running, n)
		if len(r.running) == 0 {
			r.running = nil // an idle stream has none
		}
		return nil
	}
	f := r.waiting[0]
	r.waiting[0] = nil
	if r.waiting = r.waiting[1:]; len(r.waiting) == 0 {
		r.waiting = nil
	}
	return f
}

// close forgets what waits, cancels what runs and waits for it.
func (r *requests) close() {
	r.mu.Lock()
	r.closed, r.waiting = true, nil
	for _, cancel := range r.running {
		cancel()
	}
	r.mu.Unlock()
	r.wg.Wait()
}

// request does one request apart from the reader and answers it. It reports false, and has answered, where handler will not run.
func (c *conn) request(ctx context.Context, id uint64, handler func(context.Context) (*rendezvous.Frame, error)) bool {
	if id == 0 {
		c.reply(0, nil, rendezvous.Errorf(rendezvous.CodeBadRequest, "a request needs a number"))
		return false
	}
	ok := c.requests.do(ctx, func(ctx context.Context) {
		f, err := handler(ctx)
		if f != nil || err != nil {
			c.reply(id, f, err)
		}
	})
	if !ok {
		c.reply(id, nil, errBusy("too many requests at once"))
	}
	return ok
}
