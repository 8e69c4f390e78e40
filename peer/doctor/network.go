package doctor

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"slices"
	"strings"
	"time"

	"github.com/libp2p/go-libp2p"
	libpeer "github.com/libp2p/go-libp2p/core/peer"
	"github.com/libp2p/go-libp2p/p2p/net/swarm"
	"github.com/libp2p/go-libp2p/p2p/security/noise"
	libp2pquic "github.com/libp2p/go-libp2p/p2p/transport/quic"
	"github.com/libp2p/go-libp2p/p2p/transport/tcp"
	ma "github.com/multiformats/go-multiaddr"
	manet "github.com/multiformats/go-multiaddr/net"

	"github.com/byway-chat/byway/peer"
	"github.com/byway-chat/byway/peer/lan"
	"github.com/byway-chat/byway/rendezvous"
	"github.com/byway-chat/byway/rendezvous/client"
)

// Times of the network's steps.
const (
	listenTime = 1500 * time.Millisecond // to answers to a multicast question
	searchTime = 3 * time.Second         // for a rendezvous on the LAN
	reachTime  = 5 * time.Second         // by one transport
	skewNoted  = 5 * time.Second
	skewFatal  = 10 * time.Minute // messages of a peer whose clock is further ahead are refused (docs/protocol.md, "Sessions")
)

func (e *examination) lookAtInterfaces(context.Context) {
	ifaces, err := net.Interfaces()
	if err != nil {
		e.fail("interfaces", &peer.Error{Code: peer.CodeFailed, Message: "the interfaces cannot be listed", Err: err})
		return
	}
	var list []string
	for _, ifc := range ifaces {
		if ifc.Flags&net.FlagUp == 0 || ifc.Flags&net.FlagLoopback != 0 {
			continue
		}
		addrs, _ := ifc.Addrs() // without them it is not listed
		var texts []string
		for _, a := range addrs {
			if p, err := netip.ParsePrefix(a.String()); err == nil && !p.Addr().IsLinkLocalUnicast() {
				texts = append(texts, p.String())
			}
		}
		if len(texts) > 0 {
			list = append(list, ifc.Name+" "+strings.Join(texts, " "))
		}
	}
	if len(list) == 0 {
		e.add(Step{Name: "interfaces", State: Warning, Detail: "there is none but loopback", Hint: "connect this machine to a network; on this machine alone everything works without"})
		return
	}
	e.add(Step{Name: "interfaces", State: OK, Detail: strings.Join(list, ", ")})
}

func (e *examination) lookAtMulticast(ctx context.Context) {
	if e.cfg.NoMDNS {
		e.skip("multicast", "looking on the local network is switched off (--no-mdns)")
		return
	}
	ctx, cancel := context.WithTimeout(ctx, listenTime)
	defer cancel()
	switch found, err := lan.AskEverybody(ctx); {
	case err != nil:
		e.add(Step{Name: "multicast", State: Warning, Detail: err.Error(), Hint: "without it nobody is found on the local network by itself: use addresses or invitation links"})
	case found.Heard == 0:
		e.add(Step{
			Name: "multicast", State: Warning, Detail: "sent, and no other device was heard: nobody else may be there, or the network filters multicast",
			Hint: "allow multicast (mDNS, UDP port 5353) in the access point or switch; guest networks often do not pass it",
		})
	default:
		e.add(Step{Name: "multicast", State: OK, Detail: fmt.Sprintf("%d other devices were heard", found.Heard)})
	}
}

// lookAtRendezvous finds out where the rendezvous is, and dials it by each transport on its own.
func (e *examination) lookAtRendezvous(ctx context.Context) {
	text, from := e.cfg.Rendezvous, "given"
	if text == "" {
		text, from = e.home.Rendezvous, "remembered by the home"
	}
	if text == "" {
		e.search(ctx)
		return
	}
	address, err := rendezvous.ParseAddress(text)
	if err != nil {
		bad := &peer.Error{Code: peer.CodeUsage, Message: "the address of the rendezvous is wrong: " + err.Error()}
		if told, ok := errors.AsType[*rendezvous.AddressError](err); ok {
			bad.Hint = told.Hint
		}
		e.mask.wrong = text
		e.fail("rendezvous", bad)
		return
	}
	for _, a := range address.Addrs {
		if name := hostName(a); name != "" {
			e.mask.forget(name)
		}
	}
	e.add(Step{Name: "rendezvous", State: OK, Detail: from + ": " + places(address.Addrs)})
	e.reach(ctx, address.AddrInfo())
}

// search looks for a rendezvous on the LAN.
func (e *examination) search(ctx context.Context) {
	missing := &peer.Error{
		Code: peer.CodeNoRendezvousFound, Message: "none is known, and none was found on this network",
		Hint: "ask for its address and use --rendezvous ADDR, or start one with `rendezvous serve`",
	}
	if e.cfg.NoMDNS {
		missing.Message = "none is known, and looking on the network is switched off"
		e.fail("rendezvous", missing)
		return
	}
	searching, cancel := context.WithTimeout(ctx, searchTime)
	defer cancel()
	found, stop := lan.Browse(searching, "", slog.New(slog.DiscardHandler))
	defer stop()
	for info := range found {
		e.add(Step{Name: "rendezvous", State: OK, Detail: "found on the local network: " + places(info.Addrs)})
		stop()
		e.reach(ctx, info)
		return
	}
	e.fail("rendezvous", missing)
}

