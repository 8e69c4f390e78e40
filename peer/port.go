package peer

import (
	"crypto/sha256"
	"encoding/binary"
	"net"
	"strconv"

	"github.com/libp2p/go-libp2p/core/peer"
	ma "github.com/multiformats/go-multiaddr"
)

// A device listens on one port of its own wherever it may choose: what contacts remember of it is still true when it has been started again, and one that has moved on
// the LAN is found at its port. The range is below those from which systems take ports for outgoing connections.
const (
	firstPort = 20000
	ports     = 12000
)

// portOfDevice returns the port that a device listens on, where it is free.
func portOfDevice(id peer.ID) uint16 {
	sum := sha256.Sum256(append([]byte("byway/v1 port\x00"), id...))
	return uint16(firstPort + binary.BigEndian.Uint64(sum[:])%ports)
}

// ownPort puts the device's port into addresses to listen on whose port may be any, unless somebody else listens there.
func ownPort(listen []string, id peer.ID) []string {
	port := strconv.Itoa(int(portOfDevice(id)))
	out := make([]string, len(listen))
	for i, text := range listen {
		out[i] = text
		a, err := ma.NewMultiaddr(text)
		if err != nil || len(a) < 2 || a[1].Value() != "0" {
			continue
		}
		fixed, err := ma.NewComponent(a[1].Protocol().Name, port)
		if err != nil || !free(a[0].Value(), fixed) {
			continue
		}
		named := append(ma.Multiaddr{a[0], *fixed}, a[2:]...)
		out[i] = named.String()
	}
	return out
}

// free reports whether nobody listens on a port yet. libp2p would share it with another process of the same user, and each would get some of the connections.
func free(host string, port *ma.Component) bool {
	at := net.JoinHostPort(host, port.Value())
	switch port.Protocol().Code {
	case ma.P_TCP:
		l, err := net.Listen("tcp", at)
		return err == nil && l.Close() == nil
	case ma.P_UDP:
		l, err := net.ListenPacket("udp", at)
		return err == nil && l.Close() == nil
	}
	return false
}
