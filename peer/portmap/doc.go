// Package portmap asks the router of the local network to lead a port of its own to each port that this program listens on, so that others can dial it: by NAT-PMP,
// which most PCP servers answer too, or by UPnP, whichever the router understands.
//
// Use: [Start] looks for a router and keeps the mappings for as long as it can, [Mapper.Status] says what came of it, [Mapper.Switch] and
// [Mapper.Close] give them back.
//
// Only the default gateway is asked, and believed: another machine on the network that says it is a router is not heard. A mapping whose outer
// address is not public is given back, because another router stands before it.
package portmap

import (
	"context"
	"fmt"
	"net/netip"
	"time"
)

// Port is one that the program listens on.
type Port struct {
	UDP    bool // else TCP
	Number uint16
}

// String is "udp 4001".
func (p Port) String() string { return fmt.Sprintf("%s %d", p.network(), p.Number) }

func (p Port) network() string {
	if p.UDP {
		return "udp"
	}
	return "tcp"
}

// Mapping is a port of the router that leads to one of ours.
type Mapping struct {
	Port     Port
	External netip.AddrPort
}

// State says how it stands with mappings. The texts are stable.
type State string

// The states.
const (
	StateOff       State = "off"        // nothing is to be mapped
	StateSearching State = "searching"  // no answer yet
	StateNoGateway State = "no-gateway" // there is no default route
	StateNoAnswer  State = "no-answer"  // the gateway understands none of the protocols, or has them switched off
	StateRefused   State = "refused"    // it answers, and maps nothing
	StateNotPublic State = "not-public" // it maps, but its own address is not public
	StateMapped    State = "mapped"
)

// Status is what is known.
type Status struct {
	State    State
	Gateway  netip.Addr // invalid: none
	Protocol string     // "nat-pmp" or "upnp", where the gateway has answered
	Mappings []Mapping
}

// Router is one that has answered. Its methods are called by one goroutine at a time.
type Router interface {
	// Protocol names it for people.
	Protocol() string
	// External returns the router's outer address.
	External(ctx context.Context) (netip.Addr, error)
	// Map leads a port of the router to ours for a time, or renews that. wanted is the outer port that would be best; the one that was given is
	// returned, and for how long: 0 is for ever.
	Map(ctx context.Context, p Port, wanted uint16, lease time.Duration) (external uint16, granted time.Duration, err error)
	// Unmap ends that.
	Unmap(ctx context.Context, p Port, external uint16) error
}

// Finder asks a gateway whether it understands a protocol. own is our address towards it.
type Finder func(ctx context.Context, gateway, own netip.Addr) (Router, error)
