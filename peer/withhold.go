package peer

import (
	"context"
	"fmt"
	"log/slog"
	"slices"

	"github.com/byway-chat/byway/peer/route"
	"github.com/byway-chat/byway/rendezvous"
	"github.com/byway-chat/byway/rendezvous/client"
)

// withholds reports whether our address is kept from a contact, though others may learn it: it has a policy of its own, and that allows no direct way. Under lan the
// contact is told as much as all others: what is withheld is the whole record, and with it the address that a LAN without multicast needs.
func (c *core) withholds(ct *contact) bool {
	return ct.Policy != "" && !c.policy(ct.Name).Ways().Has(WayLAN)
}

// withheld returns the names of those from whom the directory is to withhold our addresses, in order. It does not depend on the policy for all: who is named
// stays named when that lets others know.
func (c *core) withheld() []string {
	names := []string{}
	for name, ct := range c.contacts {
		if c.withholds(ct) {
			names = append(names, string(name))
		}
	}
	slices.Sort(names)
	return names
}

// where is what the directory is told of where this device is, and from whom it withholds that. Both go in one request, so that no address is there before the list.
func (p *Peer) where(ctx context.Context, conn *client.Conn) (*rendezvous.Publish, error) {
	var allowed route.Ways
	var names []string
	if err := p.core.do(ctx, func() { allowed, names = p.core.standing.policy.Ways(), p.core.withheld() }); err != nil {
		return nil, err
	}
	where := &rendezvous.Publish{Withheld: &rendezvous.Withheld{Usernames: names}}
	if p.cfg.Private || !allowed.Has(WayLAN) {
		where.HideAddresses = true
		return where, nil
	}
	if most := min(conn.Welcome().GetMaxWithheld(), rendezvous.MaxWithheld); len(names) > int(most) {
		return p.nowhere(fmt.Errorf("it can do so for %d users, and %d are not to know them", most, len(names))), nil
	}
	var err error
	where.PeerRecord, err = p.peerRecord(isLoopback(conn.Remote()), allowed)
	return where, err
}

// nowhere is what the directory is told where it cannot withhold our addresses from those who are not to know them: none.
func (p *Peer) nowhere(why error) *rendezvous.Publish {
	if !p.unlisted.Swap(true) {
		p.log.Warn("the rendezvous cannot withhold addresses: none are published", slog.Any("error", why))
	}
	return &rendezvous.Publish{HideAddresses: true}
}

// tellWhere tells the directory. An answer that refuses leaves there what was there, and perhaps the contact in the know: then it is told to forget the addresses.
func (p *Peer) tellWhere(ctx context.Context, conn *client.Conn, where *rendezvous.Publish) error {
	err := conn.Publish(ctx, where)
	listed := where.Withheld != nil
	switch rendezvous.CodeOf(err) {
	case rendezvous.CodeStale: // our clock was set back; an address that is not there cannot be newer than ours
		if err = conn.Publish(ctx, &rendezvous.Publish{HideAddresses: true, Withheld: where.Withheld}); err == nil {
			err = conn.Publish(ctx, where)
		}
	case rendezvous.CodeBadRequest, rendezvous.CodeTooLarge:
		if len(where.Withheld.GetUsernames()) > 0 {
			err, listed = conn.Publish(ctx, p.nowhere(err)), false
		}
	}
	if err == nil && listed {
		p.unlisted.Store(false)
	}
	return err
}
