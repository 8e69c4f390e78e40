package lan

import (
	"net/netip"
	"slices"
	"strings"

	"github.com/libp2p/go-libp2p/core/peer"
	ma "github.com/multiformats/go-multiaddr"

	"github.com/byway-chat/byway/rendezvous"
)

// Bounds on what one mDNS answer may bring. Everybody on the LAN can write one.
const (
	maxRecords    = 64 // TXT strings looked at in one answer
	maxIDs        = 4  // PeerIDs taken from one answer
	maxAddrs      = 16 // addresses kept for one PeerID
	maxRecordSize = 512
)

// metadataAddress is where cloud machines find their credentials. Nothing that the LAN says may send us there.
var metadataAddress = netip.MustParseAddr("169.254.169.254")

// candidates reads the TXT strings of one answer: "dnsaddr=" and a multiaddr that ends in /p2p/ID each. It returns the
// PeerIDs other than self with the addresses that are worth dialling, in the order of the answer. Own holds the addresses of this machine:
// loopback addresses are kept only beside one of them.
func candidates(texts []string, self peer.ID, own []netip.Addr) []peer.AddrInfo {
	var found []peer.AddrInfo
	local := map[peer.ID]bool{} // announced with an address of this machine
	for _, text := range texts[:min(len(texts), maxRecords)] {
		addr, id, ok := parseRecord(text)
		if !ok || id == self {
			continue
		}
		i := slices.IndexFunc(found, func(c peer.AddrInfo) bool { return c.ID == id })
		if i < 0 {
			if len(found) == maxIDs {
				continue
			}
			i, found = len(found), append(found, peer.AddrInfo{ID: id})
		}
		if host := hostOf(addr); !host.IsLoopback() && slices.Contains(own, host) {
			local[id] = true
		}
		if len(found[i].Addrs) < maxAddrs && !ma.Contains(found[i].Addrs, addr) {
			found[i].Addrs = append(found[i].Addrs, addr)
		}
	}
	for i := range found {
		found[i].Addrs = slices.DeleteFunc(found[i].Addrs, func(m ma.Multiaddr) bool {
			return hostOf(m).IsLoopback() && !local[found[i].ID]
		})
	}
	return slices.DeleteFunc(found, func(c peer.AddrInfo) bool { return len(c.Addrs) == 0 })
}

// parseRecord returns the address and PeerID of one TXT string if it is an IP address that may be dialled over TCP or QUIC.
func parseRecord(text string) (ma.Multiaddr, peer.ID, bool) {
	text, ok := strings.CutPrefix(text, "dnsaddr=")
	if !ok || len(text) > maxRecordSize {
		return nil, "", false
	}
	m, err := ma.NewMultiaddr(text)
	if err != nil {
		return nil, "", false
	}
	addr, id := peer.SplitAddr(m)
	if id == "" || !worthDialling(addr) {
		return nil, "", false
	}
	return addr, id, true
}

func worthDialling(m ma.Multiaddr) bool {
	if len(m) < 2 || !rendezvous.IsTransport(m[1:]) || m[1].Value() == "0" {
		return false
	}
	ip := hostOf(m)
	switch {
	case !ip.IsValid(), ip.IsUnspecified(), ip.IsMulticast(), ip == metadataAddress:
		return false
	case ip.Is6() && ip.IsLinkLocalUnicast():
		return false // means nothing without its interface, which the record cannot name
	}
	return true
}

// hostOf returns the IP address that m begins with, or the invalid Addr.
func hostOf(m ma.Multiaddr) netip.Addr {
	if len(m) == 0 {
		return netip.Addr{}
	}
	switch m[0].Protocol().Code {
	case ma.P_IP4, ma.P_IP6:
		ip, err := netip.ParseAddr(m[0].Value())
		if err == nil {
			return ip.Unmap()
		}
	}
	return netip.Addr{}
}
