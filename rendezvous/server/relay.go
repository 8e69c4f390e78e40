package server

import (
	"context"
	"sync"
	"time"

	"github.com/byway-chat/byway/rendezvous"
	"github.com/byway-chat/byway/rendezvous/relay"
)

// takenLag is how long an outcome TAKEN may wait for others to go out with: nobody waits for it.
const takenLag = 25 * time.Millisecond

// carried are frames of the relay that one read has brought; they go to the relay together. They alias what was read.
type carried struct {
	submissions []relay.Submission
	taken       []uint64
}

var carriedPool = sync.Pool{New: func() any { return new(carried) }}

// carryTaken gathers what a Taken names, on the reader goroutine. It reports false for one that only the generated code can parse.
func (c *conn) carryTaken(ctx context.Context, body []byte) bool {
	batch := c.batch()
	before := len(batch.taken)
	ids, refusals, ok := rendezvous.ParseTaken(body, batch.taken)
	if !ok {
		batch.taken = ids[:before]
		return false
	}
	batch.taken = ids
	c.told(refusals)
	if len(batch.taken) >= rendezvous.MaxNumbers {
		c.handOver(ctx)
	}
	return true
}

// batch is what the present read has brought so far.
func (c *conn) batch() *carried {
	if c.carried == nil {
		c.carried = carriedPool.Get().(*carried)
	}
	return c.carried
}

// handOver gives the relay what has gathered. The relay keeps none of it.
func (c *conn) handOver(ctx context.Context) {
	batch := c.carried
	if batch == nil {
		return
	}
	c.carried = nil
	if l := c.link.Load(); l != nil {
		if len(batch.taken) > 0 && l.attachment != nil {
			l.attachment.Taken(batch.taken...)
		}
		if len(batch.submissions) > 0 {
			l.sender.Submit(ctx, batch.submissions...)
		}
	}
	clear(batch.submissions)
	batch.submissions, batch.taken = batch.submissions[:0], batch.taken[:0]
	carriedPool.Put(batch)
}

// submit gathers one envelope for the relay, which takes them in the order of their coming.
func (c *conn) submit(id uint64, device, envelope []byte, liveOnly bool) {
	switch {
	case c.link.Load() == nil:
		c.reply(id, nil, errNotSignedIn())
		return
	case id == 0:
		c.reply(0, nil, rendezvous.Errorf(rendezvous.CodeBadRequest, "a request needs a number"))
		return
	}
	batch := c.batch()
	batch.submissions = append(batch.submissions, relay.Submission{Number: id, Device: device, Envelope: envelope, LiveOnly: liveOnly})
}

// taken lets the relay forget what this device holds.
func (c *conn) taken(ctx context.Context, id uint64, t *rendezvous.Taken) {
	batch := c.batch()
	ids, ok := rendezvous.Numbers(batch.taken, t.GetDeliveries())
	if !ok {
		c.reply(id, nil, rendezvous.Errorf(rendezvous.CodeBadRequest, "Taken names more than %d deliveries", rendezvous.MaxNumbers))
		return
	}
	batch.taken = ids
	c.told(t.GetRefusals())
	c.handOver(ctx)
}

// told lets the relay forget what was refused for this device.
func (c *conn) told(mark uint64) {
	if mark == 0 {
		return
	}
	if l := c.link.Load(); l != nil && l.attachment != nil {
		l.attachment.Told(mark)
	}
}

// carrier is a conn as the relay sees it.
type carrier struct {
	*conn
	sender     *relay.Sender     // immutable once the conn has the link
	attachment *relay.Attachment // likewise; nil: the relay is stopping

	mu     sync.Mutex // guards the following; held for moments only
	taken  []uint64   // submissions whose outcome TAKEN has not gone out
	others []settled
	timer  *time.Timer // flushes taken; nil: none was taken yet
	closed bool
}

// settled are submissions with the same outcome.
type settled struct {
	rendezvous.Settled
	numbers []uint64
}

// keptNumbers is how many numbers an idle carrier has room for.
const keptNumbers = 64

// Deliver implements relay.Link.
func (l *carrier) Deliver(d *relay.Delivery) {
	l.sent(l.writer.HoldAppended(func(buf []byte) []byte {
		wire := d.Wire()
		return rendezvous.AppendDeliver(buf, &wire)
	}))
}

// Settle implements relay.Link.
func (l *carrier) Settle(number uint64, o relay.Outcome) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if o.State != rendezvous.Outcome_TAKEN {
		s := o.Settled()
		if last := len(l.others) - 1; last >= 0 && l.others[last].Settled == s {
			l.others[last].numbers = append(l.others[last].numbers, number)
		} else {
			l.others = append(l.others, settled{Settled: s, numbers: []uint64{number}})
		}
		return
	}
	l.taken = append(l.taken, number)
	if len(l.taken) > 1 || l.closed {
		return
	}
	if l.timer == nil {
		l.timer = time.AfterFunc(takenLag, l.Flush)
	} else {
		l.timer.Reset(takenLag)
	}
}

// Refused implements relay.Link.
func (l *carrier) Refused(r relay.Refusals) {
	l.sent(l.writer.Hold(&rendezvous.Frame{Body: &rendezvous.Frame_Refusals{Refusals: &rendezvous.Refusals{
		Mark: r.Mark, Messages: r.Messages, Accounts: r.Accounts, SinceMs: uint64(r.Since.UnixMilli()),
	}}}))
}

// Flush implements relay.Link.
func (l *carrier) Flush() {
	l.outcomes()
	l.writer.Flush()
}

// outcomes queues what has gathered.
func (l *carrier) outcomes() {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, s := range l.others {
		l.outcome(s.Settled, s.numbers)
	}
	l.outcome(rendezvous.Settled{State: rendezvous.Outcome_TAKEN}, l.taken)
	l.others = nil
	if l.taken = l.taken[:0]; cap(l.taken) > keptNumbers {
		l.taken = nil
	}
}

func (l *carrier) outcome(s rendezvous.Settled, numbers []uint64) {
	for len(numbers) > 0 {
		n := min(len(numbers), rendezvous.MaxNumbers)
		l.sent(l.writer.HoldAppended(func(buf []byte) []byte { return rendezvous.AppendOutcome(buf, s, numbers[:n]) }))
		numbers = numbers[n:]
	}
}

// close ends it at the relay. What has not gone out does not any more.
func (l *carrier) close() {
	if l.attachment != nil {
		l.attachment.Close()
	}
	l.sender.Close()
	l.mu.Lock()
	defer l.mu.Unlock()
	l.closed = true
	if l.timer != nil {
		l.timer.Stop()
	}
}
