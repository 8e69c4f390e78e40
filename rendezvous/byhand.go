package rendezvous

import (
	"slices"
	"unicode/utf8"

	"google.golang.org/protobuf/encoding/protowire"
)

// The frames that carry envelopes, and the heartbeats of thousands of idle peers, are encoded and parsed by hand: they are nearly all that travels, and
// the generated code costs more than everything else that is done for them. What is written here is byte for byte what the generated code
// writes. What the parsers do not take ("ok" is false) is left to the generated code; what they take means the same to it.

// MaxNumbers is how many envelopes one Taken or Outcome may name: about as many as can be under way, and few enough to be looked through at once.
const MaxNumbers = 4096

// Kind tells what the body of a frame is: the number of its field in [Frame].
type Kind protowire.Number

// The bodies that this file knows.
const (
	KindPing    Kind = 18
	KindPong    Kind = 19
	KindSubmit  Kind = 50
	KindOutcome Kind = 51
	KindDeliver Kind = 52
	KindTaken   Kind = 53
)

// SplitFrame finds the id and the body of an encoded frame (without its length) that has one body and nothing unusual.
func SplitFrame(frame []byte) (id uint64, kind Kind, body []byte, ok bool) {
	if len(frame) > 0 && frame[0] == byte(protowire.VarintType)|1<<3 {
		v, n := protowire.ConsumeVarint(frame[1:])
		if n < 0 {
			return 0, 0, nil, false
		}
		id, frame = v, frame[1+n:]
	}
	number, wire, n := protowire.ConsumeTag(frame)
	if n < 0 || wire != protowire.BytesType {
		return 0, 0, nil, false
	}
	body, m := protowire.ConsumeBytes(frame[n:])
	if m < 0 || n+m != len(frame) {
		return 0, 0, nil, false
	}
	return id, Kind(number), body, true
}

// ParsePing parses the body of a Ping.
func ParsePing(body []byte) (token uint64, ok bool) {
	ok = fields(body, func(number protowire.Number, wire protowire.Type, v uint64, _ []byte) bool {
		token = v
		return number == 1 && wire == protowire.VarintType
	})
	return token, ok
}

// AppendPong appends a Pong as a frame with its length.
func AppendPong(buf []byte, id, token uint64) []byte {
	buf = appendFrameHead(buf, id, KindPong, sizeNumber(token))
	return appendNumber(buf, 1, token)
}

// ParseSubmit parses the body of a Submit. The results alias it.
func ParseSubmit(body []byte) (device, envelope []byte, liveOnly, ok bool) {
	ok = fields(body, func(number protowire.Number, wire protowire.Type, v uint64, b []byte) bool {
		switch {
		case number == 1 && wire == protowire.BytesType:
			device = b
		case number == 2 && wire == protowire.BytesType:
			envelope = b
		case number == 3 && wire == protowire.VarintType:
			liveOnly = v != 0
		default:
			return false
		}
		return true
	})
	return device, envelope, liveOnly, ok
}

// AppendSubmit appends a Submit as a frame with its length.
func AppendSubmit(buf []byte, id uint64, device, envelope []byte, liveOnly bool) []byte {
	size := sizeBytes(device) + sizeBytes(envelope) + sizeNumber(protowire.EncodeBool(liveOnly))
	buf = appendFrameHead(buf, id, KindSubmit, size)
	buf = appendBytes(buf, 1, device)
	buf = appendBytes(buf, 2, envelope)
	return appendNumber(buf, 3, protowire.EncodeBool(liveOnly))
}

// Delivery is the content of a Deliver.
type Delivery struct {
	ID          uint64 // for Taken
	Username    string
	Device      []byte
	Envelope    []byte
	Stored      bool
	SubmittedMs uint64
}

// ParseDeliver parses the body of a Deliver into d. The result aliases it, but for the name, for which the one that d had is used where it is
// the same.
func ParseDeliver(body []byte, d *Delivery) bool {
	var name []byte
	*d = Delivery{Username: d.Username}
	ok := fields(body, func(number protowire.Number, wire protowire.Type, v uint64, b []byte) bool {
		switch {
		case number == 1 && wire == protowire.VarintType:
			d.ID = v
		case number == 2 && wire == protowire.BytesType:
			name = b
			return utf8.Valid(b)
		case number == 3 && wire == protowire.BytesType:
			d.Device = b
		case number == 4 && wire == protowire.BytesType:
			d.Envelope = b
		case number == 5 && wire == protowire.VarintType:
			d.Stored = v != 0
		case number == 6 && wire == protowire.VarintType:
			d.SubmittedMs = v
		default:
			return false
		}
		return true
	})
	if d.Username != string(name) {
		d.Username = string(name)
	}
	return ok
}

