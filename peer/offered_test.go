package peer

import (
	"errors"
	"testing"
	"time"

	"github.com/libp2p/go-libp2p"
	"github.com/libp2p/go-libp2p/core/network"
	"github.com/libp2p/go-libp2p/core/peer"

	"github.com/byway-chat/byway/crypto/identity/identitytest"
	"github.com/byway-chat/byway/peer/link"
)

// linked opens a link from alice's core to bob's device, who answers on loopback.
func linked(t *testing.T, c *core, d *device) *link.Link {
	t.Helper()
	key, err := hostKey(identitytest.Keyring(1).Host)
	if err != nil {
		t.Fatal(err)
	}
	bob, err := libp2p.New(libp2p.Identity(key), libp2p.ListenAddrStrings("/ip4/127.0.0.1/tcp/0"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = bob.Close() })
	answered := make(chan *link.Link, 1)
	bob.SetStreamHandler(link.ProtocolID, func(s network.Stream) {
		anyone := func(link.Hello) error { return nil }
		l, err := link.Answer(t.Context(), s, link.Hello{Name: "bob", Fingerprint: d.Fingerprint}, anyone, link.Handler{Receive: func(*link.Link, []byte) {}})
		if err != nil {
			t.Error(err)
		}
		answered <- l
	})
	if err := c.host.Connect(t.Context(), peer.AddrInfo{ID: bob.ID(), Addrs: bob.Addrs()}); err != nil {
		t.Fatal(err)
	}
	l, err := c.greet(t.Context(), d.id)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup((<-answered).Close)
	c.linkUp(d, l, true, 0)
	return l
}

// TestOfferEndsLink: who offers a punch has no link. Ours, where it is not brand new, is dead, and the connection below it would keep us from dialling.
func TestOfferEndsLink(t *testing.T) {
	c, d := outside(t)
	c.weather = newWeather()
	l := linked(t, c, d)
	c.punchStep(time.Now(), offerOf(d, bobsAddress))
	if d.link != l || l.Err() != nil {
		t.Fatal("an offer that a link has overtaken ended it")
	}
	c.punchFailed(d, d.punch, errNotAllowed)
	gone := make(chan struct{}, 1)
	c.host.Network().Notify(&network.NotifyBundle{DisconnectedF: func(network.Network, network.Conn) { gone <- struct{}{} }})
	c.punchStep(time.Now().Add(offerTime+time.Second), offerOf(d, bobsAddress))
	if d.link != nil || !errors.Is(l.Err(), link.ErrSilent) {
		t.Errorf("the link of which the other side knows nothing is kept: %v", l.Err())
	}
	select {
	case <-gone:
	case <-time.After(10 * time.Second):
		t.Error("the connection below it is kept")
	}
}
