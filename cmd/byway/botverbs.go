package main

import (
	"context"

	"github.com/byway-chat/byway/peer"
	"github.com/byway-chat/byway/peer/api"
)

func botSend(ctx context.Context, b *bot, c *botCommand) error {
	text, err := checked(c.Body)
	if err != nil {
		return err
	}
	ref := b.outgoing.begin(string(c.ID))
	var by *api.Client
	receipt, err := do(ctx, b.s, func(cl *api.Client) (peer.Receipt, error) {
		by = cl
		return cl.Send(ctx, c.user(), text, peer.SendOptions{Way: c.Way, Ref: ref})
	})
	if err != nil {
		b.outgoing.end(ref)
		return err
	}
	if e := b.outgoing.accepted(ref, receipt, by); e != nil {
		_, _ = b.outgoing.claim(e) // it is ours
		return b.p.lines.event(*e)
	}
	return nil
}

func botWay(ctx context.Context, b *bot, c *botCommand) error {
	if c.Way != "" {
		_, err := do(ctx, b.s, func(cl *api.Client) (struct{}, error) { return struct{}{}, cl.SetWay(ctx, c.user(), c.Way) })
		return b.done(c, err)
	}
	list, err := do(ctx, b.s, func(cl *api.Client) ([]peer.WayPolicy, error) { return cl.Ways(ctx, c.user()) })
	return replies(b, c, "policy", list, err)
}

func botRead(ctx context.Context, b *bot, c *botCommand) error {
	_, err := do(ctx, b.s, func(cl *api.Client) (struct{}, error) { return struct{}{}, cl.Read(ctx, c.user()) })
	return b.done(c, err)
}

func botWho(ctx context.Context, b *bot, c *botCommand) error {
	list, err := do(ctx, b.s, func(cl *api.Client) ([]peer.Contact, error) { return cl.Who(ctx) })
	return replies(b, c, "contact", list, err)
}

func botRoute(ctx context.Context, b *bot, c *botCommand) error {
	list, err := do(ctx, b.s, func(cl *api.Client) ([]peer.RouteEntry, error) { return cl.Route(ctx, c.user()) })
	return replies(b, c, "way", list, err)
}

func botHistory(ctx context.Context, b *bot, c *botCommand) error {
	if err := checkLimit(c.Limit); err != nil {
		return err
	}
	q := peer.HistoryQuery{User: c.user(), Search: c.Search, Limit: c.Limit}
	list, err := do(ctx, b.s, func(cl *api.Client) ([]peer.HistoryEntry, error) { return cl.History(ctx, q) })
	if err != nil {
		return err
	}
	for i := range list {
		kind, object := historyObject(&list[i], "history")
		if err := b.p.lines.reply(kind, string(c.ID), object); err != nil {
			return err
		}
	}
	return b.done(c, nil)
}

func botVerify(ctx context.Context, b *bot, c *botCommand) error {
	v, err := do(ctx, b.s, func(cl *api.Client) (peer.Verification, error) { return cl.Verify(ctx, c.user(), c.Accept) })
	return replies(b, c, "verification", []peer.Verification{v}, err)
}

func botStatus(ctx context.Context, b *bot, c *botCommand) error {
	st, err := do(ctx, b.s, func(cl *api.Client) (peer.Status, error) { return cl.Status(ctx) })
	return replies(b, c, "status", []peer.Status{st}, err)
}

// maxBotPings is how many round trips one command may ask for.
const maxBotPings = 1000

func botPing(ctx context.Context, b *bot, c *botCommand) error {
	if c.Count < 0 || c.Count > maxBotPings {
		return usage("count is not between 1 and 1000", "")
	}
	if err := checkPingWay(c.Way); err != nil {
		return err
	}
	var list []peer.Pong
	for range max(c.Count, 1) {
		pong, err := b.p.ping(ctx, b.s, c.user(), c.Way)
		if err != nil {
			return err
		}
		if err := b.p.lines.reply("pong", string(c.ID), pong); err != nil {
			return err
		}
		list = append(list, pong)
	}
	if err := b.p.lines.reply("summary", string(c.ID), summarise(list)); err != nil {
		return err
	}
	return b.done(c, nil)
}

// replies answers with each entry and done.
func replies[T any](b *bot, c *botCommand, kind string, list []T, err error) error {
	if err != nil {
		return err
	}
	for _, v := range list {
		if err := b.p.lines.reply(kind, string(c.ID), v); err != nil {
			return err
		}
	}
	return b.done(c, nil)
}

func (b *bot) done(c *botCommand, err error) error {
	if err != nil {
		return err
	}
	return b.p.lines.reply("done", string(c.ID), nil)
}
