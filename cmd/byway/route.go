package main

import (
	"context"
	"fmt"
	"os"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"golang.org/x/term"

	"github.com/byway-chat/byway/peer"
	"github.com/byway-chat/byway/peer/api"
	"github.com/byway-chat/byway/peer/trace"
)

// Times of watching a route.
const (
	watchPause    = time.Second            // between two looks where nothing was told
	watchTogether = 100 * time.Millisecond // what is told in this time makes one look
)

// routing is the route command.
type routing struct {
	p     *program
	user  string
	watch bool
	last  map[string]standing // of each way what was printed last, while watching
	lines int                 // on the screen
}

func (p *program) routeCommand() *cobra.Command {
	r := &routing{p: p}
	cmd := &cobra.Command{
		Use: "route USER", Short: "every way to USER, which is in use, and why not the better ones", Args: args(cobra.ExactArgs(1)),
		Long: "Lists every way to USER. Exit 0 when a direct way is in use, 3 when only the relay is, 5 when USER is away.\n" +
			"With --watch the list follows what happens, until it is interrupted: in place on a terminal, else (or with --json) a line for each way\n" +
			"that has changed. When a running peer ends, the next one is waited for.",
		RunE: func(cmd *cobra.Command, list []string) error {
			r.user = list[0]
			var n need
			if r.watch {
				n.ended = r.peerEnded
			}
			return p.withPeerFor(cmd.Context(), n, r.run)
		},
	}
	cmd.Flags().BoolVar(&r.watch, "watch", false, "go on and show each change")
	return cmd
}

func (r *routing) run(ctx context.Context, s *session) error {
	if r.watch {
		return r.follow(ctx, s)
	}
	list, err := r.look(ctx, s)
	if err != nil {
		return err
	}
	if len(list) == 0 {
		return &peer.Error{Code: peer.CodeUnreachable, Message: r.user + " has no device to which there could be a way"}
	}
	if r.p.flags.json {
		err = entries(r.p.lines, "way", list)
	} else if err = r.p.table(routeTable(list, time.Now())); err == nil {
		err = r.p.write(routeNotes(list))
	}
	if err != nil {
		return err
	}
	return reach(inUse(list))
}

func (r *routing) look(ctx context.Context, s *session) ([]peer.RouteEntry, error) {
	return do(ctx, s, func(c *api.Client) ([]peer.RouteEntry, error) { return c.Route(ctx, r.user) })
}

// follow prints the ways, and again what has changed, until ctx ends.
func (r *routing) follow(ctx context.Context, s *session) error {
	stirred := make(chan struct{}, 1)
	stop := r.stir(ctx, s, stirred)
	defer stop()
	for {
		list, err := r.look(ctx, s)
		if err == nil {
			err = r.show(list)
		}
		if err != nil {
			if ctx.Err() != nil {
				return drained(ctx, context.Cause(ctx))
			}
			return err
		}
		select {
		case <-stirred:
			pauseFor(ctx, watchTogether)
		case <-time.After(watchPause):
		case <-ctx.Done():
		}
		if ctx.Err() != nil {
			return drained(ctx, context.Cause(ctx))
		}
	}
}

// stir wakes the watcher whenever the story of the ways goes on, so that no change is missed for long. The goroutine ends with stop, or with the peer: then the
// looks, which come all the same, find another.
func (r *routing) stir(ctx context.Context, s *session, stirred chan<- struct{}) (stop func()) {
	ctx, cancel := context.WithCancel(ctx)
	sub, err := s.current().Trace(ctx, trace.Options{New: true})
	if err != nil {
		return cancel
	}
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		for _, err := range sub.Events() {
			if err != nil {
				return
			}
			select {
			case stirred <- struct{}{}:
			default:
			}
		}
	}()
	return func() {
		cancel()
		sub.Close()
		<-ended
	}
}

// peerEnded says so below what is on the screen, which stays.
func (r *routing) peerEnded() {
	r.p.peerEnded()
	r.lines = 0
}

// pauseFor waits, at most until ctx ends.
func pauseFor(ctx context.Context, d time.Duration) {
	select {
	case <-time.After(d):
	case <-ctx.Done():
	}
}

// show prints a look: on a terminal over the one before, else what has changed.
func (r *routing) show(list []peer.RouteEntry) error {
	if !r.p.flags.json && r.p.redraws() {
		return r.redraw(list)
	}
	if r.last == nil {
		r.last = map[string]standing{}
	}
	for i := range list {
		e := &list[i]
		key, now := e.Device+" "+string(e.Way), standingOf(e)
		if r.last[key] == now {
			continue
		}
		r.last[key] = now
		var err error
		if r.p.flags.json {
			err = r.p.lines.entry("way", changedWay{time.Now().UTC(), e})
		} else {
			err = r.p.say("%s", changeLine(e))
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// changedWay is an entry that is printed while watching.
type changedWay struct {
	Time time.Time `json:"time"`
	*peer.RouteEntry
}

// standing is what counts as a change of a way. Round trips, signs of life, tries that came to the same, and what is found out about the networks
// meanwhile are none: trace has them.
type standing struct {
	state, reason, addr string
	inUse               bool
}

func standingOf(e *peer.RouteEntry) standing { return standing{e.State, e.Reason, e.Addr, e.InUse} }

// changeLine is one way as a line of its own.
func changeLine(e *peer.RouteEntry) string {
	now := time.Now()
	line := fmt.Sprintf("%s %-7s %s", now.Local().Format("15:04:05.000"), clean(string(e.Way)), clean(e.State))
	if e.InUse {
		line += ", in use"
	}
	if e.RTT != nil {
		line += ", " + inWords(milliseconds(*e.RTT))
	}
	if e.Reason != "" {
		line += ", " + clean(e.Reason)
	}
	if e.Addr != "" {
		line += "  " + clean(e.Addr)
	}
	return line
}

// redraws says whether standard output is a terminal on which lines can be written over.
func (p *program) redraws() bool {
	kind := p.getenv("TERM")
	return isTerminal(p.stdout) && kind != "" && kind != "dumb" && !p.flags.plain
}

// redraw writes the table over the one before.
func (r *routing) redraw(list []peer.RouteEntry) error {
	text, err := columns(routeTable(list, time.Now()))
	if err != nil {
		return err
	}
	drawn, lines := over(text+routeNotes(list), r.lines, sizeOf(r.p.stdout))
	r.lines = lines
	return r.p.write(drawn)
}

// size is that of a terminal, in characters.
type size struct{ width, height int }

// sizeOf asks a terminal; one that does not say counts as a small one.
func sizeOf(stream any) size {
	if f, ok := stream.(*os.File); ok {
		if w, h, err := term.GetSize(int(f.Fd())); err == nil && w > 0 && h > 1 {
			return size{w, h}
		}
	}
	return size{80, 24}
}

// over returns what writes a text over the lines that were drawn before, and how many lines it has: a line that is too long goes on below, and what
// does not fit on the screen is left out, so that the next one finds the first line again.
func over(text string, before int, screen size) (drawn string, lines int) {
	var b strings.Builder
	if before > 0 {
		fmt.Fprintf(&b, "\x1b[%dA", before)
	}
	for line := range strings.Lines(text) {
		for rest := []rune(strings.TrimRight(line, " \n")); ; {
			if lines == screen.height-1 {
				return b.String() + "\x1b[J", lines
			}
			n := min(len(rest), screen.width-1)
			b.WriteString(string(rest[:n]) + "\x1b[K\n")
			lines++
			if rest = rest[n:]; len(rest) == 0 {
				break
			}
		}
	}
	return b.String() + "\x1b[J", lines
}
