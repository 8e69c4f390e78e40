package trace

import (
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/byway-chat/byway/peer/delivery"
)

// What names what has happened. Names are only ever added.
type What string

// What happens on the way to a contact's device.
const (
	Addresses    What = "addresses"     // the directory tells other addresses of it: addrs
	Dial         What = "dial"          // its addresses are dialled: addrs
	DialFailed   What = "dial-failed"   // one has not answered: addr, way, error, ms; or none has in time: addrs, error, ms
	LinkUp       What = "link-up"       // it answers directly: way, addr, ms; why is "dialled" or "answered"
	LinkDown     What = "link-down"     // it does so no more: way, addr, why, ms since it was up
	LinkRefused  What = "link-refused"  // somebody opened a link and was turned away: addr, error
	Doubt        What = "doubt"         // what was sent by way stays without an answer
	DoubtOver    What = "doubt-over"    // it was heard again
	PunchOffer   What = "punch-offer"   // we offer to dial each other: addrs, ours
	PunchOffered What = "punch-offered" // it offers that: addrs, its
	PunchAnswer  What = "punch-answer"  // we accept: addrs, ours
	PunchRefuse  What = "punch-refuse"  // we do not
	PunchAgreed  What = "punch-agreed"  // it accepts: addrs, its
	PunchDial    What = "punch-dial"    // we dial while it dials us: addrs, ms is the wait before
	PunchFailed  What = "punch-failed"  // it came to nothing: error, ms since the offer
	There        What = "there"         // it tells what it has found out about its network: network
	Way          What = "way"           // messages go by another way: old, new, why, ms
	Presence     What = "presence"      // it came or went at the rendezvous: online
	Policy       What = "policy"        // the person allows other ways: old, new
	PolicyThere  What = "policy-there"  // the contact does: old, new
)

// What happens to this device as a whole.
const (
	Here             What = "here"              // what it has found out about its network: network, addrs at which the rendezvous sees it
	Listening        What = "listening"         // its own addresses have changed: addrs
	PortMapping      What = "port-mapping"      // the router leads connections here, or no more: new is "mapped" or why not, addrs where
	RendezvousDial   What = "rendezvous-dial"   // the rendezvous is dialled: addrs
	RendezvousFailed What = "rendezvous-failed" // that came to nothing: error, ms
	RendezvousUp     What = "rendezvous-up"     // signed in: addr, ms
	RendezvousDown   What = "rendezvous-down"   // the connection has ended: why, error
)

// Lost stands for events that are missing in its place: lost is how many. They have fallen off the end before the reader came to them (seq is 0 then), or were
// of a kind that others can cause, and too many.
const Lost What = "lost"

// Type is the type of every event in JSON.
const Type = "trace"

// Step is one line of the story. Only the fields of its What are set.
type Step struct {
	V    int       `json:"v"`    // always 1
	Seq  uint64    `json:"seq"`  // rises by one for each event of a peer; 0 for Lost that is told to one reader
	Type string    `json:"type"` // always Type
	Time time.Time `json:"time"` // UTC
	What What      `json:"what"`

	User   string `json:"user,omitempty"`   // the contact
	Device string `json:"device,omitempty"` // of the contact

	Way    delivery.Way `json:"way,omitempty"`
	Addr   string       `json:"addr,omitempty"`
	Addrs  []string     `json:"addrs,omitempty"`
	MS     *float64     `json:"ms,omitempty"` // how long it took
	Error  string       `json:"error,omitempty"`
	Old    string       `json:"old,omitempty"`
	New    string       `json:"new,omitempty"`
	Why    string       `json:"why,omitempty"` // a stable code of package route where there is one, else words
	Online *bool        `json:"online,omitempty"`
	// Network is what a side has found out about its network.
	Network *Network `json:"network,omitempty"`
	Lost    uint64   `json:"lost,omitempty"`
}

// Network is what a side has found out about the network that it is in, in words that scripts may hold on to.
type Network struct {
	UDP   string `json:"udp"`   // to the rendezvous and back: "works", "blocked", "unknown"
	Ports string `json:"ports"` // what its router does to them: "kept", "changing", "unknown"
	IPv4  bool   `json:"ipv4"`
	IPv6  bool   `json:"ipv6"`
	// Mapping says whether its router leads connections from outside to it: "mapped", "none", "unknown".
	Mapping string `json:"mapping"`
	Policy  string `json:"policy,omitempty"` // of its owner for the other side: "auto", "lan", "direct", "relay"
}

// Bounds of what Add keeps of one event.
const (
	maxText  = 300 // bytes of a text
	maxAddrs = 16
)

// clean makes the texts of an event short and harmless.
func (e *Step) clean() {
	for _, s := range []*string{&e.User, &e.Addr, &e.Error, &e.Old, &e.New, &e.Why} {
		*s = Clean(*s)
	}
	if len(e.Addrs) == 0 {
		return
	}
	addrs := make([]string, 0, min(len(e.Addrs), maxAddrs))
	for _, a := range e.Addrs[:min(len(e.Addrs), maxAddrs)] {
		addrs = append(addrs, Clean(a))
	}
	e.Addrs = addrs
}

// Clean returns s as one line of at most 300 bytes without control characters or anything that is not UTF-8. Errors of the network hold bytes of
// strangers.
func Clean(s string) string {
	s = strings.ToValidUTF8(s, "\uFFFD")
	s = strings.Map(func(r rune) rune {
		switch {
		case r == '\n' || r == '\t' || r == '\r':
			return ' '
		case unicode.IsControl(r) || unicode.Is(unicode.Cf, r) || unicode.Is(unicode.Zl, r) || unicode.Is(unicode.Zp, r):
			return '\uFFFD'
		}
		return r
	}, s)
	if len(s) <= maxText {
		return s
	}
	const more = "…"
	cut := maxText - len(more)
	for !utf8.RuneStart(s[cut]) {
		cut--
	}
	return s[:cut] + more
}
