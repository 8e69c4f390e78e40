package measure_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"path/filepath"
	"runtime/pprof"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/byway-chat/byway/peer"
)

// puppet is one peer, used through the API as every face uses one. It does what the benchmark says: each order is a line of JSON on the standard
// input of its process and is answered by one on standard output.
type puppet struct {
	number  int // on its stage
	peer    *peer.Peer
	profile string         // where profiles go, the beginning of their names; empty: none are taken
	reading sync.WaitGroup // the reader of events

	// owned by obey
	stop    context.CancelFunc // ends what it does under load; nil at rest
	playing sync.WaitGroup     // what it does under load
	written *os.File           // the profile being taken; nil: none

	mu     sync.Mutex
	count  tally           // guarded by mu
	failed error           // the first error of a load; guarded by mu
	room   chan struct{}   // one for each message that may be under way in a crowded load; nil in others; guarded by mu
	watch  time.Duration   // messages that were due before are left out of shown; guarded by mu
	shown  []time.Duration // the latencies of those shown since the last order to watch; guarded by mu
	last   uint64          // number of the message shown last; guarded by mu
}

// order is what the benchmark asks for.
type order struct {
	Number   int           // of the puppet on its stage
	Do       string        // send, crowd, steady, watch, rest or count
	To       string        // to whom it sends: send, crowd and steady
	Way      string        // of SendOptions
	Size     int           // of the text in bytes
	InFlight int           // crowd: messages under way from before Send until the receipt is back
	First    time.Duration // steady: when the first message is due, by now
	Interval time.Duration // steady: from one message to the next
	From     time.Duration // watch: see puppet.watch
}

// answer is sent for each order, and once when the peer is ready.
type answer struct {
	Number int // of the puppet on its stage
	Error  string
	tally
	Latencies []time.Duration // rest: of messages shown since the order to watch
}

// tally counts what has happened since the start.
type tally struct {
	Sent, Delivered uint64
	Shown           map[peer.Way]uint64
	Wrong           uint64 // events that must not be: out of order, a gap, an error, a failure
	First           string // of those
}

// puppetsMain runs peers until standard input ends, which it also does when the benchmark dies.
func puppetsMain() int {
	signal.Ignore(syscall.SIGTERM) // whoever stops it also ends its input
	var running sync.WaitGroup
	var orders []chan order
	out := &answers{to: json.NewEncoder(os.Stdout)}
	for i, name := range strings.Fields(os.Getenv("NAMES")) {
		in := make(chan order, 1)
		orders = append(orders, in)
		running.Go(func() {
			p, err := newPuppet(i, filepath.Join(os.Getenv("DIR"), name), os.Getenv("RENDEZVOUS"))
			if err != nil {
				out.send(answer{Number: i, Error: err.Error()})
				out.fail(err)
				return
			}
			p.obey(in, out)
			if err := p.close(); err != nil {
				out.fail(err)
			}
		})
	}
	out.fail(hand(os.Stdin, orders))
	time.AfterFunc(patience, func() { os.Exit(1) })
	running.Wait()
	return out.code()
}

// hand gives each order to its puppet, until there are no more.
func hand(from io.Reader, to []chan order) error {
	defer func() {
		for _, in := range to {
			close(in)
		}
	}()
	orders := json.NewDecoder(from)
	for {
		var o order
		if err := orders.Decode(&o); errors.Is(err, io.EOF) {
			return nil
		} else if err != nil {
			return err
		}
		to[o.Number] <- o
	}
}

// answers collects those of all puppets.
type answers struct {
	mu     sync.Mutex
	to     *json.Encoder // guarded by mu
	failed bool          // guarded by mu
}

func (a *answers) send(one answer) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if err := a.to.Encode(one); err != nil {
		fmt.Fprintln(os.Stderr, err)
		a.failed = true
	}
}

