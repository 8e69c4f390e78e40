package route

import (
	"net/netip"
	"slices"

	"github.com/byway-chat/byway/peer/delivery"
)

// Addresses is where a device may be dialled.
type Addresses struct {
	Private []netip.Addr
	Public  []netip.Addr
	// Common says that one of the private ones lies in a network that this device is in too.
	Common bool
}

// Sort sorts the addresses of a device. ours are the networks that this device is in, each with this device's own address in it: an address that
// is our own is somebody else's on another network of the same numbers. Loopback counts as common.
func Sort(theirs []netip.Addr, ours []netip.Prefix) Addresses {
	var out Addresses
	for _, a := range theirs {
		a = a.Unmap()
		if !isPrivate(a) {
			out.Public = append(out.Public, a)
			continue
		}
		out.Private = append(out.Private, a)
		out.Common = out.Common || Common(a, ours)
	}
	return out
}

// Common reports whether an address of a device is a private one in a network that this device is in too: see [Sort].
func Common(a netip.Addr, ours []netip.Prefix) bool {
	if a = a.Unmap(); !isPrivate(a) {
		return false
	}
	return a.IsLoopback() || slices.ContainsFunc(ours, func(p netip.Prefix) bool { return p.Contains(a) && p.Addr().Unmap() != a })
}

func isPrivate(a netip.Addr) bool { return a.IsPrivate() || a.IsLoopback() || shared.Contains(a) }

// shared is what carriers put many customers behind (RFC 6598).
var shared = netip.MustParsePrefix("100.64.0.0/10")

func (a *Addresses) none() bool { return len(a.Private) == 0 && len(a.Public) == 0 }

func (a *Addresses) has(w delivery.Way) bool {
	return w == delivery.WayLAN && a.Common || w == delivery.WayDirect && len(a.Public) > 0
}
