package main

import (
	"context"
	"fmt"
	"io"
	"time"
	"unicode/utf8"

	"github.com/spf13/cobra"

	"github.com/byway-chat/byway/peer"
	"github.com/byway-chat/byway/peer/api"
)

const (
	// directWait is the timeout where only a direct way or the LAN will do and none was given: looking for one ends after 10 s, with the reason.
	directWait = 12 * time.Second
	// toldBy is how long before the end of its time a message that found no direct way is given up.
	toldBy = 250 * time.Millisecond
	// maxText is the longest text of a message in bytes.
	maxText = 64 << 10
	// storedGrace is how long a message that is stored may still be delivered, when nothing was said about waiting: a recipient who is
	// there but was slow for a moment takes it at once.
	storedGrace = 150 * time.Millisecond
	// fullGrace is how long a message for a full mailbox is waited for all the same: that of a recipient who is there empties.
	fullGrace = 1500 * time.Millisecond
)

// sending is the send command.
type sending struct {
	p       *program
	to      string
	way     string
	wait    string // empty: delivered, but not past stored
	timeout time.Duration
	within  time.Duration // of SendOptions
}

func (p *program) sendCommand() *cobra.Command {
	s := &sending{p: p}
	cmd := &cobra.Command{
		Use:   "send USER [TEXT | -]",
		Short: "send a message and say how far it came, by which way, in how many ms",
		Long: "Sends TEXT, or standard input where TEXT is - or is missing and standard input is not a terminal. Ends when the message is\n" +
			"delivered (exit 0), stored for a recipient who is away (exit 4), or waits here because the recipient's mailbox is full (exit 9); --wait says otherwise.",
		Args: args(cobra.RangeArgs(1, 2)),
		RunE: func(cmd *cobra.Command, list []string) error {
			s.to = list[0]
			text, err := p.text(list[1:])
			if err != nil {
				return err
			}
			if cmd.Flags().Changed("timeout") {
				s.within = s.timeout - min(s.timeout/10, toldBy) // so that it is told in time that the message was given up
			} else if s.way == "direct" || s.way == "lan" {
				s.timeout = directWait
			}
			return s.run(cmd.Context(), text)
		},
	}
	cmd.Flags().StringVar(&s.way, "way", "auto", "auto, lan, direct (never by the rendezvous) or relay (never shows the recipient an address); not more than \"byway way\" allows")
	cmd.Flags().StringVar(&s.wait, "wait", "", "return when it is accepted, stored or delivered")
	cmd.Flags().DurationVar(&s.timeout, "timeout", 10*time.Second, "how long to wait")
	return cmd
}

// text is the message: the argument, or standard input.
func (p *program) text(list []string) (string, error) {
	if len(list) == 1 && list[0] != "-" {
		return checked(list[0])
	}
	if len(list) == 0 && isTerminal(p.stdin) {
		return "", usage("there is no text to send", `byway send USER "text", or - to type it and end with Ctrl-D`)
	}
	data, err := io.ReadAll(io.LimitReader(p.stdin, maxText+2))
	if err != nil {
		return "", fmt.Errorf("reading the text: %w", err)
	}
	if n := len(data); n > 0 && data[n-1] == '\n' { // echo and editors end the last line; it is no part of the text
		data = data[:n-1]
	}
	return checked(string(data))
}

// checked refuses what no message can be.
func checked(text string) (string, error) {
	switch {
	case text == "":
		return "", usage("the text is empty", "")
	case len(text) > maxText:
		return "", &peer.Error{
			Code: peer.CodeTooLarge, Message: "the text is longer than 64 KiB",
			Hint: "send it in several messages",
		}
	case !utf8.ValidString(text):
		return "", usage("the text is not UTF-8", "convert it, for example with iconv -t UTF-8")
	}
	return text, nil
}

func (s *sending) check() error {
	switch s.way {
	case "auto", "lan", "direct", "relay":
	default:
		return usage(fmt.Sprintf("there is no way %q to choose", s.way), "use --way auto, lan, direct or relay")
	}
	switch s.wait {
	case "", "accepted", "stored", "delivered":
	default:
		return usage(fmt.Sprintf("there is no state %q to wait for", s.wait), "use --wait accepted, stored or delivered")
	}
	if s.timeout <= 0 {
		return usage("the timeout is not positive", "for example --timeout 10s")
	}
	return nil
}

func (s *sending) run(ctx context.Context, text string) (err error) {
	if err := s.check(); err != nil {
		return err
	}
	sess, err := s.p.open(ctx, need{enrol: true, private: s.way == "relay"})
	if err != nil {
		return err
	}
	defer sess.closeInto(&err)
	end := time.Now().Add(s.timeout)
	r, err := do(ctx, sess, func(c *api.Client) (peer.Receipt, error) {
		return c.Send(ctx, s.to, text, peer.SendOptions{Way: s.way, Within: s.within})
	})
	if err != nil {
		return err
	}
	if err := s.state(r); err != nil {
		return err
	}
	if s.wait != string(peer.StateAccepted) {
		if r, err = s.follow(ctx, sess, r, end); err != nil {
			return err
		}
		if err := s.refused(ctx, sess, r); err != nil {
			return err
		}
	}
	return s.verdict(r)
}

