package main

import (
	"cmp"
	"context"
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"github.com/byway-chat/byway/peer"
	"github.com/byway-chat/byway/peer/api"
)

func (p *program) historyCommand() *cobra.Command {
	var q peer.HistoryQuery
	cmd := &cobra.Command{
		Use: "history [USER]", Short: "messages of the local history, oldest first", Args: args(cobra.MaximumNArgs(1)),
		RunE: func(cmd *cobra.Command, list []string) error {
			if len(list) == 1 {
				q.User = list[0]
			}
			if q.Limit < 0 {
				return usage("--limit cannot be negative", "")
			}
			if err := checkLimit(q.Limit); err != nil {
				return err
			}
			return p.withPeer(cmd.Context(), func(ctx context.Context, s *session) error { return p.history(ctx, s, q) })
		},
	}
	cmd.Flags().StringVar(&q.Search, "search", "", "only messages that contain this text")
	cmd.Flags().IntVar(&q.Limit, "limit", 100, "the newest so many, at most 10000")
	return cmd
}

// maxEntries is how many entries of the history can be asked for at once.
const maxEntries = 10000

// checkLimit refuses what no number of entries can be.
func checkLimit(n int) error {
	if n < 0 || n > maxEntries {
		return usage(fmt.Sprintf("the limit is %d; it goes from 0 (the usual number) to %d", n, maxEntries), "")
	}
	return nil
}

func (p *program) history(ctx context.Context, s *session, q peer.HistoryQuery) error {
	list, err := do(ctx, s, func(c *api.Client) ([]peer.HistoryEntry, error) { return c.History(ctx, q) })
	if err != nil {
		return err
	}
	if p.flags.json {
		for i := range list {
			kind, object := historyObject(&list[i], string(peer.EventMessage))
			if err := p.lines.entry(kind, object); err != nil {
				return err
			}
		}
		return nil
	}
	var b strings.Builder
	for i := range list {
		b.WriteString(historyLine(&list[i]) + "\n")
	}
	return p.write(b.String())
}

// historyObject is an entry as JSON: a message is of the given kind.
func historyObject(h *peer.HistoryEntry, kind string) (string, any) {
	if h.Gap != nil {
		return string(peer.EventGap), h.Gap
	}
	return kind, h
}

// historyLine is one message of either direction, with how it travelled, or which messages are missing.
func historyLine(h *peer.HistoryEntry) string {
	if g := h.Gap; g != nil {
		return fmt.Sprintf("* %s from %s never came", numbers(g.First, g.Last), clean(cmp.Or(g.From, g.Device)))
	}
	who := clean(h.From)
	if h.To != "" {
		who += " -> " + clean(h.To)
	}
	how := strings.TrimSpace(string(h.State) + " " + string(h.Way))
	if d, ok := underWay(h.MS, &h.Sent, h.Received); ok {
		how += " " + inWords(d)
	}
	if h.Reason != "" {
		how += ", " + h.Reason
	}
	return fmt.Sprintf("%s %s (%s): %s", when(h.Sent), who, clean(how), indented(h.Body))
}

// numbers names the messages of a gap.
func numbers(first, last uint64) string {
	if first == last {
		return fmt.Sprintf("message %d", first)
	}
	return fmt.Sprintf("messages %d to %d", first, last)
}
