package main

import (
	"context"
	"errors"

	"github.com/spf13/cobra"

	"github.com/byway-chat/byway/peer"
	"github.com/byway-chat/byway/peer/api"
	"github.com/byway-chat/byway/peer/trace"
)

// tracing is the trace command.
type tracing struct {
	p *program
	o trace.Options
}

func (p *program) traceCommand() *cobra.Command {
	t := &tracing{p: p}
	cmd := &cobra.Command{
		Use:   "trace [USER]",
		Short: "every attempt to find a way to USER and every change of one, as JSON lines",
		Long: "Prints one JSON object a line for each dial, punch, link, change of a way, finding about the network and change at the rendezvous: first\n" +
			"what the running peer remembers, then what happens, until it is interrupted. Without USER: of everybody. Where no peer runs, one is\n" +
			"started, and looks for a way to USER. When a running peer ends, the next one is waited for. An object \"what\":\"lost\" says how many are missing in its place.",
		Args: args(cobra.MaximumNArgs(1)),
		RunE: func(cmd *cobra.Command, list []string) error {
			if len(list) == 1 {
				t.o.User = list[0]
			}
			if t.o.New && t.o.Held {
				return usage("--new and --past exclude each other", "leave both out to see everything")
			}
			n := need{ended: p.peerEnded}
			if t.o.Held {
				n.ended = nil // it has an end, and so must its wait
			}
			return p.withPeerFor(cmd.Context(), n, t.run)
		},
	}
	cmd.Flags().BoolVar(&t.o.New, "new", false, "only what happens from now on")
	cmd.Flags().BoolVar(&t.o.Held, "past", false, "only what the peer remembers, then end")
	return cmd
}

func (t *tracing) run(ctx context.Context, s *session) error {
	t.p.flags.json = true // also for errors: there is no other form
	if t.o.User != "" {
		// It is known then whether there is such a user, and a peer that has only just been started looks for a way.
		if _, err := do(ctx, s, func(c *api.Client) ([]peer.RouteEntry, error) { return c.Route(ctx, t.o.User) }); err != nil {
			return err
		}
	}
	for {
		client := s.current()
		opened, err := t.follow(ctx, client)
		switch {
		case ctx.Err() != nil:
			return drained(ctx, context.Cause(ctx))
		case !errors.Is(err, api.ErrGone):
			return err
		case opened && t.o.Held:
			return nil
		case opened:
			continue // the peer has left, or took us for dead because standard output was blocked
		}
		if err := s.replace(ctx, client); err != nil {
			return drained(ctx, err)
		}
		t.o.After, t.o.New = 0, false // the story of another peer has other numbers, and all of it is new
	}
}

// follow prints what one peer tells, to the end; opened says whether it has begun. The error is ErrGone also where nothing more is to be told.
func (t *tracing) follow(ctx context.Context, client *api.Client) (opened bool, err error) {
	sub, err := client.Trace(ctx, t.o)
	if err != nil {
		return false, err
	}
	defer sub.Close()
	for step, err := range sub.Events() {
		if err != nil {
			return true, err
		}
		if step.Seq > 0 {
			t.o.After, t.o.New = step.Seq, false
		}
		if err := t.p.lines.step(step); err != nil {
			return true, err
		}
	}
	return true, api.ErrGone
}
