package peer

import (
	"context"

	"github.com/byway-chat/byway/peer/delivery"
	"github.com/byway-chat/byway/peer/history"
)

// unseenPage is how many unshown messages are read at once.
const unseenPage = 256

// unseenEvents reads the messages that no face has shown, oldest first.
func (c *core) unseenEvents(ctx context.Context, after int64) ([]Event, error) {
	entries, err := c.store.Find(ctx, history.Query{Unseen: true, After: after, Limit: unseenPage})
	if err != nil {
		return nil, err
	}
	keys, err := c.keyStates(ctx, entries)
	if err != nil {
		return nil, err
	}
	out := make([]Event, len(entries))
	for i, e := range entries {
		m := delivery.Incoming{
			From: e.From, Device: e.Device, N: e.N, ID: e.ID, CopyOf: e.CopyOf, Body: e.Body, Sent: e.Sent, Received: e.Received, Way: e.Progress.Way,
		}
		out[i] = messageEvent(m)
		out[i].V, out[i].Order, out[i].Key, out[i].Introduced = 1, e.Order, keys[i].state, keys[i].firsts
	}
	return out, nil
}

// keyNews is what is told of the keys of whom a message is from.
type keyNews struct {
	state  KeyState
	firsts []Event // of a message with which they were first seen: what has told of them
}

// keyStates asks the core, from another goroutine, what is known of the keys of those who have sent the entries.
func (c *core) keyStates(ctx context.Context, entries []history.Entry) ([]keyNews, error) {
	if len(entries) == 0 {
		return nil, nil
	}
	news := make([]keyNews, len(entries))
	err := c.do(ctx, func() {
		for i, e := range entries {
			news[i] = c.keyOf(e.From, e.ID)
		}
	})
	if err != nil {
		return nil, err // and not news, which the core may still be writing
	}
	return news, nil
}

// messageEvent is how a message is told, live or from the history, but for what is known of the keys.
func messageEvent(m delivery.Incoming) Event {
	return Event{
		Type: EventMessage, ID: m.ID.String(), From: string(m.From), To: string(m.CopyOf), Device: m.Device.Device(), N: m.N,
		Body: &m.Body, Sent: &m.Sent, Received: &m.Received, Way: m.Way,
	}
}
