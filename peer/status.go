package peer

import (
	"context"
	"errors"

	"github.com/byway-chat/byway/peer/delivery"
)

// Status describes this peer.
func (p *Peer) Status(ctx context.Context) (Status, error) {
	if err := p.up(); err != nil {
		return Status{}, err
	}
	return p.status(ctx)
}

func (p *Peer) status(ctx context.Context) (Status, error) {
	c := p.core
	out := Status{
		User: string(p.user), Device: c.self.Fingerprint.Device(), PeerID: c.peerID.String(), Fingerprint: c.self.Fingerprint.String(),
		Rendezvous: Rendezvous{PeerID: p.address.ID.String()}, Version: p.cfg.Version, Started: p.started.UTC(), Addrs: []string{},
		ReadReceipts: !p.secretReader.Load(), PortMapping: p.portMapping(),
	}
	for _, a := range p.addresses() {
		out.Addrs = append(out.Addrs, a.String()+"/p2p/"+out.PeerID)
	}
	err := c.do(ctx, func() {
		out.Rendezvous.Connected, out.Reason = c.conn != nil, c.reason
		if refused, ok := errors.AsType[*Error](c.refusal("")); ok {
			out.Refusal = &Refusal{Reason: refused.Reason, Message: refused.Message, Hint: refused.Hint}
		}
		out.Outbox, out.Contacts = c.engine.Pending(), len(c.contacts)
		out.Fault = faultOf(c.stall.cause)
		if c.contacts[delivery.Account(c.self.Name)] != nil {
			out.Contacts-- // that is us
		}
	})
	if err != nil {
		return Status{}, err // and not out, which the core may still be writing
	}
	return out, nil
}
