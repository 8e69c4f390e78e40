package peer

import (
	"context"

	"github.com/byway-chat/byway/peer/delivery"
	"github.com/byway-chat/byway/peer/history"
)

// History returns messages of the local history, oldest first, and without a search the gaps between them; these do not count for the limit.
func (p *Peer) History(ctx context.Context, q HistoryQuery) ([]HistoryEntry, error) {
	if err := p.up(); err != nil {
		return nil, err
	}
	if q.Limit <= 0 {
		q.Limit = 100
	}
	query := history.Query{Search: q.Search, Limit: min(q.Limit, 10_000)}
	if q.User != "" {
		name, err := parseUser(q.User)
		if err != nil {
			return nil, err
		}
		query.Peer = delivery.Account(name)
	}
	if err := p.core.caughtUp(ctx); err != nil {
		return nil, err
	}
	entries, err := p.core.store.Find(ctx, query)
	if err != nil {
		return nil, storeError(err)
	}
	keys, err := p.core.keyStates(ctx, entries)
	if err != nil {
		return nil, err
	}
	out := make([]HistoryEntry, len(entries))
	for i, e := range entries {
		out[i] = p.entry(e)
		if !e.Own {
			out[i].Key = keys[i].state
		}
	}
	if q.Search != "" {
		return out, nil // what is missing cannot be known to contain it
	}
	return p.withGaps(ctx, query.Peer, entries, out, len(entries) < query.Limit)
}

func (p *Peer) entry(e history.Entry) HistoryEntry {
	out := HistoryEntry{ID: e.ID.String(), N: e.N, Body: e.Body, Sent: e.Sent, Way: e.Progress.Way}
	if e.Own {
		r := receiptOf(e)
		out.From, out.To, out.Device = string(p.user), string(e.Peer), p.core.self.Fingerprint.Device()
		out.State, out.MS, out.Reason = r.State, &r.MS, r.Reason
		return out
	}
	out.From, out.To, out.Device = string(e.From), string(e.CopyOf), e.Device.Device()
	received := e.Received
	out.Received = &received
	return out
}

// Shown records that a face has shown messages to a person: they are not replayed to later faces.
func (p *Peer) Shown(ctx context.Context, ids ...string) error {
	if err := p.up(); err != nil {
		return err
	}
	keys := make([]delivery.MessageID, 0, len(ids))
	for _, id := range ids {
		key, err := delivery.ParseMessageID(id)
		if err != nil {
			return &Error{Code: CodeUsage, Message: "that is not the id of a message", Err: err}
		}
		keys = append(keys, key)
	}
	if err := p.core.store.MarkShown(ctx, keys); err != nil {
		return storeError(err)
	}
	return nil
}

// ShownUpto records that a face has shown a received message and all that came before it: one call for many messages. Both values are those
// of the message's event. A message that stands elsewhere in this history is recorded alone; one that is not in it
// changes nothing, and is no error.
func (p *Peer) ShownUpto(ctx context.Context, order int64, id string) error {
	if err := p.up(); err != nil {
		return err
	}
	key, err := delivery.ParseMessageID(id)
	if err != nil {
		return &Error{Code: CodeUsage, Message: "that is not the id of a message", Err: err}
	}
	if err := p.core.store.MarkShownUpto(ctx, order, key); err != nil {
		return storeError(err)
	}
	return nil
}

// Read tells a user that everything received from them so far has been read, unless read receipts are off (SetReadReceipts): then nothing is
// sent, and that is no error.
func (p *Peer) Read(ctx context.Context, user string) error {
	if err := p.up(); err != nil {
		return err
	}
	name, err := parseUser(user)
	if err != nil {
		return err
	}
	if err := p.contact(ctx, name); err != nil {
		return err
	}
	if p.secretReader.Load() {
		return nil
	}
	return p.core.do(ctx, func() { p.core.engine.Seen(delivery.Account(name)) })
}
