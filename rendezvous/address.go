package rendezvous

import (
	"fmt"
	"net"
	"net/netip"
	"net/url"
	"strconv"
	"strings"

	"github.com/libp2p/go-libp2p/core/peer"
	ma "github.com/multiformats/go-multiaddr"
)

const (
	// DefaultPort is where a rendezvous listens, for TCP and for QUIC: BYWAY on a telephone keypad.
	DefaultPort = 29929
	// LinkScheme begins an invitation link: byway://host:port/PEERID?i=TOKEN.
	LinkScheme = "byway"

	maxAddressText = 4096 // bytes of text that ParseAddress looks at
	maxAddresses   = 16   // addresses of one rendezvous
	maxInvite      = 128  // characters of an invitation token
	maxHost        = 253  // characters of a DNS name
)

// hintAddress is the cure for nearly every wrong address.
const hintAddress = "run `rendezvous address` where it is served and copy a whole line, beginning with / or byway://"

// Address says where a rendezvous is and who it must prove to be. The PeerID pins it: whoever answers at Addrs without
// that key is refused by the handshake.
type Address struct {
	ID     peer.ID
	Addrs  []ma.Multiaddr // without /p2p/; TCP or QUIC; at least one after ParseAddress
	Invite string         // the invitation token of a link, else empty; a secret until it is used
}

// AddressError says what is wrong with a typed address and what to do instead. Neither text needs cleaning.
type AddressError struct {
	Problem string
	Hint    string
}

func (e *AddressError) Error() string { return e.Problem }

func addressError(format string, args ...any) *AddressError {
	return &AddressError{Problem: fmt.Sprintf(format, args...), Hint: hintAddress}
}

// ParseAddress reads multiaddrs that end in one and the same /p2p/PEERID, separated by commas or spaces, or one invitation link
// byway://host:port/PEERID?i=TOKEN. The host of a link is a DNS name, an IPv4 address, or an IPv6 address in brackets; without
// a port it is [DefaultPort]; it stands for TCP and QUIC on that port. Parameters of a link that are not known are ignored. Every error is an *[AddressError].
func ParseAddress(s string) (Address, error) {
	s = strings.TrimSpace(s)
	if s == "" {
		return Address{}, addressError("the address is empty")
	}
	if len(s) > maxAddressText {
		return Address{}, addressError("the address is longer than %d characters", maxAddressText)
	}
	for _, c := range []byte(s) {
		if (c < ' ' && c != '\t' && c != '\n' && c != '\r') || c > '~' {
			return Address{}, addressError("the address holds a character that no address has (byte 0x%02x)", c)
		}
	}
	if scheme, _, ok := strings.Cut(s, ":"); ok && strings.EqualFold(scheme, LinkScheme) {
		return parseLink(s)
	}
	return parseMultiaddrs(s)
}

func parseMultiaddrs(s string) (Address, error) {
	fields := strings.FieldsFunc(s, func(r rune) bool { return strings.ContainsRune(", \t\r\n", r) })
	if len(fields) == 0 {
		return Address{}, addressError("the address is empty")
	}
	if len(fields) > maxAddresses {
		return Address{}, addressError("%d addresses given, at most %d are used", len(fields), maxAddresses)
	}
	var a Address
	for _, f := range fields {
		m, err := ma.NewMultiaddr(f)
		if err != nil {
			return Address{}, addressError("%q is not an address", f)
		}
		addr, id := peer.SplitAddr(m)
		switch {
		case id == "":
			return Address{}, addressError("%q does not say who must answer there: /p2p/PEERID is missing at its end", f)
		case a.ID != "" && a.ID != id:
			return Address{}, addressError("the addresses are those of two rendezvous, %s and %s", a.ID, id)
		case !holdsKey(id):
			return Address{}, addressError("the PeerID in %q is not that of a rendezvous", f)
		case !dialable(addr):
			return Address{}, addressError("%q is neither a TCP nor a QUIC address", f)
		}
		a.ID = id
		if !ma.Contains(a.Addrs, addr) {
			a.Addrs = append(a.Addrs, addr)
		}
	}
	return a, nil
}

// holdsKey reports whether id contains its public key, as that of every rendezvous does (Ed25519). It finds most typing errors.
func holdsKey(id peer.ID) bool {
	_, err := id.ExtractPublicKey()
	return err == nil
}

// dialable reports whether m is exactly a host and a transport with a port.
func dialable(m ma.Multiaddr) bool {
	if len(m) > 0 && m[0].Protocol().Code == ma.P_IP6ZONE {
		m = m[1:]
	}
	if len(m) < 2 {
		return false
	}
	switch m[0].Protocol().Code {
	case ma.P_IP4, ma.P_IP6:
	case ma.P_DNS, ma.P_DNS4, ma.P_DNS6:
		if !isHostname(m[0].Value()) {
			return false
		}
	default:
		return false
	}
	return IsTransport(m[1:]) && m[1].Value() != "0"
}

