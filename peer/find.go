package peer

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/libp2p/go-libp2p/core/peer"
	"github.com/libp2p/go-libp2p/core/sec"
	ma "github.com/multiformats/go-multiaddr"

	"github.com/byway-chat/byway/peer/delivery"
	"github.com/byway-chat/byway/peer/history"
	"github.com/byway-chat/byway/peer/lan"
	"github.com/byway-chat/byway/peer/route"
	"github.com/byway-chat/byway/rendezvous"
)

// Found is a direct way to one device of a user.
type Found struct {
	Device string   `json:"device"`
	Way    Way      `json:"way"`
	Addr   string   `json:"addr"`
	RTT    *float64 `json:"rtt_ms,omitempty"`
	How    string   `json:"how"` // by whom the address was told: mdns, sweep, typed, published (by its owner, at the rendezvous) or remembered
	MS     float64  `json:"ms"`  // how long finding it took
}

// findTime is how long Find waits for a device to answer, besides a sweep.
const findTime = 4 * time.Second

// Connect opens a direct way to a user at an address that a person has typed or scanned: a multiaddr of TCP or QUIC, with or without /p2p/ID. Whoever answers there
// has to prove that it is a device of the user that is pinned. The address is remembered once it has answered. It fails with CodeUnreachable where
// nobody answers, or somebody else, and with CodeUsage where the address cannot be one of the user's.
func (p *Peer) Connect(ctx context.Context, user, address string) (Found, error) {
	id, addr, err := parseTyped(address)
	if err != nil {
		return Found{}, err
	}
	name, err := p.findable(ctx, user)
	if err != nil {
		return Found{}, err
	}
	began := time.Now()
	devices, err := p.unlinked(ctx, name)
	if err != nil {
		return Found{}, err
	}
	if id != "" && !slices.ContainsFunc(devices.all, func(s soughtDevice) bool { return s.id == id }) {
		return Found{}, &Error{
			Code: CodeUsage, Message: fmt.Sprintf("the address is not one of a device of %s that you accept", name),
			Hint: fmt.Sprintf("`byway address` shows it on the device; `byway verify %s` shows whose keys are accepted", name),
		}
	}
	var failed error
	for _, s := range devices.closed {
		if id != "" && s.id != id {
			continue
		}
		err := p.knock(ctx, s, foundTyped, addr)
		if err == nil {
			break
		}
		failed = err
	}
	return p.foundSince(ctx, name, began, notThere(string(name), addr, failed))
}

// notThere says what became of a dial to an address.
func notThere(user string, addr ma.Multiaddr, cause error) error {
	e := &Error{
		Code: CodeUnreachable, Message: fmt.Sprintf("%s does not answer at %s", user, addr), Err: cause,
		Hint: "check that both are on one network and that no firewall is between; `byway address` shows the address on the other device",
	}
	if errors.As(cause, new(sec.ErrPeerIDMismatch)) {
		e.Message, e.Hint = fmt.Sprintf("what answers at %s is not a device of %s", addr, user), "the address may be somebody else's by now"
	}
	return e
}

// Find looks for a user on the LAN: at the addresses that are known and at those that mDNS tells. With sweep it also knocks at every address of our own private
// networks (see [lan.Sweep]); nothing else ever makes a peer do that. It fails with CodeUnreachable where no device of the user answers.
func (p *Peer) Find(ctx context.Context, user string, sweep bool) (Found, error) {
	name, err := p.findable(ctx, user)
	if err != nil {
		return Found{}, err
	}
	if sweep && !p.beyondLoopback() {
		return Found{}, &Error{Code: CodeUsage, Message: "this peer listens on loopback alone, and sends nothing to others", Hint: "start it with another --listen"}
	}
	began := time.Now()
	devices, err := p.unlinked(ctx, name)
	if err != nil {
		return Found{}, err
	}
	if devices.open {
		return p.foundSince(ctx, name, began, nil)
	}
	p.core.post(func() {
		for _, d := range p.core.devicesOf(delivery.Account(name)) {
			d.ways.Renewed()
		}
	})
	p.core.waitForDirect(ctx, delivery.Account(name), findTime)
	none := p.nobody(ctx, name)
	if f, err := p.foundSince(ctx, name, began, none); err == nil || !sweep {
		return f, err
	}
	for _, at := range lan.Sweep(ctx, lan.Targets(lan.OwnNetworks()), devices.ports()) {
		for _, s := range devices.closed {
			if p.knock(ctx, s, foundBySweep, tcpAddress(at)) == nil {
				break
			}
		}
	}
	if err := ctx.Err(); err != nil {
		return Found{}, err
	}
	return p.foundSince(ctx, name, began, none)
}

