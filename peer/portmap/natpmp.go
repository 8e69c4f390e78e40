package portmap

import (
	"context"
	"fmt"
	"net/netip"
	"time"

	natpmp "github.com/jackpal/go-nat-pmp"
)

// pmpTime is how long a gateway has for one answer; it is asked again after 250 ms, and after 500 ms more.
const pmpTime = 2 * time.Second

// pmpRouter speaks NAT-PMP (RFC 6886).
type pmpRouter struct{ client *natpmp.Client }

// NATPMP finds a router that speaks NAT-PMP.
func NATPMP(ctx context.Context, gateway, _ netip.Addr) (Router, error) {
	r := pmpRouter{natpmp.NewClientWithTimeout(gateway.AsSlice(), pmpTime)}
	if _, err := r.External(ctx); err != nil {
		return nil, err
	}
	return r, nil
}

func (r pmpRouter) Protocol() string { return "nat-pmp" }

// ask calls the client, which knows no context, and leaves it to its own time where ctx ends.
func ask[T any](ctx context.Context, call func() (T, error)) (T, error) {
	type result struct {
		value T
		err   error
	}
	done := make(chan result, 1)
	go func() {
		v, err := call()
		done <- result{v, err}
	}()
	select {
	case r := <-done:
		if r.err != nil {
			return r.value, fmt.Errorf("ask by NAT-PMP: %w", r.err)
		}
		return r.value, nil
	case <-ctx.Done():
		var none T
		return none, ctx.Err()
	}
}

func (r pmpRouter) External(ctx context.Context) (netip.Addr, error) {
	answer, err := ask(ctx, r.client.GetExternalAddress)
	if err != nil {
		return netip.Addr{}, err
	}
	return netip.AddrFrom4(answer.ExternalIPAddress), nil
}

func (r pmpRouter) Map(ctx context.Context, p Port, wanted uint16, lease time.Duration) (uint16, time.Duration, error) {
	answer, err := ask(ctx, func() (*natpmp.AddPortMappingResult, error) {
		return r.client.AddPortMapping(p.network(), int(p.Number), int(wanted), int(lease/time.Second))
	})
	if err != nil {
		return 0, 0, err
	}
	return answer.MappedExternalPort, time.Duration(answer.PortMappingLifetimeInSeconds) * time.Second, nil
}

func (r pmpRouter) Unmap(ctx context.Context, p Port, _ uint16) error {
	_, err := ask(ctx, func() (*natpmp.AddPortMappingResult, error) {
		return r.client.AddPortMapping(p.network(), int(p.Number), 0, 0)
	})
	return err
}
