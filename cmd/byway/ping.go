package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/byway-chat/byway/cmd/internal/lab"
	"github.com/byway-chat/byway/peer"
	"github.com/byway-chat/byway/peer/api"
)

// pingTimeout is when a round trip without an answer is lost, where the peer has not said so before: it gives the other one 5 s, after a look for a direct way
// where only that will do.
const pingTimeout = 15 * time.Second

// pinging is the ping command.
type pinging struct {
	p        *program
	user     string
	count    int
	way      string
	interval time.Duration
}

func (p *program) pingCommand() *cobra.Command {
	g := &pinging{p: p}
	cmd := &cobra.Command{
		Use:   "ping USER",
		Short: "round trips to USER's device, by way, and a summary",
		Long:  "Exit 0 when USER was reached directly, 3 when only by relay, 5 when not at all.",
		Args:  args(cobra.ExactArgs(1)),
		RunE: func(cmd *cobra.Command, list []string) error {
			g.user = list[0]
			if g.count < 1 || g.interval < 0 {
				return usage("-c needs a number of at least 1 and --interval no negative time", "")
			}
			if err := checkPingWay(g.way); err != nil {
				return err
			}
			return p.withPeer(cmd.Context(), g.run)
		},
	}
	cmd.Flags().IntVarP(&g.count, "count", "c", 4, "round trips")
	cmd.Flags().StringVar(&g.way, "way", "auto", "auto, lan, direct, punched or relay")
	cmd.Flags().DurationVar(&g.interval, "interval", 200*time.Millisecond, "pause between them")
	return cmd
}

// checkPingWay refuses what is no way: a peer would only find nobody there, which reads like a person who is away.
func checkPingWay(way string) error {
	switch peer.Way(way) {
	case "", "auto", peer.WayLAN, peer.WayDirect, peer.WayPunched, peer.WayRelay:
		return nil
	case peer.WayMailbox: // nothing comes back from there
	}
	return usage(fmt.Sprintf("there is no way %q to ping by", way), "use --way auto, lan, direct, punched or relay")
}

func (g *pinging) run(ctx context.Context, s *session) error {
	var list []peer.Pong
	for i := range g.count {
		if i > 0 {
			select {
			case <-time.After(g.interval):
			case <-ctx.Done():
				return errors.Join(context.Cause(ctx), g.summary(summarise(list)))
			}
		}
		pong, err := g.p.ping(ctx, s, g.user, g.way)
		if err != nil && ctx.Err() != nil {
			err = context.Cause(ctx)
		}
		if err != nil && len(list) > 0 {
			return errors.Join(err, g.summary(summarise(list)))
		}
		if err != nil {
			return err
		}
		list = append(list, pong)
		if err := g.print(i+1, pong); err != nil {
			return err
		}
	}
	sum := summarise(list)
	if err := g.summary(sum); err != nil {
		return err
	}
	if last := list[len(list)-1]; sum.Received == 0 && last.Sentence != "" {
		g.p.complain(&peer.Error{Code: peer.CodeUnreachable, Message: last.Sentence, Hint: last.Remedy})
	}
	return reach(sum.best)
}

// ping makes one round trip; one that is not answered in time is lost, and no error.
func (p *program) ping(ctx context.Context, s *session, user, way string) (peer.Pong, error) {
	if way == "auto" {
		way = ""
	}
	timed, cancel := context.WithTimeout(ctx, pingTimeout)
	defer cancel()
	pong, err := do(timed, s, func(c *api.Client) (peer.Pong, error) { return c.Ping(timed, user, way) })
	switch {
	case err == nil || ctx.Err() != nil:
		return pong, err
	case timed.Err() != nil || peer.CodeOf(err) == peer.CodeTimeout:
		return peer.Pong{Lost: true, Reason: string(peer.CodeTimeout)}, nil
	case peer.CodeOf(err) == peer.CodeUnreachable:
		pong = peer.Pong{Lost: true, Reason: cmp.Or(reasonOf(err), string(peer.CodeUnreachable)), Sentence: err.Error()}
		if told, ok := errors.AsType[*peer.Error](err); ok {
			pong.Remedy = told.Hint
		}
		return pong, nil
	}
	return pong, err
}

func (g *pinging) print(i int, pong peer.Pong) error {
	if g.p.flags.json {
		return g.p.lines.entry("pong", pong)
	}
	return g.p.say("%s", pongLine(i, pong))
}

// pongLine is the i-th round trip for people.
func pongLine(i int, pong peer.Pong) string {
	if pong.Lost || pong.RTT == nil {
		return fmt.Sprintf("%d lost  %s", i, clean(pong.Reason))
	}
	return fmt.Sprintf("%d %-7s %s", i, clean(string(pong.Way)), inWords(milliseconds(*pong.RTT)))
}

// pingSummary is the last object of ping; the percentiles are null when nothing came back.
type pingSummary struct {
	Sent     int      `json:"sent"`
	Received int      `json:"received"`
	P50      *float64 `json:"p50"`
	P90      *float64 `json:"p90"`
	P99      *float64 `json:"p99"`
	// Ways is how many of those received came by each way.
	Ways map[peer.Way]int `json:"ways"`

	best peer.Way
}

// waysInWords is by which ways the answers came, where that was not always the same.
func (s *pingSummary) waysInWords() string {
	if len(s.Ways) < 2 {
		return ""
	}
	var list []string
	for _, w := range slices.Sorted(maps.Keys(s.Ways)) {
		list = append(list, fmt.Sprintf("%d by %s", s.Ways[w], clean(string(w))))
	}
	return " (" + strings.Join(list, ", ") + ")"
}

func summarise(list []peer.Pong) pingSummary {
	sum := pingSummary{Sent: len(list), Ways: map[peer.Way]int{}}
	var ms []float64
	for _, pong := range list {
		if pong.Lost || pong.RTT == nil {
			continue
		}
		ms = append(ms, *pong.RTT)
		sum.Ways[pong.Way]++
		if sum.best == "" || direct(pong.Way) {
			sum.best = pong.Way
		}
	}
	sum.Received = len(ms)
	if len(ms) == 0 {
		return sum
	}
	slices.Sort(ms)
	sum.P50, sum.P90, sum.P99 = new(lab.Quantile(ms, 0.50)), new(lab.Quantile(ms, 0.90)), new(lab.Quantile(ms, 0.99))
	return sum
}

func (g *pinging) summary(sum pingSummary) error {
	if g.p.flags.json {
		return g.p.lines.entry("summary", sum)
	}
	var b strings.Builder
	fmt.Fprintf(&b, "%d sent, %d received%s", sum.Sent, sum.Received, sum.waysInWords())
	if sum.Received > 0 {
		fmt.Fprintf(&b, "; p50 %s, p90 %s, p99 %s", inWords(milliseconds(*sum.P50)), inWords(milliseconds(*sum.P90)), inWords(milliseconds(*sum.P99)))
	}
	return g.p.say("%s", b.String())
}
