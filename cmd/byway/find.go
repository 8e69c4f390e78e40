package main

import (
	"context"
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"github.com/byway-chat/byway/cmd/internal/terminal"
	"github.com/byway-chat/byway/peer"
	"github.com/byway-chat/byway/peer/api"
)

func (p *program) connectCommand() *cobra.Command {
	return &cobra.Command{
		Use: "connect USER ADDRESS", Short: "open a direct way to USER at an address that you know", Args: args(cobra.ExactArgs(2)),
		Long: "Opens a direct way to USER at ADDRESS, a multiaddr as `byway address` shows it on the other device. Whoever answers has to prove that it is\n" +
			"USER; the address is remembered. Exit 0 when USER answers there, 5 when not. Where a direct way to USER is open already, that one is\n" +
			"told and nothing is dialled.",
		RunE: func(cmd *cobra.Command, list []string) error {
			if err := peer.CheckAddress(list[1]); err != nil {
				return err
			}
			return p.withPeer(cmd.Context(), func(ctx context.Context, s *session) error {
				f, err := do(ctx, s, func(c *api.Client) (peer.Found, error) { return c.Connect(ctx, list[0], list[1]) })
				return p.found(list[0], f, err)
			})
		},
	}
}

func (p *program) findCommand() *cobra.Command {
	var sweep bool
	cmd := &cobra.Command{
		Use: "find USER", Short: "look for USER on this network, without the rendezvous", Args: args(cobra.ExactArgs(1)),
		Long: "Looks for USER at the addresses that are known and at those that mDNS tells. --sweep knocks at every address of the private networks of this\n" +
			"machine as well, at most 256 of each, 50 a second; nothing else ever does that, and Ctrl-C ends it. Exit 0 when USER answers, 5 when not.",
		RunE: func(cmd *cobra.Command, list []string) error {
			return p.withPeer(cmd.Context(), func(ctx context.Context, s *session) error {
				f, err := do(ctx, s, func(c *api.Client) (peer.Found, error) { return c.Find(ctx, list[0], sweep) })
				return p.found(list[0], f, err)
			})
		},
	}
	cmd.Flags().BoolVar(&sweep, "sweep", false, "knock at every address of this machine's private networks, where multicast is filtered")
	return cmd
}

// found prints where somebody was found.
func (p *program) found(user string, f peer.Found, err error) error {
	if err != nil {
		return err
	}
	if p.flags.json {
		return p.lines.entry("found", f)
	}
	return p.say("%s", foundLine(user, &f))
}

func foundLine(user string, f *peer.Found) string {
	rtt := ""
	if f.RTT != nil {
		rtt = ", " + inWords(milliseconds(*f.RTT))
	}
	return fmt.Sprintf("%s answers at %s (%s%s; %s)", clean(user), clean(f.Addr), clean(string(f.Way)), rtt, clean(f.How))
}

func (p *program) addressCommand() *cobra.Command {
	return &cobra.Command{
		Use: "address", Short: "where this device can be reached, to be typed or scanned by others", Args: noArgs,
		Long: "Prints the addresses of this device, those of the local network first, for `byway connect` on another device. On a terminal the first is shown as a\n" +
			"QR code too. The device keeps its port, where that is free.",
		RunE: func(cmd *cobra.Command, _ []string) error { return p.withPeer(cmd.Context(), p.address) },
	}
}

func (p *program) address(ctx context.Context, s *session) error {
	list, err := do(ctx, s, func(c *api.Client) ([]api.Address, error) { return c.Addresses(ctx) })
	if err != nil {
		return err
	}
	var lines []string
	for _, a := range list {
		if p.flags.json {
			if err := p.lines.entry("address", map[string]string{"addr": a.Addr}); err != nil {
				return err
			}
		}
		lines = append(lines, a.Addr)
	}
	if p.flags.json {
		return nil
	}
	text := strings.Join(lines, "\n") + "\n"
	if len(lines) == 0 {
		text = "this peer listens nowhere\n"
	} else if isTerminal(p.stdout) && terminal.UTF8(p.getenv) && !terminal.WantsPlain(p.getenv) && !p.flags.plain {
		text += qrCode(lines[0])
	}
	return p.write(text)
}

func chatConnect(ctx context.Context, c *chat, args []string) error {
	user, rest, err := c.user(args)
	if err != nil {
		return err
	}
	if len(rest) != 1 {
		return usage("at which address?", "/connect "+user+" ADDRESS; `byway address` shows it on the other device")
	}
	f, err := do(ctx, c.s, func(cl *api.Client) (peer.Found, error) { return cl.Connect(ctx, user, rest[0]) })
	if err != nil {
		return err
	}
	return c.say("* %s", foundLine(user, &f))
}

func chatFind(ctx context.Context, c *chat, args []string) error {
	user, rest, err := c.user(args, "sweep", "--sweep")
	if err != nil {
		return err
	}
	sweep := len(rest) > 0 && strings.TrimPrefix(rest[0], "--") == "sweep"
	f, err := do(ctx, c.s, func(cl *api.Client) (peer.Found, error) { return cl.Find(ctx, user, sweep) })
	if err != nil {
		return err
	}
	return c.say("* %s", foundLine(user, &f))
}

func botConnect(ctx context.Context, b *bot, c *botCommand) error {
	f, err := do(ctx, b.s, func(cl *api.Client) (peer.Found, error) { return cl.Connect(ctx, c.user(), c.Address) })
	return replies(b, c, "found", []peer.Found{f}, err)
}

func botFind(ctx context.Context, b *bot, c *botCommand) error {
	f, err := do(ctx, b.s, func(cl *api.Client) (peer.Found, error) { return cl.Find(ctx, c.user(), c.Sweep) })
	return replies(b, c, "found", []peer.Found{f}, err)
}
