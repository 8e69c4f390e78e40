package peer

import (
	"context"
	"errors"
	"log/slog"
	"time"

	"github.com/libp2p/go-libp2p/core/network"
	"github.com/libp2p/go-libp2p/core/peer"
	"github.com/libp2p/go-libp2p/p2p/net/swarm"
	ma "github.com/multiformats/go-multiaddr"
	manet "github.com/multiformats/go-multiaddr/net"

	"github.com/byway-chat/byway/peer/history"
	"github.com/byway-chat/byway/peer/link"
	"github.com/byway-chat/byway/peer/route"
	"github.com/byway-chat/byway/peer/trace"
)

// Times of looking for a direct way.
const (
	dialTime = 3 * time.Second
	// headStart is how long the first message to a device waits for a direct way, while nothing is known of it yet.
	headStart = 80 * time.Millisecond
	// talking is how long after the latest message a direct way is kept up or looked for.
	talking = 10 * time.Minute
	// Devices that are not known may greet us this often. Each costs a look-up, which anybody on the LAN can cause.
	greetingsPerSecond = 5
	greetingsBurst     = 50
)

// dialable reports whether an address may be an address of a contact. What is left out could only be an attack or a mistake.
func dialable(a ma.Multiaddr) bool {
	if _, err := a.ValueForProtocol(ma.P_CIRCUIT); err == nil {
		return false
	}
	ip, err := manet.ToIP(a)
	return err == nil && !ip.IsUnspecified() && !ip.IsMulticast() && !ip.IsLinkLocalUnicast() && !ip.IsLinkLocalMulticast()
}

// wayOver names the direct way over an address.
func wayOver(a ma.Multiaddr) Way {
	if manet.IsPrivateAddr(a) || manet.IsIPLoopback(a) {
		return WayLAN
	}
	return WayDirect
}

// reachable reports whether an address that a contact has told makes sense from here. A loopback address of a contact means this machine, and does so
// only while the rendezvous is on it too: otherwise a 127.0.0.1 that it tells would make us knock at our own services.
func (c *core) reachable(a ma.Multiaddr) bool {
	return dialable(a) && (!manet.IsIPLoopback(a) || c.onThisMachine())
}

// candidates returns where a device may be dialled, where it may be at all: where it has answered before, where it says that it is, and where it was heard or
// named lately.
func (c *core) candidates(d *device) []ma.Multiaddr {
	var out []ma.Multiaddr
	for _, t := range c.targets(time.Now(), d) {
		out = append(out, t.addr)
	}
	return out
}

func isLoopback(addr string) bool {
	a, err := ma.NewMultiaddr(addr)
	return err == nil && manet.IsIPLoopback(a)
}

// dial looks for a direct way to a device, unless one is open, being looked for, forbidden or known to fail just now. It returns
// a channel that is closed when the look has ended, the punch that may belong to it included, or nil.
func (c *core) dial(now time.Time, d *device) <-chan struct{} {
	if d.trying != nil || c.stall.cause != nil {
		return d.trying
	}
	table, s := c.look(d), c.surroundings()
	if d.link != nil || d.Trust != history.Accepted || d.Fingerprint == c.self.Fingerprint || !table.MayDial(now, &s) {
		return nil
	}
	table.Want(now)
	d.trying = make(chan struct{})
	d.ways.Dialling()
	ctx, stop := context.WithCancel(c.dialCtx)
	d.stopDial = stop
	addrs := c.candidates(d)
	for _, a := range addrs {
		d.tries(now, wayOver(a))
	}
	c.note(d, trace.Step{What: trace.Dial, Addrs: texts(addrs)})
	c.spawn(func() {
		l, err := c.open(ctx, d.id, addrs)
		stop()
		c.post(func() {
			d.stopDial = nil
			switch current := c.devices[d.Fingerprint]; {
			case err == nil && current != nil:
				c.linkUp(current, l, true, time.Since(now))
			case err == nil:
				l.End(errNotAllowed)
			default:
				c.dialFailed(d, addrs, err, time.Since(now))
			}
			if c.devices[d.Fingerprint] != d { // the core has begun again from the disk meanwhile
				c.endSearch(d)
			}
		})
	})
	trying := d.trying // an offer that fails at once may end the look
	c.offerAfter(now, d)
	return trying
}

