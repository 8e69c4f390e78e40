package peer

import (
	"context"
	"log/slog"
	"time"

	"github.com/byway-chat/byway/peer/history"
	"github.com/byway-chat/byway/rendezvous/client"
)

const (
	// reloadEvery is how long the core waits between two looks whether the history takes something again.
	reloadEvery = time.Second
	// lookApart is the least time between two that somebody waits for.
	lookApart = 100 * time.Millisecond
	// stallWord is how often it is said that it still does not, in an event and in the log. A stall that comes this long after the latest is news.
	stallWord = time.Minute
	stallNews = 10 * time.Second
)

// stall is what the core knows of a history that takes nothing. As long as it has a cause nothing is committed, opened, acknowledged or sent: memory is what
// was read from the disk after the commit that has failed, and whatever comes is dropped without a word, so that it comes again. No link is open, so that
// it comes by the rendezvous: that connection stays, and what is not taken goes into the mailbox.
type stall struct {
	cause  error     // nil: there is none
	retry  time.Time // when to look again
	looked time.Time // latest look
	latest time.Time // failure
	said   time.Time // when it was last said
	unsaid int       // failures since
}

// restart begins again from the disk after a failed commit: memory is ahead of it, and nothing of what was to be acknowledged may
// be.
func (c *core) restart(now time.Time, cause error) {
	cause = storeError(cause)
	c.forget(cause)
	c.dropLinks()
	c.stall.cause, c.stall.retry = cause, now.Add(reloadEvery)
	c.sayStall(now, cause)
	if err := c.load(context.Background()); err != nil {
		c.stall.cause = storeError(err)
		c.log.Error("history does not load", slog.Any("error", err))
	}
}

// sayStall says that a commit has failed: at once where that is news, and else now and then.
func (c *core) sayStall(now time.Time, cause error) {
	s := &c.stall
	news := now.Sub(s.latest) >= stallNews
	s.latest = now
	if !news && now.Sub(s.said) < stallWord {
		s.unsaid++
		return
	}
	c.log.Error("history does not commit", slog.Any("error", cause), slog.Int("failures_before", s.unsaid))
	c.hub.publish(Event{Type: EventError, Code: string(CodeOf(cause)), Message: cause.Error(), Hint: hintOf(cause)})
	s.said, s.unsaid = now, 0
}

// reload looks now and then whether a history that has taken nothing does again, and drops what has come meanwhile.
func (c *core) reload(now time.Time) bool {
	if now.Before(c.stall.retry) {
		_ = c.engine.Take(now)
		c.forget(c.stall.cause)
		return false
	}
	return c.resume(now)
}

// writable returns nil where something may be committed. Whoever asks does not wait for the next look.
func (c *core) writable(now time.Time) error {
	if c.stall.cause != nil && (now.Sub(c.stall.looked) < lookApart || !c.resume(now)) {
		return c.stall.cause
	}
	return nil
}

// resume ends a stall if the disk keeps what it is given and the history loads. The links and the connection are given up, so that whatever was not
// acknowledged comes again.
func (c *core) resume(now time.Time) bool {
	_ = c.engine.Take(now)
	c.forget(c.stall.cause)
	c.stall.looked, c.stall.retry = now, now.Add(reloadEvery)
	if err := c.store.Room(); err != nil {
		c.stall.cause = storeError(err)
		return false
	}
	c.dropLinks()
	if err := c.load(context.Background()); err != nil {
		c.stall.cause = storeError(err)
		return false
	}
	c.hangUp()
	c.stall.cause = nil
	c.log.Info("history commits again")
	return true
}

// forget drops everything that the disk does not have.
func (c *core) forget(cause error) {
	for _, done := range c.after {
		done <- cause
	}
	c.after, c.taken, c.batch, c.lazy = nil, nil, history.Batch{}, time.Time{}
	c.sessions.Purge()
	c.moved = nil
	clear(c.senders)
	clear(c.submits)
}

// hangUp closes the connection to the rendezvous, which then brings again what was not acknowledged.
func (c *core) hangUp() {
	if c.conn != nil {
		go func(conn *client.Conn) { _ = conn.Close() }(c.conn) // its end comes back as an event
	}
}
