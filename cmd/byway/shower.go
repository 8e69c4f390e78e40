package main

import (
	"context"
	"sync"

	"github.com/byway-chat/byway/peer"
	"github.com/byway-chat/byway/peer/api"
)

// shower tells the peer which messages have been printed, many in one request. It runs a goroutine that Close ends.
type shower struct {
	s    *session
	done chan struct{}

	mu      sync.Mutex // guards the following
	ids     []string
	wake    chan struct{} // one place: there is something to tell
	closing bool
	err     error
}

// maxShown is how many messages one request marks.
const maxShown = 1024

// newShower starts the goroutine. ctx must outlive the face's work, so that what was printed last is marked too.
func newShower(ctx context.Context, s *session) *shower {
	w := &shower{s: s, done: make(chan struct{}), wake: make(chan struct{}, 1)}
	go w.run(ctx)
	return w
}

// printed queues a message. Call it after the line was written: a message marked too early could be lost from sight.
func (w *shower) printed(id string) {
	w.mu.Lock()
	w.ids = append(w.ids, id)
	w.mu.Unlock()
	w.poke()
}

func (w *shower) poke() {
	select {
	case w.wake <- struct{}{}:
	default:
	}
}

func (w *shower) run(ctx context.Context) {
	defer close(w.done)
	for range w.wake {
		for {
			ids, closing := w.take()
			if len(ids) == 0 {
				if closing {
					return
				}
				break
			}
			_, err := do(ctx, w.s, func(c *api.Client) (struct{}, error) { return struct{}{}, c.Shown(ctx, ids...) })
			if err != nil {
				w.fail(err)
			}
		}
	}
}

func (w *shower) take() (ids []string, closing bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	n := min(len(w.ids), maxShown)
	ids, w.ids = w.ids[:n:n], w.ids[n:]
	return ids, w.closing
}

func (w *shower) fail(err error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.err == nil {
		w.err = err
	}
}

// Close marks what is queued and returns the first error of all.
func (w *shower) Close() error {
	w.mu.Lock()
	w.closing = true
	w.mu.Unlock()
	w.poke()
	<-w.done
	return w.err
}

// showEvents hands each event to show, until work ends, the feed does, or show fails. A message counts as shown, and one of our own as settled,
// only after show has returned: what could not be printed is printed again by the next face.
func showEvents(work context.Context, s *session, f *feed, o *outgoing, show func(e *peer.Event, ours bool) error) (err error) {
	shown := newShower(context.WithoutCancel(work), s)
	defer func() {
		if failed := shown.Close(); err == nil {
			err = failed
		}
	}()
	for e, err := range f.Events(work) {
		if err != nil {
			return err
		}
		ref := e.Re
		ours := o.claim(&e)
		if err := show(&e, ours); err != nil {
			return err
		}
		switch {
		case e.Type == peer.EventMessage:
			shown.printed(e.ID)
		case ours && e.Type == peer.EventState && settled(e.State):
			o.end(ref)
		}
	}
	return nil
}
