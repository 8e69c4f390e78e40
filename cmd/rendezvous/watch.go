package main

import (
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"os/signal"
	"syscall"

	"github.com/spf13/cobra"

	"github.com/byway-chat/byway/cmd/internal/terminal"
	"github.com/byway-chat/byway/rendezvous/admin"
)

func (p *program) watchCommand() *cobra.Command {
	var asJSON, withBytes bool
	cmd := p.asking("watch", "Envelopes as they pass, which nobody here can open", noArgs,
		func(cmd *cobra.Command, c *admin.Client, _ []string) error {
			ctx, stop := signal.NotifyContext(cmd.Context(), syscall.SIGINT, syscall.SIGTERM)
			defer stop()
			begun := func() { fmt.Fprintln(p.err, "watching; Ctrl-C ends it") }
			err := watch(ctx, cmd.OutOrStdout(), c, begun, asJSON, withBytes)
			if ctx.Err() != nil && errors.Is(err, context.Canceled) {
				return nil
			}
			return err
		})
	cmd.Flags().BoolVar(&asJSON, "json", false, "one JSON object a line")
	cmd.Flags().BoolVar(&withBytes, "bytes", false, "with the ciphertext, in base64")
	return cmd
}

// watch calls begun when it misses nothing any more, and prints envelopes until ctx ends or the rendezvous stops.
func watch(ctx context.Context, w io.Writer, c *admin.Client, begun func(), asJSON, withBytes bool) error {
	dropped := uint64(0)
	return c.Watch(ctx, withBytes, begun, func(e admin.Envelope) error {
		if asJSON {
			return writeJSON(w, e)
		}
		if e.Dropped > dropped {
			fmt.Fprintf(w, "(%d not shown: too fast)\n", e.Dropped-dropped)
			dropped = e.Dropped
		}
		return showEnvelope(w, e)
	})
}

func showEnvelope(w io.Writer, e admin.Envelope) error {
	line := fmt.Sprintf("%s  %s/%s -> %s/%s  %s  %d bytes  %s", e.Time.Local().Format("15:04:05.000"),
		e.From, e.FromDevice, e.To, e.ToDevice, e.Kind, e.Size, e.Delivery)
	if _, err := fmt.Fprintln(w, terminal.Clean(line)); err != nil {
		return err
	}
	if len(e.Bytes) == 0 {
		return nil
	}
	_, err := fmt.Fprintln(w, "  "+base64.StdEncoding.EncodeToString(e.Bytes))
	return err
}
