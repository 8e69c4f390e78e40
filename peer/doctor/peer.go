package doctor

import (
	"cmp"
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/byway-chat/byway/peer"
	"github.com/byway-chat/byway/peer/route"
)

// afterSignIn are the steps for which a peer is needed.
var afterSignIn = []string{"network", "port-mapping", "listening", "contact"}

// askPeer has the peer of the home tell what only it can know.
func (e *examination) askPeer(ctx context.Context) {
	why := ""
	var check peer.Checkup
	switch {
	case !e.usable:
		why = e.whyUnusable("there is no account here whose keys can be opened")
		e.skip("sign-in", why)
	case e.silent:
		why = "the home is " + heldInSilence
		e.skip("sign-in", why)
	case e.cfg.Ask == nil:
		why = "there is no peer to ask"
		e.skip("sign-in", why)
	default:
		var err error
		if check, err = e.cfg.Ask(ctx); err != nil {
			why = "the peer does not run"
			e.fail("sign-in", err)
		}
	}
	if why != "" {
		for _, name := range afterSignIn {
			e.skip(name, why)
		}
		return
	}
	for _, c := range check.Contacts {
		e.mask.forget(c.User)
	}
	e.signedIn(&check)
	e.network(&check)
	e.mapping(&check)
	e.listening(&check)
	for i := range check.Contacts {
		e.contact(i+1, &check.Contacts[i])
	}
	if len(check.Contacts) == 0 {
		e.skip("contact", "nobody was talked to lately")
	}
}

func (e *examination) signedIn(check *peer.Checkup) {
	if !check.Rendezvous.Connected {
		e.add(refusal(check.Reason))
		return
	}
	s := Step{Name: "sign-in", State: OK, MS: check.RTT, Detail: "signed in by " + transport(check.Transport)}
	if check.Outbox > 0 {
		s.Detail += fmt.Sprintf(", %d messages are not yet delivered", check.Outbox)
	}
	if check.Unlisted {
		s.State, s.Hint = Warning, "bring the rendezvous up to date, or take back the policy `relay` for single users (`byway way` lists them): until then others find this device less well"
		s.Detail += "; the rendezvous cannot withhold addresses from single users, so it is told none"
	}
	e.add(s)
}

// refusal is why the peer is not signed in, from the stable code of its status.
func refusal(reason string) Step {
	s := Step{Name: "sign-in", State: Failed, Code: peer.CodeRendezvousUnreachable, Detail: "not signed in: " + reason}
	switch reason {
	case "not-enrolled":
		s.Code, s.Hint = peer.CodeNotSignedIn, "the rendezvous does not know this account and device any more: ask its operator what became of them"
	case "banned":
		s.Code, s.Hint = peer.CodeNotSignedIn, "the operator has banned this account: ask the operator"
	case "not-a-rendezvous":
		s.Code, s.Hint = peer.CodeNotARendezvous, "check the address with `rendezvous address` where it is served"
	case "wrong-identity":
		s.Hint = "another rendezvous answers there; do not sign in there, ask the operator for the present address"
	default:
		s.Hint = "check that `rendezvous serve` runs there and that this device has a network; the peer tries again by itself"
	}
	return s
}

// transport is how a connection goes, without where to.
func transport(addr string) string {
	if strings.Contains(addr, "/quic") {
		return "QUIC"
	}
	return "TCP"
}

// network says what the router and the firewall here do to UDP and to ports.
func (e *examination) network(check *peer.Checkup) {
	n := check.Network
	s := Step{Name: "network", State: OK}
	switch {
	case n == nil || n.UDP == "unknown" && n.Ports == "unknown":
		e.skip("network", "the rendezvous has not said from where it sees this device")
		return
	case e.local:
		s.Detail = "the rendezvous is on this machine, so it cannot tell what a router would do"
	case n.Ports == "changing":
		s.State, s.Hint = Warning, route.SymmetricNATHere.Remedy()
		s.Detail = route.SymmetricNATHere.Sentence()
	case n.UDP == "blocked":
		s.State, s.Hint = Warning, route.UDPBlockedHere.Remedy()
		s.Detail = "UDP does not pass to the rendezvous and back."
	case n.UDP == "works":
		s.Detail = "UDP passes, the router leaves ports as they are"
	default:
		s.Detail = "the router leaves ports as they are"
	}
	if len(check.Seen) > 0 {
		s.Detail += "; seen at " + strings.Join(check.Seen, " ")
	}
	e.add(s)
}

// unmapped says why the router leads no port to this device, by the states of peer.PortMapping.
var unmapped = map[string]string{
	"":           "the router was not asked to lead a port here",
	"off":        "the router is not asked to lead a port here: that is switched off, the policy for all lets nobody come that way, or this peer listens on loopback alone",
	"searching":  "the router has not answered yet",
	"no-gateway": "there is no router",
	"no-answer":  "the router understands neither NAT-PMP nor UPnP, or has them switched off",
	"refused":    "the router refuses to lead a port here",
	"not-public": "the router has no public address itself: another one stands before it",
}

// mapping says what has come of asking the router to lead a port here. Without one most ways open all the same, but not through a router that changes ports.
func (e *examination) mapping(check *peer.Checkup) {
	m := &check.PortMapping
	if m.State == "mapped" {
		e.add(Step{Name: "port-mapping", State: OK, Detail: fmt.Sprintf("the router leads connections here, by %s: %s", m.Protocol, strings.Join(m.Addrs, " "))})
		return
	}
	s := Step{Name: "port-mapping", State: Skipped, Detail: cmp.Or(unmapped[m.State], m.State)}
	switch m.State {
	case "no-answer", "refused":
		s.Hint = "switch NAT-PMP or UPnP on in the router, or forward a port of it to this device, for more direct ways"
		if n := check.Network; n != nil && n.Ports == "changing" {
			s.State = Warning
		}
	}
	e.add(s)
}

func (e *examination) listening(check *peer.Checkup) {
	switch {
	case check.Private:
		e.skip("listening", "this peer tells nobody its address")
	case len(check.Listening) == 0:
		e.add(Step{Name: "listening", State: Warning, Detail: "at no address: everything goes by the relay", Hint: "look at --listen, and whether this machine has a network"})
	default:
		e.add(Step{Name: "listening", State: OK, Detail: strings.Join(check.Listening, " ")})
	}
}

// contact says by which way somebody is reached, and why not by a better one. Without Config.Full it is not said who that is.
func (e *examination) contact(number int, c *peer.ContactCheck) {
	who := fmt.Sprintf("number %d", number)
	if e.cfg.Full {
		who = c.User
	}
	way := string(c.Way)
	if way == "" {
		way = "no way"
	}
	s := Step{Name: "contact", State: OK, Detail: who + ": " + way}
	if c.Heard != nil && c.HeardBy != peer.SignPresence {
		s.Detail += fmt.Sprintf(", heard %v ago by %s", max(0, time.Since(*c.Heard)).Round(time.Second), c.HeardWay)
	}
	switch {
	case !c.Online:
		s.Detail += ", away"
	case c.Reason != "" && c.Reason != string(route.NotTriedYet):
		s.State, s.Hint = Warning, c.Remedy
		s.Detail += ", because of " + c.Reason + ": " + c.Sentence
	case c.Reason != "":
		s.Detail += ", " + c.Reason
	}
	e.add(s)
}
