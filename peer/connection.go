package peer

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"time"

	"github.com/libp2p/go-libp2p/core/peer"

	"github.com/byway-chat/byway/peer/lan"
	"github.com/byway-chat/byway/peer/trace"
	"github.com/byway-chat/byway/rendezvous"
	"github.com/byway-chat/byway/rendezvous/client"
)

// Times of the connection to the rendezvous.
const (
	connectTime = 10 * time.Second
	// reachTime is how long a try may take to get a connection. A longer one would miss a rendezvous that comes back in the middle of it: packets
	// are repeated ever more rarely. Each patientTry of the tries has all of connectTime, for a way that is very slow.
	reachTime    = 3 * time.Second
	patientTry   = 8
	minReconnect = 500 * time.Millisecond
	maxReconnect = 2500 * time.Millisecond // a rendezvous that has come back is found within 3 s
	refusedPause = time.Minute             // after an answer that will be the same next time
	browseTime   = 3 * time.Second
	// searchTry is each how many tries the LAN is searched too, and only for so long.
	searchTry   = 4
	shortBrowse = time.Second
)

// keepConnected holds the connection to the rendezvous for as long as ctx lives. first may be a connection that is already signed in.
func (p *Peer) keepConnected(ctx context.Context, first *client.Conn) {
	failures, refused := 0, rendezvous.Code("")
	for ctx.Err() == nil {
		conn, err := first, error(nil)
		first = nil
		began := time.Now()
		if conn == nil {
			p.weather.wait(ctx)
			if !p.dials.forRendezvous(ctx) {
				return
			}
			began = time.Now()
			conn, err = p.connect(ctx, tryAfter(failures))
			p.traceTry(conn, err, time.Since(began))
		} else {
			p.traceTry(conn, nil, 0)
		}
		if err == nil && p.weather.away() > 0 {
			err = conn.Close()
		} else if err == nil {
			err = p.converse(ctx, conn)
			p.trace.Add(trace.Step{What: trace.RendezvousDown, Why: reasonOf(err), Error: errorText(err)})
			failures, refused, began = 0, "", time.Now()
		}
		if ctx.Err() != nil {
			return
		}
		p.log.Info("rendezvous is away", slog.Any("error", err))
		p.core.post(func() { p.core.disconnected(time.Now(), reasonOf(err)) })
		refused = p.tellRefused(err, refused)
		why := refused
		p.core.post(func() { p.core.refused = why })
		p.attempted()
		failures++
		pause(ctx, time.Until(began.Add(reconnectPause(err, failures))))
	}
}

// tellRefused says what a person has to do where the rendezvous refuses to sign this device in, once for each reason in a row. told is the reason
// that was told last.
func (p *Peer) tellRefused(err error, told rendezvous.Code) rendezvous.Code {
	refusal, ok := errors.AsType[*rendezvous.Error](err)
	if !ok {
		return told // not reached: nothing new is known
	}
	switch refusal.Code {
	case rendezvous.CodeNotEnrolled, rendezvous.CodeBanned:
	default:
		return ""
	}
	if refusal.Code != told {
		cause := p.signInError(refusal)
		p.log.Error("the rendezvous refuses this device", slog.String("reason", string(refusal.Code)))
		p.hub.publish(Event{Type: EventError, Code: string(CodeOf(cause)), Message: cause.Error(), Reason: string(refusal.Code), Hint: hintOf(cause)})
	}
	return refusal.Code
}

// reconnectPause is the time from the beginning of a try to the next one. It spreads the reconnects of many peers over time: full jitter up to an upper end
// that doubles.
func reconnectPause(err error, failures int) time.Duration {
	upper := min(minReconnect<<min(failures, 10), maxReconnect)
	if e, ok := errors.AsType[*rendezvous.Error](err); ok {
		switch e.Code {
		case rendezvous.CodeNotEnrolled, rendezvous.CodeBanned, rendezvous.CodeReplaced:
			return refusedPause
		}
		if e.RetryAfter > 0 {
			upper = min(e.RetryAfter, maxReconnect)
		}
	}
	return time.Duration(rand.Int64N(int64(upper)))
}

func pause(ctx context.Context, d time.Duration) {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
	case <-ctx.Done():
	}
}

// try is how one try for the rendezvous is made.
type try struct {
	reach  time.Duration // until there is a connection
	browse time.Duration // on the LAN, where no remembered address answers; 0: not at all
}

// firstTry has all the time that a person waits for it.
var firstTry = try{reach: connectTime, browse: browseTime}

// tryAfter is the try after so many that have failed.
func tryAfter(failures int) try {
	t := try{reach: reachTime}
	if failures%patientTry == patientTry-1 {
		t.reach = connectTime
	}
	if failures%searchTry == searchTry-2 {
		t.browse = shortBrowse
	}
	return t
}

// connect dials the rendezvous and signs this enrolled device in.
func (p *Peer) connect(ctx context.Context, t try) (*client.Conn, error) {
	ctx, cancel := context.WithTimeout(ctx, connectTime)
	defer cancel()
	conn, err := p.dialRendezvous(ctx, t)
	if err != nil {
		return nil, err
	}
	if _, err := conn.Resume(ctx, string(p.user)); err != nil {
		return nil, errors.Join(err, conn.Close())
	}
	return conn, nil
}

