package peer

import (
	"time"

	"github.com/byway-chat/byway/peer/trace"
)

// Receipt is what is known of one of our own messages.
type Receipt struct {
	ID     string    `json:"id"`
	To     string    `json:"to"`
	N      uint64    `json:"n"`
	State  State     `json:"state"`
	Way    Way       `json:"way,omitempty"` // of the furthest state: as the recipient's receipt says, once delivered
	MS     float64   `json:"ms"`            // from accepted to that state, milliseconds
	Reason string    `json:"reason,omitempty"`
	Sent   time.Time `json:"sent"`
}

// Contact is one line of who.
type Contact struct {
	Name     string     `json:"name"`
	Online   bool       `json:"online"`
	Way      Way        `json:"way"` // the way that a message would take now
	Key      KeyState   `json:"key"`
	Devices  int        `json:"devices"`
	LastSeen *time.Time `json:"last_seen,omitempty"`
	Evidence
	Policy      string   `json:"policy"`                 // in force here: auto, lan, direct or relay
	PolicyThere []string `json:"policy_there,omitempty"` // what the contact's devices have said, where that is other than auto
	Reason      string   `json:"reason,omitempty"`       // policy-here or policy-there, where the two leave no way
	// RendezvousConnected says whether the rendezvous was there to be asked. Else listed are only those who were met, and online who answers directly.
	RendezvousConnected bool `json:"rendezvous_connected"`
}

// HistoryEntry is one message of the local history, in either direction, or a gap: then it has nothing else.
type HistoryEntry struct {
	Gap      *HistoryGap `json:"gap,omitempty"`
	ID       string      `json:"id"`
	From     string      `json:"from"`
	To       string      `json:"to,omitempty"` // own messages only
	Device   string      `json:"device"`
	N        uint64      `json:"n"`
	Body     string      `json:"body"`
	Sent     time.Time   `json:"sent"`
	Received *time.Time  `json:"received,omitempty"`
	State    State       `json:"state,omitempty"` // own messages only
	Way      Way         `json:"way,omitempty"`
	MS       *float64    `json:"ms,omitempty"`
	Reason   string      `json:"reason,omitempty"`
	Key      KeyState    `json:"key,omitempty"`
}

// HistoryGap is a run of a device's messages that never came.
type HistoryGap struct {
	From   string `json:"from"` // empty: a device that is not known any more
	Device string `json:"device"`
	First  uint64 `json:"first"`
	Last   uint64 `json:"last"`
}

// HistoryQuery selects from the history. The zero value selects the latest 100 messages with anybody.
type HistoryQuery struct {
	User   string // empty: everybody
	Search string // only bodies that contain it, case folded
	Limit  int    // 0: 100; at most 10,000; the newest are kept, shown oldest first
}

// RouteEntry is one way to a contact's device and why it is or is not in use.
type RouteEntry struct {
	Device string   `json:"device"`
	Way    Way      `json:"way"`
	State  string   `json:"state"`  // "open", "trying", "closed"
	Reason string   `json:"reason"` // a stable code, empty while in use
	RTT    *float64 `json:"rtt_ms"`
	InUse  bool     `json:"in_use"`
	Addr   string   `json:"addr,omitempty"`
	// Sentence says the reason in words, and Remedy what can be done about it, where something can.
	Sentence string `json:"sentence,omitempty"`
	Remedy   string `json:"remedy,omitempty"`
	// Addrs are the addresses of the way: the one in use, else those that are dialled. Addr has the same in one text.
	Addrs []string `json:"addrs"`
	// Tried is when the way was last tried, and Error why that came to nothing, in the words of the network.
	Tried *time.Time `json:"tried,omitempty"`
	Error string     `json:"error,omitempty"`
	// Evidence is the latest sign of life by this way.
	Evidence
	// Here and There are what the two sides have found out about their networks, There as far as the other side has told.
	Here  *trace.Network `json:"here,omitempty"`
	There *trace.Network `json:"there,omitempty"`
}

// Pong is one answered (or missed) round trip of ping.
type Pong struct {
	Way    Way      `json:"way"`
	RTT    *float64 `json:"rtt_ms"` // nil: Lost
	Lost   bool     `json:"lost,omitempty"`
	Reason string   `json:"reason,omitempty"` // why it is lost: a code as route tells them, "no-answer", or "timeout"
	// Sentence says the reason in words, and Remedy what can be done about it, where that is known.
	Sentence string `json:"sentence,omitempty"`
	Remedy   string `json:"remedy,omitempty"`
}

// Verification is what two people compare to know that nobody stands between them.
type Verification struct {
	User         string   `json:"user"`
	SafetyNumber string   `json:"safety_number"` // 60 digits in 12 groups of 5
	SafetyDigits string   `json:"safety_digits"` // the same without blanks, which is what the QR code holds
	Fingerprints []string `json:"fingerprints"`  // the contact's accepted devices, hex
	Pending      []string `json:"pending,omitempty"`
	Key          KeyState `json:"key"`
}

// Refusal is what a rendezvous has said when it would not sign this device in.
type Refusal struct {
	Reason  string `json:"reason"`  // not-enrolled or banned
	Message string `json:"message"` // lower case, no full stop
	Hint    string `json:"hint"`
}

// Status is the state of this peer.
type Status struct {
	User        string     `json:"user"`
	Device      string     `json:"device"`
	PeerID      string     `json:"peer_id"`
	Fingerprint string     `json:"fingerprint"`
	Addrs       []string   `json:"addrs"`
	Rendezvous  Rendezvous `json:"rendezvous"`
	Reason      string     `json:"reason,omitempty"` // why the rendezvous is not connected
	// Refusal is what the rendezvous has said when it refused this device; absent where it has not.
	Refusal  *Refusal  `json:"refusal,omitempty"`
	Version  string    `json:"version"`
	Started  time.Time `json:"started"`
	Outbox   int       `json:"outbox"` // messages not yet delivered
	Contacts int       `json:"contacts"`
	// ReadReceipts says whether contacts learn what was read.
	ReadReceipts bool `json:"read_receipts"`
	// PortMapping says whether the router leads connections from outside to this peer.
	PortMapping PortMapping `json:"port_mapping"`
	// Fault is what keeps this peer from receiving and accepting messages; nil: nothing does.
	Fault *Trouble `json:"fault,omitempty"`
}

// Trouble is something wrong that lasts, as an [Error] tells it.
type Trouble struct {
	Code    Code   `json:"code"`
	Message string `json:"message"`
	Hint    string `json:"hint,omitempty"`
}