func (a *answers) fail(err error) {
	if err == nil {
		return
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	fmt.Fprintln(os.Stderr, err)
	a.failed = true
}

func (a *answers) code() int {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.failed {
		return 1
	}
	return 0
}

// newPuppet starts a peer. Without an error the caller must close it.
func newPuppet(number int, home, at string) (*puppet, error) {
	inner, err := peer.New(peer.Config{Home: home, Rendezvous: at, NoMDNS: true, Listen: []string{"/ip4/127.0.0.1/tcp/0"}})
	if err != nil {
		return nil, err
	}
	p := &puppet{number: number, peer: inner, count: tally{Shown: map[peer.Way]uint64{}}}
	if number == 0 { // a profile is of the whole process
		p.profile = os.Getenv("PROFILE")
	}
	err = p.peer.Up(background)
	if err == nil {
		var st peer.Status
		if st, err = p.peer.Status(background); err == nil && !st.Rendezvous.Connected {
			err = errors.New("not connected")
		}
	}
	if err != nil {
		return nil, errors.Join(err, p.close())
	}
	events := p.peer.Subscribe(peer.EventOptions{})
	p.reading.Go(func() {
		for e, err := range events.Events(background) {
			if err != nil {
				return
			}
			p.event(e)
		}
	})
	return p, nil
}

func (p *puppet) close() error {
	_, err := p.rest()
	err = errors.Join(err, p.peer.Close())
	p.reading.Wait()
	return err
}

// obey answers orders until they end.
func (p *puppet) obey(orders <-chan order, to *answers) {
	to.send(answer{Number: p.number, tally: p.tally()})
	for o := range orders {
		shown, err := p.do(o)
		a := answer{Number: p.number, tally: p.tally(), Latencies: shown}
		if err != nil {
			a.Error = err.Error()
		}
		to.send(a)
	}
}

func (p *puppet) do(o order) (shown []time.Duration, err error) {
	switch o.Do {
	case "count":
		return nil, nil
	case "rest":
		return p.rest()
	case "send":
		return nil, p.send(o, now())
	case "crowd":
		return nil, p.play("sender", func(ctx context.Context) { p.crowd(ctx, o) })
	case "steady":
		return nil, p.play("sender", func(ctx context.Context) { p.steady(ctx, o) })
	case "watch":
		p.mu.Lock()
		p.watch, p.shown = o.From, nil
		p.mu.Unlock()
		return nil, p.play("recipient", func(context.Context) {})
	}
	return nil, fmt.Errorf("there is no order %q", o.Do)
}

func (p *puppet) tally() tally {
	p.mu.Lock()
	defer p.mu.Unlock()
	c := p.count
	c.Shown = make(map[peer.Way]uint64, len(p.count.Shown))
	for way, n := range p.count.Shown {
		c.Shown[way] = n
	}
	return c
}

// play begins what rest ends, and a profile of it.
func (p *puppet) play(part string, f func(context.Context)) error {
	if p.stop != nil {
		return errors.New("it does something already")
	}
	if p.profile != "" {
		var err error
		if p.written, err = os.Create(p.profile + "-" + part + ".prof"); err != nil {
			return err
		}
		if err := pprof.StartCPUProfile(p.written); err != nil {
			return err
		}
	}
	var ctx context.Context
	ctx, p.stop = context.WithCancel(background)
	p.playing.Go(func() { f(ctx) })
	return nil
}

// rest ends the load, waits until no Send is under way, and returns what was collected and the first error. It may be called again.
func (p *puppet) rest() ([]time.Duration, error) {
	if p.stop != nil {
		p.stop()
		p.playing.Wait()
		p.stop = nil
	}
	var err error
	if p.written != nil {
		pprof.StopCPUProfile()
		err = p.written.Close()
		p.written = nil
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	shown := p.shown
	err = errors.Join(err, p.failed)
	p.shown, p.failed, p.room = nil, nil, nil
	return shown, err
}

// crowd keeps so many messages under way.
func (p *puppet) crowd(ctx context.Context, o order) {
	room := make(chan struct{}, o.InFlight)
	for range o.InFlight {
		room <- struct{}{}
	}
	p.mu.Lock()
	p.room = room
	p.mu.Unlock()
	for range o.InFlight { // each waits in Send until its message is on the disk
		p.playing.Go(func() {
			for ctx.Err() == nil {
				select {
				case <-room:
					if p.fail(p.send(o, now())) {
						return
					}
				case <-ctx.Done():
				}
			}
		})
	}
}

// steady sends each message when it is due, whatever becomes of those before. There are as many senders as have ever been in Send at a time.
func (p *puppet) steady(ctx context.Context, o order) {
	due, senders := make(chan time.Duration), 0
	defer close(due)
	err := onTime(ctx, o.First, o.Interval, func(t time.Duration) {
		select {
		case due <- t:
			return
		default: // all are in Send
		}
		if senders == inFlight {
			select {
			case due <- t:
			case <-ctx.Done():
			}
			return
		}
		senders++
		p.playing.Go(func() {
			for ok := true; ok && !p.fail(p.send(o, t)); {
				t, ok = <-due
			}
		})
	})
	p.fail(err)
}

// fail reports whether there is an error, and keeps the first.
func (p *puppet) fail(err error) bool {
	if err == nil {
		return false
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.failed == nil {
		p.failed = err
	}
	return true
}

// send sends a text that begins with the time at which it was due.
func (p *puppet) send(o order, due time.Duration) error {
	text := fmt.Sprintf("%016x", due.Nanoseconds())
	_, err := p.peer.Send(background, o.To, text+strings.Repeat(".", o.Size-len(text)), peer.SendOptions{Way: o.Way})
	if err != nil {
		return fmt.Errorf("send: %w", err)
	}
	p.mu.Lock()
	p.count.Sent++
	p.mu.Unlock()
	return nil
}

// event is told what the peer tells. A message comes out of the API after it is on the disk.
func (p *puppet) event(e peer.Event) {
	at := now()
	p.mu.Lock()
	defer p.mu.Unlock()
	switch {
	case e.Type == peer.EventMessage:
		if e.N != p.last+1 {
			p.wrongLocked(e)
		}
		p.last = e.N
		p.count.Shown[e.Way]++
		due, err := strconv.ParseInt((*e.Body)[:16], 16, 64)
		if err != nil {
			p.wrongLocked(e)
		}
		if time.Duration(due) >= p.watch {
			p.shown = append(p.shown, at-time.Duration(due))
		}
	case e.Type == peer.EventState && e.State == peer.StateDelivered:
		p.count.Delivered++
		select {
		case p.room <- struct{}{}:
		default: // it was sent by a load that is not crowded
		}
	case e.Type == peer.EventState && e.State == peer.StateFailed, e.Type == peer.EventGap, e.Type == peer.EventError:
		p.wrongLocked(e)
	}
}

// wrongLocked counts an event that must not be.
func (p *puppet) wrongLocked(e peer.Event) {
	if p.count.Wrong++; p.count.Wrong == 1 {
		p.count.First = fmt.Sprintf("%+v", e)
	}
}