// AppendDeliver appends a Deliver as a frame with its length. The name is a [Username].
func AppendDeliver(buf []byte, d *Delivery) []byte {
	size := sizeNumber(d.ID) + sizeBytes(d.Username) + sizeBytes(d.Device) + sizeBytes(d.Envelope) +
		sizeNumber(protowire.EncodeBool(d.Stored)) + sizeNumber(d.SubmittedMs)
	buf = appendFrameHead(buf, 0, KindDeliver, size)
	buf = appendNumber(buf, 1, d.ID)
	buf = appendBytes(buf, 2, d.Username)
	buf = appendBytes(buf, 3, d.Device)
	buf = appendBytes(buf, 4, d.Envelope)
	buf = appendNumber(buf, 5, protowire.EncodeBool(d.Stored))
	return appendNumber(buf, 6, d.SubmittedMs)
}

// ParseTaken parses the body of a Taken and appends the numbers that it names to ids, which it returns in any case. It does not take one that
// names more than [MaxNumbers].
func ParseTaken(body []byte, ids []uint64) (taken []uint64, refusals uint64, ok bool) {
	most := len(ids) + MaxNumbers
	ok = fields(body, func(number protowire.Number, wire protowire.Type, v uint64, b []byte) bool {
		switch {
		case number == 1 && wire == protowire.BytesType:
			var fits bool
			ids, fits = parseRun(b, ids, most)
			return fits
		case number == 2 && wire == protowire.VarintType:
			refusals = v
		default:
			return false
		}
		return true
	})
	return ids, refusals, ok
}

// AppendTaken appends a Taken as a frame with its length. It sorts ids, which are at most [MaxNumbers] and differ from one another.
func AppendTaken(buf []byte, ids []uint64, refusals uint64) []byte {
	slices.Sort(ids)
	buf = appendFrameHead(buf, 0, KindTaken, sizeRuns(ids)+sizeNumber(refusals))
	buf = appendRuns(buf, 1, ids)
	return appendNumber(buf, 2, refusals)
}

// Settled is the content of an Outcome without the numbers of the Submits.
type Settled struct {
	State        Outcome_State
	Code         Code
	RetryAfterMs uint64
}

// ParseOutcome parses the body of an Outcome and appends the numbers that it names to ids, as [ParseTaken] does.
func ParseOutcome(body []byte, ids []uint64) (submits []uint64, s Settled, ok bool) {
	most := len(ids) + MaxNumbers
	ok = fields(body, func(number protowire.Number, wire protowire.Type, v uint64, b []byte) bool {
		switch {
		case number == 1 && wire == protowire.VarintType:
			s.State = Outcome_State(int32(v))
		case number == 2 && wire == protowire.BytesType:
			s.Code = Code(b)
			return utf8.Valid(b)
		case number == 3 && wire == protowire.VarintType:
			s.RetryAfterMs = v
		case number == 4 && wire == protowire.BytesType:
			var fits bool
			ids, fits = parseRun(b, ids, most)
			return fits
		default:
			return false
		}
		return true
	})
	return ids, s, ok
}

// AppendOutcome appends an Outcome as a frame with its length. It sorts ids, which are at most [MaxNumbers] and differ from one another.
func AppendOutcome(buf []byte, s Settled, ids []uint64) []byte {
	slices.Sort(ids)
	size := sizeNumber(uint64(s.State)) + sizeBytes(s.Code) + sizeNumber(s.RetryAfterMs) + sizeRuns(ids)
	buf = appendFrameHead(buf, 0, KindOutcome, size)
	buf = appendNumber(buf, 1, uint64(s.State))
	buf = appendBytes(buf, 2, s.Code)
	buf = appendNumber(buf, 3, s.RetryAfterMs)
	return appendRuns(buf, 4, ids)
}

// parseRun is unroll for a Run that is encoded.
func parseRun(run []byte, ids []uint64, most int) ([]uint64, bool) {
	var first, more uint64
	ok := fields(run, func(number protowire.Number, wire protowire.Type, v uint64, _ []byte) bool {
		switch {
		case number == 1 && wire == protowire.VarintType:
			first = v
		case number == 2 && wire == protowire.VarintType:
			more = v
		default:
			return false
		}
		return true
	})
	if !ok {
		return ids, false
	}
	return unroll(ids, first, more, most)
}

// unroll appends the numbers of a run to ids, and reports false where there would be more than most.
func unroll(ids []uint64, first, more uint64, most int) ([]uint64, bool) {
	if len(ids) >= most || more >= uint64(most-len(ids)) {
		return ids, false
	}
	for i := range more + 1 {
		ids = append(ids, first+i)
	}
	return ids, true
}

// Numbers appends the numbers that runs name to ids; ok is false when they are more than [MaxNumbers].
func Numbers(ids []uint64, runs []*Run) (named []uint64, ok bool) {
	most := len(ids) + MaxNumbers
	for _, r := range runs {
		if ids, ok = unroll(ids, r.GetFirst(), r.GetMore(), most); !ok {
			return ids, false
		}
	}
	return ids, true
}

// run is how many of the sorted ids, from the first on, follow one another.
func run(ids []uint64) int {
	n := 1
	for n < len(ids) && ids[n] == ids[0]+uint64(n) {
		n++
	}
	return n
}
