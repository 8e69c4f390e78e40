package server

import (
	"context"
	"time"

	"github.com/byway-chat/byway/rendezvous"
	"github.com/byway-chat/byway/rendezvous/presence"
)

const (
	// maxPresenceQueued is how many bytes may wait for a watcher before it gets no more presence: it then skips to a fresh snapshot.
	maxPresenceQueued = 1 << 20
	// presencePause is how long a watcher that reads slowly is left alone.
	presencePause = 200 * time.Millisecond
)

// watch turns the flow of presence on or off, on the reader goroutine.
func (c *conn) watch(ctx context.Context, id uint64, w *rendezvous.Watch) {
	switch {
	case w.GetOn() && c.unwatch == nil:
		ctx, c.unwatch = context.WithCancel(ctx)
		watcher := c.server.tracker.Watch()
		defer c.helpers.Go(func() { c.pushPresence(ctx, watcher) })
	case !w.GetOn() && c.unwatch != nil:
		c.unwatch()
		c.unwatch = nil
	}
	c.reply(id, &rendezvous.Frame{Body: &rendezvous.Frame_Done{Done: &rendezvous.Done{}}}, nil)
}

// pushPresence sends what watcher has until ctx ends.
func (c *conn) pushPresence(ctx context.Context, watcher *presence.Watcher) {
	for {
		for c.hasRoom(ctx) {
			p := watcher.Next()
			if p == nil {
				break
			}
			c.send(&rendezvous.Frame{Body: &rendezvous.Frame_Presence{Presence: p}})
		}
		select {
		case <-ctx.Done():
			return
		case <-watcher.Ready():
		}
	}
}

// hasRoom waits until little enough is queued for the peer; it reports false when ctx has ended.
func (c *conn) hasRoom(ctx context.Context) bool {
	for {
		if _, bytes := c.writer.Queued(); bytes < maxPresenceQueued {
			return ctx.Err() == nil
		}
		select {
		case <-ctx.Done():
			return false
		case <-time.After(presencePause):
		}
	}
}
