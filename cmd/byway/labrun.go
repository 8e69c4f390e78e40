package main

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/byway-chat/byway/cmd/internal/lab"
	"github.com/byway-chat/byway/cmd/internal/lab/report"
	"github.com/byway-chat/byway/cmd/internal/version"
	"github.com/byway-chat/byway/peer"
	"github.com/byway-chat/byway/peer/api"
	"github.com/byway-chat/byway/rendezvous"
)

// Times of an experiment.
const (
	labSetUp  = 60 * time.Second      // starting the programs on a slow machine
	labSearch = 6 * time.Second       // until the ways to a contact are known
	turnEvery = 20 * time.Millisecond // between two of the phases turns and loss
	talkEvery = 40 * time.Millisecond // between two messages of a conversation
	talkFirst = time.Second           // of a conversation before its fault, and at its end
	backWait  = 45 * time.Second      // until a way is in use again after a fault
	settleFor = 30 * time.Second      // until what is under way has arrived
	lastFor   = 75 * time.Second      // the same at the end: a message that was lost often is sent again after a minute
	showFor   = 5 * time.Second       // until the recipient has shown what has arrived
	clearUp   = 5 * time.Second       // for ending the faults
)

// experiment is one run of byway lab.
type experiment struct {
	p    *program
	o    *labOptions
	user string // the contact
	self string
	loop *loopback // nil with a contact of somebody else
	ours *session
	them *session // the recipient on the loopback
	rec  *lab.Recorder

	traffic traffic
	ways    []string // that are open, best first
	routes  []peer.RouteEntry

	listening context.Context // of the goroutines that read events; ends with close
	hush      context.CancelFunc
	readers   sync.WaitGroup
	broken    chan error // why events cannot be read any more; buffered
}

// kind is what is sent.
func (e *experiment) kind() lab.Kind {
	if e.loop == nil && !e.o.chat {
		return lab.Probe
	}
	return lab.Message
}

// prepare starts what is needed and finds out which ways there are.
func (e *experiment) prepare(ctx context.Context) error {
	e.listening, e.hush = context.WithCancel(context.WithoutCancel(ctx))
	e.broken = make(chan error, 2)
	timed, cancel := context.WithTimeout(ctx, labSetUp)
	defer cancel()
	var err error
	if e.user == "" {
		err = e.openLoopback(timed)
	} else {
		if name, bad := rendezvous.ParseUsername(e.user); bad == nil {
			e.user = string(name) // as events have it; what is no name the peer refuses
		}
		e.ours, err = e.p.open(timed, need{})
	}
	if err != nil {
		return err
	}
	st, err := do(timed, e.ours, func(c *api.Client) (peer.Status, error) { return c.Status(timed) })
	if err != nil {
		return err
	}
	e.self = st.User
	if err := e.findWays(timed); err != nil {
		return err
	}
	if err := e.warmUp(timed); err != nil {
		return err
	}
	e.rec = lab.NewRecorder(time.Now, e.loop != nil)
	e.traffic = e.newTraffic()
	return e.listen()
}

// openLoopback starts a rendezvous and two peers.
func (e *experiment) openLoopback(ctx context.Context) (err error) {
	if e.loop, err = e.p.newLoopback(); err != nil {
		return err
	}
	if err := e.loop.start(ctx); err != nil {
		return err
	}
	e.user = "bob"
	for name, place := range map[string]**session{"alice": &e.ours, e.user: &e.them} {
		a, err := e.loop.newActor(name)
		if err != nil {
			return err
		}
		if *place, err = a.p.open(ctx, need{enrol: true, own: true}); err != nil {
			return err
		}
	}
	return nil
}

// findWays waits until it is known which ways to the contact are open.
func (e *experiment) findWays(ctx context.Context) error {
	timed, cancel := context.WithTimeout(ctx, labSearch)
	defer cancel()
	for {
		list, err := do(ctx, e.ours, func(c *api.Client) ([]peer.RouteEntry, error) { return c.Route(ctx, e.user) })
		if err != nil {
			return err
		}
		e.routes, e.ways = list, nil
		searching := false
		for _, r := range list {
			searching = searching || r.State == "trying" || r.Reason == "not-tried-yet"
			if r.State == "open" && r.Way != peer.WayMailbox && !slices.Contains(e.ways, string(r.Way)) {
				e.ways = append(e.ways, string(r.Way))
			}
		}
		if len(e.ways) > 0 && (!searching || direct(peer.Way(e.ways[0]))) || timed.Err() != nil {
			break
		}
		select {
		case <-time.After(100 * time.Millisecond):
		case <-timed.Done():
		}
	}
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	if len(e.ways) == 0 {
		return &peer.Error{Code: peer.CodeUnreachable, Message: e.user + " cannot be reached by any way", Hint: "byway route " + e.user}
	}
	if e.o.drop == "" || slices.ContainsFunc(e.ways, func(w string) bool { return lab.Affects(e.o.drop, w) }) {
		return nil
	}
	return &peer.Error{
		Code: peer.CodeUnreachable, Message: fmt.Sprintf("the way %s to %s is not open, so that it cannot be dropped", e.o.drop, e.user), Hint: "byway route " + e.user,
	}
}

// warmUp opens the session and every way, so that what is measured is not their opening.
func (e *experiment) warmUp(ctx context.Context) error {
	for _, way := range e.ways {
		for range 3 {
			if _, err := e.p.ping(ctx, e.ours, e.user, way); err != nil {
				return err
			}
		}
	}
	return nil
}