// IsTransport reports whether what stands behind the host in an address is TCP or QUIC on a port, which may be 0, and no more: these are the transports
// that the programs speak.
func IsTransport(m ma.Multiaddr) bool {
	switch len(m) {
	case 1:
		return m[0].Code() == ma.P_TCP
	case 2:
		return m[0].Code() == ma.P_UDP && m[1].Code() == ma.P_QUIC_V1
	}
	return false
}

func parseLink(s string) (Address, error) {
	u, err := url.Parse(s)
	if err != nil || u.Opaque != "" || u.User != nil || u.Fragment != "" {
		return Address{}, addressError("the link is not of the form byway://host:port/PEERID?i=TOKEN")
	}
	id, err := peer.Decode(strings.Trim(u.Path, "/"))
	if err != nil || !holdsKey(id) {
		return Address{}, addressError("the link does not hold the PeerID of a rendezvous after the host")
	}
	port := uint64(DefaultPort)
	if p := u.Port(); p != "" {
		if port, err = strconv.ParseUint(p, 10, 16); err != nil || port == 0 {
			return Address{}, addressError("the port %q of the link is not a number from 1 to 65535", p)
		}
	}
	host, err := hostComponent(u.Hostname())
	if err != nil {
		return Address{}, err
	}
	// The query is parsed leniently by Query; a token that comes out empty is no token.
	invite := u.Query().Get("i")
	if !isToken(invite) {
		return Address{}, addressError("the invitation in the link is damaged")
	}
	a := Address{ID: id, Invite: invite}
	for _, transport := range []string{fmt.Sprintf("/tcp/%d", port), fmt.Sprintf("/udp/%d/quic-v1", port)} {
		m, err := ma.NewMultiaddr(host + transport)
		if err != nil {
			return Address{}, addressError("the host %q of the link is not a host", u.Hostname())
		}
		a.Addrs = append(a.Addrs, m)
	}
	return a, nil
}

// hostComponent turns the host of a link into the first part of a multiaddr.
func hostComponent(host string) (string, error) {
	ip, err := netip.ParseAddr(host)
	switch {
	case err == nil && ip.Zone() != "":
		return "", addressError("a link cannot name a network interface; use an address without %%%s, or a multiaddr with /ip6zone/", ip.Zone())
	case err == nil && ip.Is4():
		return "/ip4/" + ip.String(), nil
	case err == nil:
		return "/ip6/" + ip.String(), nil
	case host == "":
		return "", addressError("the link names no host")
	case !isHostname(host):
		return "", addressError("the host %q of the link is not a host", host)
	}
	return "/dns/" + host, nil
}

func isHostname(s string) bool {
	if s == "" || len(s) > maxHost {
		return false
	}
	for _, c := range []byte(s) {
		if !isAlphanumeric(c) && c != '-' && c != '.' && c != '_' {
			return false
		}
	}
	return true
}

// isToken reports whether s can stand for an invitation; the empty string stands for none.
func isToken(s string) bool {
	if len(s) > maxInvite {
		return false
	}
	for _, c := range []byte(s) {
		if !isAlphanumeric(c) && c != '-' && c != '_' {
			return false
		}
	}
	return true
}

func isAlphanumeric(c byte) bool {
	return 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' || '0' <= c && c <= '9'
}

// String returns the multiaddrs with their /p2p/ID, separated by commas: what [ParseAddress] reads and a peer remembers. The
// invitation is not in it.
func (a Address) String() string {
	var b strings.Builder
	for i, m := range a.Addrs {
		if i > 0 {
			b.WriteByte(',')
		}
		b.WriteString(m.String() + "/p2p/" + a.ID.String())
	}
	return b.String()
}

// Link returns the invitation link to a. A link has one host and port: those of the first address that other machines can
// use, TCP before QUIC, and of a loopback address only if there is no other. It is empty where no address fits into a link.
func (a Address) Link() string {
	best, bestRank := "", 0
	for _, m := range a.Addrs {
		if hostPort, rank := linkHost(m); rank > bestRank {
			best, bestRank = hostPort, rank
		}
	}
	if best == "" {
		return ""
	}
	u := url.URL{Scheme: LinkScheme, Host: best, Path: "/" + a.ID.String()}
	if a.Invite != "" {
		u.RawQuery = url.Values{"i": {a.Invite}}.Encode()
	}
	return u.String()
}

// linkHost returns host:port of m and how fit it is for a link; 0 is unfit.
func linkHost(m ma.Multiaddr) (hostPort string, rank int) {
	if !dialable(m) || m[0].Protocol().Code == ma.P_IP6ZONE {
		return "", 0
	}
	host := m[0].Value()
	rank = 3
	if ip, err := netip.ParseAddr(host); err == nil {
		switch {
		case ip.IsUnspecified():
			return "", 0
		case ip.IsLoopback() || ip.IsLinkLocalUnicast():
			rank = 1
		}
	}
	rank *= 2
	if m[1].Protocol().Code == ma.P_TCP {
		rank++
	}
	return net.JoinHostPort(host, m[1].Value()), rank
}

// AddrInfo returns a as libp2p wants it for dialling.
func (a Address) AddrInfo() peer.AddrInfo {
	return peer.AddrInfo{ID: a.ID, Addrs: a.Addrs}
}
