package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"time"

	"github.com/spf13/cobra"

	"github.com/byway-chat/byway/cmd/internal/version"
	"github.com/byway-chat/byway/rendezvous/admin"
)

func (p *program) statusCommand() *cobra.Command {
	var asJSON bool
	cmd := p.asking("status", "Uptime, users, traffic and health", noArgs, func(cmd *cobra.Command, c *admin.Client, _ []string) error {
		s, err := c.Status(cmd.Context())
		if err != nil {
			return err
		}
		if asJSON {
			return writeJSON(cmd.OutOrStdout(), s)
		}
		return showStatus(cmd.OutOrStdout(), s)
	})
	cmd.Flags().BoolVar(&asJSON, "json", false, "one JSON object")
	return cmd
}

func showStatus(w io.Writer, s admin.Status) error {
	t := newTable(w, "health", s.Health)
	if s.Damage != "" {
		t.row("damage", s.Damage)
	}
	for _, path := range s.Damaged {
		t.row("kept aside", path)
	}
	t.row("version", s.Version)
	t.row("up", (time.Duration(s.UptimeMS)*time.Millisecond).Round(time.Second).String()+", since "+clock(&s.Started))
	t.row("registration", s.Registration)
	t.row("users", fmt.Sprintf("%d, %d online by %s of at most %d", s.Users, s.Online, count(s.Connections, "connection"), s.MaxPeers))
	for _, line := range []struct {
		name    string
		traffic admin.Traffic
	}{{"relayed live", s.Relayed}, {"stored", s.Stored}, {"out of mailbox", s.Delivered}} {
		t.row(line.name, fmt.Sprintf("%s, %s", count(int(line.traffic.Messages), "message"), size(line.traffic.Bytes)))
	}
	t.row("expired", count(int(s.Expired), "message"))
	for _, code := range slices.Sorted(maps.Keys(s.Refused)) {
		t.row("refused", fmt.Sprintf("%s, %s", count(int(s.Refused[code]), "message"), code))
	}
	t.row("peer id", s.PeerID)
	return t.flush()
}

func (p *program) healthCommand() *cobra.Command {
	var asJSON bool
	cmd := p.asking("health", "Exit 0 when serving and the database answers", noArgs,
		func(cmd *cobra.Command, c *admin.Client, _ []string) error {
			ctx, cancel := context.WithTimeout(cmd.Context(), 5*time.Second)
			defer cancel()
			s, err := c.Status(ctx)
			if err != nil {
				return err
			}
			if asJSON {
				err = writeJSON(cmd.OutOrStdout(), struct {
					V      int    `json:"v"`
					Health string `json:"health"`
				}{1, s.Health})
			}
			switch {
			case err != nil:
				return err
			case s.Health != "ok" && asJSON:
				return toldError{errors.New(s.Health)}
			case s.Health != "ok":
				return errors.New(s.Health)
			case asJSON:
				return nil
			}
			_, err = fmt.Fprintln(cmd.OutOrStdout(), "ok")
			return err
		})
	cmd.Flags().BoolVar(&asJSON, "json", false, "one JSON object")
	return cmd
}

func (p *program) addressCommand() *cobra.Command {
	var asJSON bool
	cmd := p.asking("address", "Where the rendezvous can be reached, and the link to it", noArgs,
		func(cmd *cobra.Command, c *admin.Client, _ []string) error {
			a, err := c.Address(cmd.Context())
			if err != nil {
				return err
			}
			if asJSON {
				return writeJSON(cmd.OutOrStdout(), a)
			}
			for _, line := range append(a.Addrs, a.Link) {
				if _, err := fmt.Fprintln(cmd.OutOrStdout(), line); err != nil {
					return err
				}
			}
			return nil
		})
	cmd.Flags().BoolVar(&asJSON, "json", false, "one JSON object")
	return cmd
}

func (p *program) inviteCommand() *cobra.Command {
	var (
		uses    int
		expires time.Duration
		asJSON  bool
	)
	cmd := p.asking("invite", "Make an invitation link", noArgs, func(cmd *cobra.Command, c *admin.Client, _ []string) error {
		if uses < 1 || expires < 0 {
			return usagef("--uses must be at least 1, and --expires not negative")
		}
		invite, err := c.Invite(cmd.Context(), uses, expires)
		if err != nil {
			return err
		}
		if asJSON {
			return writeJSON(cmd.OutOrStdout(), invite)
		}
		_, err = fmt.Fprintln(cmd.OutOrStdout(), invite.Link)
		return err
	})
	cmd.Flags().IntVar(&uses, "uses", 1, "how many may register with it")
	cmd.Flags().DurationVar(&expires, "expires", 7*24*time.Hour, "lifetime, as 48h; 0 is no end")
	cmd.Flags().BoolVar(&asJSON, "json", false, "one JSON object")
	return cmd
}

func (p *program) versionCommand() *cobra.Command {
	var asJSON bool
	cmd := &cobra.Command{
		Use: "version", Short: "The version of this program", Args: noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if asJSON {
				return writeJSON(cmd.OutOrStdout(), struct {
					V       int    `json:"v"`
					Version string `json:"version"`
					Go      string `json:"go"`
				}{1, version.String(), version.Go()})
			}
			_, err := fmt.Fprintln(cmd.OutOrStdout(), "rendezvous", version.String(), version.Go())
			return err
		},
	}
	cmd.Flags().BoolVar(&asJSON, "json", false, "one JSON object")
	return cmd
}
