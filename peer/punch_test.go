package peer

import (
	"math"
	"net/netip"
	"slices"
	"testing"
	"time"

	ma "github.com/multiformats/go-multiaddr"

	"github.com/byway-chat/byway/peer/delivery"
	"github.com/byway-chat/byway/peer/route"
	"github.com/byway-chat/byway/rendezvous/client"
)

// seenAt is where the rendezvous of an outside core sees it.
var seenAt = ma.StringCast("/ip4/203.0.113.2/udp/4002/quic-v1")

// outside is alice's core, signed in and just told by the rendezvous where it is seen, and bob's device, which is there too.
func outside(t *testing.T) (*core, *device) {
	t.Helper()
	c, _ := desk(t)
	if err := c.learn(now(t), records(t, c, 1, 1)); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { // this core does not run
		close(c.quit)
		c.dialStop()
		c.spawned.Wait()
	})
	d := c.devices[fingerprint(1)]
	c.dials, c.conn = newDials(), new(client.Conn)
	c.online[d.contact.Name] = map[delivery.Device]bool{d.Fingerprint: true}
	c.here = here{
		network: route.Network{UDP: route.UDPWorks, Ports: route.PortsKept, IPv4: true}, addrs: []ma.Multiaddr{seenAt}, of: c.conn, at: time.Now(),
		prefixes: []netip.Prefix{netip.MustParsePrefix("10.1.0.2/24")}, read: time.Now(),
	}
	c.engine.RelayUp(time.Now())
	c.engine.Take(time.Now())
	return c, d
}

// punches are the steps of punches that the core sends.
func punches(c *core) []*delivery.Punch {
	var out []*delivery.Punch
	for _, s := range c.engine.Take(time.Now()).Sends {
		if s.Payload.Punch != nil {
			out = append(out, s.Payload.Punch)
		}
	}
	return out
}

// offerOf is bob's offer, from the given addresses.
func offerOf(d *device, addrs ...string) delivery.NoticePunch {
	p := &delivery.Punch{Step: delivery.PunchOffer, Token: [8]byte{7}, Network: route.Network{IPv4: true}.Append(nil)}
	for _, a := range addrs {
		p.Addrs = append(p.Addrs, ma.StringCast(a).Bytes())
	}
	return delivery.NoticePunch{From: d.contact.Name, Device: d.Fingerprint, Punch: p}
}

const bobsAddress = "/ip4/203.0.113.3/udp/4003/quic-v1"

// wantAddress wants one step of a punch, which tells where this device is seen.
func wantAddress(t *testing.T, got []*delivery.Punch) {
	t.Helper()
	if len(got) != 1 || len(got[0].Addrs) != 1 || !slices.Equal(got[0].Addrs[0], seenAt.Bytes()) {
		t.Fatalf("sent %+v, want one step with our address", got)
	}
}

// TestPunchTellsAddress has a core offer a punch and answer one. Without it TestPunchHidesAddress would show nothing.
func TestPunchTellsAddress(t *testing.T) {
	c, d := outside(t)
	c.offer(time.Now(), d)
	(<-c.inbox)()
	wantAddress(t, punches(c))

	c, d = outside(t)
	c.punchStep(time.Now(), offerOf(d, bobsAddress))
	(<-c.inbox)()
	wantAddress(t, punches(c))
	if d.punch == nil || d.punch.dialled.IsZero() || len(d.told) != 1 {
		t.Error("the other side is not dialled")
	}
}

func keepToRelay(c *core, d *device) {
	if err := c.setWay(time.Now(), d.contact.Name, "relay"); err != nil {
		panic(err)
	}
	c.engine.Take(time.Now())
}

// wantHidden wants steps of punches to tell nothing but that we keep to the relay.
func wantHidden(t *testing.T, got []*delivery.Punch) {
	t.Helper()
	for _, p := range got {
		if n, err := route.ParseNetwork(p.Network); err != nil || n != (route.Network{Policy: route.Relay}) || len(p.Addrs) > 0 {
			t.Errorf("told %+v, %v and %d addresses", n, err, len(p.Addrs))
		}
	}
}

