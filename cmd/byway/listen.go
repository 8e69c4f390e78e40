package main

import (
	"context"
	"fmt"
	"time"

	"github.com/spf13/cobra"

	"github.com/byway-chat/byway/peer"
)

// listening is the listen command.
type listening struct {
	p       *program
	count   int
	timeout time.Duration
}

func (p *program) listenCommand() *cobra.Command {
	l := &listening{p: p}
	cmd := &cobra.Command{
		Use:   "listen",
		Short: "print incoming messages, one a line; --json prints every event",
		Long: "Prints incoming messages, first those that came while nobody looked. Ends after --count messages, or after --timeout:\n" +
			"with exit 5 where --count messages had not come by then, else with 0.",
		Args: noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return l.run(cmd.Context()) },
	}
	cmd.Flags().IntVar(&l.count, "count", 0, "end after so many messages (0: never)")
	cmd.Flags().DurationVar(&l.timeout, "timeout", 0, "end after this time (0: never)")
	return cmd
}

func (l *listening) run(ctx context.Context) (err error) {
	if l.count < 0 || l.timeout < 0 {
		return usage("--count and --timeout cannot be negative", "")
	}
	s, err := l.p.open(ctx, need{enrol: true})
	if err != nil {
		return drained(ctx, err)
	}
	defer s.closeInto(&err)
	timed := ctx
	if l.timeout > 0 {
		var cancel context.CancelFunc
		timed, cancel = context.WithTimeout(ctx, l.timeout)
		defer cancel()
	}
	n, err := l.print(timed, s)
	switch {
	case ctx.Err() != nil:
		return drained(ctx, context.Cause(ctx))
	case timed.Err() == nil || err == nil:
		return err
	case n < l.count:
		return &peer.Error{Code: peer.CodeTimeout, Message: fmt.Sprintf("%d of %d messages came within %v", n, l.count, l.timeout)}
	}
	return nil
}

// print returns how many messages it has printed; its error is nil only when they are enough.
func (l *listening) print(ctx context.Context, s *session) (n int, err error) {
	ready, err := s.ready(ctx)
	if err != nil {
		return 0, err
	}
	shown, err := s.show(context.WithoutCancel(ctx), &ready)
	if err != nil {
		return 0, err
	}
	defer func() {
		if failed := shown.Close(); err == nil {
			err = failed
		}
	}()
	f, err := s.subscribe(ctx, shown)
	if err != nil {
		return 0, err
	}
	if l.p.flags.json {
		if err := l.p.lines.event(ready); err != nil {
			f.Close()
			return 0, err
		}
	}
	for e, err := range f.Events(ctx) {
		if err == nil {
			err = l.one(&e)
		}
		if err != nil {
			return n, err
		}
		if e.Type != peer.EventMessage {
			continue
		}
		shown.printed(&e)
		if n++; n == l.count {
			return n, nil
		}
	}
	return n, context.Cause(ctx)
}

// one prints an event; without --json only messages, and on standard error whose keys are new.
func (l *listening) one(e *peer.Event) error {
	if l.p.flags.json {
		e.Re = "" // another face's
		return l.p.lines.event(*e)
	}
	if e.Type == peer.EventKey && e.Change == peer.KeyFirstSeen {
		l.p.warn(fmt.Sprintf("first contact with %s, key %s; byway verify %s compares it", e.User, e.Fingerprint, e.User))
	}
	if e.Type != peer.EventMessage {
		return nil
	}
	return l.p.message(messageInOneLine(e)+"\n", markOf(e))
}
