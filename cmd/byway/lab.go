package main

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/byway-chat/byway/cmd/internal/lab"
	"github.com/byway-chat/byway/peer"
)

// Bounds of an experiment. With the most of everything it sends some 40,000 messages.
const (
	maxLabMessages = 10_000
	minLabSize     = 16 // the number of a message fits in
	minFaultTime   = time.Second
	maxFaultTime   = 2 * time.Minute
)

// labOptions is what the command line asks for.
type labOptions struct {
	out      string
	user     string // empty: two peers of our own
	messages int
	size     int
	drop     string
	loss     float64
	kill     bool
	fault    time.Duration
	chat     bool // real messages to user
}

func (p *program) labCommand() *cobra.Command {
	var o labOptions
	var loss, kill string
	cmd := &cobra.Command{
		Use:   "lab [USER] --out DIR",
		Short: "measure every way between two peers, with faults, and write a report",
		Long: "Sends the same over every way that is open, in turns, and writes DIR/report.html, which needs nothing else, and DIR/samples.csv.\n" +
			"Without USER it runs a rendezvous and two peers on this machine, and nothing is left of them. With USER it sends sealed probes, which leave\n" +
			"nothing in the conversation; only this side takes part in faults, and they end by themselves.",
		Args: args(cobra.MaximumNArgs(1)),
		RunE: func(cmd *cobra.Command, list []string) error {
			if len(list) > 0 {
				o.user = list[0]
			}
			if err := o.check(loss, kill); err != nil {
				return err
			}
			return p.lab(cmd.Context(), &o)
		},
	}
	f := cmd.Flags()
	f.StringVar(&o.out, "out", "", "directory for the report and the samples; made where it is missing (required)")
	f.IntVar(&o.messages, "messages", 100, "how many over each way, one at a time, and as many again as fast as it takes them")
	f.IntVar(&o.size, "size", 200, "bytes of each text or probe")
	f.StringVar(&o.drop, "drop", "", "lan, direct (every way past the rendezvous), punched or relay: loses every frame of that way for a time")
	f.StringVar(&loss, "loss", "", "share of the frames that is lost, as 0.05 or 5%, in every second block")
	f.StringVar(&kill, "kill", "", "relay: stops the rendezvous for a time (with USER: keeps this peer away from it)")
	f.DurationVar(&o.fault, "fault-time", 12*time.Second, "how long --drop and --kill last")
	f.BoolVar(&o.chat, "chat", false, "with USER: send messages that say what they are for, and not probes; USER sees each of them")
	return cmd
}

// check refuses what makes no sense, and reads loss and kill.
func (o *labOptions) check(loss, kill string) error {
	switch {
	case o.out == "":
		return usage("there is no directory for the report", "byway lab --out DIR")
	case o.messages < 1 || o.messages > maxLabMessages:
		return usage(fmt.Sprintf("--messages needs a number from 1 to %d", maxLabMessages), "")
	case o.size < minLabSize || o.size > maxText:
		return usage(fmt.Sprintf("--size needs a number from %d to %d", minLabSize, maxText), "")
	case o.fault < minFaultTime || o.fault > maxFaultTime:
		return usage(fmt.Sprintf("--fault-time is not from %v to %v", minFaultTime, maxFaultTime), "")
	case o.chat && o.user == "":
		return usage("--chat needs a USER", "without one the peers are our own, and get real messages")
	case kill != "" && kill != "relay":
		return usage(fmt.Sprintf("%q cannot be killed", kill), "use --kill relay")
	}
	o.kill = kill != ""
	switch peer.Way(o.drop) {
	case "", peer.WayLAN, peer.WayDirect, peer.WayPunched, peer.WayRelay:
	default:
		return usage(fmt.Sprintf("there is no way %q to drop", o.drop), "use --drop lan, direct, punched or relay")
	}
	return o.parseLoss(loss)
}

func (o *labOptions) parseLoss(s string) error {
	if s == "" {
		return nil
	}
	digits, percent := strings.CutSuffix(s, "%")
	share, err := strconv.ParseFloat(digits, 64)
	if percent {
		share /= 100
	}
	if err != nil || !(share > 0 && share < 1) {
		return usage(fmt.Sprintf("%q is not a share of frames to lose", s), "for example --loss 0.05 or --loss 5%; --drop loses all")
	}
	o.loss = share
	return nil
}

// lab runs an experiment and reports what it has measured, also where it is interrupted.
func (p *program) lab(ctx context.Context, o *labOptions) (err error) {
	out, err := openLabOutput(o.out)
	if err != nil {
		return err
	}
	e := &experiment{p: p, o: o, user: o.user}
	defer func() { err = errors.Join(err, e.close()) }()
	if err := e.prepare(ctx); err != nil {
		return err
	}
	ended := e.run(ctx) // what was measured until then is worth a report, whatever has ended it
	interrupted := ended != nil
	rows := e.rec.Rows(interrupted)
	figures, err := out.write(e.facts(interrupted), rows)
	if err == nil {
		err = p.tellLab(e.user, out, &figures, rows, interrupted)
	}
	switch {
	case err != nil:
		return err
	case ctx.Err() != nil:
		return context.Cause(ctx)
	case interrupted:
		return ended
	}
	return e.verdict(&figures.Total)
}

// verdict is the error of an experiment that has found what must never be: with real messages nothing may be lost, shown twice or out of order.
func (e *experiment) verdict(t *lab.Total) error {
	if e.kind() == lab.Probe || t.Lost+t.Doubled+t.Disorder+t.Unshown == 0 {
		return nil
	}
	return &peer.Error{
		Code:    peer.CodeFailed,
		Message: fmt.Sprintf("of %d messages %d were lost, %d shown twice, %d out of order, %d delivered and not shown", t.Sent, t.Lost, t.Doubled, t.Disorder, t.Unshown),
		Hint:    "the samples say which; please report it",
	}
}
