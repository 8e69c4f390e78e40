// Package rendezvous is the wire protocol between a peer and a rendezvous: what travels, in which order, and how large
// it may be. Use package client to speak it; package server answers it. This comment and docs/protocol.md are the
// specification, and frames of one version never change meaning within it.
//
// # Transport
//
// A peer opens one libp2p stream with protocol [ProtocolID] to the rendezvous, whose PeerID it has pinned, and keeps it for as
// long as it is online. The transport handshake (Noise or TLS 1.3) has proven both PeerIDs before the first frame. The
// stream carries [Frame] messages, each preceded by its length as an unsigned varint; a length over [MaxFrame] ends the stream before
// anything is allocated. Either side batches frames and flushes when its queue is empty.
//
// # Flow
//
//	client                                   rendezvous
//	Hello                        →           ← Welcome (nonce, registration policy)
//	Register                     →           ← SignedIn | Failure
//	  or Login                   →           ← Enrolling (entry to extend) | Failure
//	     Enrol                   →           ← SignedIn | Failure
//	  or Resume (enrolled PeerID)→           ← SignedIn | Failure
//	then, in any order:
//	Publish Lookup List Watch    →           ← Done | Found | Listed | Failure
//	Submit                       →           ← Outcome, for one or many, when they are taken, stored or refused
//	                                         ← Deliver      Taken →
//	                                         ← Refusals     Taken →
//	                                         ← Presence, Goodbye
//	Ping                         ⇄           Pong, from the client after 5 s without a frame of either side
//
// Before SignedIn only the session family is answered, and a stream that has not signed in within [SignInTimeout] is closed.
// Requests carry a number chosen by the client; answers carry it back and may overtake each other. An Outcome names the numbers of the
// Submits that it is about, and Taken the deliveries, in runs ([Run]); both may wait up to 25 ms for company, an Outcome only where
// it is TAKEN. A frame whose body is
// unknown is answered with Failure "unknown-message" and is never fatal; unknown fields are ignored. A frame that does not
// parse ends the stream.
//
// # What is signed
//
// Whatever a third party must be able to check is not protobuf but a canonical encoding of this package, carried byte-exact: the
// directory entry ([Entry]), the prekey bundle ([Bundle]) and the proof of possession ([Possession]).
package rendezvous

import "time"

// ProtocolID names the control stream's protocol in libp2p's stream negotiation.
const ProtocolID = "/byway/rendezvous/1.0.0"

// Version is the protocol version of this package, spoken in Hello and Welcome.
const Version = 1

// Limits that both ends keep. A length is checked before memory is allocated for it.
const (
	// MaxEnvelope is the largest sealed envelope in bytes: a 64 KiB text with its padding, an Init header and the signature.
	MaxEnvelope = 80 << 10
	// MaxFrame is the largest frame in bytes on a control stream.
	MaxFrame = 256 << 10
	// MaxLookup is how many names one Lookup may ask for.
	MaxLookup = 64
	// MaxList is how many names one page of List may hold.
	MaxList = 500
	// MaxPeerRecord is the largest signed peer record in bytes.
	MaxPeerRecord = 4 << 10
	// MaxWithheld is from how many accounts one device may withhold its peer record. With the longest names they fill half a frame.
	MaxWithheld = 1024
	// MaxDevices is how many devices one account may have.
	MaxDevices = 8
	// SignInTimeout is how long a stream may stay without being signed in.
	SignInTimeout = 10 * time.Second
	// Heartbeat is how long a client neither says nor hears anything before it pings; any frame counts. Two misses mean that the other end is gone.
	Heartbeat = 5 * time.Second
	// IdleTimeout is the silence after which a rendezvous gives a client up. With the heartbeat it keeps presence true within 12 s.
	IdleTimeout = 11 * time.Second
)
