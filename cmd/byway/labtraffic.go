package main

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"sync"

	"github.com/byway-chat/byway/cmd/internal/lab"
	"github.com/byway-chat/byway/peer"
	"github.com/byway-chat/byway/peer/api"
)

// traffic is what an experiment sends. Its outcome comes to the recorder later.
type traffic interface {
	// send hands one to the peer. It fails only where the experiment cannot go on. It may be called from several goroutines.
	send(ctx context.Context, step lab.Step) error
	// close waits for what send has started.
	close()
}

func (e *experiment) newTraffic() traffic {
	if e.kind() == lab.Probe {
		return &probes{e: e, room: make(chan struct{}, maxProbes)}
	}
	return &messages{e: e}
}

// labRef begins the ref of our messages in the peer's events.
const labRef = "lab:"

// messages sends real messages, whose receipts are events.
type messages struct{ e *experiment }

func (m *messages) close() {}

func (m *messages) send(ctx context.Context, step lab.Step) error {
	e := m.e
	n := e.rec.Send(lab.Message, step, e.o.size)
	way := step.Asked
	if direct(peer.Way(way)) {
		way = lab.Direct
	}
	_, err := do(ctx, e.ours, func(c *api.Client) (peer.Receipt, error) {
		return c.Send(ctx, e.user, labText(n, e.o.size), peer.SendOptions{Way: way, Ref: labRef + strconv.Itoa(n)})
	})
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	if err == nil {
		e.rec.Accept(n)
		return nil
	}
	switch code := peer.CodeOf(err); code {
	case peer.CodeUnreachable, peer.CodeTimeout, peer.CodeOverQuota, peer.CodeRateLimited:
		e.rec.GiveUp(n, lab.Failed, string(code))
		return nil
	}
	return err
}

// labText is a text of the wanted size that says what it is for, as far as that fits in.
func labText(n, size int) string {
	text := fmt.Sprintf("%d byway lab: a measurement, please ignore. ", n)
	if len(text) < size {
		text += strings.Repeat(".", size-len(text))
	}
	number := strconv.Itoa(n)
	return text[:max(size, len(number))]
}

// labNumber is the number in a text of labText, 0 in any other.
func labNumber(text string) int {
	digits, _, _ := strings.Cut(text, " ")
	n, err := strconv.Atoi(digits)
	if err != nil {
		return 0
	}
	return n
}

// listen reads what our peer tells, and on the loopback the recipient's, until close.
func (e *experiment) listen() error {
	if err := e.follow(e.ours, e.heard); err != nil {
		return err
	}
	if e.them == nil {
		return nil
	}
	return e.follow(e.them, e.seen)
}

// follow reads events as they come, each once: what the peer tells twice must be counted twice.
func (e *experiment) follow(s *session, take func(*peer.Event)) error {
	sub, err := s.current().Subscribe(e.listening, peer.EventOptions{})
	if err != nil {
		return err
	}
	e.readers.Go(func() {
		defer sub.Close()
		err := errors.New("the peer tells nothing any more")
		for event, failed := range sub.Events() {
			if failed != nil {
				err = failed
				break
			}
			if event.Code == "events-lost" {
				err = errors.New("the peer tells more than can be read")
				break
			}
			take(&event)
		}
		if e.listening.Err() == nil {
			e.broken <- fmt.Errorf("following the experiment: %w", err)
		}
	})
	return nil
}

// heard takes an event of our peer.
func (e *experiment) heard(event *peer.Event) {
	switch event.Type {
	case peer.EventRoute:
		if event.User == e.user {
			e.rec.ChangeRoute(string(event.Old), string(event.New), clean(event.Why))
		}
	case peer.EventState:
		digits, ours := strings.CutPrefix(event.Re, labRef)
		n, err := strconv.Atoi(digits)
		if !ours || err != nil {
			return
		}
		switch event.State {
		case peer.StateDelivered:
			ms := 0.0
			if event.MS != nil {
				ms = *event.MS
			}
			e.rec.Arrive(n, lab.Delivered, string(event.Way), milliseconds(ms))
		case peer.StateFailed:
			e.rec.GiveUp(n, lab.Failed, clean(event.Reason))
		case peer.StateAccepted, peer.StateStored, peer.StateRead:
		}
	default: // of no account here
	}
}

// seen takes an event of the recipient on the loopback.
func (e *experiment) seen(event *peer.Event) {
	if event.Type == peer.EventMessage && event.From == e.self && event.Body != nil {
		e.rec.Show(labNumber(*event.Body), event.N)
	}
}

// maxProbes is how many round trips are under way at once. Each that is lost takes 5 s.
const maxProbes = 256

// probes sends sealed pings, each from a goroutine of its own that close waits for.
type probes struct {
	e     *experiment
	room  chan struct{}
	going sync.WaitGroup
}

func (q *probes) close() { q.going.Wait() }

func (q *probes) send(ctx context.Context, step lab.Step) error {
	select {
	case q.room <- struct{}{}:
	case <-ctx.Done():
		return context.Cause(ctx)
	}
	e := q.e
	n := e.rec.Send(lab.Probe, step, e.o.size)
	q.going.Go(func() {
		defer func() { <-q.room }()
		timed, cancel := context.WithTimeout(ctx, 2*pingTimeout)
		defer cancel()
		pong, err := do(timed, e.ours, func(c *api.Client) (peer.Pong, error) { return c.Probe(timed, e.user, step.Asked, e.o.size) })
		switch {
		case ctx.Err() != nil: // pending
		case err != nil:
			e.rec.GiveUp(n, lab.Failed, string(peer.CodeOf(err)))
		case pong.Lost || pong.RTT == nil:
			e.rec.GiveUp(n, lab.Lost, clean(pong.Reason))
		default:
			e.rec.Arrive(n, lab.Answered, clean(string(pong.Way)), milliseconds(*pong.RTT))
		}
	})
	return nil
}
