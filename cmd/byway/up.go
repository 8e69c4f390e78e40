package main

import (
	"context"
	"fmt"

	"github.com/spf13/cobra"
)

func (p *program) upCommand() *cobra.Command {
	return &cobra.Command{
		Use: "up", Short: "keep the peer running without a face, for other commands and programs", Args: noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return p.up(cmd.Context()) },
	}
}

// up owns the peer until it is asked to leave: by SIGTERM or over the local API, which is success, or by Ctrl-C.
func (p *program) up(ctx context.Context) (err error) {
	s, err := p.open(ctx, need{enrol: true, own: true, held: p.homeHeld})
	if err != nil {
		return drained(ctx, err)
	}
	defer s.closeInto(&err)
	ready, err := s.ready(ctx)
	if err != nil {
		return drained(ctx, err)
	}
	if p.flags.json {
		err = p.lines.event(ready)
	} else {
		err = p.say("up as %s", clean(ready.User))
	}
	if err != nil {
		return err
	}
	<-ctx.Done()
	return drained(ctx, context.Cause(ctx))
}

// homeHeld is what somebody reads who starts a second peer on a home.
func (p *program) homeHeld() {
	fmt.Fprintf(p.stderr, "byway: another process runs %s; this one goes on when that ends (Ctrl-C ends this)\n", clean(p.flags.home))
}
