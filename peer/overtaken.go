package peer

import (
	"time"

	"github.com/byway-chat/byway/crypto/session"
)

// How many envelopes wait for the opening of their session, and for how long. A session's envelopes go by the link and by the rendezvous: its opening
// may be on the slower way.
const (
	initWait      = 500 * time.Millisecond
	maxEarly      = 1024
	maxEarlyBytes = 4 << 20
)

// early is where envelopes wait that have overtaken the opening of their session. The zero value is ready. Owned by the core.
type early struct {
	sessions map[session.ID][]inbound
	count    int
	bytes    int
}

// add keeps an envelope in the order of its coming; false: there is no room for it. first reports that it is the only one of its session.
func (e *early) add(id session.ID, in inbound) (first, ok bool) {
	if e.count >= maxEarly || e.bytes+len(in.envelope) > maxEarlyBytes {
		return false, false
	}
	if e.sessions == nil {
		e.sessions = map[session.ID][]inbound{}
	}
	first = len(e.sessions[id]) == 0
	e.sessions[id] = append(e.sessions[id], in)
	e.count++
	e.bytes += len(in.envelope)
	return first, true
}

// leave takes out what waits for a session.
func (e *early) leave(id session.ID) []inbound {
	all := e.sessions[id]
	delete(e.sessions, id)
	for _, in := range all {
		e.count--
		e.bytes -= len(in.envelope)
	}
	return all
}

// awaitInit keeps an envelope of a known device until the opening of its session has come, or does not come; false: it is not kept.
func (c *core) awaitInit(in inbound, id session.ID) bool {
	if c.devices[in.device] == nil {
		return false
	}
	first, ok := c.lobby.early.add(id, in)
	if first {
		time.AfterFunc(initWait, func() {
			c.post(func() {
				for _, in := range c.lobby.early.leave(id) {
					c.askReset(in, id)
				}
			})
		})
	}
	return ok
}