// offerAfter offers a punch when the dial has had its start.
func (c *core) offerAfter(now time.Time, d *device) {
	s := c.surroundings()
	wait := d.ways.Start(&s).Sub(now)
	if wait <= 0 {
		c.offer(now, d)
		return
	}
	c.spawn(func() {
		pause(c.dialCtx, wait)
		c.post(func() {
			if c.devices[d.Fingerprint] == d && d.trying != nil {
				c.offer(time.Now(), d)
				c.searched(d)
			}
		})
	})
}

func (c *core) dialFailed(d *device, addrs []ma.Multiaddr, err error, took time.Duration) {
	now := time.Now()
	d.ways.DialFailed(now)
	c.log.Debug("no direct way", slog.String("device", d.Fingerprint.Device()), slog.Any("error", err))
	c.noteDialFailed(d, addrs, err, took)
	c.offer(now, d)
	c.searched(d)
}

// searched ends a look for a direct way that has found one, or of which nothing is under way any more.
func (c *core) searched(d *device) {
	s := c.surroundings()
	if d.link != nil || !d.ways.Busy(time.Now(), &s) {
		c.endSearch(d)
	}
}

func (c *core) endSearch(d *device) {
	if d.trying != nil {
		close(d.trying)
		d.trying = nil
	}
}

// errNoTurn ends a look for a direct way that has not come to dial.
var errNoTurn = errors.New("too much is being dialled")

// open waits for its turn, dials a device and greets it. It runs outside the core.
func (c *core) open(ctx context.Context, id peer.ID, addrs []ma.Multiaddr) (*link.Link, error) {
	if !c.dials.forContact(ctx) {
		return nil, errNoTurn
	}
	ctx, cancel := context.WithTimeout(ctx, dialTime)
	defer cancel()
	c.clearBackoff(id)
	c.host.Peerstore().ClearAddrs(id) // those of a punch are for a punch: nobody is to take the one for the other
	if err := c.host.Connect(ctx, peer.AddrInfo{ID: id, Addrs: addrs}); err != nil {
		return nil, err
	}
	return c.greet(ctx, id)
}

// clearBackoff makes libp2p dial at once what has just failed: we have pauses of our own.
func (c *core) clearBackoff(id peer.ID) {
	if sw, ok := c.host.Network().(*swarm.Swarm); ok {
		sw.Backoff().Clear(id)
	}
}

// greet opens a link on the connection to a device.
func (c *core) greet(ctx context.Context, id peer.ID) (*link.Link, error) {
	stream, err := c.host.NewStream(ctx, id, link.ProtocolID)
	if err != nil {
		return nil, err
	}
	return link.Dial(ctx, stream, c.hello(), c.linkHandler())
}

func (c *core) linkHandler() link.Handler {
	return link.Handler{Receive: c.fromLink, Doubt: c.doubted, Card: c.fromCard, Lose: c.weather.losesOn}
}

func (c *core) hello() link.Hello {
	return link.Hello{Name: c.self.Name, Fingerprint: c.self.Fingerprint}
}

// fromLink is called by a link's reader. The core may be busy: that holds the link back, as it should.
func (c *core) fromLink(l *link.Link, envelope []byte) {
	c.post(func() {
		d := c.devices[l.Remote().Fingerprint]
		if d == nil || d.id != l.Stream().Conn().RemotePeer() {
			return
		}
		way := d.linkWay
		if d.link != l {
			way = d.wayBy(l.Stream().Conn()) // a link that was just replaced still brings what it carried
		}
		c.receive(inbound{name: d.contact.Name, device: d.Fingerprint, way: way, envelope: envelope, taken: func() {}})
	})
}