// nobody is the error of a search that has found nobody; it says why.
func (p *Peer) nobody(ctx context.Context, name rendezvous.Username) error {
	var why route.Reason
	err := p.core.do(ctx, func() {
		s := p.core.surroundings()
		for _, d := range p.core.devicesOf(delivery.Account(name)) {
			if d.Trust == history.Accepted && d.Fingerprint != p.core.self.Fingerprint {
				why = cmp.Or(why, p.core.look(d).WhyNotLAN(&s))
			}
		}
	})
	if err != nil {
		return err
	}
	e := &Error{Code: CodeUnreachable, Message: fmt.Sprintf("%s was not found on this network", name), Hint: remedy(why, string(name))}
	if why != "" {
		e.Message += fmt.Sprintf(": %s: %s", why, why.Sentence())
	}
	if e.Hint == "" {
		e.Hint = fmt.Sprintf("`byway find %s --sweep` knocks at every address of this network; `byway connect %s ADDRESS` takes one that you know", name, name)
	}
	return e
}

// CheckAddress says, as an *[Error] of CodeUsage, what is wrong with an address for Connect.
func CheckAddress(address string) error {
	_, _, err := parseTyped(address)
	return err
}

// parseTyped reads an address that a person gives.
func parseTyped(text string) (peer.ID, ma.Multiaddr, error) {
	wrong := &Error{
		Code: CodeUsage, Message: fmt.Sprintf("%q is not an address of a peer", text),
		Hint: "it looks like /ip4/192.168.1.20/tcp/24000, with or without /p2p/ and an id; `byway address` shows it on the other device",
	}
	m, err := ma.NewMultiaddr(strings.TrimSpace(text))
	if err != nil {
		return "", nil, wrong
	}
	addr, id := peer.SplitAddr(m)
	if len(addr) < 2 || !dialable(addr) || !rendezvous.IsTransport(addr[1:]) || addr[1].Value() == "0" {
		return "", nil, wrong
	}
	return id, addr, nil
}

func tcpAddress(at netip.AddrPort) ma.Multiaddr {
	return ma.StringCast("/ip4/" + at.Addr().String() + "/tcp/" + strconv.Itoa(int(at.Port())))
}

// findable looks a user up whom this peer may dial.
func (p *Peer) findable(ctx context.Context, user string) (rendezvous.Username, error) {
	if err := p.up(); err != nil {
		return "", err
	}
	name, err := parseUser(user)
	if err != nil {
		return "", err
	}
	if err := p.contact(ctx, name); err != nil {
		return "", err
	}
	return name, p.core.try(ctx, func() error {
		c := p.core
		s := c.surroundings()
		if ct := c.contacts[delivery.Account(name)]; ct != nil && ct.keyState() == KeyChanged {
			return keyChanged(ct)
		}
		for _, d := range c.devicesOf(delivery.Account(name)) {
			if why := c.look(d).Forbidden(&s); why != "" {
				return &Error{Code: CodeUnreachable, Message: fmt.Sprintf("no direct way to %s is allowed: %s: %s", name, why, why.Sentence()), Hint: why.RemedyFor(string(name))}
			}
		}
		return nil
	})
}

