package peer

import (
	"context"
	"fmt"
	"log/slog"
	"math"
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
func (c *core) push(now time.Time, conn *client.Conn, p *client.Pushed) {
	if c.conn != conn {
		return
	}
	for i := range p.Deliveries {
		c.delivered(&p.Deliveries[i])
	}
	for i := range p.Outcomes {
		c.outcome(now, &p.Outcomes[i])
	}
	for _, presence := range p.Presence {
		c.presence(now, presence)
	}
	if p.Refusals != nil {
		c.refusals(conn, p.Refusals)
	}
}

func (c *core) delivered(d *rendezvous.Delivery) {
	id, conn := d.ID, c.conn
	in := inbound{name: delivery.Account(d.Username), way: WayRelay, envelope: d.Envelope}
	in.taken = func() {
		if c.conn == conn {
			c.taken = append(c.taken, id)
		}
	}
	if d.Stored {
		in.way = WayMailbox
	}
	if copy(in.device[:], d.Device) != len(in.device) {
		c.discard(in, "sender's fingerprint is malformed")
		return
	}
	if from := c.devices[in.device]; from != nil && !d.Stored && c.weather.loses(from.id, WayRelay) {
		in.taken()
		return
	}
	c.receive(in)
}

func (c *core) outcome(now time.Time, o *client.Outcome) {
	sends := c.submits[o.ID]
	delete(c.submits, o.ID)
	if o.State == rendezvous.Outcome_REFUSED && len(sends) > 0 {
		c.unopened(sends[0].Device, func(s *sender) bool { return s.opening == o.ID })
	}
	for _, s := range sends {
		if s.N == 0 {
			continue
		}
		switch o.State {
		case rendezvous.Outcome_STORED:
			c.engine.Stored(now, s.To, s.Device, s.N)
		case rendezvous.Outcome_REFUSED:
			wait := time.Duration(min(o.RetryAfterMs, uint64(time.Hour.Milliseconds()))) * time.Millisecond
			c.engine.Refused(now, s.To, s.Device, s.N, string(o.Code), wait)
		case rendezvous.Outcome_TAKEN:
			c.engine.Taken(now, s.To, s.Device, s.N)
		default:
		}
	}
}

// refusals tells the person what did not fit into the mailbox. The rendezvous tells it again with each connection until it has heard that a face has it.
func (c *core) refusals(conn *client.Conn, r *rendezvous.Refusals) {
	since := time.UnixMilli(int64(min(r.GetSinceMs(), math.MaxInt64))).UTC()
	c.log.Warn("the mailbox was full", slog.Uint64("refused", r.GetMessages()), slog.Uint64("accounts", r.GetAccounts()), slog.Time("since", since))
	c.hub.tellFace(Event{
		Type: EventError, Code: string(rendezvous.CodeMailboxFull),
		Message: fmt.Sprintf("since %s your mailbox was too full for %d envelopes from %d accounts; their programs send them again",
			since.Format(time.RFC3339), r.GetMessages(), r.GetAccounts()),
	}, func() { _ = conn.Told(r.GetMark()) }) // where the connection has ended, it is told again
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
	ct.asking, ct.stale = true, false
	c.ask(string(ct.Name), func() {
		ct.asking = false
		if ct.stale && c.contacts[ct.Name] == ct {
			c.refresh(ct)
		}
	})
}
