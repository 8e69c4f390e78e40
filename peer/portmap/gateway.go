package portmap

import (
	"errors"
	"fmt"
	"net"
	"net/netip"

	"github.com/libp2p/go-netroute"
)

var errNoGateway = errors.New("there is no default route")

// Gateway returns the router of the default route of IPv4, and our address towards it.
func Gateway() (gateway, own netip.Addr, err error) {
	routes, err := netroute.New()
	if err != nil {
		return gateway, own, fmt.Errorf("read routes: %w", err)
	}
	// Any address out of reach will do. 0.0.0.0 itself would be taken for this machine by some systems.
	_, via, from, err := routes.Route(net.IPv4(192, 88, 99, 1))
	if err != nil {
		return gateway, own, fmt.Errorf("read routes: %w", err)
	}
	gateway, known := netip.AddrFromSlice(via.To4())
	own, ours := netip.AddrFromSlice(from.To4())
	if !known || !ours {
		return netip.Addr{}, netip.Addr{}, errNoGateway
	}
	return gateway, own, nil
}