// follow waits for the states that are wanted and prints each with --json.
func (s *sending) follow(ctx context.Context, sess *session, r peer.Receipt, end time.Time) (peer.Receipt, error) {
	for _, target := range []peer.State{peer.StateStored, peer.StateDelivered} {
		left := time.Until(end)
		if target == peer.StateDelivered && s.wait == "" {
			left = min(left, storedGrace)
		}
		if left <= 0 {
			break
		}
		next, err := s.await(ctx, sess, r, target, left, peer.ReasonMailboxFull)
		if err == nil && full(next) {
			next, err = s.await(ctx, sess, next, target, min(time.Until(end), fullGrace), "")
		}
		if err != nil {
			return next, err
		}
		r = next
		if s.enough(r.State) || full(r) {
			break
		}
	}
	return r, nil
}

// refused is the error of a message that is still only on this disk because the rendezvous has refused this device, with what it has said.
func (s *sending) refused(ctx context.Context, sess *session, r peer.Receipt) error {
	if r.State != peer.StateAccepted {
		return nil
	}
	st, err := do(ctx, sess, func(c *api.Client) (peer.Status, error) { return c.Status(ctx) })
	if err != nil || st.Refusal == nil {
		return err
	}
	return &peer.Error{
		Code: peer.CodeNotSignedIn, Hint: st.Refusal.Hint, Reason: st.Refusal.Reason,
		Message: fmt.Sprintf("not signed in: %s; the message to %s stays queued here", st.Refusal.Message, r.To),
	}
}

// await waits for a state, or for the reason why it does not come, and prints with --json what is new. Without time it only asks.
func (s *sending) await(ctx context.Context, sess *session, r peer.Receipt, target peer.State, left time.Duration, unless string) (peer.Receipt, error) {
	next, err := do(ctx, sess, func(c *api.Client) (peer.Receipt, error) { return c.WaitUnless(ctx, r.ID, target, left, unless) })
	if err != nil {
		return r, err
	}
	if next.State != r.State || next.State == peer.StateAccepted && next.Reason != r.Reason {
		err = s.state(next)
	}
	return next, err
}

// full reports whether a message waits for room in a mailbox.
func full(r peer.Receipt) bool {
	return r.State == peer.StateAccepted && r.Reason == peer.ReasonMailboxFull
}

func (s *sending) enough(state peer.State) bool {
	switch state {
	case peer.StateAccepted:
		return false
	case peer.StateStored:
		return s.wait == string(peer.StateStored)
	default:
		return true
	}
}

// state prints a state as the event that it is, with --json.
func (s *sending) state(r peer.Receipt) error {
	if !s.p.flags.json {
		return nil
	}
	return s.p.lines.event(stateEvent(r))
}

func stateEvent(r peer.Receipt) peer.Event {
	ms := r.MS
	return peer.Event{
		V: 1, Type: peer.EventState, ID: r.ID, To: r.To, N: r.N, State: r.State, Way: r.Way, MS: &ms, Reason: r.Reason,
	}
}

// verdict says how far the message came, and is the exit code.
func (s *sending) verdict(r peer.Receipt) error {
	to, took := clean(r.To), inWords(milliseconds(r.MS))
	var line string
	code := outcome(exitStored)
	switch r.State {
	case peer.StateDelivered, peer.StateRead:
		line, code = fmt.Sprintf("delivered to %s by %s in %s%s", to, clean(string(r.Way)), took, behind(r.Reason)), exitDone
	case peer.StateStored:
		line = fmt.Sprintf("stored for %s in %s: it is delivered when %s is back", to, took, to)
		if s.wait == string(peer.StateStored) {
			code = exitDone
		}
	case peer.StateFailed:
		return failed(r.To, r.Reason)
	default:
		line = fmt.Sprintf("queued for %s: it leaves when byway runs and finds a way", to)
		if s.wait == string(peer.StateAccepted) {
			line, code = "accepted for "+to, exitDone
		} else if err := overQuota(r); err != nil {
			return err
		}
	}
	if !s.p.flags.json {
		if err := s.p.say("%s", line); err != nil {
			return err
		}
	}
	if code == exitDone {
		return nil
	}
	return code
}

// overQuota is the error of a message that waits here because the rendezvous takes no more for now, and nil for any other.
func overQuota(r peer.Receipt) error {
	e := &peer.Error{Reason: r.Reason, Hint: "it stays queued here and leaves by itself while byway runs, as with `byway up`"}
	switch r.Reason {
	case peer.ReasonMailboxFull:
		e.Code, e.Message = peer.CodeOverQuota, fmt.Sprintf("the mailbox of %s is full: the message is not stored there", r.To)
		e.Hint += fmt.Sprintf(", when there is room or %s is online", r.To)
	case peer.ReasonRateLimited:
		e.Code, e.Message = peer.CodeRateLimited, fmt.Sprintf("the rendezvous takes no more from this account for now: the message to %s waits", r.To)
	default:
		return nil
	}
	return e
}

// failed is the error of a message that will never arrive. Reasons are codes where one fits; anything else is a way that was missing.
func failed(to, reason string) error {
	code := peer.Code(reason)
	if _, ok := exitOf[code]; !ok || code == peer.CodeFailed {
		code = peer.CodeUnreachable
	}
	if reason == "" {
		reason = "no way was open"
	}
	return &peer.Error{Code: code, Message: fmt.Sprintf("the message to %s was not delivered: %s", to, reason), Hint: "byway route " + to}
}

// behind tells of a message that is delivered that it is not shown yet.
func behind(reason string) string {
	if reason != peer.ReasonEarlierWaits {
		return ""
	}
	return "; it is shown there when an earlier message has come, which waits for its way"
}
