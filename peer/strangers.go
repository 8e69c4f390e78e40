package peer

import (
	"github.com/byway-chat/byway/peer/delivery"
	"github.com/byway-chat/byway/rendezvous"
)

// Bounds of what waits while the directory is asked who somebody is. The rendezvous has at most 5 MiB in 4,608 envelopes under way that are not
// taken, so it is never left with one that it believes to be here; what a link brings beyond is sent again.
const (
	maxAsking         = 64 // names that are asked about at a time
	maxStrangers      = 8192
	maxStrangersBytes = 8 << 20
)

// strangers are senders about whom the directory is being asked, or will be. Owned by the core.
type strangers struct {
	*lobby[delivery.Account]
	queue  []delivery.Account // those that nobody has asked about yet
	asking int
}

// introduce asks the directory who a sender is, and then tries once more, in order, what has come from that name meanwhile.
func (c *core) introduce(in inbound) {
	name, err := rendezvous.ParseUsername(string(in.name))
	if in.asked || err != nil || string(name) != string(in.name) {
		c.discard(in, "sender is not in the directory")
		return
	}
	if c.conn == nil {
		return // not taken: it comes again when there is somebody to ask
	}
	if c.strangers.add(in.name, in) {
		c.strangers.queue = append(c.strangers.queue, in.name)
		c.askNext()
	}
}

// askNext asks about as many names as may be asked about at a time.
func (c *core) askNext() {
	l := &c.strangers
	for l.asking < maxAsking && len(l.queue) > 0 {
		name := l.queue[0]
		l.queue = l.queue[1:]
		l.asking++
		c.ask(string(name), func() {
			l.asking--
			for _, in := range l.leave(name) {
				in.asked = true
				c.receive(in)
			}
			c.askNext()
		})
	}
}
