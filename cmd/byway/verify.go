package main

import (
	"context"
	"fmt"
	"strings"

	"github.com/spf13/cobra"
	"rsc.io/qr"

	"github.com/byway-chat/byway/cmd/internal/terminal"
	"github.com/byway-chat/byway/peer"
	"github.com/byway-chat/byway/peer/api"
)

func (p *program) verifyCommand() *cobra.Command {
	var accept bool
	cmd := &cobra.Command{
		Use: "verify USER", Short: "the safety number to compare with USER; --accept marks USER verified", Args: args(cobra.ExactArgs(1)),
		RunE: func(cmd *cobra.Command, list []string) error {
			return p.withPeer(cmd.Context(), func(ctx context.Context, s *session) error { return p.verify(ctx, s, list[0], accept) })
		},
	}
	cmd.Flags().BoolVar(&accept, "accept", false, "the number is the same on both sides: trust these keys")
	return cmd
}

func (p *program) verify(ctx context.Context, s *session, user string, accept bool) error {
	v, err := do(ctx, s, func(c *api.Client) (peer.Verification, error) { return c.Verify(ctx, user, accept) })
	if err != nil {
		return err
	}
	if p.flags.json {
		return p.lines.entry("verification", v)
	}
	return p.write(p.verification(&v))
}

// verification is the text of verify: the number, what to do with it, and on a terminal the number as a QR code.
func (p *program) verification(v *peer.Verification) string {
	var b strings.Builder
	name := clean(v.User)
	fmt.Fprintf(&b, "%s\n", clean(v.SafetyNumber))
	for _, f := range v.Fingerprints {
		fmt.Fprintf(&b, "key of %s: %s\n", name, clean(f))
	}
	for _, f := range v.Pending {
		fmt.Fprintf(&b, "not accepted yet: %s\n", clean(f))
	}
	if v.Key == peer.KeyVerified && len(v.Pending) == 0 {
		fmt.Fprintf(&b, "%s is verified\n", name)
	} else {
		fmt.Fprintf(&b, "%s must see the same number; if so: byway verify %s --accept\n", name, name)
	}
	if isTerminal(p.stdout) && terminal.UTF8(p.getenv) && !terminal.WantsPlain(p.getenv) && !p.flags.plain {
		b.WriteString(qrCode(strings.ReplaceAll(v.SafetyNumber, " ", "")))
	}
	return b.String()
}

// qrCode draws text with half blocks, dark on light as readers want it, two modules of margin around. It is empty for a text that no
// code holds.
func qrCode(text string) string {
	code, err := qr.Encode(text, qr.L)
	if err != nil {
		return ""
	}
	const margin = 2
	light := func(x, y int) bool { return !code.Black(x-margin, y-margin) }
	var b strings.Builder
	size := code.Size + 2*margin
	for y := 0; y < size; y += 2 {
		for x := range size {
			switch top, bottom := light(x, y), y+1 < size && light(x, y+1); {
			case top && bottom:
				b.WriteRune('█')
			case top:
				b.WriteRune('▀')
			case bottom:
				b.WriteRune('▄')
			default:
				b.WriteByte(' ')
			}
		}
		b.WriteByte('\n')
	}
	return b.String()
}
