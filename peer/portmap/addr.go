package portmap

import (
	"net"
	"net/netip"

	ma "github.com/multiformats/go-multiaddr"
	manet "github.com/multiformats/go-multiaddr/net"
)

// public reports whether an address can be dialled from everywhere.
func public(a netip.Addr) bool {
	if !a.IsValid() {
		return false
	}
	m, err := manet.FromIP(a.AsSlice())
	return err == nil && !a.IsUnspecified() && manet.IsPublicAddr(m)
}

// Multiaddr is where others dial a mapping, over TCP or over QUIC; nil where the mapping is none.
func (m Mapping) Multiaddr() ma.Multiaddr {
	var outer net.Addr = net.TCPAddrFromAddrPort(m.External)
	if m.Port.UDP {
		outer = net.UDPAddrFromAddrPort(m.External)
	}
	a, err := manet.FromNetAddr(outer)
	if err != nil {
		return nil
	}
	if m.Port.UDP {
		a = a.Encapsulate(ma.StringCast("/quic-v1"))
	}
	return a
}