// doubted is called by a link that hears nothing, and by one that hears again.
func (c *core) doubted(l *link.Link, doubtful bool) {
	c.post(func() {
		if d := c.devices[l.Remote().Fingerprint]; d != nil && d.link == l {
			c.log.Debug("direct way in doubt", slog.String("device", d.Fingerprint.Device()), slog.Bool("doubtful", doubtful))
			what := trace.DoubtOver
			if doubtful {
				what = trace.Doubt
			}
			c.note(d, trace.Step{What: what, Way: d.linkWay})
			c.engine.DirectDoubt(time.Now(), d.Fingerprint, doubtful)
		}
	})
}

var errNotAllowed = errors.New("the device is not one of a known contact")

// answer takes a stream that another peer has opened. It runs on libp2p's goroutine for that stream.
func (c *core) answer(stream network.Stream) {
	ctx, cancel := context.WithTimeout(c.dialCtx, 2*dialTime)
	defer cancel()
	allow := func(h link.Hello) error {
		if c.allowed(ctx, h, stream.Conn()) {
			return nil
		}
		return errNotAllowed
	}
	l, err := link.Answer(ctx, stream, c.hello(), allow, c.linkHandler())
	if err != nil {
		c.log.Debug("link refused", slog.Any("error", err))
		c.trace.AddCaused(trace.Step{What: trace.LinkRefused, Addr: stream.Conn().RemoteMultiaddr().String(), Error: err.Error()})
		return
	}
	c.post(func() {
		if d := c.devices[l.Remote().Fingerprint]; d != nil {
			c.linkUp(d, l, false, 0)
			return
		}
		l.End(errNotAllowed)
	})
}

// allowed reports whether a device that greets us is what it says, asking the directory about a name that is new.
func (c *core) allowed(ctx context.Context, h link.Hello, conn network.Conn) bool {
	if c.private {
		return false
	}
	match := func() (known, ok bool) {
		d := c.devices[h.Fingerprint]
		return d != nil, c.stall.cause == nil && d != nil && string(d.contact.Name) == h.Name && d.id == conn.RemotePeer() && d.Trust == history.Accepted &&
			c.permits(d, conn.RemoteMultiaddr())
	}
	var known, ok, ask bool
	err := c.do(ctx, func() {
		known, ok = match()
		ask = !known && c.greetings.Allow()
	})
	if err != nil || !ask {
		return ok
	}
	asked := make(chan struct{})
	if err := c.do(ctx, func() { c.ask(h.Name, func() { close(asked) }) }); err != nil {
		return false
	}
	select {
	case <-asked:
	case <-ctx.Done():
		return false
	}
	return c.do(ctx, func() { _, ok = match() }) == nil && ok
}

// linkUp takes a fresh link into use. Where both sides dialled at once, both keep the one that the smaller PeerID opened.
func (c *core) linkUp(d *device, l *link.Link, dialled bool, took time.Duration) {
	if c.stall.cause != nil {
		l.End(c.stall.cause)
		return
	}
	if conn := l.Stream().Conn(); d.Trust != history.Accepted || d.id != conn.RemotePeer() || !c.permits(d, conn.RemoteMultiaddr()) {
		l.End(errNotAllowed)
		c.spawn(func() { c.closeForbidden(d) })
		return
	}
	now := time.Now()
	if old := d.link; old != nil {
		mine := c.peerID < d.id
		if dialled != mine && now.Sub(old.Heard()) < link.Heartbeat {
			l.End(errors.New("another link to this device is in use"))
			return
		}
		if now.Sub(old.Heard()) < link.Heartbeat {
			old.End(errReplaced)
			d.hears(old.Heard(), d.linkWay, SignHeartbeat)
			c.noteLinkDown(d, old, errReplaced.Error())
		} else { // it was dead
			c.linkDown(d, old, errReplaced.Error())
		}
	}
	oldWay := c.wayTo(d)
	conn := l.Stream().Conn()
	d.link, d.linkWay, d.since = l, d.wayBy(conn), now
	d.punch, d.offered = nil, time.Time{}
	d.ways.Opened(route.Open{Way: d.linkWay, Addr: conn.RemoteMultiaddr().String()})
	d.tries(now, d.linkWay)
	c.noteLinkUp(d, dialled, took)
	c.linked(now, d, conn, dialled)
	c.searched(d)
	c.engine.DirectUp(now, d.contact.Name, d.Fingerprint, d.linkWay)
	c.tellRoute(d, oldWay, "direct way answers", took)
	fp := d.Fingerprint
	c.spawn(func() {
		<-l.Done()
		if errors.Is(l.Err(), link.ErrSilent) {
			// What is below it is dead too: libp2p would take it for alive, and the next link would be opened on it. A punch may have made two.
			_ = c.host.Network().ClosePeer(conn.RemotePeer())
		}
		c.post(func() {
			if d := c.devices[fp]; d != nil {
				c.linkDown(d, l, "link ended")
			}
		})
	})
}

