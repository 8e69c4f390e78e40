package route

import (
	"slices"
	"strings"
)

// Reason is a stable code for why a way is not in use. The empty Reason is none.
type Reason string

// The reasons. Here is this device, there the contact's.
const (
	SameLANUnreachable    Reason = "same-lan-unreachable"
	NoCommonNetwork       Reason = "no-common-network"
	MulticastFiltered     Reason = "multicast-filtered"
	NoAddressKnown        Reason = "no-address-known"
	NoPublicAddress       Reason = "no-public-address"
	InboundBlocked        Reason = "inbound-blocked"
	UDPBlockedHere        Reason = "udp-blocked-here"
	UDPBlockedThere       Reason = "udp-blocked-there"
	SymmetricNATHere      Reason = "symmetric-nat-here"
	SymmetricNATThere     Reason = "symmetric-nat-there"
	SymmetricNATBoth      Reason = "symmetric-nat-both"
	IPv6OneSide           Reason = "ipv6-one-side"
	PolicyHere            Reason = "policy-here"
	PolicyThere           Reason = "policy-there"
	PunchFailed           Reason = "punch-failed"
	LinkLost              Reason = "link-lost"
	NotTriedYet           Reason = "not-tried-yet"
	BetterWayOpen         Reason = "better-way-open"
	PeerOffline           Reason = "peer-offline"
	RendezvousUnreachable Reason = "rendezvous-unreachable"
	MailboxFull           Reason = "mailbox-full"
)

// explanation is what a person is told of a reason.
type explanation struct{ sentence, remedy string }

// explanations has every reason. A remedy may be empty: there is nothing to do.
var explanations = map[Reason]explanation{
	SameLANUnreachable: {
		"The other device is on a network that this one is on too, and does not answer there.",
		"Check that byway runs there. Its firewall may keep others out, or the access point keeps its clients apart: look for \"client isolation\" or \"guest network\" there.",
	},
	NoCommonNetwork: {"The two devices share no local network.", ""},
	MulticastFiltered: {
		"The network does not carry multicast, so the devices on it cannot find each other by themselves.",
		"Allow multicast (mDNS, UDP port 5353) in the access point or switch, or name the other device's address.",
	},
	NoAddressKnown: {
		"No address of the other device is known.",
		"It tells its addresses when it is online next, unless its owner hides them.",
	},
	NoPublicAddress: {
		"The other device has no public address: it is behind a router, or has no internet.",
		"Nothing has to be done where a punch works; else forward a port of the router to it and name that with --listen.",
	},
	InboundBlocked: {
		"The other device has a public address, and does not answer there.",
		"Let connections in to it in its firewall, or forward a port of its router to it.",
	},
	UDPBlockedHere: {
		"The network here does not let UDP pass, and no way over TCP has opened.",
		"Allow outgoing UDP in the firewall here.",
	},
	UDPBlockedThere: {
		"The other device's network does not let UDP pass, and no way over TCP has opened.",
		"Outgoing UDP must be allowed in the firewall there.",
	},
	SymmetricNATHere: {
		"The router here uses another port for each destination, so the other device cannot know where to send.",
		"Use a router without \"symmetric NAT\", forward a port to this device, or use IPv6.",
	},
	SymmetricNATThere: {
		"The other device's router uses another port for each destination, so this one cannot know where to send.",
		"A router without \"symmetric NAT\", a forwarded port or IPv6 is needed there.",
	},
	SymmetricNATBoth: {
		"The routers of both sides use another port for each destination, so neither can know where to send.",
		"One side needs a router without \"symmetric NAT\", a forwarded port, or both need IPv6.",
	},
	IPv6OneSide: {
		"One side has only IPv6 and the other only IPv4.",
		"Both need an address of the same kind.",
	},
	PolicyHere: {
		"The policy set here does not allow this way.",
		"`byway way USER auto` allows every way to the contact again, `byway way` lists what is set; --way of a message cannot allow more.",
	},
	PolicyThere: {
		"The other side's policy does not allow this way.",
		"Only its owner can allow it: ask for `byway way` with your name there.",
	},
	PunchFailed: {
		"Both sides have sent to each other at the same moment, and neither has heard the other.",
		"A firewall may be in the way. It is tried again by itself; a forwarded port on one side helps.",
	},
	LinkLost:      {"The way was open and does not answer any more.", "It is tried again by itself."},
	NotTriedYet:   {"This way has not been tried yet.", "It is tried when there is something to send."},
	BetterWayOpen: {"A better way is in use.", ""},
	PeerOffline:   {"The other device is not connected to the rendezvous.", "It gets the message when it comes back."},
	RendezvousUnreachable: {
		"The rendezvous cannot be reached from here.",
		"Check that it runs and that this device has a network.",
	},
	MailboxFull: {
		"The rendezvous keeps no more messages for the contact: its mailbox, or this account's share of it, is full.",
		"Nothing has to be done: what is to be sent waits here, and leaves while byway runs when the mailbox has room again or USER is online.",
	},
}

// telling has all reasons for having no direct way to a device: the first tell most to somebody who needs one. What can be changed here comes first, then
// what was found out by trying, last what time alone mends.
var telling = []Reason{
	PolicyHere,
	SymmetricNATHere, SymmetricNATBoth, SymmetricNATThere, UDPBlockedHere, UDPBlockedThere, IPv6OneSide, SameLANUnreachable, InboundBlocked, PunchFailed,
	PolicyThere, MulticastFiltered, NoCommonNetwork, NoPublicAddress, LinkLost, NotTriedYet, RendezvousUnreachable, MailboxFull, NoAddressKnown, PeerOffline, BetterWayOpen,
}

// MostTelling returns which of several reasons, one for each device of a contact, tells most about why there is no direct way to any of them. Of none it returns
// none, and it knows no other order than its own.
func MostTelling(reasons []Reason) Reason {
	for _, r := range telling {
		if slices.Contains(reasons, r) {
			return r
		}
	}
	if len(reasons) > 0 {
		return slices.Min(reasons)
	}
	return ""
}

// Sentence says the reason in words, and repeats a code that is not known.
func (r Reason) Sentence() string {
	if e, ok := explanations[r]; ok {
		return e.sentence
	}
	return string(r)
}

// Remedy says what can be done about it; empty where nothing can or need be. USER in it stands for the contact.
func (r Reason) Remedy() string { return explanations[r].remedy }

// RemedyFor is Remedy with the name of the contact.
func (r Reason) RemedyFor(user string) string { return strings.ReplaceAll(r.Remedy(), "USER", user) }
