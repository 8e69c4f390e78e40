package delivery

import (
	"errors"
	"slices"
	"time"
)

// Refusals of Accept.
var (
	ErrNoDevice   = errors.New("the account has no device to write to")
	ErrOutboxFull = errors.New("too many messages wait for this account")
	ErrTooLarge   = errors.New("the message is over the size limit")
)

// Engine is the state machine. It is owned by one goroutine; nothing in it may be called from two.
type Engine struct {
	limits Limits
	self   Account

	accounts map[Account]*account
	devices  map[Device]*remote
	ackDue   map[Device]*remote // those to which an acknowledgement is due
	relayUp  bool
	out      Effects
}

// account is our sending side towards one account.
type account struct {
	name   Account
	next   uint64
	outbox []*outgoing // by rising n
	size   int         // bytes of bodies in outbox
	// devices are those that new messages are sealed for.
	devices []Device
}

// outgoing is a message with how far it has come. It leaves the outbox when no copy is left to do.
type outgoing struct {
	Message
	progress Progress
	copies   map[Device]*copyState
}

type copyState struct {
	phase    Phase
	via      Way       // of the latest attempt
	due      time.Time // when to try again; zero: only when something changes
	attempts int
}

// remote is what is known of one device, of a contact or of our own.
type remote struct {
	device  Device
	account Account
	direct  Way // open direct way, or none
	online  bool
	start   uint64 // where we began to write to it; 0: never yet
	top     uint64 // highest number that was sent to it; after a restart the highest that may have been

	next     uint64 // next number expected from it; 0: nothing has ever come
	held     map[uint64]*Incoming
	heldSize int // bytes of bodies in held
	receipts []Receipt
	came     Way // by which the latest message came: the acknowledgement goes back that way, which is known to work
}

// New returns an engine for the devices of self with the state that the disk held; the zero Snapshot is a new home.
func New(self Account, s Snapshot, l Limits) *Engine {
	e := &Engine{
		limits: l.withDefaults(), self: self,
		accounts: map[Account]*account{}, devices: map[Device]*remote{}, ackDue: map[Device]*remote{},
	}
	for _, a := range s.Accounts {
		e.accounts[a.Name] = &account{name: a.Name, next: max(a.Next, 1)}
	}
	for _, d := range s.Devices {
		r := &remote{device: d.Device, account: d.Account, start: d.Start, next: d.Next, held: map[uint64]*Incoming{}}
		for _, m := range d.Held {
			r.held[m.N] = &m
			r.heldSize += len(m.Body)
		}
		e.devices[d.Device] = r
	}
	for _, o := range s.Outbox {
		a := e.account(o.Message.To)
		out := &outgoing{Message: o.Message, progress: o.Progress, copies: map[Device]*copyState{}}
		for _, d := range o.Message.Devices {
			out.copies[d] = &copyState{phase: o.Phases[d]}
		}
		a.outbox = append(a.outbox, out)
		a.size += len(o.Message.Body)
		a.next = max(a.next, o.Message.N+1)
	}
	for _, r := range e.devices {
		if a := e.accounts[r.account]; a != nil {
			r.top = a.next - 1
		}
	}
	for _, a := range e.accounts {
		slices.SortFunc(a.outbox, func(x, y *outgoing) int { return int(int64(x.N - y.N)) })
	}
	return e
}

// Snapshot is the durable state from which an engine begins.
type Snapshot struct {
	Accounts []AccountState
	Devices  []DeviceState
	Outbox   []OutboxState
}

// AccountState is the next number of messages to an account.
type AccountState struct {
	Name Account
	Next uint64
}

// DeviceState is the numbering with one other device.
type DeviceState struct {
	Account Account
	Device  Device
	Start   uint64 // see OpStart; 0: never written to
	Next    uint64 // see OpNext; 0: nothing has come
	Held    []Incoming
}

// OutboxState is a message that was not settled.
type OutboxState struct {
	Message  Message
	Progress Progress
	Phases   map[Device]Phase
}

// Take returns what is to be carried out since the last Take. It first writes the acknowledgements that are due.
func (e *Engine) Take(now time.Time) Effects {
	for _, r := range e.ackDue {
		e.acknowledge(r)
	}
	out := e.out
	e.out = Effects{}
	return out
}

// Pending returns how many messages the outbox holds for people (copies for our own devices aside).
func (e *Engine) Pending() int {
	n := 0
	for _, a := range e.accounts {
		if a.name != e.self {
			n += len(a.outbox)
		}
	}
	return n
}

func (e *Engine) account(name Account) *account {
	a := e.accounts[name]
	if a == nil {
		a = &account{name: name, next: 1}
		e.accounts[name] = a
	}
	return a
}

func (e *Engine) remote(name Account, d Device) *remote {
	r := e.devices[d]
	if r == nil {
		r = &remote{device: d, account: name, held: map[uint64]*Incoming{}}
		e.devices[d] = r
	}
	return r
}

// SetDevices says for which devices new messages to an account are sealed. A device that is not named any more loses what waits for it.
func (e *Engine) SetDevices(now time.Time, name Account, devices []Device) {
	a := e.account(name)
	a.devices = slices.Clone(devices)
	for _, d := range devices {
		e.remote(name, d)
	}
	for _, o := range slices.Clone(a.outbox) {
		for d := range o.copies {
			if !slices.Contains(devices, d) {
				delete(o.copies, d)
			}
		}
		e.settleIfDone(now, a, o, "device-removed")
	}
}

func (e *Engine) op(o Op)         { e.out.Ops = append(e.out.Ops, o) }
func (e *Engine) send(s Send)     { e.out.Sends = append(e.out.Sends, s) }
func (e *Engine) notice(n Notice) { e.out.Notices = append(e.out.Notices, n) }
