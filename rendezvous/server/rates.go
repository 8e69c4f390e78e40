package server

import (
	"net/netip"
	"time"

	lru "github.com/hashicorp/golang-lru/v2"
	"golang.org/x/time/rate"

	"github.com/byway-chat/byway/rendezvous"
)

// Each Register and Login costs a password hash. An address may start passwordBurst at once, so that a class or an office can
// begin together, and passwordRate a second after that. The directory bounds all addresses together.
const (
	passwordBurst = 64
	passwordRate  = 0.5
	maxSources    = 8192 // addresses remembered; the ones longest unheard of are forgotten
)

// Each stream may publish and ask this often. A peer publishes when its addresses or keys change, and asks page by page when it connects and
// name by name afterwards. They are kept by stream, so that a hundred one-shot programs in a row do not meet them; new streams are limited
// by address.
const (
	publishBurst = 30
	publishRate  = 1 // a second
	askBurst     = 200
	askRate      = 50 // a second
)

// allow takes one permission of a stream.
func allow(l *rate.Limiter) error {
	if l.Allow() {
		return nil
	}
	return &rendezvous.Error{Code: rendezvous.CodeRateLimited, Message: "too many requests of this kind", RetryAfter: time.Second}
}

// rates limits what costs much by the address that asks.
type rates struct {
	sources *lru.Cache[string, *rate.Limiter]
}

func newRates() *rates {
	cache, err := lru.New[string, *rate.Limiter](maxSources)
	if err != nil {
		panic("server: " + err.Error()) // only a size below one
	}
	return &rates{sources: cache}
}

// password takes one permission for the address to have a password hashed. Addresses of the own site are not limited.
func (r *rates) password(ip netip.Addr) error {
	if !ip.IsValid() || ip.IsLoopback() || ip.IsPrivate() || ip.IsLinkLocalUnicast() || carrierNAT.Contains(ip) {
		return nil
	}
	key := source(ip)
	limiter, ok := r.sources.Get(key)
	if !ok {
		fresh := rate.NewLimiter(passwordRate, passwordBurst)
		if limiter, ok, _ = r.sources.PeekOrAdd(key, fresh); !ok {
			limiter = fresh
		}
	}
	if limiter.Allow() {
		return nil
	}
	return &rendezvous.Error{
		Code: rendezvous.CodeRateLimited, Message: "too many sign-ins with a password from this address",
		RetryAfter: time.Duration(float64(time.Second) / passwordRate),
	}
}

// carrierNAT is shared address space (RFC 6598), which overlay networks use as well.
var carrierNAT = netip.MustParsePrefix("100.64.0.0/10")

// source is what an address is counted by: an IPv4 address or an IPv6 /56, which is one household. It is empty where the
// transport has no address.
func source(ip netip.Addr) string {
	if !ip.IsValid() || ip.Is4() {
		return addrText(ip)
	}
	prefix, err := ip.WithZone("").Prefix(56)
	if err != nil {
		return addrText(ip)
	}
	return prefix.String()
}

func addrText(ip netip.Addr) string {
	if !ip.IsValid() {
		return ""
	}
	return ip.String()
}
