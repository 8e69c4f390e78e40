package peer

import (
	"github.com/byway-chat/byway/peer/delivery"
	"github.com/byway-chat/byway/rendezvous"
)

// Bounds of what waits while the directory is asked who somebody is. The rendezvous has at most 5 MiB in 4,608 envelopes under way that are not
// taken, so it is never left with one that it believes to be here; what a link brings beyond is sent again.
const (
	maxAsking      = 64 // names that are asked about at a time
	maxLobby       = 8192
	maxLobbyBytes  = 8 << 20
	lobbyEnvelopes = 128 // bytes that an envelope costs besides its own
)

// lobby is where envelopes wait whose senders are not known yet. Owned by the core.
type lobby struct {
	names  map[delivery.Account][]inbound
	queue  []delivery.Account // names that nobody has asked about yet
	asking int
	count  int // envelopes in names
	bytes  int
	early  early
}

// add keeps an envelope in the order of its coming. One too many is not kept, and not taken.
func (l *lobby) add(in inbound) bool {
	size := len(in.envelope) + lobbyEnvelopes
	if l.count >= maxLobby || l.bytes+size > maxLobbyBytes {
		return false
	}
	l.names[in.name] = append(l.names[in.name], in)
	l.count++
	l.bytes += size
	return true
}

// leave takes out what has come from a name.
func (l *lobby) leave(name delivery.Account) []inbound {
	all := l.names[name]
	delete(l.names, name)
	for _, in := range all {
		l.count--
		l.bytes -= len(in.envelope) + lobbyEnvelopes
	}
	return all
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
	if c.lobby.add(in) {
		c.lobby.queue = append(c.lobby.queue, in.name)
		c.askNext()
	}
}

// askNext asks about as many names as may be asked about at a time.
func (c *core) askNext() {
	l := &c.lobby
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
