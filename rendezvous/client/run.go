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
	var farewell *rendezvous.Goodbye
	for {
		frame, err := c.reader.Next()
		if err == nil {
			err = c.handle(frame)
		}
		if c.batch.Goodbye != nil {
			farewell = c.batch.Goodbye
		}
		if err != nil || !c.reader.More() || c.batch.full() {
			c.heard.Store(time.Now().UnixNano())
			if !c.push() {
				return
			}
		}
		if err != nil {
			if farewell != nil {
				err = goodbye(farewell)
			}
			c.end(err)
			return
		}
	}
}

// handle takes in one frame.
func (c *Conn) handle(frame []byte) error {
	if c.batch.add(frame) {
		return nil
	}
	f, err := rendezvous.ParseFrame(frame)
	if err != nil {
		return err
	}
	switch body := f.GetBody().(type) {
	case *rendezvous.Frame_Pong:
		c.pong(body.Pong.GetToken())
	case *rendezvous.Frame_Ping:
		_ = c.writer.Add(&rendezvous.Frame{Id: f.GetId(), Body: &rendezvous.Frame_Pong{
			Pong: &rendezvous.Pong{Token: body.Ping.GetToken()},
		}})
	default:
		if !c.batch.addParsed(f) {
			c.answer(f)
		}
	}
	return nil
}

// answer hands a frame to the call that waits for it.
func (c *Conn) answer(f *rendezvous.Frame) {
	c.mu.Lock()
	answer := c.calls[f.GetId()]
	delete(c.calls, f.GetId())
	c.mu.Unlock()
	if answer != nil {
		answer <- f
		return
	}
	if failure := f.GetFailure(); failure != nil && f.GetId() != 0 {
		// Not the answer to a call that still waits, so to a Submit, whose caller looks for an Outcome.
		c.batch.Outcomes = append(c.batch.Outcomes, Outcome{ID: f.GetId(), Settled: rendezvous.Settled{
			State: rendezvous.Outcome_REFUSED, Code: rendezvous.Code(failure.GetCode()), RetryAfterMs: failure.GetRetryAfterMs(),
		}})
	}
	// Else an answer that came too late, or a push of a newer version.
}

// push hands on what has gathered; it reports false when the connection has ended meanwhile.
func (c *Conn) push() bool {
	p, any := c.batch.take()
	if !any {
		return true
	}
	select {
	case c.pushes <- p:
		return true
	default:
	}
	c.waiting.Store(true)
	defer func() {
		c.heard.Store(time.Now().UnixNano())
		c.waiting.Store(false)
	}()
	select {
	case c.pushes <- p:
		return true
	case <-c.done:
		return false
	}
}

// measureEvery is how often a busy connection is pinged all the same, for RTT.
const measureEvery = 6 * rendezvous.Heartbeat

// heartbeat ends the connection after two intervals of silence. It pings where an interval has passed since this end spoke or the other did: a
// busy connection needs no heartbeat.
func (c *Conn) heartbeat() {
	timer := time.NewTimer(rendezvous.Heartbeat)
	defer timer.Stop()
	began := time.Now()
	pinged := began
	for token := uint64(1); ; {
		select {
		case <-c.done:
			return
		case <-timer.C:
		}
		now, heard, spoke := time.Now(), time.Unix(0, c.heard.Load()), c.writer.Wrote()
		if now.Sub(heard) >= 2*rendezvous.Heartbeat && !c.waiting.Load() {
			c.end(ErrSilent)
			return
		}
		due := min(heard.UnixNano(), max(spoke.UnixNano(), began.UnixNano())) + int64(rendezvous.Heartbeat)
		if wait := time.Duration(due - now.UnixNano()); wait > 0 && now.Sub(pinged) < measureEvery {
			timer.Reset(wait)
			continue
		}
		pinged = now
		c.mu.Lock()
		delete(c.pings, token-4)
		c.pings[token] = now
		c.mu.Unlock()
		// A full queue is traffic enough; the next beat tries again.
		_ = c.writer.Add(&rendezvous.Frame{Body: &rendezvous.Frame_Ping{Ping: &rendezvous.Ping{Token: token}}})
		token++
		timer.Reset(rendezvous.Heartbeat)
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
