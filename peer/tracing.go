package peer

import (
	"errors"
	"time"

	"github.com/libp2p/go-libp2p/p2p/net/swarm"
	ma "github.com/multiformats/go-multiaddr"
	"golang.org/x/time/rate"

	"github.com/byway-chat/byway/peer/delivery"
	"github.com/byway-chat/byway/peer/link"
	"github.com/byway-chat/byway/peer/route"
	"github.com/byway-chat/byway/peer/trace"
	"github.com/byway-chat/byway/rendezvous/client"
)

// Trace follows the story of the ways: every attempt and every change. It can be called at any time; the reader ends with the peer. The caller
// closes it.
func (p *Peer) Trace(o trace.Options) (*trace.Reader, error) {
	if o.User != "" {
		name, err := parseUser(o.User)
		if err != nil {
			return nil, err
		}
		o.User = string(name)
	}
	return p.trace.Follow(o), nil
}

// What happens on the way to one device has so much room in the story: the device causes much of it, by opening links and closing them if by nothing else.
const (
	stepsPerSecond = 5
	stepsBurst     = trace.Size / 16
)

// note adds to the story what happens on the way to a device.
func (c *core) note(d *device, e trace.Step) {
	if d.steps == nil {
		d.steps = rate.NewLimiter(stepsPerSecond, stepsBurst)
	}
	e.User, e.Device = string(d.contact.Name), d.Fingerprint.Device()
	c.trace.AddWithin(d.steps, e)
}

// noteCaused is note for what the device can cause as often as it likes.
func (c *core) noteCaused(d *device, e trace.Step) {
	e.User, e.Device = string(d.contact.Name), d.Fingerprint.Device()
	c.trace.AddCaused(e)
}

// noteSignal tells which step of a punch we send. Offers are answered as often as they come, and refused ones cost nothing.
func (c *core) noteSignal(d *device, step byte, addrs []ma.Multiaddr) {
	switch {
	case step == delivery.PunchOffer:
		c.note(d, trace.Step{What: trace.PunchOffer, Addrs: texts(addrs)})
	case len(addrs) == 0:
		c.noteCaused(d, trace.Step{What: trace.PunchRefuse})
	default:
		c.note(d, trace.Step{What: trace.PunchAnswer, Addrs: texts(addrs)})
	}
}

// noteDialFailed remembers and tells of each address what became of it, where that is known.
func (c *core) noteDialFailed(d *device, addrs []ma.Multiaddr, err error, took time.Duration) {
	ms := milliseconds(took)
	for _, f := range failures(err) {
		step := trace.Step{What: trace.DialFailed, Error: f.text, MS: &ms}
		if f.addr != nil {
			step.Addr, step.Way = f.addr.String(), wayOver(f.addr)
			d.fails(step.Way, f.text)
		} else {
			step.Addrs = texts(addrs)
			for _, a := range addrs {
				d.fails(wayOver(a), f.text)
			}
		}
		c.note(d, step)
	}
}

// failure is why an address has not answered; without one, why something else has failed.
type failure struct {
	addr ma.Multiaddr
	text string
}

// failures takes an error of dialling apart, by address.
func failures(err error) []failure {
	dial, ok := errors.AsType[*swarm.DialError](err)
	if !ok || len(dial.DialErrors) == 0 {
		return []failure{{text: err.Error()}}
	}
	var out []failure
	for _, e := range dial.DialErrors {
		out = append(out, failure{addr: e.Address, text: errorText(e.Cause)})
	}
	return out
}

func (c *core) noteLinkUp(d *device, dialled bool, took time.Duration) {
	why := "answered"
	if dialled {
		why = "dialled"
	}
	ms := milliseconds(took)
	c.note(d, trace.Step{What: trace.LinkUp, Way: d.linkWay, Addr: d.link.Stream().Conn().RemoteMultiaddr().String(), Why: why, MS: &ms})
}

func (c *core) noteLinkDown(d *device, l *link.Link, why string) {
	cause := errorText(l.Err())
	if cause == why {
		cause = ""
	}
	ms := milliseconds(l.Age())
	c.note(d, trace.Step{What: trace.LinkDown, Way: d.linkWay, Addr: l.Stream().Conn().RemoteMultiaddr().String(), Why: why, Error: cause, MS: &ms})
}

// traceTry tells how a try for the rendezvous has ended.
func (p *Peer) traceTry(conn *client.Conn, err error, took time.Duration) {
	ms := milliseconds(took)
	if err != nil {
		for _, f := range failures(err) {
			step := trace.Step{What: trace.RendezvousFailed, Why: reasonOf(err), Error: f.text, MS: &ms}
			if f.addr != nil {
				step.Addr = f.addr.String()
			}
			p.trace.Add(step)
		}
		return
	}
	p.trace.Add(trace.Step{What: trace.RendezvousUp, Addr: conn.Remote(), MS: &ms})
}

func (c *core) tracePolicy(name delivery.Account, old, now route.Policy) {
	c.trace.Add(trace.Step{What: trace.Policy, User: string(name), Old: old.String(), New: now.String()})
}

// texts writes addresses out.
func texts(addrs []ma.Multiaddr) []string {
	var out []string
	for _, a := range addrs {
		out = append(out, a.String())
	}
	return out
}

// sightings are the addresses at which the rendezvous sees this device.
func sightings(seen []client.Sighting) []string {
	var out []string
	for _, s := range seen {
		out = append(out, s.Seen.String())
	}
	return out
}

// errorText is an error in words, and nothing for none.
func errorText(err error) string {
	if err == nil {
		return ""
	}
	return err.Error()
}

var udpWords = map[route.UDP]string{route.UDPUnknown: "unknown", route.UDPWorks: "works", route.UDPBlocked: "blocked"}

var portWords = map[route.Ports]string{route.PortsUnknown: "unknown", route.PortsKept: "kept", route.PortsChanging: "changing"}

var mappingWords = map[route.Mapping]string{route.MappingUnknown: "unknown", route.NotMapped: "none", route.Mapped: "mapped"}

// networkOf is what a side has found out, in words. A policy is told of the other side alone: ours is another for each contact.
func networkOf(n route.Network, policy bool) *trace.Network {
	out := &trace.Network{UDP: udpWords[n.UDP], Ports: portWords[n.Ports], IPv4: n.IPv4, IPv6: n.IPv6, Mapping: mappingWords[n.Mapping]}
	if policy {
		out.Policy = n.Policy.String()
	}
	return out
}
