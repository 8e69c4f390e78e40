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

// awaitInit keeps an envelope of a known device until the opening of its session has come, or does not come; false: it is not kept.
func (c *core) awaitInit(in inbound, id session.ID) bool {
	if c.devices[in.device] == nil {
		return false
	}
	first := !c.early.expects(id)
	if !c.early.add(id, in) {
		return false
	}
	if first {
		time.AfterFunc(initWait, func() {
			c.post(func() {
				for _, in := range c.early.leave(id) {
					c.askReset(in, id)
				}
			})
		})
	}
	return true
}
