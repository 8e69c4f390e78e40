package peer

import (
	"context"
	"log/slog"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/byway-chat/byway/peer/delivery"
	"github.com/byway-chat/byway/peer/history"
	"github.com/byway-chat/byway/peer/route"
	"github.com/byway-chat/byway/rendezvous"
)

// DefaultWay stands for what holds for all users that have no policy of their own: as a user of SetWay and Ways for that policy, and as the way of a user who is
// to have none. A user of that name is written with an @ before it.
const DefaultWay = "default"

// withdrawTime is how long SetWay waits for the directory to forget addresses.
const withdrawTime = 5 * time.Second

// SetWay sets by which ways there may be anything between this side and a user: auto, lan, direct, relay, or default for what holds for all. It is on the disk when it
// returns, links and tries that it forbids have ended, the user's devices are told, and the directory tells no address to whom it is to be kept from. It fails with
// CodeRendezvousUnreachable where there is a rendezvous, but that last has not been answered: all else is done.
func (p *Peer) SetWay(ctx context.Context, user, way string) error {
	if err := p.up(); err != nil {
		return err
	}
	if user == DefaultWay {
		return p.setStanding(ctx, way)
	}
	policy, err := parseWay(way)
	if err != nil && way != DefaultWay {
		return err
	}
	stored := policy.String()
	if way == DefaultWay {
		stored = ""
	}
	name, err := parseUser(strings.TrimPrefix(user, "@"))
	if err != nil {
		return err
	}
	if err := p.contact(ctx, name); err != nil {
		return err
	}
	return p.setPolicy(ctx, delivery.Account(name), stored)
}

// setPolicy gives an account a policy, by name, or none, and tells the directory where that has to withhold our addresses from the account or did.
func (p *Peer) setPolicy(ctx context.Context, name delivery.Account, stored string) error {
	var concerned bool
	err := p.core.commit(context.WithoutCancel(ctx), func() error { // it is done all the same, and then must be told
		c := p.core
		concerned = c.contacts[name] != nil && c.withholds(c.contacts[name])
		if err := c.setWay(time.Now(), name, stored); err != nil {
			return err
		}
		concerned = concerned || c.withholds(c.contacts[name])
		return nil
	})
	if err != nil {
		return err // and no look at concerned, which the core may still be writing
	}
	if !concerned {
		return nil
	}
	return p.republishAddresses(ctx)
}

// setWay gives an account a policy, by name, or none.
func (c *core) setWay(now time.Time, name delivery.Account, stored string) error {
	ct := c.contacts[name]
	if ct == nil {
		return noSuchUser(string(name))
	}
	if ct.Policy == stored {
		return nil
	}
	old := c.policy(name)
	ct.PolicySet, ct.Policy = nextStamp(now, c.stamp(ct)), stored
	c.batch.Contacts = append(c.batch.Contacts, ct.Contact)
	c.tracePolicy(name, old, c.policy(name))
	for _, d := range ct.devices {
		c.owe(now, d) // before anything that the new policy lets go
		c.obey(now, d)
	}
	return nil
}

// setStanding sets the policy for all who have none of their own.
func (p *Peer) setStanding(ctx context.Context, way string) error {
	policy, err := parseWay(way)
	if err != nil {
		return err
	}
	if err := p.storeStanding(ctx, policy); err != nil {
		return err
	}
	return p.republishAddresses(ctx)
}

// storeStanding puts the policy for all on the disk and into force.
func (p *Peer) storeStanding(ctx context.Context, policy route.Policy) error {
	p.settings.Lock()
	defer p.settings.Unlock()
	f, err := p.home.file()
	if err != nil {
		return err
	}
	f.Way, f.WaySet = policy.String(), nextStamp(time.Now(), f.WaySet)
	if err := p.home.save(f); err != nil {
		return err
	}
	return p.core.do(context.WithoutCancel(ctx), func() {
		c := p.core
		c.tracePolicy("", c.standing.policy, policy)
		c.standing = standing{policy: policy, set: f.WaySet}
		c.obeyAll(time.Now())
	})
}

