package delivery

import "time"

// Effects is what the owner must carry out: commit all Ops in one transaction, then do the Sends, then tell the Notices. If the
// commit fails, nothing else may be done and the engine must be made anew from the disk: it is ahead of it. Ops that are all [Late] may be
// committed with later ones.
type Effects struct {
	Ops     []Op
	Sends   []Send
	Notices []Notice
}

// Empty reports whether there is nothing to carry out.
func (e *Effects) Empty() bool { return len(e.Ops) == 0 && len(e.Sends) == 0 && len(e.Notices) == 0 }

// Op is one change of the durable state: one of the Op types below.
type Op interface{ op() }

// Late reports whether ops may reach the disk after what follows from them was sent and told, in their order and before any later op: they say
// only what other devices have acknowledged. Where they are lost, the messages are sent again and acknowledged again.
func Late(ops []Op) bool {
	for _, op := range ops {
		switch op.(type) {
		case OpCopy, OpProgress, OpSettle, OpRead:
		default:
			return false
		}
	}
	return true
}

// OpEnqueue stores a new outgoing message and that its number is used up.
type OpEnqueue struct{ Message Message }

// OpCopy stores how far the copy for one device has come.
type OpCopy struct {
	To     Account
	N      uint64
	Device Device
	Phase  Phase
}

// OpProgress stores in the history how far a message has come, while the outbox still holds it.
type OpProgress struct {
	To       Account
	N        uint64
	Progress Progress
}

// OpRead stores that a person has seen every message to an account up to a number.
type OpRead struct {
	To   Account
	Upto uint64
}

// OpVoid stores that a message was given up: its body may be forgotten, its number must not be before OpSettle.
type OpVoid struct {
	To      Account
	N       uint64
	Expires time.Time
}

// OpRenumber gives a message of the outbox another number, above all that were used.
type OpRenumber struct {
	To       Account
	Old, New uint64
	Prev     Link // as in Message
}

// OpSettle takes a message out of the outbox: nothing is left to do for it.
type OpSettle struct {
	To Account
	N  uint64
}

// OpStart stores the number at which this device began to write to another.
type OpStart struct {
	To     Account
	Device Device
	Start  uint64
}

// OpReceive stores a message that has arrived. Held is set while earlier numbers are missing; OpRelease ends that.
type OpReceive struct {
	Message Incoming
	Held    bool
}

// OpRelease moves a held message to the end of the visible history.
type OpRelease struct {
	Device Device
	N      uint64
}

// OpDrop forgets a held message: it does not go on from what came before it. Its sender holds it still.
type OpDrop struct {
	Device Device
	N      uint64
}

// OpNext stores the next number expected from a device, and the link of the one before.
type OpNext struct {
	Device Device
	Next   uint64
	Tip    Link
}

// OpGap stores that numbers will never come.
type OpGap struct {
	From        Account
	Device      Device
	First, Last uint64
}

func (OpEnqueue) op()  {}
func (OpCopy) op()     {}
func (OpProgress) op() {}
func (OpRead) op()     {}
func (OpVoid) op()     {}
func (OpRenumber) op() {}
func (OpSettle) op()   {}
func (OpStart) op()    {}
func (OpReceive) op()  {}
func (OpRelease) op()  {}
func (OpDrop) op()     {}
func (OpNext) op()     {}
func (OpGap) op()      {}

// Phase is how far the copy of a message for one device has come.
type Phase uint8

// The phases. Only Stored and Acked survive a restart; the others begin again at Waiting.
const (
	Waiting Phase = iota // for a way, or for the next attempt
	Sent                 // handed to a way
	Stored               // the rendezvous has it on its disk
	Acked                // the device has it on its disk
)

// Stage is how far a message has come as a whole.
type Stage uint8

// The stages, in the order in which they can only rise. Failed ends a message that was not delivered as far as this side knows; a
// receipt that comes after it makes it Delivered all the same.
const (
	StageAccepted Stage = iota
	StageStored
	StageDelivered
	StageFailed
)

// Progress is the stage of a message and what is known about how it got there.
type Progress struct {
	Stage  Stage
	Way    Way
	Took   time.Duration // from acceptance until this side knew
	Reason string        // of a failure, or why it is not further
}

// Send is a payload to be sealed for a device and sent.
type Send struct {
	To      Account
	Device  Device
	Via     Way // a direct way, or WayRelay
	Payload Payload
	// N is the number of the message that it carries, for Stored and Refused; 0 for all else.
	N uint64
	// LiveOnly is set where the payload is worthless later: the rendezvous must not keep it.
	LiveOnly bool
}

// Notice is something to tell: one of the Notice types below.
type Notice interface{ notice() }

// NoticeProgress tells that one of our own messages has come further. A message for several devices is delivered with the first.
type NoticeProgress struct {
	To       Account
	N        uint64
	ID       MessageID
	CopyOf   Account // set for copies to our own devices, of which nobody wants to hear
	Progress Progress
}

// NoticeRead tells that a person of an account has seen every message up to a number.
type NoticeRead struct {
	To   Account
	Upto uint64
}

// NoticeMessage tells of a message, in the order of its sender's numbers.
type NoticeMessage struct{ Message Incoming }

// NoticeGap tells of numbers that will never come.
type NoticeGap struct {
	From        Account
	Device      Device
	First, Last uint64
}

// NoticeWaiting tells that messages have come and are not shown, because of earlier ones that have not come for a while.
type NoticeWaiting struct {
	From        Account
	Device      Device
	First, Last uint64 // what is missing before the first of those that are held
	Held        int
}

// NoticePong tells that a ping was answered.
type NoticePong struct {
	From   Account
	Device Device
	Token  [8]byte
	Way    Way // by which the answer came
}

// NoticePunch tells of a step of a punch that has come live.
type NoticePunch struct {
	From   Account
	Device Device
	Punch  *Punch
}

// NoticeReset tells that a device cannot open a session of ours: forget it and begin a new one. The engine sends again by itself.
type NoticeReset struct {
	Device  Device
	Session [16]byte
}

// NoticeStale tells that the directory knows more of an account than we do.
type NoticeStale struct{ Account Account }

// NoticeWanted tells that messages wait for a device to which no direct way is open: a good time to look for one.
type NoticeWanted struct {
	Account Account
	Device  Device
}

func (NoticeProgress) notice() {}
func (NoticeRead) notice()     {}
func (NoticeMessage) notice()  {}
func (NoticeGap) notice()      {}
func (NoticeWaiting) notice()  {}
func (NoticePong) notice()     {}
func (NoticePunch) notice()    {}
func (NoticeReset) notice()    {}
func (NoticeStale) notice()    {}
func (NoticeWanted) notice()   {}
