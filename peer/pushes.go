package peer

import (
	"context"
	"log/slog"
	"slices"
	"time"

	"github.com/byway-chat/byway/peer/delivery"
	"github.com/byway-chat/byway/rendezvous"
	"github.com/byway-chat/byway/rendezvous/client"
)

// learnAll takes in the records that a connection has brought, unless it is not the one in use any more.
func (c *core) learnAll(now time.Time, conn *client.Conn, asked []string, records []*rendezvous.Record) {
	if c.conn != conn {
		return
	}
	for _, rec := range records {
		if rec.GetUnknown() || !slices.Contains(asked, rec.GetUsername()) {
			continue
		}
		if err := c.learn(now, rec); err != nil {
			c.log.Warn("directory record refused", slog.Any("error", err))
		}
	}
}

// names returns whom to ask the directory about after connecting: ourselves and everybody we know.
func (c *core) names() []string {
	names := []string{c.self.Name}
	for name := range c.contacts {
		if string(name) != c.self.Name {
			names = append(names, string(name))
		}
	}
	return names
}

// push handles what the rendezvous sends of its own accord. What an older connection still brings is of no use any more.
func (c *core) push(now time.Time, conn *client.Conn, f *rendezvous.Frame) {
	if c.conn != conn {
		return
	}
	switch {
	case f.GetDeliver() != nil:
		c.delivered(f.GetDeliver())
	case f.GetOutcome() != nil:
		c.outcome(now, f.GetId(), f.GetOutcome())
	case f.GetPresence() != nil:
		c.presence(now, f.GetPresence())
	}
}

func (c *core) delivered(d *rendezvous.Deliver) {
	id, conn := d.GetId(), c.conn
	in := inbound{name: delivery.Account(d.GetUsername()), way: WayRelay, envelope: d.GetEnvelope()}
	in.taken = func() {
		if c.conn == conn {
			c.taken = append(c.taken, id)
		}
	}
	if d.GetStored() {
		in.way = WayMailbox
	}
	if copy(in.device[:], d.GetDevice()) != len(in.device) {
		c.discard(in, "sender's fingerprint is malformed")
		return
	}
	c.receive(in)
}

func (c *core) outcome(now time.Time, id uint64, o *rendezvous.Outcome) {
	sends := c.submits[id]
	delete(c.submits, id)
	for _, s := range sends {
		if s.N == 0 {
			continue
		}
		switch o.GetState() {
		case rendezvous.Outcome_STORED:
			c.engine.Stored(now, s.To, s.Device, s.N)
		case rendezvous.Outcome_REFUSED:
			wait := time.Duration(min(o.GetRetryAfterMs(), uint64(time.Hour.Milliseconds()))) * time.Millisecond
			c.engine.Refused(now, s.To, s.Device, s.N, o.GetCode(), wait)
		default: // taken: the device's own acknowledgement says more
		}
	}
}

// ask looks a name up beside the core and calls then in the core, whatever came of it.
func (c *core) ask(name string, then func()) {
	conn := c.conn
	parsed, err := rendezvous.ParseUsername(name)
	if conn == nil || err != nil || string(parsed) != name {
		then()
		return
	}
	c.spawn(func() {
		ctx, cancel := context.WithTimeout(c.dialCtx, lookupWait)
		defer cancel()
		records, err := conn.Lookup(ctx, name)
		if err != nil {
			c.log.Info("look-up failed", slog.Any("error", err))
		}
		c.post(func() {
			c.learnAll(time.Now(), conn, []string{name}, records)
			then()
		})
	})
}

// refresh asks the directory about a contact again, once at a time.
func (c *core) refresh(ct *contact) {
	if ct.asking {
		return
	}
	ct.asking = true
	c.ask(string(ct.Name), func() { ct.asking = false })
}
