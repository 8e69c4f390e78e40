package peer

import (
	"context"
	"log/slog"
	"time"

	"github.com/byway-chat/byway/peer/delivery"
	"github.com/byway-chat/byway/peer/history"
)

// tellAll makes events of what the engine notices, after the commit. orders says where new messages stand in the history.
func (c *core) tellAll(now time.Time, notices []delivery.Notice, orders map[history.Ref]int64) {
	for _, n := range notices {
		c.tell(now, n, orders)
	}
	c.hub.publish(c.events...)
	clear(c.events)
	c.events = c.events[:0]
}

func (c *core) tell(now time.Time, n delivery.Notice, orders map[history.Ref]int64) {
	switch n := n.(type) {
	case delivery.NoticeProgress:
		if n.CopyOf == "" {
			c.tellProgress(n)
		}
	case delivery.NoticeRead:
		c.tellRead(n)
	case delivery.NoticeMessage:
		c.tellMessage(n.Message, orders[history.Ref{Device: n.Message.Device, N: n.Message.N}])
	case delivery.NoticeGap:
		c.events = append(c.events, Event{Type: EventGap, From: string(n.From), Device: n.Device.Device(), First: n.First, Last: n.Last})
	case delivery.NoticeWaiting:
		c.events = append(c.events, Event{Type: EventWaiting, From: string(n.From), Device: n.Device.Device(), First: n.First, Last: n.Last, Held: n.Held})
	case delivery.NoticePong:
		if waiting := c.pings[n.Token]; waiting != nil {
			delete(c.pings, n.Token)
			waiting <- n
		}
	case delivery.NoticePunch:
		c.later(func() { c.punchStep(time.Now(), n) }) // an answer is for the next batch
	case delivery.NoticeStale:
		if ct := c.contacts[n.Account]; ct != nil {
			c.refresh(ct)
		}
	case delivery.NoticeWanted:
		if d := c.devices[n.Device]; d != nil {
			d.ways.Urgent = true
			c.dial(now, d)
		}
	}
}

// states maps the engine's stages to the states of the contract.
var states = map[delivery.Stage]State{
	delivery.StageAccepted: StateAccepted, delivery.StageStored: StateStored, delivery.StageDelivered: StateDelivered, delivery.StageFailed: StateFailed,
}

// ReasonEarlierWaits is the Reason of a message that is delivered, and not shown yet: an earlier one waits for its way.
const ReasonEarlierWaits = delivery.EarlierWaits

func (c *core) tellProgress(n delivery.NoticeProgress) {
	ref, _ := c.refs.Get(n.ID)
	ms := milliseconds(n.Progress.Took)
	c.events = append(c.events, Event{
		Type: EventState, Re: ref, ID: n.ID.String(), To: string(n.To), N: n.N, State: states[n.Progress.Stage],
		Way: n.Progress.Way, MS: &ms, Reason: n.Progress.Reason,
	})
}

func (c *core) tellMessage(m delivery.Incoming, order int64) {
	e := messageEvent(m)
	news := c.keyOf(m.From, m.ID)
	e.Order, e.Key, e.Introduced = order, news.state, news.firsts
	c.events = append(c.events, e)
}

// maxReadEvents is how many messages one read receipt is told for, the newest first to be kept.
const maxReadEvents = 64

func (c *core) tellRead(n delivery.NoticeRead) {
	before := c.readUpto[n.To]
	if n.Upto <= before {
		return
	}
	c.readUpto[n.To] = n.Upto
	entries, err := c.store.Find(context.Background(), history.Query{Peer: n.To, Limit: 2 * maxReadEvents})
	if err != nil {
		c.log.Error("history does not read", slog.Any("error", err))
		return
	}
	for _, e := range entries {
		if e.Own && e.N > before && e.N <= n.Upto {
			ref, _ := c.refs.Get(e.ID)
			ms := milliseconds(e.Progress.Took)
			c.events = append(c.events, Event{
				Type: EventState, Re: ref, ID: e.ID.String(), To: string(n.To), N: e.N, State: StateRead, Way: e.Progress.Way, MS: &ms,
			})
		}
	}
}
