package rendezvous

import (
	"encoding/binary"
	"slices"
	"unicode/utf8"

	"google.golang.org/protobuf/encoding/protowire"
)

// The frames that carry envelopes are encoded and parsed by hand: they are nearly all that travels, and the generated code costs more
// than everything else that is done for an envelope. What is written here is byte for byte what the generated code writes. What the
// parsers do not take ("ok" is false) is left to the generated code; what they take means the same to it.

// MaxNumbers is how many envelopes one Taken or Outcome may name: more than can be under way, and few enough to be looked through at once.
const MaxNumbers = 4096

// Kind tells what the body of a frame is: the number of its field in [Frame].
type Kind protowire.Number

// The bodies that this file knows.
const (
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

// fields calls f for each field of a message: with v for a number, with b for bytes. It reports false when the message does not parse
// or f reports false, which it does for a field that it does not know.
func fields(message []byte, f func(number protowire.Number, wire protowire.Type, v uint64, b []byte) bool) bool {
	for len(message) > 0 {
		number, wire, n := protowire.ConsumeTag(message)
		if n < 0 {
			return false
		}
		message = message[n:]
		var v uint64
		var b []byte
		switch wire {
		case protowire.VarintType:
			v, n = protowire.ConsumeVarint(message)
		case protowire.BytesType:
			b, n = protowire.ConsumeBytes(message)
		default:
			return false
		}
		if n < 0 || !f(number, wire, v, b) {
			return false
		}
		message = message[n:]
	}
	return true
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
	size := sizeBytes(1, device) + sizeBytes(2, envelope) + sizeBool(3, liveOnly)
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
	size := sizeNumber(1, d.ID) + sizeBytes(2, d.Username) + sizeBytes(3, d.Device) + sizeBytes(4, d.Envelope) +
		sizeBool(5, d.Stored) + sizeNumber(6, d.SubmittedMs)
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
	buf = appendFrameHead(buf, 0, KindTaken, sizeRuns(1, ids)+sizeNumber(2, refusals))
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
	size := sizeNumber(1, uint64(s.State)) + sizeBytes(2, s.Code) + sizeNumber(3, s.RetryAfterMs) + sizeRuns(4, ids)
	buf = appendFrameHead(buf, 0, KindOutcome, size)
	buf = appendNumber(buf, 1, uint64(s.State))
	buf = appendBytes(buf, 2, s.Code)
	buf = appendNumber(buf, 3, s.RetryAfterMs)
	return appendRuns(buf, 4, ids)
}

// parseRun appends the numbers of a Run to ids, and reports false where there would be more than most.
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
	if !ok || len(ids) >= most || more >= uint64(most-len(ids)) {
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
		if len(ids) >= most || r.GetMore() >= uint64(most-len(ids)) {
			return ids, false
		}
		for i := range r.GetMore() + 1 {
			ids = append(ids, r.GetFirst()+i)
		}
	}
	return ids, true
}

// Runs is what names ids, which it sorts, in a message of the generated code.
func Runs(ids ...uint64) []*Run {
	slices.Sort(ids)
	var runs []*Run
	for len(ids) > 0 {
		n := run(ids)
		runs = append(runs, &Run{First: ids[0], More: uint64(n - 1)})
		ids = ids[n:]
	}
	return runs
}

// run is how many of the sorted ids, from the first on, follow one another.
func run(ids []uint64) int {
	n := 1
	for n < len(ids) && ids[n] == ids[0]+uint64(n) {
		n++
	}
	return n
}

func sizeRuns(number protowire.Number, ids []uint64) int {
	size := 0
	for len(ids) > 0 {
		n := run(ids)
		size += protowire.SizeTag(number) + 1 + sizeNumber(1, ids[0]) + sizeNumber(2, uint64(n-1)) // a Run is shorter than 128 bytes
		ids = ids[n:]
	}
	return size
}

func appendRuns(buf []byte, number protowire.Number, ids []uint64) []byte {
	for len(ids) > 0 {
		n := run(ids)
		buf = protowire.AppendTag(buf, number, protowire.BytesType)
		buf = append(buf, byte(sizeNumber(1, ids[0])+sizeNumber(2, uint64(n-1))))
		buf = appendNumber(buf, 1, ids[0])
		buf = appendNumber(buf, 2, uint64(n-1))
		ids = ids[n:]
	}
	return buf
}

// appendFrameHead appends all of a frame that comes before a body of the given size.
func appendFrameHead(buf []byte, id uint64, kind Kind, size int) []byte {
	tag := protowire.EncodeTag(protowire.Number(kind), protowire.BytesType)
	frame := sizeNumber(1, id) + protowire.SizeVarint(tag) + protowire.SizeVarint(uint64(size)) + size
	buf = binary.AppendUvarint(buf, uint64(frame))
	buf = appendNumber(buf, 1, id)
	buf = binary.AppendUvarint(buf, tag)
	return binary.AppendUvarint(buf, uint64(size))
}

// The fields of proto3: what is zero or empty is not written. All numbers of fields here are below 16, so a tag is one byte.

func sizeNumber(_ protowire.Number, v uint64) int {
	if v == 0 {
		return 0
	}
	return 1 + protowire.SizeVarint(v)
}

func sizeBool(_ protowire.Number, v bool) int {
	if v {
		return 2
	}
	return 0
}

func sizeBytes[T ~[]byte | ~string](_ protowire.Number, v T) int {
	if len(v) == 0 {
		return 0
	}
	return 1 + protowire.SizeBytes(len(v))
}

func appendNumber(buf []byte, number protowire.Number, v uint64) []byte {
	if v == 0 {
		return buf
	}
	return binary.AppendUvarint(append(buf, byte(number)<<3|byte(protowire.VarintType)), v)
}

func appendBytes[T ~[]byte | ~string](buf []byte, number protowire.Number, v T) []byte {
	if len(v) == 0 {
		return buf
	}
	buf = binary.AppendUvarint(append(buf, byte(number)<<3|byte(protowire.BytesType)), uint64(len(v)))
	return append(buf, v...)
}
