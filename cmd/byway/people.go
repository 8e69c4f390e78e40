package main

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strconv"
	"time"

	"github.com/spf13/cobra"

	"github.com/byway-chat/byway/peer"
	"github.com/byway-chat/byway/peer/api"
)

func (p *program) whoCommand() *cobra.Command {
	return &cobra.Command{
		Use: "who", Short: "users, online or not, the way to each, the state of their keys", Args: noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return p.withPeer(cmd.Context(), p.who) },
	}
}

// withPeer runs a command that needs a home with an account.
func (p *program) withPeer(ctx context.Context, command func(context.Context, *session) error) error {
	return p.withPeerFor(ctx, need{}, command)
}

func (p *program) withPeerFor(ctx context.Context, n need, command func(context.Context, *session) error) (err error) {
	s, err := p.open(ctx, n)
	if err != nil {
		return err
	}
	defer s.closeInto(&err)
	return command(ctx, s)
}

// peerEnded is what somebody reads who watches a peer that has ended.
func (p *program) peerEnded() {
	fmt.Fprintln(p.stderr, "byway: the peer has ended; waiting for the next one (Ctrl-C ends this)")
}

func (p *program) who(ctx context.Context, s *session) error {
	list, err := do(ctx, s, func(c *api.Client) ([]peer.Contact, error) { return c.Who(ctx) })
	if err != nil {
		return err
	}
	st, err := do(ctx, s, func(c *api.Client) (peer.Status, error) { return c.Status(ctx) })
	if err != nil {
		return err
	}
	if p.flags.json {
		for _, remark := range whoRemarks(&st) {
			p.warn(remark)
		}
		return entries(p.lines, "contact", list)
	}
	text, err := whoText(list, &st, time.Now())
	if err != nil {
		return err
	}
	return p.write(text)
}

// whoAway says that the rendezvous is not there, where it is not: then only people who were met before are listed, and only those on this network answer.
func whoAway(st *peer.Status) string {
	if st.Rendezvous.Connected {
		return ""
	}
	return fmt.Sprintf("the rendezvous is away (%s): listed is whom you have met, and online who answers on this network", clean(cmp.Or(st.Reason, "connecting")))
}

// whoRemarks is what else must be known of a list of users.
func whoRemarks(st *peer.Status) []string {
	var out []string
	for _, remark := range []string{whoAway(st), faultLine(st)} {
		if remark != "" {
			out = append(out, remark)
		}
	}
	return out
}

// whoText is the list of users for people.
func whoText(list []peer.Contact, st *peer.Status, now time.Time) (string, error) {
	remarks := whoRemarks(st)
	if len(list) == 0 && len(remarks) == 0 {
		return "nobody else is registered yet\n", nil
	}
	text, err := columns(whoTable(list, now))
	for _, remark := range remarks {
		text += remark + "\n"
	}
	return text, err
}

func whoTable(list []peer.Contact, now time.Time) [][]string {
	header := []string{"NAME", "ONLINE", "WAY", "KEY", "DEVICES", "HEARD", "LAST SEEN"}
	some := slices.ContainsFunc(list, func(c peer.Contact) bool { return policyColumn(&c) != "" })
	if some {
		header = append(header, "POLICY")
	}
	rows := [][]string{header}
	for _, c := range list {
		seen := ""
		if c.LastSeen != nil {
			seen = when(*c.LastSeen)
		}
		row := []string{c.Name, yes(c.Online), orDash(string(c.Way)), orDash(string(c.Key)), strconv.Itoa(c.Devices), evidence(&c.Evidence, now), orDash(seen)}
		if some {
			row = append(row, orDash(policyColumn(&c)))
		}
		rows = append(rows, row)
	}
	return rows
}

// inUse is the best way in use to any device.
func inUse(list []peer.RouteEntry) peer.Way {
	best := peer.Way("")
	for _, r := range list {
		if r.InUse && (best == "" || direct(r.Way)) {
			best = r.Way
		}
	}
	return best
}

func direct(w peer.Way) bool { return w == peer.WayLAN || w == peer.WayDirect || w == peer.WayPunched }

// reach is the exit code for having reached somebody by a way: nil when directly.
func reach(w peer.Way) error {
	switch {
	case direct(w):
		return nil
	case w == peer.WayRelay:
		return outcome(exitOnlyRelayed)
	}
	return outcome(exitUnreachable)
}

// entries prints a list as JSON, one object a line.
func entries[T any](out *lines, kind string, list []T) error {
	for _, v := range list {
		if err := out.entry(kind, v); err != nil {
			return err
		}
	}
	return nil
}

func yes(b bool) string {
	if b {
		return "yes"
	}
	return "no"
}

func orDash(s string) string {
	if s == "" {
		return "-"
	}
	return s
}