func places(addrs []ma.Multiaddr) string {
	var list []string
	for _, a := range addrs {
		list = append(list, a.String())
	}
	return strings.Join(list, " ")
}

// reach dials by TCP and by QUIC. One of them is enough to work; without QUIC, there is a warning: direct ways through routers mostly need UDP.
func (e *examination) reach(ctx context.Context, info libpeer.AddrInfo) {
	over := map[string][]ma.Multiaddr{}
	for _, a := range info.Addrs {
		name := "rendezvous-tcp"
		if _, err := a.ValueForProtocol(ma.P_UDP); err == nil {
			name = "rendezvous-quic"
		}
		over[name] = append(over[name], a)
		e.local = e.local || manet.IsIPLoopback(a)
	}
	var steps []Step
	var errs []error // nil of those that answer or were not asked
	reached := false
	for _, name := range []string{"rendezvous-tcp", "rendezvous-quic"} {
		s, err := Step{Name: name, State: Skipped, Detail: "the address of the rendezvous names none"}, error(nil)
		if len(over[name]) > 0 {
			s, err = e.dial(ctx, name, libpeer.AddrInfo{ID: info.ID, Addrs: over[name]})
			reached = reached || err == nil
		}
		steps, errs = append(steps, s), append(errs, err)
	}
	for i, s := range steps {
		silent := s.Code == peer.CodeRendezvousUnreachable && !errors.Is(errs[i], client.ErrWrongIdentity)
		if s.State == Failed && reached && silent {
			s.State, s.Code = Warning, ""
			s.Hint = "it works without; let this port through in the firewalls for more ways"
			if s.Name == "rendezvous-quic" {
				s.Hint = "UDP does not pass: it works without, but fewer direct ways open; allow outgoing UDP"
			}
		}
		e.add(s)
	}
}

// dial makes one connection under a PeerID of its own, and hears what the rendezvous says first.
func (e *examination) dial(ctx context.Context, name string, info libpeer.AddrInfo) (s Step, err error) {
	s = Step{Name: name, State: Failed, Code: peer.CodeRendezvousUnreachable}
	ctx, cancel := context.WithTimeout(ctx, reachTime)
	defer cancel()
	h, err := libp2p.New(libp2p.NoListenAddrs, libp2p.DisableRelay(), libp2p.DisableMetrics(), libp2p.Ping(false), libp2p.Security(noise.ID, noise.New),
		libp2p.Transport(tcp.NewTCPTransport), libp2p.Transport(libp2pquic.NewTransport), libp2p.ResourceManager(nil))
	if err != nil {
		s.Code, s.Detail = peer.CodeFailed, "the network cannot be used: "+err.Error()
		return s, err
	}
	defer func() { _ = h.Close() }()
	began := time.Now()
	conn, err := client.Dial(ctx, client.Options{Host: h, Rendezvous: info, Agent: "byway doctor"})
	took := time.Since(began)
	switch {
	case errors.Is(err, client.ErrNotARendezvous):
		s.Code, s.Detail, s.Hint = peer.CodeNotARendezvous, "what answers there is not a rendezvous", "check the address with `rendezvous address` where it is served"
	case errors.Is(err, client.ErrWrongIdentity):
		s.Detail, s.Hint = "another rendezvous answers there than the one expected", "do not sign in there; ask the operator for the present address"
	case errors.Is(err, swarm.ErrNoGoodAddresses) && !slices.ContainsFunc(info.Addrs, func(a ma.Multiaddr) bool { return hostName(a) == "" }):
		s.Detail, s.Hint = "its name has no address", "check the name, and the name server (DNS) of this network; an address by number needs none"
	case err != nil:
		s.Detail, s.Hint = "no answer: "+causes(err), "check that `rendezvous serve` runs there, and that its port is open in the firewalls between"
	default:
		offset := time.Until(time.UnixMilli(int64(conn.Welcome().GetTimeMs()))) + took/2
		e.offset = &offset
		s = Step{Name: name, State: OK, MS: milliseconds(took), Detail: "answers in " + inWords(took)}
		_ = conn.Close() // it has said what was wanted
	}
	return s, err
}

// hostName returns the DNS name in an address, or none.
func hostName(a ma.Multiaddr) string {
	for _, dns := range []int{ma.P_DNS, ma.P_DNS4, ma.P_DNS6} {
		if name, err := a.ValueForProtocol(dns); err == nil {
			return name
		}
	}
	return ""
}

// causes says of each address why it did not answer.
func causes(err error) string {
	dial, ok := errors.AsType[*swarm.DialError](err)
	if !ok || len(dial.DialErrors) == 0 {
		return err.Error()
	}
	var list []string
	for _, e := range dial.DialErrors {
		list = append(list, fmt.Sprintf("%s: %v", e.Address, e.Cause))
	}
	return strings.Join(list, "; ")
}

// lookAtClock compares the clock of this machine with the rendezvous's.
func (e *examination) lookAtClock(context.Context) {
	if e.offset == nil {
		e.skip("clock", "the rendezvous, whose clock it is compared with, does not answer")
		return
	}
	off := e.offset.Abs()
	s := Step{Name: "clock", State: OK, Detail: fmt.Sprintf("%v from the rendezvous's", off.Round(10*time.Millisecond)), Hint: "set the clock of this machine, or of the rendezvous's"}
	switch {
	case off > skewFatal:
		s.State = Failed
	case off > skewNoted:
		s.State = Warning
	default:
		s.Hint = ""
	}
	e.add(s)
}
