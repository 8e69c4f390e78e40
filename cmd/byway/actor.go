package main

import (
	"context"
	"errors"
	"fmt"

	"github.com/byway-chat/byway/peer"
)

// actor is one person on a loopback: a home and, while the person is there, a peer with its socket in this process.
type actor struct {
	p *program // with this person's flags; immutable

	session *session // nil while away
	events  chan peer.Event
	stop    context.CancelFunc // ends the goroutine that reads events
	read    chan error         // its end; buffered
}

// arrive starts the person's peer, the first time by registering, and a goroutine that reads its events until leave.
func (a *actor) arrive(ctx context.Context) error {
	s, err := a.p.open(ctx, need{enrol: true, own: true})
	if err != nil {
		return err
	}
	listening, stop := context.WithCancel(context.WithoutCancel(ctx))
	f, err := s.subscribe(listening, nil)
	if err != nil {
		stop()
		return errors.Join(err, s.Close())
	}
	a.session, a.stop, a.events, a.read = s, stop, make(chan peer.Event), make(chan error, 1)
	go func() { a.read <- a.follow(listening, f) }()
	return nil
}

func (a *actor) follow(ctx context.Context, f *feed) error {
	for e, err := range f.Events(ctx) {
		if err != nil {
			return err
		}
		select {
		case a.events <- e:
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
	return nil
}

// leave stops the person's peer, if it runs.
func (a *actor) leave() error {
	if a.session == nil {
		return nil
	}
	a.stop()
	<-a.read //nolint:errcheck // it ends because it was stopped, 2026-11-23
	err := a.session.Close()
	a.session = nil
	return err
}

// next waits for the message with the text and marks it as shown.
func (a *actor) next(ctx context.Context, text string) (peer.Event, error) {
	for {
		select {
		case e := <-a.events:
			if e.Type == peer.EventMessage && e.Body != nil && *e.Body == text {
				return e, a.session.current().Shown(ctx, e.ID)
			}
		case err := <-a.read:
			a.read <- err
			return peer.Event{}, fmt.Errorf("waiting for a message: %w", err)
		case <-ctx.Done():
			return peer.Event{}, fmt.Errorf("waiting for a message: %w", context.Cause(ctx))
		}
	}
}

// send sends a text and returns the message's id.
func (a *actor) send(ctx context.Context, to, text, way string) (string, error) {
	r, err := a.session.current().Send(ctx, to, text, peer.SendOptions{Way: way})
	return r.ID, err
}

// come waits until a message has come to a state, and fails if it does not.
func (a *actor) come(ctx context.Context, id string, state peer.State) (peer.Receipt, error) {
	r, err := a.session.current().Wait(ctx, id, state, stepWait)
	if err == nil && r.State != state && r.State != peer.StateRead {
		return r, fmt.Errorf("the message is %s, not %s", r.State, state)
	}
	return r, err
}

func (a *actor) status(ctx context.Context) (peer.Status, error) {
	return a.session.current().Status(ctx)
}

func (a *actor) history(ctx context.Context) ([]peer.HistoryEntry, error) {
	return a.session.current().History(ctx, peer.HistoryQuery{})
}
