package main

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/byway-chat/byway/peer"
	"github.com/byway-chat/byway/peer/api"
)

// policies are what a way to a user may be set to.
var policies = []string{"auto", "lan", "direct", "relay", peer.DefaultWay}

func (p *program) wayCommand() *cobra.Command {
	return &cobra.Command{
		Use: "way [USER | default [POLICY]]", Short: "which ways may be used, with USER or by default, and what USER allows", Args: args(cobra.MaximumNArgs(2)),
		Long: "Sets or lists by which ways there may be anything between this side and USER:\n" +
			"  auto     every way\n" +
			"  lan      only over the local network, never by anything that leaves it\n" +
			"  direct   never through the rendezvous\n" +
			"  relay    only through the rendezvous: USER is told no address of this device\n" +
			"  default  what holds for all who have no policy of their own\n\n" +
			"Under relay the rendezvous withholds this device's addresses from USER. USER may still know one from before, and hears on the same\n" +
			"local network that the device is there. \"byway way default POLICY\" sets what holds for all; under relay the rendezvous is told no\n" +
			"address, and the local network nothing. USER's own policy counts as much:\n" +
			"where the two leave no way, sending fails with exit 5 and says whose it is. --way of a message cannot allow more.",
		Example: "  byway way                     what is set, and what contacts have said\n" +
			"  byway way bob relay\n  byway way default lan",
		RunE: func(cmd *cobra.Command, list []string) error {
			if len(list) == 2 {
				if err := checkPolicy(list[1]); err != nil {
					return err
				}
			}
			return p.withPeer(cmd.Context(), func(ctx context.Context, s *session) error { return p.way(ctx, s, list) })
		},
	}
}

// way sets a policy where one is given, and prints what then holds.
func (p *program) way(ctx context.Context, s *session, list []string) error {
	user := ""
	if len(list) > 0 {
		user = list[0]
	}
	if len(list) == 2 {
		if err := setWay(ctx, s, user, list[1]); err != nil {
			return err
		}
	}
	ways, err := do(ctx, s, func(c *api.Client) ([]peer.WayPolicy, error) { return c.Ways(ctx, user) })
	if err != nil {
		return err
	}
	if p.flags.json {
		return entries(p.lines, "policy", ways)
	}
	return p.table(wayTable(ways))
}

// checkPolicy refuses what is no policy.
func checkPolicy(policy string) error {
	if !slices.Contains(policies, policy) {
		return usage(fmt.Sprintf("there is no policy %q", policy), "use auto, lan, direct, relay or default")
	}
	return nil
}

func setWay(ctx context.Context, s *session, user, policy string) error {
	if err := checkPolicy(policy); err != nil {
		return err
	}
	_, err := do(ctx, s, func(c *api.Client) (struct{}, error) { return struct{}{}, c.SetWay(ctx, user, policy) })
	return err
}

func wayTable(list []peer.WayPolicy) [][]string {
	rows := [][]string{{"NAME", "POLICY", "SET FOR", "THEIRS", "WAYS LEFT"}}
	for _, w := range list {
		set := "all"
		switch {
		case w.Own && w.User != peer.DefaultWay:
			set = "this user"
		case !w.Own && w.User == peer.DefaultWay:
			set = "-" // nobody has chosen it
		}
		rows = append(rows, []string{w.User, w.Policy, set, orDash(strings.Join(w.PolicyThere, " ")), waysLeft(&w)})
	}
	return rows
}

// waysLeft lists what both sides allow.
func waysLeft(w *peer.WayPolicy) string {
	if len(w.Ways) == 0 {
		return "none: " + w.Reason
	}
	var list []string
	for _, way := range w.Ways {
		list = append(list, string(way))
	}
	return strings.Join(list, " ")
}

// policyColumn says in a few words which policies hold for a contact; empty where both sides allow everything.
func policyColumn(c *peer.Contact) string {
	var parts []string
	if c.Policy != "auto" {
		parts = append(parts, c.Policy)
	}
	if len(c.PolicyThere) > 0 {
		parts = append(parts, strings.Join(c.PolicyThere, " ")+" there")
	}
	if c.Reason != "" {
		parts = append(parts, "no way: "+c.Reason)
	}
	return strings.Join(parts, ", ")
}