// run carries the phases out, one after the other.
func (e *experiment) run(ctx context.Context) error {
	if err := e.turns(ctx); err != nil {
		return err
	}
	if err := e.load(ctx); err != nil {
		return err
	}
	if e.o.drop != "" {
		if err := e.drop(ctx); err != nil {
			return err
		}
	}
	if e.o.kill {
		if err := e.kill(ctx); err != nil {
			return err
		}
	}
	return e.settleWithin(ctx, lastFor)
}

// note says on the screen what is being done.
func (e *experiment) note(format string, args ...any) error {
	if e.p.flags.json {
		return nil
	}
	return e.p.say(format, args...)
}

// turns sends the same over each way, one at a time, and with loss in every second block.
func (e *experiment) turns(ctx context.Context) error {
	if err := e.note("%d over each of %s, in turns", e.o.messages, strings.Join(e.ways, ", ")); err != nil {
		return err
	}
	tick := time.NewTicker(turnEvery)
	defer tick.Stop()
	phase, block := lab.Phase(""), 0
	calm := func() error { return nil }
	for _, step := range lab.Turns(e.o.messages, e.ways, e.o.loss > 0) {
		if step.Phase != phase || step.Block != block {
			phase, block = step.Phase, step.Block
			if err := errors.Join(e.settle(ctx), calm()); err != nil {
				return err
			}
			calm = func() error { return nil }
			if phase == lab.PhaseLoss {
				var err error
				if calm, err = e.disturb(ctx, lab.FaultLoss, lab.Auto, e.o.loss); err != nil {
					return err
				}
			}
		}
		if err := e.traffic.send(ctx, step); err != nil {
			return errors.Join(err, calm())
		}
		if err := e.wait(ctx, tick.C); err != nil {
			return errors.Join(err, calm())
		}
	}
	return errors.Join(e.settle(ctx), calm())
}

// wait waits for a tick, unless the experiment cannot go on.
func (e *experiment) wait(ctx context.Context, tick <-chan time.Time) error {
	select {
	case <-tick:
		return nil
	case err := <-e.broken:
		return err
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// load sends as much as a way takes. What is under way of one block has arrived before the next begins.
func (e *experiment) load(ctx context.Context) error {
	if err := e.note("%d over each, as fast as they go", e.o.messages); err != nil {
		return err
	}
	steps := lab.Load(e.o.messages, e.ways)
	for len(steps) > 0 {
		n := 1
		for n < len(steps) && steps[n].Block == steps[0].Block {
			n++
		}
		if err := e.burst(ctx, steps[:n]); err != nil {
			return err
		}
		if err := e.settle(ctx); err != nil {
			return err
		}
		steps = steps[n:]
	}
	return nil
}

// senders is how many hand something to the peer at once under load.
const senders = 8

func (e *experiment) burst(ctx context.Context, steps []lab.Step) error {
	var all sync.WaitGroup
	failed := make(chan error, senders)
	for i := range senders {
		all.Go(func() {
			for k := i; k < len(steps); k += senders {
				if err := e.traffic.send(ctx, steps[k]); err != nil {
					failed <- err
					return
				}
			}
		})
	}
	all.Wait()
	select {
	case err := <-failed:
		return err
	default:
		return nil
	}
}

// settle waits until everything sent has come to its end, and where the recipient can be seen until it has shown that.
func (e *experiment) settle(ctx context.Context) error { return e.settleWithin(ctx, settleFor) }

func (e *experiment) settleWithin(ctx context.Context, patience time.Duration) error {
	timed, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	for {
		n, changed := e.rec.Waiting()
		if n == 0 {
			break
		}
		select {
		case <-changed:
		case err := <-e.broken:
			return err
		case <-timed.Done():
			if ctx.Err() != nil {
				return context.Cause(ctx)
			}
			return nil // they are lost, or come later and are counted then
		}
	}
	return e.settleShown(ctx)
}

func (e *experiment) settleShown(ctx context.Context) error {
	if e.loop == nil {
		return nil
	}
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for began := time.Now(); e.rec.Unshown() > 0 && time.Since(began) < showFor; {
		if err := e.wait(ctx, tick.C); err != nil {
			return err
		}
	}
	return nil
}

// facts is what the report tells besides the samples.
func (e *experiment) facts(interrupted bool) report.Facts {
	f := report.Facts{
		From: clean(e.self), To: clean(e.user), Loopback: e.loop != nil, Kind: e.kind(), Begun: e.rec.Begun(), Version: version.String(),
		Machine: fmt.Sprintf("%s/%s, %d processors", runtime.GOOS, runtime.GOARCH, runtime.NumCPU()), Loss: e.o.loss, Interrupted: interrupted,
	}
	for _, r := range e.routes {
		f.Routes = append(f.Routes, report.Route{Way: string(r.Way), State: clean(r.State), Reason: clean(r.Reason), Sentence: clean(r.Sentence)})
	}
	return f
}

// close ends what prepare has started.
func (e *experiment) close() error {
	var failed error
	if e.hush != nil {
		e.hush()
	}
	e.readers.Wait()
	if e.traffic != nil {
		e.traffic.close()
	}
	for _, s := range []*session{e.ours, e.them} {
		if s != nil {
			failed = errors.Join(failed, s.Close())
		}
	}
	if e.loop != nil {
		failed = errors.Join(failed, e.loop.close())
	}
	return failed
}
