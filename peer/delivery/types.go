package delivery

import (
	"encoding/hex"
	"fmt"
	"time"

	"github.com/byway-chat/byway/crypto/identity"
)

// Device names a device by the fingerprint of its identity key.
type Device = identity.Fingerprint

// Account is a user name in canonical form. The engine compares it and never parses it.
type Account string

// MessageID is the random name of a message, kept over all resends. It is the same for all recipients of one message.
type MessageID [16]byte

// String returns 32 hex digits.
func (id MessageID) String() string { return hex.EncodeToString(id[:]) }

// ParseMessageID reads what String wrote.
func ParseMessageID(s string) (MessageID, error) {
	var id MessageID
	b, err := hex.DecodeString(s)
	if err != nil || len(b) != len(id) {
		return id, fmt.Errorf("parse message id: want %d hex digits", 2*len(id))
	}
	copy(id[:], b)
	return id, nil
}

// Way is how a payload travels or travelled. The texts are part of the contract with scripts.
type Way string

// The ways, best first. The empty Way is none.
const (
	WayLAN     Way = "lan"     // directly, over a private or loopback address
	WayDirect  Way = "direct"  // directly, over a public address
	WayPunched Way = "punched" // directly, after hole punching
	WayRelay   Way = "relay"   // live through the rendezvous
	WayMailbox Way = "mailbox" // stored at the rendezvous until the other returns
)

// wayCodes fixes the byte that stands for a way in an acknowledgement; codes are only ever added.
var wayCodes = map[Way]byte{WayLAN: 1, WayDirect: 2, WayPunched: 3, WayRelay: 4, WayMailbox: 5}

func wayOf(code byte) Way {
	for w, c := range wayCodes {
		if c == code {
			return w
		}
	}
	return ""
}

// IsDirect reports whether w goes past the rendezvous.
func (w Way) IsDirect() bool { return w == WayLAN || w == WayDirect || w == WayPunched }

// Policy says which ways a message may take.
type Policy uint8

// The policies.
const (
	Auto       Policy = iota
	DirectOnly        // never through the rendezvous; fails at its deadline
	RelayOnly         // only through the rendezvous
	LANOnly           // only over the local network; fails at its deadline
)

// allows reports whether a message may go by a way.
func (p Policy) allows(w Way) bool {
	switch p {
	case DirectOnly:
		return w.IsDirect()
	case RelayOnly:
		return !w.IsDirect()
	case LANOnly:
		return w == WayLAN
	default:
		return true
	}
}

// mustBeDirect reports whether it may not go through the rendezvous: it then has a deadline.
func (p Policy) mustBeDirect() bool { return p == DirectOnly || p == LANOnly }

// Message is one of our own messages on its way to an account.
type Message struct {
	To      Account
	N       uint64 // assigned by Accept
	ID      MessageID
	CopyOf  Account // set on a copy for our own other devices: whom the original is for
	Body    string
	Sent    time.Time
	Expires time.Time // given up then; zero: never
	Policy  Policy
	Devices []Device // sealed for each of these; fixed when accepted
	Prev    Link     // of the message before it; assigned by Accept
	// Renumbered is set when its number is not the one that it was accepted with.
	Renumbered bool
	// Void is set when it was given up: its body is gone, and only its number is kept until the devices know that it will not come.
	Void bool
}

// Incoming is a message from another device, in the order of its numbers.
type Incoming struct {
	From     Account
	Device   Device
	N        uint64
	ID       MessageID
	Prev     Link    // as its sender has it
	CopyOf   Account // set when one of our own devices sent this to somebody
	Body     string
	Sent     time.Time // by the sender's clock
	Received time.Time // by ours
	Way      Way
}

// Limits bounds what the engine holds in memory. The zero value of a field takes the default.
type Limits struct {
	Window      int           // messages in flight to one device; default 512
	Reorder     int           // how far ahead of the next number a received one may be; default 1,024
	ReorderSize int           // bytes of bodies held from one device while earlier numbers are missing; default 4 MiB
	Outbox      int           // messages held for one account; default 10,000
	OutboxSize  int           // bytes of bodies held for one account; default 64 MiB
	Resend      time.Duration // first wait for an acknowledgement, doubled each time up to a minute; default 3 s
	Direct      time.Duration // how long a message that must go directly waits for a way; default 10 s
	Missing     time.Duration // how long messages are held behind one that is missing before that is told; default 5 s
}

func (l Limits) withDefaults() Limits {
	set := func(p *int, v int) {
		if *p == 0 {
			*p = v
		}
	}
	set(&l.Window, 512)
	set(&l.Reorder, 1024)
	set(&l.ReorderSize, 4<<20)
	set(&l.Outbox, 10_000)
	set(&l.OutboxSize, 64<<20)
	if l.Resend == 0 {
		l.Resend = 3 * time.Second
	}
	if l.Direct == 0 {
		l.Direct = 10 * time.Second
	}
	if l.Missing == 0 {
		l.Missing = 5 * time.Second
	}
	return l
}