// devicesOf returns the devices of a user; none where the contact has gone, as when the core has begun again from a disk that does not have it.
func (c *core) devicesOf(name delivery.Account) map[delivery.Device]*device {
	if ct := c.contacts[name]; ct != nil {
		return ct.devices
	}
	return nil
}

// soughtDevice is a device to look for.
type soughtDevice struct {
	fp    delivery.Device
	id    peer.ID
	ports []uint16 // of TCP at which it may listen
}

// soughtDevices are the accepted devices of a user.
type soughtDevices struct {
	all, closed []soughtDevice // closed: those to which no direct way is open
	open        bool           // a way is open to one
}

// ports returns what a sweep knocks at.
func (s *soughtDevices) ports() []uint16 {
	var out []uint16
	for _, d := range s.closed {
		for _, port := range d.ports {
			if !slices.Contains(out, port) {
				out = append(out, port)
			}
		}
	}
	return out
}

// unlinked returns the devices of a user, with those to which no direct way is open.
func (p *Peer) unlinked(ctx context.Context, name rendezvous.Username) (*soughtDevices, error) {
	out := new(soughtDevices)
	err := p.core.do(ctx, func() {
		c := p.core
		for fp, d := range c.devicesOf(delivery.Account(name)) {
			if d.Trust != history.Accepted || fp == c.self.Fingerprint {
				continue
			}
			s := soughtDevice{fp: fp, id: d.id, ports: []uint16{portOfDevice(d.id)}}
			for _, a := range parseAddrs(d.Addrs) {
				text, err := a.ValueForProtocol(ma.P_TCP)
				if n, convErr := strconv.ParseUint(text, 10, 16); err == nil && convErr == nil && !slices.Contains(s.ports, uint16(n)) {
					s.ports = append(s.ports, uint16(n))
				}
			}
			out.all = append(out.all, s)
			if d.link != nil {
				out.open = true
				continue
			}
			out.closed = append(out.closed, s)
		}
	})
	if err != nil {
		return nil, err // and not out, which the core may still be writing
	}
	return out, nil
}

// knock dials a device at an address and opens a link there.
func (p *Peer) knock(ctx context.Context, s soughtDevice, how string, addr ma.Multiaddr) error {
	c := p.core
	began := time.Now()
	l, err := c.open(ctx, s.id, []ma.Multiaddr{addr})
	if err != nil {
		return err
	}
	return c.do(ctx, func() {
		d := c.devices[s.fp]
		if d == nil {
			l.End(errNotAllowed)
			return
		}
		c.sighted(time.Now(), d, how, addr)
		c.linkUp(d, l, true, time.Since(began))
	})
}

// foundSince returns the direct way that is open to a user, or otherwise.
func (p *Peer) foundSince(ctx context.Context, name rendezvous.Username, began time.Time, otherwise error) (Found, error) {
	var out Found
	found := false
	err := p.core.do(ctx, func() {
		for fp, d := range p.core.devicesOf(delivery.Account(name)) {
			if d.link == nil || found && fp.Device() > out.Device {
				continue
			}
			found = true
			at := d.link.Stream().Conn().RemoteMultiaddr()
			out = Found{Device: fp.Device(), Way: d.linkWay, Addr: at.String(), How: d.foundBy(at)}
			if rtt := milliseconds(d.link.RTT()); rtt > 0 {
				out.RTT = &rtt
			}
		}
	})
	if err != nil {
		return Found{}, err // and not out, which the core may still be writing
	}
	if !found {
		return Found{}, otherwise
	}
	out.MS = milliseconds(time.Since(began))
	return out, nil
}

// foundBy says who has told the address at which a device answers.
func (d *device) foundBy(a ma.Multiaddr) string {
	for _, n := range slices.Backward(d.nearby) {
		if n.addr.Equal(a) {
			return n.how
		}
	}
	if slices.Contains(d.Addrs, a.String()) {
		return "published"
	}
	return "remembered"
}
