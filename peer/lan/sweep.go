package lan

import (
	"context"
	"net"
	"net/netip"
	"slices"
	"strconv"
	"sync"
	"time"

	"golang.org/x/time/rate"
)

// Bounds of a sweep. It is slow on purpose: it must not be taken for an attack, nor fill the tables of small routers.
const (
	SweepRate    = 50 // knocks a second
	maxSweepNets = 4
	maxSweepPort = 4
	knockTime    = time.Second
	knocksAtOnce = 64
)

// Targets returns the addresses that a sweep knocks at: those of the IPv4 networks of ours that are private, of a larger one only the 256 around our own
// address, without our own and those that no machine has. At most four networks are swept.
func Targets(networks []netip.Prefix) []netip.Addr {
	var out []netip.Addr
	var swept []netip.Prefix
	ours := func(a netip.Addr) bool {
		return slices.ContainsFunc(networks, func(n netip.Prefix) bool { return n.Addr().Unmap() == a })
	}
	for _, n := range networks {
		own := n.Addr().Unmap()
		if !own.Is4() || !own.IsPrivate() || n.Bits() > 30 {
			continue
		}
		part := netip.PrefixFrom(own, max(n.Bits(), 24)).Masked()
		if slices.ContainsFunc(swept, part.Overlaps) || len(swept) == maxSweepNets {
			continue
		}
		swept = append(swept, part)
		first := part.Addr()
		for a := first; part.Contains(a); a = a.Next() {
			edge := a == first || !part.Contains(a.Next())
			if !edge && !ours(a) {
				out = append(out, a)
			}
		}
	}
	return out
}

// Sweep knocks by TCP at each target and port, [SweepRate] times a second, and returns those that answer. It sends nothing but the opening of a connection, which
// it closes at once. It waits until all is done or ctx ends, and returns what was found until then.
func Sweep(ctx context.Context, targets []netip.Addr, ports []uint16) []netip.AddrPort {
	return sweep(ctx, targets, ports, func(ctx context.Context, at netip.AddrPort) bool {
		dialer := net.Dialer{Timeout: knockTime}
		conn, err := dialer.DialContext(ctx, "tcp", net.JoinHostPort(at.Addr().String(), strconv.Itoa(int(at.Port()))))
		if err != nil {
			return false
		}
		_ = conn.Close()
		return true
	})
}

// sweep is Sweep with any way to knock.
func sweep(ctx context.Context, targets []netip.Addr, ports []uint16, knock func(context.Context, netip.AddrPort) bool) []netip.AddrPort {
	var (
		mu    sync.Mutex
		found []netip.AddrPort
		under sync.WaitGroup
	)
	turns := rate.NewLimiter(SweepRate, 1)
	places := make(chan struct{}, knocksAtOnce)
	defer under.Wait()
	for _, number := range ports[:min(len(ports), maxSweepPort)] {
		for _, a := range targets {
			if turns.Wait(ctx) != nil {
				break
			}
			places <- struct{}{} // one is free within knockTime
			under.Go(func() {
				defer func() { <-places }()
				if at := netip.AddrPortFrom(a, number); knock(ctx, at) {
					mu.Lock()
					defer mu.Unlock()
					found = append(found, at)
				}
			})
		}
	}
	under.Wait()
	return found
}
