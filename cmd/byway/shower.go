package main

import (
	"context"
	"sync"
	"time"

	"github.com/byway-chat/byway/cmd/internal/ledger"
	"github.com/byway-chat/byway/peer"
	"github.com/byway-chat/byway/peer/api"
)

// gather is how long marks are gathered before the peer is told. What a kill takes with it meanwhile the ledger still knows, so only a
// restart of the machine can make a message of this time appear again.
const gather = 250 * time.Millisecond

// shower tells the peer what has been printed, so that it is not printed again: the last message stands for all before it. It runs a goroutine
// that Close ends, and owns the program's ledger.
type shower struct {
	s       *session
	ledger  *ledger.Ledger
	pause   time.Duration
	closing chan struct{} // closed by Close
	done    chan struct{} // closed when the goroutine has ended
	wake    chan struct{} // one place: there is something to tell

	mu   sync.Mutex // guards the following
	last ledger.Mark
	told ledger.Mark
	err  error
}

// show opens the program's ledger for the home of ready and starts the goroutine. ctx must outlive the face's work, so that what was printed last is
// marked too.
func (s *session) show(ctx context.Context, ready *peer.Event) (*shower, error) {
	book, err := ledger.Open(ledger.Options{Out: s.p.stdout, Dirs: ledger.Dirs(s.p.getenv), Home: s.p.flags.home, Device: ready.Device})
	if err != nil {
		return nil, err
	}
	w := &shower{s: s, ledger: book, closing: make(chan struct{}), done: make(chan struct{}), wake: make(chan struct{}, 1), last: book.Last()}
	if book.Survives() {
		w.pause = gather
	}
	s.p.book = book
	s.p.lines.through(book)
	go w.run(ctx)
	return w, nil
}

// markOf names the message of an event; the zero Mark where it is none, or from a peer that does not say where it stands.
func markOf(e *peer.Event) ledger.Mark {
	if e.Type != peer.EventMessage || e.Order == 0 {
		return ledger.Mark{}
	}
	return ledger.Mark{Order: e.Order, ID: e.ID}
}

// printed queues a message. Call it after the line was written: a message marked too early could be lost from sight.
func (w *shower) printed(e *peer.Event) {
	m := markOf(e)
	if m.Order == 0 {
		return
	}
	w.mu.Lock()
	w.last = m
	w.mu.Unlock()
	select {
	case w.wake <- struct{}{}:
	default:
	}
}

func (w *shower) run(ctx context.Context) {
	defer close(w.done)
	for closing := false; !closing; {
		select {
		case <-w.wake:
			select {
			case <-time.After(w.pause):
			case <-w.closing:
			}
		case <-w.closing:
			closing = true
		}
		_, err := do(ctx, w.s, func(c *api.Client) (struct{}, error) { return struct{}{}, w.settle(ctx, c) })
		if err != nil {
			w.fail(err)
		}
	}
}

// settle tells a peer of what was printed and not yet told. Before a subscription that begins with what nobody has shown, it must have returned.
func (w *shower) settle(ctx context.Context, c *api.Client) error {
	w.mu.Lock()
	last, told := w.last, w.told
	w.mu.Unlock()
	if last == told {
		return nil
	}
	if err := c.ShownUpto(ctx, last.Order, last.ID); err != nil {
		return err
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.told.Order < last.Order {
		w.told = last
	}
	return nil
}

func (w *shower) fail(err error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.err == nil {
		w.err = err
	}
}

// Close marks what is queued and returns the first error of all. The ledger is given up only when all it knows is marked.
func (w *shower) Close() error {
	close(w.closing)
	<-w.done
	w.s.p.book = nil
	w.s.p.lines.through(nil)
	if err := w.ledger.Close(w.err == nil); w.err == nil {
		return err
	}
	return w.err
}

// showEvents hands each event to show, until work ends, the feed does, or show fails. A message counts as shown, and one of our own as settled,
// only after show has returned: what could not be printed is printed again by the next face. It closes shown.
func showEvents(work context.Context, shown *shower, f *feed, o *outgoing, show func(e *peer.Event, ours bool) error) (err error) {
	defer func() {
		if failed := shown.Close(); err == nil {
			err = failed
		}
	}()
	f.moved = o.follow
	_ = o.follow(f.client) // nothing is on its way yet
	for e, err := range f.Events(work) {
		if err != nil {
			return err
		}
		ref, ours := o.claim(&e)
		if err := show(&e, ours); err != nil {
			return err
		}
		shown.printed(&e)
		if ours && e.Type == peer.EventState && settled(e.State) {
			o.end(ref)
		}
	}
	return nil
}
