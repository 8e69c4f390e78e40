package main

import (
	"context"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"github.com/byway-chat/byway/cmd/internal/version"
	"github.com/byway-chat/byway/peer"
	"github.com/byway-chat/byway/peer/api"
)

func (p *program) statusCommand() *cobra.Command {
	return &cobra.Command{
		Use: "status", Short: "who you are here, and whether the rendezvous is connected", Args: noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return p.withPeer(cmd.Context(), p.status) },
	}
}

func (p *program) status(ctx context.Context, s *session) error {
	st, err := do(ctx, s, func(c *api.Client) (peer.Status, error) { return c.Status(ctx) })
	if err != nil {
		return err
	}
	if p.flags.json {
		return p.lines.entry("status", st)
	}
	return p.table(statusTable(&st))
}

func statusTable(st *peer.Status) [][]string {
	connected := "connected"
	if !st.Rendezvous.Connected {
		connected = "not connected"
		if st.Reason != "" {
			connected += ": " + st.Reason
		}
	}
	table := [][]string{
		{"user", st.User},
		{"device", st.Device},
		{"fingerprint", st.Fingerprint},
		{"peer id", st.PeerID},
		{"addresses", strings.Join(st.Addrs, " ")},
		{"rendezvous", st.Rendezvous.PeerID + " " + connected},
		{"not yet delivered", strconv.Itoa(st.Outbox)},
		{"contacts", strconv.Itoa(st.Contacts)},
		{"read receipts", onOff(st.ReadReceipts)},
		{"running since", when(st.Started)},
		{"version", st.Version},
	}
	if st.Fault != nil {
		table = append(table, []string{"trouble", faultLine(st)})
	}
	return table
}

// faultLine says what keeps the peer from receiving and accepting messages, and the cure, or nothing where nothing does.
func faultLine(st *peer.Status) string {
	if st.Fault == nil {
		return ""
	}
	text := clean(st.Fault.Message) + ": nothing is received or accepted"
	if st.Fault.Hint != "" {
		text += "; " + clean(st.Fault.Hint)
	}
	return text
}

func onOff(on bool) string {
	if on {
		return "on"
	}
	return "off"
}

func (p *program) versionCommand() *cobra.Command {
	return &cobra.Command{
		Use: "version", Short: "the version of this program", Args: noArgs,
		RunE: func(*cobra.Command, []string) error {
			if p.flags.json {
				return p.lines.entry("version", map[string]string{"version": version.String(), "go": version.Go()})
			}
			return p.say("byway %s, %s", version.String(), version.Go())
		},
	}
}