// republishAddresses has the directory tell of this device what the policies let it tell, to those to whom they do. Without a rendezvous it is the first thing that it
// hears when it is back. Where it has not answered in time, or the caller does not wait for that, whoever keeps up what is published tells it.
func (p *Peer) republishAddresses(ctx context.Context) error {
	conn, err := p.connection(context.WithoutCancel(ctx)) // the policy is in force: without this nobody would know that the directory is to be told
	if err != nil || conn == nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, withdrawTime)
	defer cancel()
	err = p.publishAddresses(ctx, conn)
	for wait, ok := rateLimited(err); ok; wait, ok = rateLimited(err) {
		pause(ctx, wait)
		err = p.publishAddresses(ctx, conn)
	}
	if err != nil {
		select {
		case p.untold <- struct{}{}:
		default: // it has not been looked at since the last time
		}
		p.log.Warn("the directory does not know the new policy yet", slog.Any("error", err))
		return &Error{
			Code: CodeRendezvousUnreachable, Message: "the policy is set, but the directory has not answered whether it tells no more than that allows", Err: err,
			Hint: "it is told again soon, and with each new connection; `byway status` shows whether there is one",
		}
	}
	return nil
}

// WayPolicy is which ways there may be to a user, and by whose word.
type WayPolicy struct {
	User        string   `json:"user"`                   // or DefaultWay
	Policy      string   `json:"policy"`                 // that is in force here: auto, lan, direct or relay
	Own         bool     `json:"own"`                    // set for this user; false: it is what holds for all
	PolicyThere []string `json:"policy_there,omitempty"` // what the user's devices have said, where one of them has said other than auto; each policy once
	Ways        []Way    `json:"ways"`                   // that are left, best first; to a user with several devices those to any of them
	Reason      string   `json:"reason,omitempty"`       // why none is left, as route tells it
}

// Ways tells what holds for a user, or without one for all who have no policy of their own, and then for each contact of whom something else is known.
func (p *Peer) Ways(ctx context.Context, user string) ([]WayPolicy, error) {
	if err := p.up(); err != nil {
		return nil, err
	}
	var name rendezvous.Username
	if user != "" && user != DefaultWay {
		var err error
		if name, err = parseUser(strings.TrimPrefix(user, "@")); err != nil {
			return nil, err
		}
		if err := p.contact(ctx, name); err != nil {
			return nil, err
		}
	}
	var out []WayPolicy
	c := p.core
	err := c.do(ctx, func() {
		if name == "" {
			out = append(out, WayPolicy{User: DefaultWay, Policy: c.standing.policy.String(), Own: c.standing.set > 0, Ways: c.standing.policy.Ways().List()})
		}
		for _, account := range slices.Sorted(maps.Keys(c.contacts)) {
			w := c.wayPolicy(c.contacts[account])
			if string(account) == string(name) || user == "" && (w.Own || len(w.PolicyThere) > 0) {
				out = append(out, w)
			}
		}
	})
	if err != nil {
		return nil, err // and not out, which the core may still be writing
	}
	return out, nil
}

func (c *core) wayPolicy(ct *contact) WayPolicy {
	here := c.policy(ct.Name)
	w := WayPolicy{User: string(ct.Name), Policy: here.String(), Own: ct.Policy != "", PolicyThere: ct.policiesThere()}
	left, why := here.Ways(), route.Reason("")
	if devices := ct.sealedFor(c.self.Fingerprint); len(devices) > 0 {
		left = 0
		for _, d := range devices {
			left |= c.agreed(d)
			why = route.Excludes(route.Auto, here, d.ways.There.Policy)
		}
	}
	w.Ways = left.List()
	if left == 0 {
		w.Reason = string(why)
	}
	return w
}

// policiesThere returns what the devices of a contact have said, each once, where one of them has said other than auto.
func (ct *contact) policiesThere() []string {
	var out []string
	other := false
	for _, d := range ct.devices {
		if d.Trust == history.Accepted {
			out = append(out, d.ways.There.Policy.String())
			other = other || d.ways.There.Policy != route.Auto
		}
	}
	if !other {
		return nil
	}
	slices.Sort(out)
	return slices.Compact(out)
}
