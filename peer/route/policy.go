package route

import (
	"fmt"

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

// Allows reports whether the policy lets messages go by a way. One that is not known, of a newer program, allows none.
func (p Policy) Allows(w delivery.Way) bool {
	switch p {
	case Auto:
		return true
	case LAN:
		return w == delivery.WayLAN
	case Direct:
		return w.IsDirect()
	case Relay:
		return w == delivery.WayRelay || w == delivery.WayMailbox
	}
	return false
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
