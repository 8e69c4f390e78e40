package delivery

import (
	"cmp"
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

// Engine is the state machine. It is owned by one goroutine; nothing in it may be called from two. No event costs more than what it changes,
// so that an outbox of ten thousand messages is as quick as one of ten: each device has a place in the outbox up to which all was
// looked at ([remote.at]), which goes back when a way opens or a time has come.
type Engine struct {
	limits Limits
	self   Account

	accounts map[Account]*account
	devices  map[Device]*remote
	ackDue   map[Device]*remote    // those to which an acknowledgement is due
	holding  map[*account]struct{} // those whose outbox is not empty
	timed    map[*remote]struct{}  // those to which something is due at some time
	refusing map[*remote]struct{}  // those for which the rendezvous takes nothing
	missing  map[*remote]struct{}  // those from which a message is missing that nobody has been told of
	past     Past
	relayUp  bool
	out      Effects
}

// New returns an engine for the devices of self with the state that the disk held; the zero Snapshot is a new home.
func New(self Account, s Snapshot, l Limits) *Engine {
	e := &Engine{
		limits: l.withDefaults(), self: self,
		accounts: map[Account]*account{}, devices: map[Device]*remote{}, ackDue: map[Device]*remote{},
		holding: map[*account]struct{}{}, timed: map[*remote]struct{}{}, refusing: map[*remote]struct{}{}, missing: map[*remote]struct{}{}, past: s.Past,
	}
	if e.past == nil {
		e.past = noPast{}
	}
	for _, a := range s.Accounts {
		known := e.account(a.Name)
		known.next, known.tip = max(a.Next, 1), a.Tip
	}
	for _, d := range s.Devices {
		r := e.remote(d.Account, d.Device)
		r.start, r.next, r.tip = d.Start, d.Next, d.Tip
		var oldest time.Time
		for _, m := range d.Held {
			r.held[m.N] = &m
			r.heldSize += len(m.Body)
			oldest = sooner(oldest, m.Received)
		}
		e.miss(r, oldest)
	}
	slices.SortFunc(s.Outbox, func(x, y OutboxState) int { return cmp.Compare(x.Message.N, y.Message.N) })
	for _, o := range s.Outbox {
		a := e.account(o.Message.To)
		out := &outgoing{Message: o.Message, progress: o.Progress}
		for _, d := range o.Message.Devices {
			out.copies = append(out.copies, copyState{to: e.remote(a.name, d), phase: o.Phases[d]})
		}
		e.append(a, out)
		a.next = max(a.next, o.Message.N+1)
	}
	for _, r := range e.devices {
		r.top = e.account(r.account).next - 1
	}
	return e
}

// Snapshot is the durable state from which an engine begins.
type Snapshot struct {
	Accounts []AccountState
	Devices  []DeviceState
	Outbox   []OutboxState
	Past     Past // nil: nothing is known of what was received before
}

// Past is what the history knows and the engine does not keep. It is asked only about messages that have got another number.
type Past interface {
	// Has reports whether a message of a device has come, under whatever number.
	Has(d Device, id MessageID) bool
}

type noPast struct{}

func (noPast) Has(Device, MessageID) bool { return false }

// AccountState is the next number of messages to an account.
type AccountState struct {
	Name Account
	Next uint64
	Tip  Link // of Next - 1
}

// DeviceState is the numbering with one other device.
type DeviceState struct {
	Account Account // empty: the disk does not know it any more, and it will be told
	Device  Device
	Start   uint64 // see OpStart; 0: never written to
	Next    uint64 // see OpNext; 0: nothing has come
	Tip     Link   // see OpNext
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
	for a := range e.holding {
		if a.name != e.self {
			n += len(a.outbox.byN)
		}
	}
	return n
}

func (e *Engine) account(name Account) *account {
	a := e.accounts[name]
	if a == nil {
		a = &account{name: name, next: 1, outbox: newOutbox()}
		e.accounts[name] = a
	}
	return a
}

func (e *Engine) remote(name Account, d Device) *remote {
	r := e.devices[d]
	if r == nil {
		r = &remote{device: d, account: name, held: map[uint64]*Incoming{}}
		e.devices[d] = r
		a := e.account(name)
		a.remotes = append(a.remotes, r)
	}
	if r.account == "" && name != "" {
		e.adopt(name, r)
	}
	return r
}

// adopt gives a device whose account the disk did not know to the account that it turns out to be of.
func (e *Engine) adopt(name Account, r *remote) {
	unknown, a := e.account(""), e.account(name)
	unknown.remotes = slices.DeleteFunc(unknown.remotes, func(x *remote) bool { return x == r })
	a.remotes = append(a.remotes, r)
	r.account = name
	for _, m := range r.held {
		m.From = name
	}
	r.low = a.outbox.first
	r.rewind()
}

// SetDevices says for which devices new messages to an account are sealed. A device that is not named any more loses what waits for it.
func (e *Engine) SetDevices(now time.Time, name Account, devices []Device) {
	a := e.account(name)
	a.devices = slices.Clone(devices)
	for _, d := range devices {
		e.remote(name, d)
	}
	for o := a.outbox.first; o != nil; o = o.next {
		for i := range o.copies {
			if c := &o.copies[i]; c.phase != Acked && !slices.Contains(devices, c.to.device) {
				e.end(c, dropped)
			}
		}
		e.settleIfDone(now, a, o, "device-removed")
	}
}

func (e *Engine) op(o Op)         { e.out.Ops = append(e.out.Ops, o) }
func (e *Engine) send(s Send)     { e.out.Sends = append(e.out.Sends, s) }
func (e *Engine) notice(n Notice) { e.out.Notices = append(e.out.Notices, n) }
