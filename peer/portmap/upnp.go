package portmap

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"net/netip"
	"net/url"
	"time"

	"github.com/huin/goupnp"
	"github.com/huin/goupnp/dcps/internetgateway2"
)

const (
	upnpSearch = 2 * time.Second // for answers to the search
	upnpTime   = 3 * time.Second // for one request
	// description is what the router's own pages show.
	description = "byway"
	otherPorts  = 3 // that are tried where the wanted one is taken
)

// maxAnswer bounds what is read of one answer, in bytes.
const maxAnswer = 256 << 10

// asking is the client for all requests: it goes to the gateway itself, not by a proxy and not where that sends it, and reads no more than maxAnswer.
var asking = &http.Client{
	Timeout:       upnpTime,
	Transport:     bounded{&http.Transport{DisableKeepAlives: true}},
	CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
}

// The library fetches descriptions by a client of its own, which nobody else in this program uses.
func init() { goupnp.HTTPClientDefault = asking }

// bounded ends each answer after maxAnswer bytes.
type bounded struct{ base http.RoundTripper }

func (b bounded) RoundTrip(r *http.Request) (*http.Response, error) {
	answer, err := b.base.RoundTrip(r)
	if err == nil {
		answer.Body = struct {
			io.Reader
			io.Closer
		}{io.LimitReader(answer.Body, maxAnswer), answer.Body}
	}
	return answer, err
}

// wan is what the services of UPnP routers have in common.
type wan interface {
	GetExternalIPAddressCtx(ctx context.Context) (string, error)
	AddPortMappingCtx(ctx context.Context, remote string, external uint16, protocol string, internal uint16, client string, on bool, description string, lease uint32) error
	DeletePortMappingCtx(ctx context.Context, remote string, external uint16, protocol string) error
}

// upnpRouter speaks UPnP (IGD 1 and 2).
type upnpRouter struct {
	wan wan
	own string // our address towards it
}

// UPnP finds a router that speaks UPnP. Only the gateway is heard, and only addresses on it are asked.
func UPnP(ctx context.Context, gateway, own netip.Addr) (Router, error) {
	searching, cancel := context.WithTimeout(ctx, upnpSearch)
	defer cancel()
	places, err := descriptions(searching, gateway, own)
	if err != nil {
		return nil, fmt.Errorf("search by UPnP: %w", err)
	}
	for where := range places {
		if w := describe(ctx, where, gateway); w != nil {
			return upnpRouter{wan: w, own: own.String()}, nil
		}
	}
	return nil, errors.New("search by UPnP: the gateway does not answer")
}

// describe reads the description of a router, and returns its service for mappings or nil.
func describe(ctx context.Context, where *url.URL, gateway netip.Addr) wan {
	root, err := goupnp.DeviceByURLCtx(ctx, where)
	if err != nil {
		return nil
	}
	own := func(c *goupnp.ServiceClient) bool {
		c.SOAPClient.HTTPClient = *asking
		return on(&c.SOAPClient.EndpointURL, gateway)
	}
	two, _ := internetgateway2.NewWANIPConnection2ClientsFromRootDevice(root, where) // without a client there is none of the kind
	for _, c := range two {
		if own(&c.ServiceClient) {
			return c
		}
	}
	one, _ := internetgateway2.NewWANIPConnection1ClientsFromRootDevice(root, where)
	for _, c := range one {
		if own(&c.ServiceClient) {
			return c
		}
	}
	ppp, _ := internetgateway2.NewWANPPPConnection1ClientsFromRootDevice(root, where)
	for _, c := range ppp {
		if own(&c.ServiceClient) {
			return c
		}
	}
	return nil
}

func (r upnpRouter) Protocol() string { return "upnp" }

func (r upnpRouter) External(ctx context.Context) (netip.Addr, error) {
	text, err := r.wan.GetExternalIPAddressCtx(ctx)
	if err != nil {
		return netip.Addr{}, fmt.Errorf("ask by UPnP: %w", err)
	}
	outer, err := netip.ParseAddr(text)
	if err != nil {
		return netip.Addr{}, fmt.Errorf("ask by UPnP: %w", err)
	}
	return outer, nil
}

// Map asks for a lease, and for one without an end where the router knows no other: some refuse the one and some the other.
func (r upnpRouter) Map(ctx context.Context, p Port, wanted uint16, lease time.Duration) (uint16, time.Duration, error) {
	var err error
	for range 1 + otherPorts {
		for _, granted := range []time.Duration{lease, 0} {
			if err = r.add(ctx, p, wanted, granted); err == nil {
				return wanted, granted, nil
			}
			if ctx.Err() != nil {
				return 0, 0, ctx.Err()
			}
		}
		wanted = uint16(10_000 + rand.IntN(50_000)) // another device may have the wanted one
	}
	return 0, 0, fmt.Errorf("ask by UPnP: %w", err)
}

func (r upnpRouter) add(ctx context.Context, p Port, external uint16, lease time.Duration) error {
	return r.wan.AddPortMappingCtx(ctx, "", external, upnpProtocol(p), p.Number, r.own, true, description, uint32(lease/time.Second))
}

func (r upnpRouter) Unmap(ctx context.Context, p Port, external uint16) error {
	if err := r.wan.DeletePortMappingCtx(ctx, "", external, upnpProtocol(p)); err != nil {
		return fmt.Errorf("ask by UPnP: %w", err)
	}
	return nil
}

func upnpProtocol(p Port) string {
	if p.UDP {
		return "UDP"
	}
	return "TCP"
}
