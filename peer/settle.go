package peer

import (
	"context"
	"log/slog"
	"runtime"
	"time"

	"github.com/byway-chat/byway/peer/delivery"
	"github.com/byway-chat/byway/peer/history"
)

// settle carries out what the batch has led to: the disk first, then all else.
func (c *core) settle(now time.Time) {
	if c.stall.cause != nil && !c.reload(now) {
		return
	}
	if next := c.engine.NextTick(); !next.IsZero() && !now.Before(next) {
		c.engine.Tick(now)
	}
	c.retry = false
	effects := c.engine.Take(now)
	for _, n := range effects.Notices {
		if m, ok := n.(delivery.NoticeMessage); ok {
			c.acquaint(&m.Message)
		}
	}
	c.batch.Ops = append(c.batch.Ops, effects.Ops...)
	var batch history.Batch
	var after []chan<- error
	hurry := c.hurry(now, effects.Ops)
	if hurry {
		c.movedSessions(now)
		batch, c.batch, c.lazy = c.batch, history.Batch{}, time.Time{}
		if !batch.Empty() {
			if err := c.store.Commit(context.Background(), &batch); err != nil { // a commit is never given up half way
				c.restart(now, err)
				return
			}
		}
		after, c.after = c.after, nil
		if waiting := len(after); waiting > 0 {
			c.crowd += (float64(waiting) - c.crowd) / 8
			c.committed = time.Now()
		}
	}
	c.follow(now, &effects, &batch)
	for _, done := range after {
		done <- nil
	}
	if hurry {
		c.acknowledge()
	}
}

// follow does what may be done after the commit, the most urgent first: who reads what has come, or else who waits for what leaves.
func (c *core) follow(now time.Time, effects *delivery.Effects, batch *history.Batch) {
	if batch.Refused > 0 {
		c.log.Warn("envelopes of devices that are not accepted were not kept", slog.Int("count", batch.Refused))
	}
	if len(batch.Orders) > 0 {
		c.tellAll(now, effects.Notices, batch.Orders)
		runtime.Gosched() // the readers wait for this processor
		c.dispatch(now, effects.Sends)
		return
	}
	c.dispatch(now, effects.Sends)
	if len(effects.Sends) > 0 {
		runtime.Gosched() // the goroutine that writes them waits for it
	}
	c.tellAll(now, effects.Notices, nil)
}

// lazily is how long it may take until the disk knows what another device has on its own.
const lazily = 20 * time.Millisecond

// hurry reports whether the batch must be on the disk now, of which fresh are the newest ops. What may be late waits for the next commit, and so does
// the place of a session where nothing else came with it.
func (c *core) hurry(now time.Time, fresh []delivery.Op) bool {
	if len(c.after)+len(c.batch.Contacts)+len(c.batch.Blocked)+len(c.batch.Released) > 0 || !delivery.Late(fresh) {
		return true
	}
	if len(c.batch.Ops)+len(c.moved) == 0 {
		return true // there is nothing to put on the disk
	}
	if c.lazy.IsZero() {
		c.lazy = now.Add(lazily)
	}
	return !now.Before(c.lazy)
}

// acknowledge tells the rendezvous what it may forget. What a connection that has ended was not told is delivered again, and known as a
// duplicate.
func (c *core) acknowledge() {
	if len(c.taken) > 0 && c.conn != nil {
		_ = c.conn.Taken(c.taken...)
	}
	c.taken = c.taken[:0]
}

// load makes contacts and engine from the disk.
func (c *core) load(ctx context.Context) error {
	contacts, err := c.store.Contacts(ctx)
	if err != nil {
		return err
	}
	snapshot, err := c.store.Snapshot(ctx)
	if err != nil {
		return err
	}
	clear(c.contacts)
	clear(c.devices)
	for _, record := range contacts {
		c.remember(record)
	}
	for i, d := range snapshot.Devices {
		if known := c.devices[d.Device]; known != nil {
			snapshot.Devices[i].Account = known.contact.Name
		}
	}
	snapshot.Past = past{c}
	c.engine = delivery.New(delivery.Account(c.self.Name), snapshot, delivery.Limits{})
	now := time.Now()
	for _, ct := range c.contacts {
		c.engine.SetDevices(now, ct.Name, ct.accepted(c.self.Fingerprint))
	}
	clear(c.owed)
	c.obeyAll(now)
	if c.conn != nil {
		c.engine.RelayUp(now)
	}
	return nil
}

// pace is the least time between two commits while many wait for them.
const pace = 3 * time.Millisecond

// pause returns how long to wait before the next commit. Where one at a time waits it is at once. Where many do, commits that follow each other as
// fast as they can would take all of the processor for a few messages each, and everybody would wait the longer for that.
func (c *core) pause(now time.Time) time.Duration {
	if c.crowd < 2 || len(c.after) == 0 || len(c.after) >= maxBatch/2 {
		return 0
	}
	return c.committed.Add(pace).Sub(now)
}

// past answers the engine from the history. What cannot be read was not there: a message is then shown again rather than lost.
type past struct{ c *core }

func (p past) Has(d delivery.Device, id delivery.MessageID) bool {
	has, err := p.c.store.Has(context.Background(), d, id)
	if err != nil {
		p.c.log.Error("history does not read", slog.Any("error", err))
	}
	return has
}
