package main

import (
	"context"
	"fmt"
	"io"
	"strings"

	"github.com/spf13/cobra"

	"github.com/byway-chat/byway/cmd/internal/terminal"
	"github.com/byway-chat/byway/rendezvous/admin"
)

func (p *program) usersCommand() *cobra.Command {
	var asJSON bool
	cmd := p.asking("users", "Every registered user", noArgs, func(cmd *cobra.Command, c *admin.Client, _ []string) error {
		return showUsers(cmd.Context(), cmd.OutOrStdout(), c, asJSON)
	})
	cmd.Flags().BoolVar(&asJSON, "json", false, "one JSON object a line")
	return cmd
}

func showUsers(ctx context.Context, w io.Writer, c *admin.Client, asJSON bool) error {
	if asJSON {
		return c.Users(ctx, func(u admin.User) error { return writeJSON(w, u) })
	}
	t := newTable(w, "NAME", "ONLINE", "LAST SEEN", "MAILBOX", "PASSWORD", "SINCE", "DEVICES (KEY FINGERPRINT)")
	err := c.Users(ctx, func(u admin.User) error {
		online := yesNo(u.Online)
		if u.Banned != nil {
			online = "banned"
		}
		first := "-"
		if len(u.Devices) > 0 {
			first = deviceText(u.Devices[0])
		}
		mailbox := fmt.Sprintf("%d (%s)", u.Mailbox.Messages, size(u.Mailbox.Bytes))
		t.row(u.Name, online, clock(u.LastSeen), mailbox, u.Password, clock(&u.Created), first)
		for _, d := range u.Devices[min(1, len(u.Devices)):] {
			t.row("", "", "", "", "", "", deviceText(d))
		}
		return nil
	})
	if err != nil {
		return err
	}
	return t.flush()
}

// deviceText shows a fingerprint in groups, to be read aloud and compared.
func deviceText(d admin.Device) string {
	var groups []string
	for f := d.Fingerprint; f != ""; f = f[min(4, len(f)):] {
		groups = append(groups, f[:min(4, len(f))])
	}
	return strings.Join(groups, " ")
}

func (p *program) activeCommand() *cobra.Command {
	var asJSON bool
	cmd := p.asking("active", "Who is connected now", noArgs, func(cmd *cobra.Command, c *admin.Client, _ []string) error {
		return showActive(cmd.Context(), cmd.OutOrStdout(), c, asJSON)
	})
	cmd.Flags().BoolVar(&asJSON, "json", false, "one JSON object a line")
	return cmd
}

func showActive(ctx context.Context, w io.Writer, c *admin.Client, asJSON bool) error {
	list, err := c.Active(ctx)
	if err != nil {
		return err
	}
	if asJSON {
		for _, a := range list {
			if err := writeJSON(w, a); err != nil {
				return err
			}
		}
		return nil
	}
	t := newTable(w, "NAME", "DEVICE", "SINCE", "TRANSPORT", "ADDRESS", "PROGRAM")
	for _, a := range list {
		t.row(a.Name, a.Device, clock(&a.Since), a.Transport, a.Address, a.Agent)
	}
	return t.flush()
}

func (p *program) kickCommand() *cobra.Command {
	return p.asking("kick NAME", "End a user's connections; the user may come back", oneName,
		func(cmd *cobra.Command, c *admin.Client, args []string) error {
			return kick(cmd.Context(), cmd.OutOrStdout(), c, args[0])
		})
}

func kick(ctx context.Context, w io.Writer, c *admin.Client, name string) error {
	n, err := c.Kick(ctx, name)
	if err != nil {
		return err
	}
	_, err = fmt.Fprintf(w, "%s: %s ended\n", terminal.Clean(name), count(n, "connection"))
	return err
}

func (p *program) banCommand() *cobra.Command {
	var reason string
	cmd := p.asking("ban NAME", "Keep a user from signing in, and end the user's connections", oneName,
		func(cmd *cobra.Command, c *admin.Client, args []string) error {
			n, err := c.Ban(cmd.Context(), args[0], reason)
			if err != nil {
				return err
			}
			_, err = fmt.Fprintf(cmd.OutOrStdout(), "%s: banned, %s ended\n", terminal.Clean(args[0]), count(n, "connection"))
			return err
		})
	cmd.Flags().StringVar(&reason, "reason", "", "words that the user is shown")
	return cmd
}

func (p *program) unbanCommand() *cobra.Command {
	return p.asking("unban NAME", "Let a user sign in again", oneName,
		func(cmd *cobra.Command, c *admin.Client, args []string) error {
			if err := c.Unban(cmd.Context(), args[0]); err != nil {
				return err
			}
			_, err := fmt.Fprintf(cmd.OutOrStdout(), "%s: may sign in again\n", terminal.Clean(args[0]))
			return err
		})
}

func count(n int, what string) string {
	if n == 1 {
		return "1 " + what
	}
	return fmt.Sprintf("%d %ss", n, what)
}
