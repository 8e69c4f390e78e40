package server

import (
	"context"
	"log/slog"
	"sync"
	"time"

	"github.com/byway-chat/byway/rendezvous"
	"github.com/byway-chat/byway/rendezvous/presence"
)

const (
	// maxPresenceQueued is how many bytes may wait for a watcher before it gets no more presence: it then skips to a fresh snapshot.
	maxPresenceQueued = 1 << 20
	// presencePause is how long a watcher that reads slowly is left alone.
	presencePause = 200 * time.Millisecond
	// pauseEach and maxPause are the pause between two rounds through the watchers, for each of them and at most: telling one takes some
	// 20 us, and in a storm of sign-ins those who come back are to have the processor before those who look on.
	pauseEach = 100 * time.Microsecond
	maxPause  = 500 * time.Millisecond
)

// watch turns the flow of presence on or off, on the reader goroutine.
func (c *conn) watch(id uint64, w *rendezvous.Watch) {
	if !w.GetOn() {
		c.server.pusher.remove(c)
	}
	c.reply(id, &rendezvous.Frame{Body: &rendezvous.Frame_Done{Done: &rendezvous.Done{}}}, nil)
	if w.GetOn() {
		c.server.pusher.add(c)
	}
}

// pusher tells the streams that watch who comes and goes. One goroutine does it for all of them, and what it tells several at once it
// encodes once.
type pusher struct {
	tracker *presence.Tracker // immutable
	log     *slog.Logger      // immutable
	wake    chan struct{}     // capacity 1: somebody is new

	mu       sync.Mutex // guards the following
	watchers map[*conn]*presence.Watcher

	// Owned by run.
	present []watching
	frame   []byte               // the encoded form of encoded
	encoded *rendezvous.Presence // nil: none
}

// watching is a stream that watches; the Watcher is used by run alone.
type watching struct {
	conn    *conn
	watcher *presence.Watcher
}

func newPusher(t *presence.Tracker, log *slog.Logger) *pusher {
	return &pusher{tracker: t, log: log, wake: make(chan struct{}, 1), watchers: make(map[*conn]*presence.Watcher)}
}

// add begins to tell c, with a snapshot. It does nothing for a stream that is told already.
func (p *pusher) add(c *conn) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.watchers[c] != nil {
		return
	}
	p.watchers[c] = p.tracker.Watch()
	select {
	case p.wake <- struct{}{}:
	default:
	}
}

// remove ends it. What is being told at the moment may still arrive.
func (p *pusher) remove(c *conn) {
	p.mu.Lock()
	defer p.mu.Unlock()
	delete(p.watchers, c)
}

// run tells until ctx ends.
func (p *pusher) run(ctx context.Context) {
	timer := time.NewTimer(time.Hour)
	defer timer.Stop()
	for {
		changed := p.tracker.Changed()
		slow := p.round()
		timer.Reset(min(maxPause, time.Duration(len(p.present))*pauseEach))
		select {
		case <-ctx.Done():
			return
		case <-timer.C:
		}
		var again <-chan time.Time
		if slow {
			timer.Reset(presencePause)
			again = timer.C
		}
		select {
		case <-ctx.Done():
			return
		case <-changed:
		case <-p.wake:
		case <-again:
		}
	}
}

// round tells each watcher what is new to it. It reports whether one of them reads too slowly to be told all.
func (p *pusher) round() (slow bool) {
	p.mu.Lock()
	p.present = p.present[:0]
	for c, w := range p.watchers {
		p.present = append(p.present, watching{c, w})
	}
	p.mu.Unlock()
	for _, w := range p.present {
		if !p.tell(w) {
			slow = true
		}
	}
	clear(p.present) // holds on to no stream
	p.frame, p.encoded = nil, nil
	return slow
}

// tell reports false where the watcher has to wait until less is queued for it.
func (p *pusher) tell(w watching) bool {
	for {
		if _, bytes := w.conn.writer.Queued(); bytes >= maxPresenceQueued {
			return false
		}
		m := w.watcher.Next()
		if m == nil {
			return true
		}
		if m != p.encoded {
			frame, err := rendezvous.AppendFrame(p.frame[:0], &rendezvous.Frame{Body: &rendezvous.Frame_Presence{Presence: m}})
			if err != nil {
				p.log.Error("presence could not be encoded", slog.String("error", err.Error()))
				return true
			}
			p.frame, p.encoded = frame, m
		}
		w.conn.sent(w.conn.writer.AddEncoded(p.frame))
	}
}
