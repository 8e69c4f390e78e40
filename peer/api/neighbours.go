package api

import (
	"context"
	"net/http"
	"net/netip"
	"slices"
	"strings"

	"github.com/danielgtaylor/huma/v2"

	"github.com/byway-chat/byway/peer"
)

// neighbours is what the server asks of a peer about finding contacts on the LAN.
type neighbours interface {
	Connect(ctx context.Context, user, address string) (peer.Found, error)
	Find(ctx context.Context, user string, sweep bool) (peer.Found, error)
}

type connectInput struct {
	Body struct {
		User    string `json:"user"`
		Address string `json:"address" maxLength:"512" doc:"a multiaddr of TCP or QUIC, with or without /p2p/ and an id"`
	}
}

type findInput struct {
	Body struct {
		User  string `json:"user"`
		Sweep bool   `json:"sweep,omitempty" doc:"also knock at every address of the own private networks"`
	}
}

func neighbourRoutes(api huma.API, n neighbours) {
	verb(api, http.MethodPost, "/v1/connect", "Open a direct way to a user at an address", func(ctx context.Context, in *connectInput) (peer.Found, error) {
		return n.Connect(ctx, in.Body.User, in.Body.Address)
	})
	verb(api, http.MethodPost, "/v1/find", "Look for a user on the local network", func(ctx context.Context, in *findInput) (peer.Found, error) {
		return n.Find(ctx, in.Body.User, in.Body.Sweep)
	})
}

// Connect opens a direct way to user at an address that a person has typed or scanned.
func (c *Client) Connect(ctx context.Context, user, address string) (peer.Found, error) {
	var in connectInput
	in.Body.User, in.Body.Address = user, address
	return post[peer.Found](ctx, c, "/v1/connect", in.Body, again)
}

// Find looks for user on the local network; with sweep it knocks at every address of it.
func (c *Client) Find(ctx context.Context, user string, sweep bool) (peer.Found, error) {
	var in findInput
	in.Body.User, in.Body.Sweep = user, sweep
	return post[peer.Found](ctx, c, "/v1/find", in.Body, again)
}

// Addresses returns where this device can be reached, those of the local network first.
func (c *Client) Addresses(ctx context.Context) ([]Address, error) {
	return get[[]Address](ctx, c, "/v1/address", nil)
}

// Address is where a device can be reached.
type Address struct {
	Addr string `json:"addr" doc:"a multiaddr with /p2p/ and the PeerID"`
}

func addressesOf(st *peer.Status) []Address {
	nearestFirst(st.Addrs)
	list := make([]Address, len(st.Addrs))
	for i, a := range st.Addrs {
		list[i].Addr = a
	}
	return list
}

// nearestFirst orders addresses for those who are to type or scan them: private ones, public ones, loopback.
func nearestFirst(addrs []string) {
	slices.SortStableFunc(addrs, func(a, b string) int { return nearness(a) - nearness(b) })
}

func nearness(addr string) int {
	parts := strings.Split(addr, "/")
	if len(parts) < 3 {
		return 3
	}
	ip, err := netip.ParseAddr(parts[2])
	switch {
	case err != nil:
		return 3
	case ip.IsLoopback():
		return 2
	case ip.IsPrivate():
		return 0
	}
	return 1
}