// errReplaced is why a link has ended that another has taken the place of: what it carried goes by that, and no message takes a turn by the relay.
var errReplaced = errors.New("replaced")

// linkDown stops using a link. What it carried without an acknowledgement goes by another way.
func (c *core) linkDown(d *device, l *link.Link, why string) {
	l.End(errors.New(why))
	if d.link != l {
		return // it was replaced before it ended
	}
	oldWay := c.wayTo(d)
	d.hears(l.Heard(), d.linkWay, SignHeartbeat)
	c.noteLinkDown(d, l, why)
	d.link, d.linkWay = nil, ""
	d.ways.Closed(time.Now())
	c.engine.DirectDown(time.Now(), d.contact.Name, d.Fingerprint)
	c.tellRoute(d, oldWay, why, 0)
	c.tellThere(d.contact)
}

func (c *core) unlink(d *device) {
	if d != nil && d.link != nil {
		c.linkDown(d, d.link, "not allowed any more")
	}
}

// dropLinks ends all links without waiting, and forgets them.
func (c *core) dropLinks() []*link.Link {
	var dropped []*link.Link
	for _, d := range c.devices {
		if l := d.link; l != nil {
			d.link, d.linkWay = nil, ""
			l.End(errors.New("peer gives its links up"))
			dropped = append(dropped, l)
		}
	}
	return dropped
}

// improve looks for direct ways to those who are talked to and are there, or for whom something waits while nobody knows who is there. It
// runs every second.
func (c *core) improve(now time.Time) {
	c.settleIn(now)
	c.alone(now)
	c.listen(now)
	for _, ct := range c.contacts {
		if now.Sub(ct.Direct) <= talking {
			c.seek(now, ct)
		}
	}
}

// seek looks for direct ways to the devices of a contact that are there, or may be.
func (c *core) seek(now time.Time, ct *contact) {
	for fp, d := range ct.devices {
		if c.online[ct.Name][fp] || c.conn == nil && d.ways.Urgent || d.heard(now) {
			if c.dial(now, d) == nil {
				c.offer(now, d)
			}
		}
	}
}

// wayTo returns the way that a message to a device would take now, or none.
func (c *core) wayTo(d *device) Way {
	switch {
	case d.link != nil:
		return d.linkWay
	case c.conn == nil || !c.agreed(d).Has(WayRelay):
		return ""
	case c.online[d.contact.Name][d.Fingerprint]:
		return WayRelay
	}
	return WayMailbox
}

func (c *core) tellRoute(d *device, old Way, why string, took time.Duration) {
	now := c.wayTo(d)
	if now == old {
		return
	}
	ms := milliseconds(took)
	c.note(d, trace.Step{What: trace.Way, Old: string(old), New: string(now), Why: why, MS: &ms})
	c.hub.publish(Event{Type: EventRoute, User: string(d.contact.Name), Device: d.Fingerprint.Device(), Old: old, New: now, Why: why, MS: &ms})
}

func milliseconds(d time.Duration) float64 { return float64(d.Microseconds()) / 1000 }
