package lan

import (
	"net"
	"net/netip"
	"strings"
)

// port is one interface that can carry multicast, with its addresses.
type port struct {
	net.Interface
	prefixes []netip.Prefix
}

// ports returns the interfaces that are up, can carry multicast and have an address, and all addresses of this machine.
func ports() (carrying []port, own []netip.Addr) {
	ifaces, err := net.Interfaces()
	if err != nil {
		return nil, nil
	}
	for _, ifc := range ifaces {
		addrs, err := ifc.Addrs()
		if err != nil {
			continue
		}
		p := port{Interface: ifc}
		for _, a := range addrs {
			prefix, err := netip.ParsePrefix(a.String())
			if err != nil {
				continue
			}
			own = append(own, prefix.Addr().Unmap())
			p.prefixes = append(p.prefixes, prefix)
		}
		if ifc.Flags&net.FlagUp != 0 && ifc.Flags&net.FlagMulticast != 0 && ifc.Flags&net.FlagLoopback == 0 && len(p.prefixes) > 0 {
			carrying = append(carrying, p)
		}
	}
	return carrying, own
}

// network describes the interfaces that can carry multicast, so that a change can be seen: empty if there is none with an address.
func network() (description string, own []netip.Addr) {
	carrying, own := ports()
	var b strings.Builder
	for _, p := range carrying {
		for _, prefix := range p.prefixes {
			b.WriteString(p.Name + " " + prefix.String() + "\n")
		}
	}
	return b.String(), own
}

// OwnNetworks returns the networks that this machine is in by its interfaces that carry multicast, without those of link-local addresses.
func OwnNetworks() []netip.Prefix {
	carrying, _ := ports()
	var out []netip.Prefix
	for _, p := range carrying {
		for _, prefix := range p.prefixes {
			if !prefix.Addr().IsLinkLocalUnicast() {
				out = append(out, prefix)
			}
		}
	}
	return out
}
