package api

import (
	"context"
	"iter"
	"time"

	"github.com/byway-chat/byway/peer"
	"github.com/byway-chat/byway/peer/trace"
)

// messages is what the server asks of a peer about messages.
type messages interface {
	Send(ctx context.Context, to, body string, o peer.SendOptions) (peer.Receipt, error)
	WaitUnless(ctx context.Context, id string, until peer.State, reason string) (peer.Receipt, error)
	Receipt(ctx context.Context, id string) (peer.Receipt, error)
	History(ctx context.Context, q peer.HistoryQuery) ([]peer.HistoryEntry, error)
	Read(ctx context.Context, user string) error
	Shown(ctx context.Context, ids ...string) error
	ShownUpto(ctx context.Context, order int64, id string) error
}

// contacts is what the server asks of a peer about other people.
type contacts interface {
	Who(ctx context.Context) ([]peer.Contact, error)
	Route(ctx context.Context, user string) ([]peer.RouteEntry, error)
	Ping(ctx context.Context, user, way string) (peer.Pong, error)
	Verify(ctx context.Context, user string, accept bool) (peer.Verification, error)
	SetWay(ctx context.Context, user, way string) error
	Ways(ctx context.Context, user string) ([]peer.WayPolicy, error)
	SetReadReceipts(ctx context.Context, on bool) error
}

// experiments is what the server asks of a peer for the laboratory.
type experiments interface {
	Probe(ctx context.Context, user, way string, size int) (peer.Pong, error)
	Disturb(ctx context.Context, user string, d peer.Disturbance) error
	Interrupt(ctx context.Context, long time.Duration) error
}

// stream is a subscription to events; it is registered from the moment it is made until Close.
type stream interface {
	Events(ctx context.Context) iter.Seq2[peer.Event, error]
	Close()
}

// story is a reader of the trace.
type story interface {
	Events(ctx context.Context) iter.Seq2[trace.Step, error]
	Close()
}

// node is the peer behind the socket.
type node interface {
	messages
	contacts
	experiments
	neighbours
	Status(ctx context.Context) (peer.Status, error)
	Checkup(ctx context.Context) (peer.Checkup, error)
	subscribe(o peer.EventOptions) (stream, error)
	follow(o trace.Options) (story, error)
}

// running is a *peer.Peer as a node.
type running struct{ *peer.Peer }

func (r running) subscribe(o peer.EventOptions) (stream, error) { return r.Subscribe(o), nil }

func (r running) follow(o trace.Options) (story, error) {
	reader, err := r.Trace(o)
	if err != nil {
		return nil, err // and no story that is a nil reader
	}
	return reader, nil
}