// TestPunchHidesAddress wants nobody to be told an address, or anything of the network, or to be dialled, from whom the person keeps it.
func TestPunchHidesAddress(t *testing.T) {
	for name, hide := range map[string]func(*core, *device){
		"policy relay": keepToRelay,
		"private":      func(c *core, _ *device) { c.private = true },
	} {
		t.Run(name, func(t *testing.T) {
			c, d := outside(t)
			hide(c, d)
			c.offer(time.Now(), d)
			if got := punches(c); len(got) > 0 || d.punch != nil {
				t.Errorf("offered: %+v", got)
			}
			c.punchStep(time.Now(), offerOf(d, bobsAddress))
			got := punches(c)
			if len(got) != 1 || got[0].Step != delivery.PunchAnswer || d.punch != nil {
				t.Errorf("answered %+v, want a refusal", got)
			}
			wantHidden(t, got)
		})
	}
}

// TestPunchIsGivenUp has the person keep to the relay while a punch is under way: from then on nothing is told, and nobody is dialled.
func TestPunchIsGivenUp(t *testing.T) {
	wantNone := func(t *testing.T, c *core, d *device) {
		t.Helper()
		wantHidden(t, punches(c))
		if dialled := c.host.Peerstore().Addrs(d.id); d.punch != nil || len(dialled) > 0 {
			t.Errorf("the other side is dialled at %v", dialled)
		}
	}
	t.Run("before the offer", func(t *testing.T) {
		c, d := outside(t)
		c.offer(time.Now(), d)
		keepToRelay(c, d)
		(<-c.inbox)()
		wantNone(t, c, d)
	})
	t.Run("before the answer to ours", func(t *testing.T) {
		c, d := outside(t)
		c.offer(time.Now(), d)
		(<-c.inbox)()
		wantAddress(t, punches(c))
		answer := offerOf(d, bobsAddress)
		answer.Punch.Step, answer.Punch.Token = delivery.PunchAnswer, d.punch.token
		keepToRelay(c, d)
		c.punchStep(time.Now(), answer)
		wantNone(t, c, d)
	})
	t.Run("before our answer", func(t *testing.T) {
		c, d := outside(t)
		c.punchStep(time.Now(), offerOf(d, bobsAddress))
		keepToRelay(c, d)
		(<-c.inbox)()
		wantNone(t, c, d)
	})
	t.Run("before the dial", func(t *testing.T) {
		c, d := outside(t)
		c.punchStep(time.Now(), offerOf(d, bobsAddress))
		(<-c.inbox)()
		wantAddress(t, punches(c))
		keepToRelay(c, d)
		(<-c.inbox)() // what asks before it dials
		wantNone(t, c, d)
	})
}

// TestOffersApart has a contact offer one punch after the other, each of which comes to nothing at once.
func TestOffersApart(t *testing.T) {
	c, d := outside(t)
	at := time.Now()
	for _, tt := range []struct {
		after time.Duration
		want  bool
	}{{0, true}, {offersApart - 1, false}, {offersApart, true}} {
		c.punchStep(at.Add(tt.after), offerOf(d, bobsAddress))
		if got := d.punch != nil; got != tt.want {
			t.Errorf("after %v taken: %v", tt.after, got)
		}
		if d.punch != nil {
			c.punchFailed(d, d.punch, errNotAllowed)
		}
	}
}

// TestHugeTrip has a contact claim a round trip that nobody has: the dial does not wait for it.
func TestHugeTrip(t *testing.T) {
	for _, tt := range []struct {
		trip uint64
		want time.Duration
	}{
		{0, 0},
		{80, 40 * time.Millisecond},
		{10_000, 5 * time.Second},
		{10_001, 5 * time.Second},
		{math.MaxUint64, 5 * time.Second}, // in nanoseconds it would be no number at all
	} {
		if got := together(0, tt.trip); got != tt.want {
			t.Errorf("after a trip of %d ms: %v, want %v", tt.trip, got, tt.want)
		}
	}
}

// TestPunchElsewhere wants no address to be dialled that could only be an attack: an offer of those alone is refused.
func TestPunchElsewhere(t *testing.T) {
	c, d := outside(t)
	c.punchStep(time.Now(), offerOf(d, "/ip4/224.0.0.251/udp/5353/quic-v1", "/ip4/0.0.0.0/tcp/22", "/ip4/169.254.1.1/tcp/80", "/dns4/example.com/tcp/80",
		"/ip4/127.0.0.1/tcp/22", "/ip6/::1/udp/53/quic-v1")) // the last two are services of this machine: the rendezvous is elsewhere
	if got := punches(c); len(got) != 1 || len(got[0].Addrs) != 0 || d.punch != nil {
		t.Errorf("answered %+v, want a refusal", got)
	}
	if got := c.theirs([][]byte{seenAt.Bytes(), {0xff, 0xff}, nil}); len(got) != 1 || !got[0].Equal(seenAt) {
		t.Errorf("of garbage %v is dialled", got)
	}
}
