package route

import (
	"net/netip"
	"slices"

	"github.com/byway-chat/byway/peer/delivery"
)

// ways has all ways, best first.
var ways = []delivery.Way{delivery.WayLAN, delivery.WayDirect, delivery.WayPunched, delivery.WayRelay, delivery.WayMailbox}

// State says how it stands with a way.
type State string

// The states.
const (
	StateOpen   State = "open"
	StateTrying State = "trying"
	StateClosed State = "closed"
)

// Entry is one way to a device.
type Entry struct {
	Way    delivery.Way
	State  State
	Reason Reason // why it is not in use; empty for the one that is
	InUse  bool
	Addr   string // of the other end, where it is open
}

// Entries returns all ways, best first.
func (t *Table) Entries(s *Surroundings) []Entry {
	used := t.Use(s)
	out := make([]Entry, 0, len(ways))
	for _, w := range ways {
		e := Entry{Way: w, State: StateClosed, Reason: t.stands(s, w), InUse: w == used}
		switch {
		case e.Reason == "":
			e.State = StateOpen
			if w == t.open.Way {
				e.Addr = t.open.Addr
			}
			if !e.InUse {
				e.Reason = BetterWayOpen
			}
		case t.trying(w):
			e.State = StateTrying
		case w.IsDirect() && t.open.Way != "" && (e.Reason == NotTriedYet || e.Reason == LinkLost):
			e.Reason = BetterWayOpen // and nobody looks for it
		}
		out = append(out, e)
	}
	return out
}

func (t *Table) trying(w delivery.Way) bool {
	switch w {
	case delivery.WayLAN, delivery.WayDirect:
		return t.dial.running && t.Addresses.has(w)
	case delivery.WayPunched:
		return t.punch.running
	default:
		return false
	}
}

// stands returns why a message cannot go by a way now, or none where it can.
func (t *Table) stands(s *Surroundings, w delivery.Way) Reason {
	if why := forbids(t.Policy, t.There.Policy, w); why != "" {
		return why
	}
	if w.IsDirect() {
		return t.direct(s, w)
	}
	switch {
	case !s.Rendezvous:
		return RendezvousUnreachable
	case w == delivery.WayRelay && !t.Online:
		return PeerOffline
	case w == delivery.WayMailbox && t.Full:
		return MailboxFull
	}
	return ""
}

// direct is stands for a direct way that the policies allow.
func (t *Table) direct(s *Surroundings, w delivery.Way) Reason {
	switch {
	case w == t.open.Way:
		return ""
	case s.Hidden:
		return PolicyHere
	case s.Rendezvous && !t.Online && !t.Near && t.open.Way == "":
		return PeerOffline
	case w == delivery.WayPunched && !s.Rendezvous:
		return RendezvousUnreachable
	case t.lost == w && !t.dial.tried() && !t.punch.tried():
		return LinkLost
	}
	switch w {
	case delivery.WayLAN:
		return t.whyNotLAN(s)
	case delivery.WayDirect:
		return t.whyNotDirect(s)
	default:
		return t.whyNotPunched(s)
	}
}

// whyNotLAN names the network where that keeps devices from finding each other and nobody else knows where the device is now: a rendezvous would, where
// the device is connected to it.
func (t *Table) whyNotLAN(s *Surroundings) Reason {
	known := s.Rendezvous && t.Online && !t.Addresses.none()
	untried := t.Addresses.Common && !t.dial.tried()
	switch {
	case s.Multicast == MulticastIsFiltered && !known && !untried:
		return MulticastFiltered
	case t.Addresses.none():
		return NoAddressKnown
	case !t.Addresses.Common:
		return NoCommonNetwork
	case t.dial.ever:
		return SameLANUnreachable
	}
	return NotTriedYet
}

func (t *Table) whyNotDirect(s *Surroundings) Reason {
	switch {
	case t.Addresses.none():
		return NoAddressKnown
	case len(t.Addresses.Public) == 0:
		return NoPublicAddress
	case t.familiesApart(s.Here):
		return IPv6OneSide
	case t.dial.ever:
		return InboundBlocked
	}
	return NotTriedYet
}

// familiesApart reports whether all public addresses of the device are of a kind that this one has none of.
func (t *Table) familiesApart(here Network) bool {
	return !slices.ContainsFunc(t.Addresses.Public, func(a netip.Addr) bool { return a.Is4() && here.IPv4 || a.Is6() && here.IPv6 })
}

func (t *Table) whyNotPunched(s *Surroundings) Reason {
	switch {
	case apart(s.Here, t.There):
		return IPv6OneSide
	case t.punch.ever:
		return unpunched(s.Here, t.There)
	}
	return NotTriedYet
}

// WhyNotLAN returns why the way lan is not open, or none where a direct way is.
func (t *Table) WhyNotLAN(s *Surroundings) Reason {
	if t.open.Way != "" {
		return ""
	}
	return t.stands(s, delivery.WayLAN)
}

// Forbidden returns the reason why the device may not be dialled at all, or none where it may.
func (t *Table) Forbidden(s *Surroundings) Reason {
	if s.Hidden {
		return PolicyHere
	}
	return Excludes(Direct, t.Policy, t.There.Policy)
}

// Why returns the reason that tells most about why no direct way is open to what may go directly (wanted Direct) or over
// the LAN alone, or none where one is.
func (t *Table) Why(s *Surroundings, wanted Policy) Reason {
	allowed := wanted.Ways() & t.Agreed() & direct
	switch {
	case t.open.Way != "" && allowed.Has(t.open.Way):
		return ""
	case allowed == 0:
		return Excludes(wanted, t.Policy, t.There.Policy)
	}
	w := delivery.WayPunched
	switch {
	case t.Addresses.Common || allowed == onLAN:
		w = delivery.WayLAN
	case len(t.Addresses.Public) > 0 && !t.punch.tried():
		w = delivery.WayDirect
	}
	return t.stands(s, w)
}
