package route

import (
	"fmt"
	"slices"

	"github.com/byway-chat/byway/peer/delivery"
)

// Policy says which ways a person allows to a contact. The values travel; see [Network].
type Policy uint8

// The policies.
const (
	Auto   Policy = iota // every way
	LAN                  // only over the local network
	Direct               // never through the rendezvous
	Relay                // only through the rendezvous: the contact does not learn our address
)

var policyNames = [...]string{Auto: "auto", LAN: "lan", Direct: "direct", Relay: "relay"}

// String returns the name that people type.
func (p Policy) String() string {
	if int(p) < len(policyNames) {
		return policyNames[p]
	}
	return fmt.Sprintf("policy %d", uint8(p))
}

// ParsePolicy reads what String returns; empty means auto.
func ParsePolicy(s string) (Policy, error) {
	if s == "" {
		return Auto, nil
	}
	for p, name := range policyNames {
		if s == name {
			return Policy(p), nil
		}
	}
	return 0, fmt.Errorf("there is no policy %q: use auto, lan, direct or relay", s)
}

// Ways is a set of ways.
type Ways uint8

// set returns the set of the ways for which f is true.
func set(f func(w delivery.Way) bool) (s Ways) {
	for i, w := range ways {
		if f(w) {
			s |= 1 << i
		}
	}
	return s
}

// The sets that policies are made of.
var (
	every   = set(func(delivery.Way) bool { return true })
	onLAN   = set(func(w delivery.Way) bool { return w == delivery.WayLAN })
	direct  = set(delivery.Way.IsDirect)
	relayed = every &^ direct
)

// SetOf returns the set of these ways.
func SetOf(list []delivery.Way) Ways {
	return set(func(w delivery.Way) bool { return slices.Contains(list, w) })
}

// Has reports whether a way is in the set.
func (s Ways) Has(w delivery.Way) bool {
	return s&set(func(v delivery.Way) bool { return v == w }) != 0
}

// List returns the ways of the set, best first.
func (s Ways) List() []delivery.Way {
	out := []delivery.Way{}
	for _, w := range ways {
		if s.Has(w) {
			out = append(out, w)
		}
	}
	return out
}

// Policy returns the policy that allows as much of the set as one can without allowing more, and whether the set is empty.
func (s Ways) Policy() (p Policy, none bool) {
	switch {
	case s&relayed != 0 && s&direct != 0:
		return Auto, false
	case s&relayed != 0:
		return Relay, false
	case s == onLAN:
		return LAN, false
	default:
		return Direct, s == 0
	}
}

// Ways returns the ways that the policy lets messages go by. One that is not known, of a newer program, allows none.
func (p Policy) Ways() Ways {
	switch p {
	case Auto:
		return every
	case LAN:
		return onLAN
	case Direct:
		return direct
	case Relay:
		return relayed
	}
	return 0
}

// Allows reports whether the policy lets messages go by a way.
func (p Policy) Allows(w delivery.Way) bool { return p.Ways().Has(w) }

// Excludes returns the reason why nothing that is wanted is allowed by both policies, or none where something is.
func Excludes(wanted, here, there Policy) Reason {
	switch {
	case wanted.Ways()&here.Ways() == 0:
		return PolicyHere
	case wanted.Ways()&here.Ways()&there.Ways() == 0:
		return PolicyThere
	}
	return ""
}

// forbids returns the reason why two policies do not let messages go by a way, or none where they do.
func forbids(here, there Policy, w delivery.Way) Reason {
	switch {
	case !here.Allows(w):
		return PolicyHere
	case !there.Allows(w):
		return PolicyThere
	}
	return ""
}
