package server

import (
	"context"

	"github.com/byway-chat/byway/rendezvous"
	"github.com/byway-chat/byway/rendezvous/relay"
)

// submit hands an envelope to the relay, on the reader goroutine, so that envelopes keep their order.
func (c *conn) submit(ctx context.Context, id uint64, m *rendezvous.Submit) {
	who := c.signed.Load()
	switch {
	case who == nil:
		c.reply(id, nil, errNotSignedIn())
		return
	case id == 0:
		c.reply(0, nil, rendezvous.Errorf(rendezvous.CodeBadRequest, "a request needs a number"))
		return
	}
	c.server.relay.Submit(ctx, relay.Submission{
		From:   relay.Address{User: who.User, Device: who.Device},
		Device: m.GetDevice(), Envelope: m.GetEnvelope(), LiveOnly: m.GetLiveOnly(),
	}, func(o relay.Outcome) {
		c.send(&rendezvous.Frame{Id: id, Body: &rendezvous.Frame_Outcome{Outcome: o.Wire()}})
	})
}

// deliver queues an envelope for this device. The relay calls it with its lock held.
func (c *conn) deliver(d relay.Delivery) {
	c.send(&rendezvous.Frame{Body: &rendezvous.Frame_Deliver{Deliver: d.Wire()}})
}

// maxTaken is how many deliveries one frame may confirm: more than can ever be untaken, and few enough to be looked through while the
// relay's lock is held.
const maxTaken = 4096

// taken lets the relay forget what this device holds.
func (c *conn) taken(id uint64, t *rendezvous.Taken) {
	if len(t.GetIds()) > maxTaken {
		c.reply(id, nil, rendezvous.Errorf(rendezvous.CodeBadRequest, "Taken names more than %d deliveries", maxTaken))
		return
	}
	c.mu.Lock()
	attachment := c.attachment
	c.mu.Unlock()
	if attachment != nil {
		attachment.Taken(t.GetIds()...)
	}
}
