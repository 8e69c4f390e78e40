package main

import (
	"context"
	"errors"
	"slices"
	"time"

	"github.com/byway-chat/byway/cmd/internal/lab"
	"github.com/byway-chat/byway/peer"
	"github.com/byway-chat/byway/peer/api"
)

// disturb lets a share of the frames of a way be lost until calm is called. It ends by itself, should this program be killed.
func (e *experiment) disturb(ctx context.Context, what, way string, loss float64) (calm func() error, err error) {
	set := func(ctx context.Context, loss float64, long time.Duration) error {
		_, err := do(ctx, e.ours, func(c *api.Client) (struct{}, error) {
			return struct{}{}, c.Disturb(ctx, e.user, peer.Disturbance{Way: way, Loss: loss, For: long})
		})
		return err
	}
	end := e.rec.BeginFault(what, way)
	if err := set(ctx, loss, peer.MaxDisturbance); err != nil {
		end()
		return nil, err
	}
	return func() error {
		timed, cancel := context.WithTimeout(context.WithoutCancel(ctx), clearUp)
		defer cancel()
		err := set(timed, 0, 0)
		end()
		return err
	}, nil
}

// drop cuts a way off in the middle of a conversation and restores it.
func (e *experiment) drop(ctx context.Context) error {
	if err := e.note("a conversation in which %s is dropped for %v", e.o.drop, e.o.fault); err != nil {
		return err
	}
	plan := []lab.Step{{Phase: lab.PhaseDrop, Block: 1, Asked: lab.Auto}}
	if err := e.talk(ctx, plan, after(talkFirst)); err != nil {
		return err
	}
	calm, err := e.disturb(ctx, lab.FaultDrop, e.o.drop, 1)
	if err != nil {
		return err
	}
	err = errors.Join(e.talk(ctx, plan, after(e.o.fault)), calm())
	if err != nil {
		return err
	}
	return e.talkUntilBack(ctx, plan, e.o.drop)
}

// kill stops the rendezvous in the middle of a conversation and starts it again. While it is gone the first half of the conversation may choose its way, and
// the second keeps to the relay: it must wait. They do not alternate, because what comes after a message that waits is shown after it, by whatever way it came.
func (e *experiment) kill(ctx context.Context) error {
	if err := e.note("a conversation in which the rendezvous is gone for %v", e.o.fault); err != nil {
		return err
	}
	free := []lab.Step{{Phase: lab.PhaseKill, Block: 1, Asked: lab.Auto}}
	bound := []lab.Step{{Phase: lab.PhaseKill, Block: 1, Asked: string(peer.WayRelay)}}
	if err := e.talk(ctx, slices.Concat(free, bound), after(talkFirst)); err != nil {
		return err
	}
	end := e.rec.BeginFault(lab.FaultKill, string(peer.WayRelay))
	stop, start := e.keepAway, e.letBack
	if e.loop != nil {
		stop, start = func(context.Context) error { return e.loop.halt() }, e.loop.start
	}
	half, all := after(e.o.fault/2), after(e.o.fault)
	err := e.talkBeside(ctx, free, func() error { return stop(ctx) })
	if err == nil {
		err = e.talk(ctx, free, half)
	}
	if err == nil {
		err = e.talk(ctx, bound, all)
	}
	timed, cancel := context.WithTimeout(context.WithoutCancel(ctx), clearUp)
	defer cancel()
	err = errors.Join(err, e.talkBeside(ctx, bound, func() error { return start(timed) }))
	end()
	if err != nil {
		return err
	}
	return e.talkUntilBack(ctx, bound, string(peer.WayRelay))
}

// keepAway and letBack do for a contact of somebody else what can be done from here: this peer does without the rendezvous.
func (e *experiment) keepAway(ctx context.Context) error {
	return e.interrupt(ctx, e.o.fault+clearUp)
}

func (e *experiment) letBack(ctx context.Context) error { return e.interrupt(ctx, 0) }

func (e *experiment) interrupt(ctx context.Context, long time.Duration) error {
	_, err := do(ctx, e.ours, func(c *api.Client) (struct{}, error) { return struct{}{}, c.Interrupt(ctx, long) })
	return err
}

// after is a condition that holds when a time is over.
func after(d time.Duration) func() bool {
	end := time.Now().Add(d)
	return func() bool { return !time.Now().Before(end) }
}

// talk sends the steps of plan over and over, at a steady pace, until enough says so.
func (e *experiment) talk(ctx context.Context, plan []lab.Step, enough func() bool) error {
	tick := time.NewTicker(talkEvery)
	defer tick.Stop()
	for i := 0; !enough(); i++ {
		if err := e.traffic.send(ctx, plan[i%len(plan)]); err != nil {
			return err
		}
		if err := e.wait(ctx, tick.C); err != nil {
			return err
		}
	}
	return nil
}

// talkBeside talks while f runs, and returns when both have ended.
func (e *experiment) talkBeside(ctx context.Context, plan []lab.Step, f func() error) error {
	ended := make(chan error, 1)
	go func() { ended <- f() }()
	var result error
	err := e.talk(ctx, plan, func() bool {
		select {
		case result = <-ended:
			return true
		default:
			return false
		}
	})
	if err != nil { // it has not waited for f
		return errors.Join(err, <-ended)
	}
	return result
}

// talkUntilBack talks until the way that had the fault has carried something again, or has had time enough, and for a moment more.
func (e *experiment) talkUntilBack(ctx context.Context, plan []lab.Step, way string) error {
	from, late := e.rec.Now(), after(backWait)
	back := func() bool {
		return e.rec.Arrived(from, func(w string) bool { return lab.Affects(way, w) }) || late()
	}
	if err := e.talk(ctx, plan, back); err != nil {
		return err
	}
	if err := e.talk(ctx, plan, after(talkFirst)); err != nil {
		return err
	}
	return e.settle(ctx)
}
