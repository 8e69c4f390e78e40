package route

import (
	"errors"
	"fmt"
)

// Network is what a device has found out about the network it is in, and its owner's policy for the contact that is told. The zero value knows
// nothing and allows everything.
type Network struct {
	UDP    UDP
	Ports  Ports
	IPv4   bool // it has an address of the family, private or not
	IPv6   bool // it has a public address of the family
	Policy Policy
	// Mapping says whether its router leads connections from outside to the device because the device has asked for it.
	Mapping Mapping
}

// UDP says whether UDP passes to the rendezvous and back. The values travel.
type UDP uint8

// What is known of UDP.
const (
	UDPUnknown UDP = iota
	UDPWorks
	UDPBlocked
)

// Ports says what the router makes of the ports of this device, as the rendezvous sees it. The values travel.
type Ports uint8

// What is known of ports.
const (
	PortsUnknown  Ports = iota
	PortsKept           // they are the device's own, or one port stands for it towards everybody
	PortsChanging       // another one for each destination
)

// Multicast says whether the network here carries multicast, by which devices on it find each other.
type Multicast uint8

// What is known of multicast.
const (
	MulticastUnknown Multicast = iota
	MulticastWorks             // an announcement has been heard
	// MulticastIsFiltered: a device on our network answers, says that it announces itself, and has not been heard.
	MulticastIsFiltered
)

// String returns the name of the value: "unknown", "works" or "filtered".
func (m Multicast) String() string {
	switch m {
	case MulticastWorks:
		return "works"
	case MulticastIsFiltered:
		return "filtered"
	default:
		return "unknown"
	}
}

// Mapping says whether the router maps a port for this device. The values travel.
type Mapping uint8

// What is known of mappings.
const (
	MappingUnknown Mapping = iota // not asked for, or no answer yet
	NotMapped
	Mapped
)

// networkSize is the least length of an encoded Network. Longer ones are of newer programs; one without a Mapping is of an older.
const networkSize = 4

// Families, as bits of the third byte.
const (
	familyIPv4 = 1 << iota
	familyIPv6
)

// Append appends the encoding: udp u8, ports u8, families u8, policy u8, mapping u8.
func (n Network) Append(b []byte) []byte {
	families := byte(0)
	if n.IPv4 {
		families |= familyIPv4
	}
	if n.IPv6 {
		families |= familyIPv6
	}
	return append(b, byte(n.UDP), byte(n.Ports), families, byte(n.Policy), byte(n.Mapping))
}

var errNetwork = errors.New("the findings are cut")

// ParseNetwork reads what Append wrote. Values that are not known count as nothing known, but for a policy: that allows nothing. Bytes
// behind are ignored.
func ParseNetwork(b []byte) (Network, error) {
	if len(b) < networkSize {
		return Network{}, fmt.Errorf("parse network: %w", errNetwork)
	}
	n := Network{UDP: UDP(b[0]), Ports: Ports(b[1]), IPv4: b[2]&familyIPv4 != 0, IPv6: b[2]&familyIPv6 != 0, Policy: Policy(b[3])}
	if len(b) > networkSize && Mapping(b[networkSize]) <= Mapped {
		n.Mapping = Mapping(b[networkSize])
	}
	if n.UDP > UDPBlocked {
		n.UDP = UDPUnknown
	}
	if n.Ports > PortsChanging {
		n.Ports = PortsUnknown
	}
	return n, nil
}

// apart reports whether the two have no kind of address in common, as far as both are known.
func apart(here, there Network) bool {
	known := func(n Network) bool { return n.IPv4 || n.IPv6 }
	return known(here) && known(there) && !(here.IPv4 && there.IPv4) && !(here.IPv6 && there.IPv6)
}

// unpunched says why a punch between two networks has failed.
func unpunched(here, there Network) Reason {
	switch {
	case here.Ports == PortsChanging && there.Ports == PortsChanging:
		return SymmetricNATBoth
	case here.Ports == PortsChanging:
		return SymmetricNATHere
	case there.Ports == PortsChanging:
		return SymmetricNATThere
	case here.UDP == UDPBlocked:
		return UDPBlockedHere
	case there.UDP == UDPBlocked:
		return UDPBlockedThere
	}
	return PunchFailed
}