// dialRendezvous tries the remembered addresses, and where those fail the LAN: the rendezvous may have got a new one.
func (p *Peer) dialRendezvous(ctx context.Context, t try) (*client.Conn, error) {
	dial := func(info peer.AddrInfo) (*client.Conn, error) {
		return client.Dial(ctx, client.Options{Host: p.host, Rendezvous: info, Agent: p.cfg.Agent, Logger: p.log, ConnectTime: t.reach})
	}
	p.trace.Add(trace.Step{What: trace.RendezvousDial, Addrs: texts(p.address.Addrs)})
	conn, err := dial(p.address.AddrInfo())
	if err == nil || p.cfg.NoMDNS || t.browse == 0 || ctx.Err() != nil || errors.Is(err, client.ErrNotARendezvous) {
		return conn, err
	}
	browse, cancel := context.WithTimeout(ctx, t.browse)
	defer cancel()
	found, stop := lan.Browse(browse, p.host.ID(), p.log)
	defer stop()
	for info := range found {
		if info.ID == p.address.ID {
			p.trace.Add(trace.Step{What: trace.RendezvousDial, Addrs: texts(info.Addrs), Why: "found on the local network"})
			return dial(info)
		}
	}
	return nil, err
}

// converse takes a signed-in connection into use and passes on what it brings, until it ends. The error says why.
func (p *Peer) converse(ctx context.Context, conn *client.Conn) error {
	defer func() { _ = conn.Close() }()
	stop := context.AfterFunc(ctx, func() { _ = conn.Close() })
	defer stop()
	near := isLoopback(conn.Remote())
	p.core.post(func() {
		p.core.near = near
		p.core.connected(time.Now(), conn)
	})
	prepared := make(chan error, 1)
	go func() { // beside the pushes: they must flow, or the answers behind them would not
		err := p.prepare(ctx, conn)
		if err == nil {
			err = p.keepPublished(ctx, conn)
		}
		if err != nil {
			_ = conn.Close()
		}
		prepared <- err
	}()
	var goodbye *rendezvous.Goodbye
	for pushed := range conn.Pushes() {
		if pushed.Goodbye != nil {
			goodbye = pushed.Goodbye
		}
		p.core.post(func() { p.core.push(time.Now(), conn, &pushed) })
	}
	err := <-prepared
	if goodbye != nil {
		return (&rendezvous.Failure{
			Code: goodbye.GetCode(), Message: "the rendezvous said goodbye: " + goodbye.GetCode(), RetryAfterMs: goodbye.GetReconnectAfterMs(),
		}).Err()
	}
	return errors.Join(err, conn.Err())
}

// prepare publishes what is ours, begins to watch, and asks for the records of all contacts, which may have changed meanwhile.
func (p *Peer) prepare(ctx context.Context, conn *client.Conn) error {
	ctx, cancel := context.WithTimeout(ctx, connectTime)
	defer cancel()
	if err := p.publish(ctx, conn); err != nil {
		return err
	}
	if err := conn.Watch(ctx); err != nil {
		return fmt.Errorf("watch presence: %w", err)
	}
	p.attempted()
	var names []string
	if err := p.core.do(ctx, func() { names = p.core.names() }); err != nil {
		return err
	}
	for len(names) > 0 {
		page := names[:min(len(names), rendezvous.MaxLookup)]
		names = names[len(page):]
		found, err := conn.Lookup(ctx, page...)
		if err != nil {
			return fmt.Errorf("look contacts up: %w", err)
		}
		p.core.post(func() { p.core.learnAll(time.Now(), conn, page, found) })
		if err := p.republish(ctx, conn, found); err != nil {
			return err
		}
	}
	return nil
}

// reasonOf is the stable code for why the rendezvous is not connected.
func reasonOf(err error) string {
	switch {
	case errors.Is(err, client.ErrNotARendezvous):
		return "not-a-rendezvous"
	case errors.Is(err, client.ErrWrongIdentity):
		return "wrong-identity"
	case errors.Is(err, client.ErrSilent):
		return "silent"
	}
	if e, ok := errors.AsType[*rendezvous.Error](err); ok {
		return string(e.Code)
	}
	return "unreachable"
}

// connected takes a signed-in connection into use.
func (c *core) connected(now time.Time, conn *client.Conn) {
	c.conn, c.reason, c.refused, c.sought = conn, "", "", now
	c.connNo++
	c.tellRendezvous(true, "")
	c.engine.RelayUp(now)
}

// disconnected is told each time that there is no connection, also after an attempt that has failed.
func (c *core) disconnected(now time.Time, reason string) {
	was := c.conn != nil
	c.conn, c.reason, c.sought = nil, reason, now
	c.taken, c.snapshot = nil, nil
	clear(c.submits)
	c.engine.RelayDown(now)
	if was {
		clear(c.online) // what readers were told of it stays until the next snapshot (hub.present)
		c.tellRendezvous(false, reason)
	}
}

func (c *core) tellRendezvous(connected bool, reason string) {
	c.hub.publish(Event{Type: EventRendezvous, Connected: &connected, Reason: reason})
}
