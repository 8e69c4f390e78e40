package client

import (
	"fmt"
	"time"

	"github.com/byway-chat/byway/rendezvous"
)

// start runs the reader, the writer and the heartbeat; end stops them.
func (c *Conn) start() {
	c.heard.Store(time.Now().UnixNano())
	c.wg.Go(c.read)
	c.wg.Go(func() {
		defer close(c.flushed)
		if err := c.writer.Run(); err != nil {
			c.end(err)
		}
	})
	c.wg.Go(c.heartbeat)
}

// read is the reader goroutine.
func (c *Conn) read() {
	defer close(c.pushes)
	var farewell error
	for {
		f, err := rendezvous.ReadFrame(c.reader)
		if err != nil {
			if farewell != nil {
				err = farewell
			}
			c.end(err)
			return
		}
		c.heard.Store(time.Now().UnixNano())
		if g := f.GetGoodbye(); g != nil {
			farewell = goodbye(g)
		}
		if !c.handle(f) {
			return
		}
	}
}

// handle routes one frame; it reports false when the connection has ended meanwhile.
func (c *Conn) handle(f *rendezvous.Frame) bool {
	switch body := f.GetBody().(type) {
	case *rendezvous.Frame_Pong:
		c.pong(body.Pong.GetToken())
		return true
	case *rendezvous.Frame_Outcome, *rendezvous.Frame_Deliver, *rendezvous.Frame_Presence, *rendezvous.Frame_Goodbye:
		return c.push(f)
	case *rendezvous.Frame_Ping:
		_ = c.writer.Add(&rendezvous.Frame{Id: f.GetId(), Body: &rendezvous.Frame_Pong{
			Pong: &rendezvous.Pong{Token: body.Ping.GetToken()},
		}})
		return true
	}
	c.mu.Lock()
	answer := c.calls[f.GetId()]
	delete(c.calls, f.GetId())
	c.mu.Unlock()
	if answer != nil {
		answer <- f
		return true
	}
	if failure := f.GetFailure(); failure != nil && f.GetId() != 0 {
		// Not the answer to a call that still waits, so to a Submit, whose caller looks for an Outcome.
		return c.push(&rendezvous.Frame{Id: f.GetId(), Body: &rendezvous.Frame_Outcome{Outcome: &rendezvous.Outcome{
			State: rendezvous.Outcome_REFUSED, Code: failure.GetCode(), RetryAfterMs: failure.GetRetryAfterMs(),
		}}})
	}
	return true // an answer that came too late, or a push of a newer version
}

func (c *Conn) push(f *rendezvous.Frame) bool {
	select {
	case c.pushes <- f:
		return true
	default:
	}
	c.waiting.Store(true)
	defer func() {
		c.heard.Store(time.Now().UnixNano())
		c.waiting.Store(false)
	}()
	select {
	case c.pushes <- f:
		return true
	case <-c.done:
		return false
	}
}

// heartbeat pings and ends the connection after two intervals of silence.
func (c *Conn) heartbeat() {
	tick := time.NewTicker(rendezvous.Heartbeat)
	defer tick.Stop()
	for token := uint64(1); ; token++ {
		select {
		case <-c.done:
			return
		case <-tick.C:
		}
		silent := time.Since(time.Unix(0, c.heard.Load()))
		if silent >= 2*rendezvous.Heartbeat && !c.waiting.Load() {
			c.end(ErrSilent)
			return
		}
		c.mu.Lock()
		delete(c.pings, token-4)
		c.pings[token] = time.Now()
		c.mu.Unlock()
		// A full queue is traffic enough; the next tick tries again.
		_ = c.writer.Add(&rendezvous.Frame{Body: &rendezvous.Frame_Ping{Ping: &rendezvous.Ping{Token: token}}})
	}
}

func (c *Conn) pong(token uint64) {
	c.mu.Lock()
	sent, ok := c.pings[token]
	delete(c.pings, token)
	c.mu.Unlock()
	if ok {
		c.rtt.Store(int64(time.Since(sent)))
	}
}

// goodbye is the error that a Goodbye amounts to.
func goodbye(g *rendezvous.Goodbye) error {
	f := &rendezvous.Failure{Code: g.GetCode(), Message: g.GetReason(), RetryAfterMs: g.GetReconnectAfterMs()}
	return fmt.Errorf("the rendezvous said goodbye: %w", f.Err())
}
