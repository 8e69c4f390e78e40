package main

import (
	"bufio"
	"context"
	"errors"
	"io"
	"sync"
	"time"

	"github.com/spf13/cobra"

	"github.com/byway-chat/byway/peer"
)

// The bot's bounds.
const (
	maxCommand  = 1 << 20 // bytes of one line of input
	maxRunning  = 256     // commands that are being carried out; the next line waits
	drainLinger = 4 * time.Second
)

// bot is the bot command: JSON lines in and out. One goroutine reads, one prints events, each command runs in its own; lanes keep
// the messages to one recipient in order.
type bot struct {
	p        *program
	s        *session
	linger   time.Duration
	outgoing *outgoing
	lanes    *lanes
	running  chan struct{} // one place for each command that is being carried out
	commands sync.WaitGroup
}

func (p *program) botCommand() *cobra.Command {
	b := &bot{p: p}
	cmd := &cobra.Command{
		Use:   "bot",
		Short: "commands as JSON lines on standard input, answers and events on standard output",
		Long:  "Reads one JSON command a line and prints JSON lines; docs/bots.md describes them. Ends at the end of input or at quit.",
		Args:  noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			p.flags.json = true
			if b.linger < 0 {
				return usage("--linger cannot be negative", "")
			}
			return b.run(cmd.Context())
		},
	}
	cmd.Flags().DurationVar(&b.linger, "linger", 10*time.Second, "how long to wait at the end for messages to be stored or delivered")
	return cmd
}

func (b *bot) run(ctx context.Context) (err error) {
	b.s, err = b.p.open(ctx, need{enrol: true})
	if err != nil {
		return drained(ctx, err)
	}
	defer b.s.closeInto(&err)
	b.outgoing, b.lanes, b.running = newOutgoing(), newLanes(), make(chan struct{}, maxRunning)
	// Work goes on while ctx has ended, for as long as the linger allows.
	work, cancel := context.WithCancelCause(context.WithoutCancel(ctx))
	defer cancel(nil)
	events, err := b.listen(work)
	if err != nil {
		return err
	}
	why := b.read(ctx, work, events)
	linger := b.linger
	if ctx.Err() != nil {
		linger = min(linger, drainLinger)
	}
	b.finish(work, events, linger)
	cancel(context.Canceled)
	if failed := <-events.ended; failed != nil && !errors.Is(failed, context.Canceled) {
		return failed
	}
	if ctx.Err() != nil {
		return drained(ctx, context.Cause(ctx))
	}
	return why
}

// finish waits for the commands that run and for what they have sent.
func (b *bot) finish(work context.Context, events *botEvents, linger time.Duration) {
	timed, cancel := context.WithTimeout(work, linger)
	defer cancel()
	stop := context.AfterFunc(events.alive, cancel)
	defer stop()
	done := make(chan struct{})
	go func() {
		b.commands.Wait()
		close(done)
	}()
	select {
	case <-done:
		b.outgoing.wait(timed)
	case <-timed.Done():
	}
}

// botEvents is the goroutine that prints events.
type botEvents struct {
	alive context.Context // ends when the goroutine does
	ended chan error      // gets one error or nil, buffered
}

// listen prints ready and starts printing events, until work ends.
func (b *bot) listen(work context.Context) (*botEvents, error) {
	ready, err := b.s.ready(work)
	if err != nil {
		return nil, err
	}
	shown, err := b.s.show(context.WithoutCancel(work), &ready)
	if err != nil {
		return nil, err
	}
	f, err := b.s.subscribe(work, shown)
	if err != nil {
		return nil, errors.Join(err, shown.Close())
	}
	if err := b.p.lines.event(ready); err != nil {
		f.Close()
		return nil, errors.Join(err, shown.Close())
	}
	alive, over := context.WithCancel(context.Background())
	e := &botEvents{alive: alive, ended: make(chan error, 1)}
	go func() {
		defer over()
		e.ended <- b.print(work, shown, f)
	}()
	return e, nil
}

func (b *bot) print(work context.Context, shown *shower, f *feed) error {
	return showEvents(work, shown, f, b.outgoing, func(e *peer.Event, _ bool) error { return b.p.lines.event(*e) })
}

// read carries out commands until the end of input, quit, the end of ctx, or the end of the event stream. Its goroutine ends with standard
// input, which nothing can interrupt.
func (b *bot) read(ctx, work context.Context, events *botEvents) error {
	input := make(chan inputLine)
	stop := make(chan struct{})
	defer close(stop)
	go readLines(b.p.stdin, maxCommand, input, stop)
	for {
		select {
		case line, ok := <-input:
			if !ok {
				return nil
			}
			if line.err != nil {
				return line.err
			}
			quit, err := b.take(work, line)
			if quit || err != nil {
				return err
			}
		case <-events.alive.Done():
			return nil
		case <-ctx.Done():
			return nil
		}
	}
}

// inputLine is a line without its end, or what was wrong with it.
type inputLine struct {
	text    []byte
	tooLong bool  // text is empty
	err     error // reading failed; the last line
}

// readLines sends each line of r and closes out at its end. A line of more than limit bytes is skipped without being held.
func readLines(r io.Reader, limit int, out chan<- inputLine, stop <-chan struct{}) {
	defer close(out)
	in := bufio.NewReaderSize(r, 64<<10)
	for {
		line, err := readBounded(in, limit)
		if err == nil || len(line.text) > 0 || line.tooLong {
			select {
			case out <- line:
			case <-stop:
				return
			}
		}
		if err == nil {
			continue
		}
		if !errors.Is(err, io.EOF) {
			select {
			case out <- inputLine{err: err}:
			case <-stop:
			}
		}
		return
	}
}

func readBounded(in *bufio.Reader, limit int) (inputLine, error) {
	var line inputLine
	for {
		part, err := in.ReadSlice('\n')
		if !line.tooLong && len(line.text)+len(part) > limit+1 {
			line = inputLine{tooLong: true}
		}
		if !line.tooLong {
			line.text = append(line.text, part...)
		}
		if errors.Is(err, bufio.ErrBufferFull) {
			continue
		}
		if n := len(line.text); n > 0 && line.text[n-1] == '\n' {
			line.text = line.text[:n-1]
		}
		return line, err
	}
}
