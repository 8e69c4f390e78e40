package peer

import (
	"time"

	"github.com/byway-chat/byway/peer/delivery"
)

// EventType names what an [Event] tells. Types are only ever added.
type EventType string

// The event types of the contract, one JSON object each.
const (
	EventReady      EventType = "ready"      // signed in, or known to be enrolled and working without the rendezvous
	EventMessage    EventType = "message"    // a message is on this disk
	EventState      EventType = "state"      // one of our own messages has come further
	EventRoute      EventType = "route"      // the way in use to a contact has changed
	EventPresence   EventType = "presence"   // a contact came or went
	EventRendezvous EventType = "rendezvous" // the connection to the rendezvous came or went
	EventKey        EventType = "key"        // a contact's keys were first seen or have changed
	EventGap        EventType = "gap"        // messages that will never come
	EventWaiting    EventType = "waiting"    // messages are on this disk and not shown, because an earlier one has not come
	EventError      EventType = "error"
)

// Way is how a message travels: one of the Way constants.
type Way = delivery.Way

// The ways, best first.
const (
	WayLAN     = delivery.WayLAN
	WayDirect  = delivery.WayDirect
	WayPunched = delivery.WayPunched
	WayRelay   = delivery.WayRelay
	WayMailbox = delivery.WayMailbox
)

// State is how far one of our own messages has come.
type State string

// The states, in order; Failed ends a message that is not Delivered.
const (
	StateAccepted  State = "accepted"  // on this disk
	StateStored    State = "stored"    // on the rendezvous's disk
	StateDelivered State = "delivered" // on the other device's disk, which has said so end to end
	StateRead      State = "read"      // a person has seen it
	StateFailed    State = "failed"
)

// Event is one line of the event stream: the objects of the contract's section 4. Only the fields of its type are set.
// Texts in it come from strangers: JSON carries them escaped, a terminal must get them cleaned.
type Event struct {
	V    int       `json:"v"`   // always 1
	Seq  uint64    `json:"seq"` // rises by one for each event of a process
	Type EventType `json:"type"`
	Re   string    `json:"re,omitempty"` // the command that this answers, where there was one

	// User is who I am in ready, and the contact in route, presence and key.
	User string `json:"user,omitempty"`

	// ready
	Device     string      `json:"device,omitempty"` // also in message, gap and waiting: the sending device
	PeerID     string      `json:"peer_id,omitempty"`
	Addrs      []string    `json:"addrs,omitzero"`
	Rendezvous *Rendezvous `json:"rendezvous,omitempty"`

	// message and state
	ID       string     `json:"id,omitempty"`
	Order    int64      `json:"order,omitempty"` // of a message: its place in the history of this home, which only rises; for ShownUpto
	From     string     `json:"from,omitempty"`  // also in gap and waiting
	To       string     `json:"to,omitempty"`
	N        uint64     `json:"n,omitempty"`
	Body     *string    `json:"body,omitempty"`
	Sent     *time.Time `json:"sent,omitempty"`
	Received *time.Time `json:"received,omitempty"`
	Way      Way        `json:"way,omitempty"`
	Key      KeyState   `json:"key,omitempty"`
	State    State      `json:"state,omitempty"`
	MS       *float64   `json:"ms,omitempty"` // also in route: how long the change took

	// Reason says why: in state failed, rendezvous, error where the rendezvous refuses this device or there is no way to a user, and route (there as Why).
	Reason string `json:"reason,omitempty"`
	Old    Way    `json:"old,omitempty"`
	New    Way    `json:"new,omitempty"`
	Why    string `json:"why,omitempty"`

	Online    *bool `json:"online,omitempty"`    // presence
	Connected *bool `json:"connected,omitempty"` // rendezvous

	// key
	Change      KeyChange `json:"change,omitempty"`
	Fingerprint string    `json:"fingerprint,omitempty"`
	Blocked     *bool     `json:"blocked,omitempty"`

	// Introduced is, in a message with which keys were first seen, what has told of them; a subscription sees to it that it comes before the message.
	Introduced []Event `json:"-"`

	// gap and waiting: the numbers that are missing
	First uint64 `json:"first,omitempty"`
	Last  uint64 `json:"last,omitempty"`
	Held  int    `json:"held,omitempty"` // waiting: how many later ones have come

	// error
	Code    string `json:"code,omitempty"`
	Message string `json:"message,omitempty"`
	Hint    string `json:"hint,omitempty"`
}

// Rendezvous is what a peer knows of its rendezvous.
type Rendezvous struct {
	PeerID    string `json:"peer_id"`
	Connected bool   `json:"connected"`
}

// KeyState says how far a contact's keys are trusted.
type KeyState string

// The key states.
const (
	KeyNew      KeyState = "new"      // this is the first message that they sign for
	KeyPinned   KeyState = "pinned"   // the same as at first contact
	KeyVerified KeyState = "verified" // compared by the person
	KeyChanged  KeyState = "changed"  // refused until accepted
)

// KeyChange says what has happened to a contact's keys.
type KeyChange string

// The key changes.
const (
	KeyFirstSeen       KeyChange = "first-seen"
	KeyDeviceAdded     KeyChange = "device-added"
	KeyIdentityChanged KeyChange = "identity-changed"
)
