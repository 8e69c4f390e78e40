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

// verification is the text of verify: the number, what to do with it, and the number as a QR code, but for --plain and TERM=dumb.
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
	digits := strings.ReplaceAll(v.SafetyNumber, " ", "")
	switch {
	case p.flags.plain, p.getenv("TERM") == "dumb":
	case isTerminal(p.stdout) && !terminal.UTF8(p.getenv):
		b.WriteString(asciiQRCode(digits))
	default:
		b.WriteString(qrCode(digits))
	}
	return b.String()
}

// asciiQRCode is qrCode for a terminal without UTF-8: two characters a module.
func asciiQRCode(text string) string {
	code, err := qr.Encode(text, qr.L)
	if err != nil {
		return ""
	}
	var b strings.Builder
	for y := -qrMargin; y < code.Size+qrMargin; y++ {
		for x := -qrMargin; x < code.Size+qrMargin; x++ {
			if code.Black(x, y) {
				b.WriteString("  ")
			} else {
				b.WriteString("##")
			}
		}
		b.WriteByte('\n')
	}
	return b.String()
}

// qrMargin is how many light modules stand around a code.
const qrMargin = 2

// qrCode draws text with half blocks, dark on light as readers want it, two modules of margin around. It is empty for a text that no
// code holds.
func qrCode(text string) string {
	code, err := qr.Encode(text, qr.L)
	if err != nil {
		return ""
	}
	light := func(x, y int) bool { return !code.Black(x-qrMargin, y-qrMargin) }
	var b strings.Builder
	size := code.Size + 2*qrMargin
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
