package main

import (
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
			return p.withPeer(cmd.Context(), func(ctx context.Context, s *session) error { return p.history(ctx, s, q) })
		},
	}
	cmd.Flags().StringVar(&q.Search, "search", "", "only messages that contain this text")
	cmd.Flags().IntVar(&q.Limit, "limit", 100, "the newest so many, at most 10000")
	return cmd
}

func (p *program) history(ctx context.Context, s *session, q peer.HistoryQuery) error {
	list, err := do(ctx, s, func(c *api.Client) ([]peer.HistoryEntry, error) { return c.History(ctx, q) })
	if err != nil {
		return err
	}
	if p.flags.json {
		return entries(p.lines, string(peer.EventMessage), list)
	}
	var b strings.Builder
	for i := range list {
		b.WriteString(historyLine(&list[i]) + "\n")
	}
	return p.write(b.String())
}

// historyLine is one message of either direction, with how it travelled.
func historyLine(h *peer.HistoryEntry) string {
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
