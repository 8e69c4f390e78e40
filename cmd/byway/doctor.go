package main

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/byway-chat/byway/cmd/internal/version"
	"github.com/byway-chat/byway/peer"
	"github.com/byway-chat/byway/peer/api"
	"github.com/byway-chat/byway/peer/doctor"
)

func (p *program) doctorCommand() *cobra.Command {
	full := false
	cmd := &cobra.Command{
		Use: "doctor", Short: "what is in order here, what is not, and what to do", Args: noArgs,
		Long: "Examines the home, the network and the rendezvous step by step, beside a running peer or without one. What it prints may be shown to\n" +
			"anybody: it has no secret, and without --full no name of a user, no path and no public address.\n" +
			"Exit 0 when nothing has failed (a warning is no failure), 10 when the first failure is that the rendezvous cannot be reached, 20 that none\n" +
			"was found, else 1.",
		RunE: func(cmd *cobra.Command, _ []string) error { return p.doctor(cmd.Context(), full) },
	}
	cmd.Flags().BoolVar(&full, "full", false, "with user names and public addresses: not for a public place")
	return cmd
}

func (p *program) doctor(ctx context.Context, full bool) (err error) {
	var s *session
	defer func() {
		if s != nil {
			s.closeInto(&err)
		}
	}()
	steps, err := doctor.Examine(ctx, doctor.Config{
		Home: p.flags.home, Rendezvous: p.flags.rendezvous, NoMDNS: p.flags.noMDNS, Full: full, Version: version.String(),
		Ask: func(ctx context.Context) (peer.Checkup, error) {
			var err error
			if s, err = p.open(ctx, need{}); err != nil {
				return peer.Checkup{}, err
			}
			return do(ctx, s, func(c *api.Client) (peer.Checkup, error) { return c.Checkup(ctx) })
		},
		Answers: p.answers,
	}, p.tellStep)
	if err != nil {
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		return err
	}
	if err := p.diagnosis(steps); err != nil {
		return err
	}
	return healthy(doctor.CodeOf(steps))
}

// answersWait is how long the doctor waits for the process that holds the home to answer: one that is coming up has its socket in a moment.
const answersWait = 2 * time.Second

// answers reports whether the process that holds the home answers on its socket.
func (p *program) answers(ctx context.Context) bool {
	ctx, cancel := context.WithTimeout(ctx, answersWait)
	defer cancel()
	for {
		if client, err := api.Dial(ctx, p.flags.home); err == nil {
			_, err = client.Status(ctx)
			client.Close()
			if err == nil {
				return true
			}
		}
		select {
		case <-time.After(homePoll):
		case <-ctx.Done():
			return false
		}
	}
}

// healthy is the exit code of an examination whose first failure has this code.
func healthy(first peer.Code) error {
	switch code := exitOf[first]; {
	case first == "":
		return nil
	case code == exitRendezvous || code == exitNotFound:
		return outcome(code)
	}
	return outcome(exitFailed)
}

// stateWords are what people read.
var stateWords = map[doctor.State]string{doctor.OK: "OK", doctor.Warning: "WARNING", doctor.Failed: "FAILED", doctor.Skipped: "-"}

func (p *program) tellStep(s doctor.Step) error {
	if p.flags.json {
		return p.lines.entry("step", s)
	}
	line := strings.TrimRight(fmt.Sprintf("%-7s  %-15s  %s", stateWords[s.State], clean(s.Name), clean(s.Detail)), " ")
	if s.Hint != "" {
		line += "\n" + strings.Repeat(" ", 9) + "hint: " + clean(s.Hint)
	}
	return p.say("%s", line)
}

// diagnosis is the last object of doctor.
func (p *program) diagnosis(steps []doctor.Step) error {
	count := map[doctor.State]int{}
	for _, s := range steps {
		count[s.State]++
	}
	if p.flags.json {
		return p.lines.entry("summary", struct {
			OK       int       `json:"ok"`
			Warnings int       `json:"warnings"`
			Failed   int       `json:"failed"`
			Skipped  int       `json:"skipped"`
			Code     peer.Code `json:"code,omitempty"` // of the first failure
		}{count[doctor.OK], count[doctor.Warning], count[doctor.Failed], count[doctor.Skipped], doctor.CodeOf(steps)})
	}
	return p.say("%d in order, %d warnings, %d failed, %d not looked at", count[doctor.OK], count[doctor.Warning], count[doctor.Failed], count[doctor.Skipped])
}
