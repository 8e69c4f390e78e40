package delivery

import (
	"encoding/binary"
	"errors"
	"time"
	"unicode/utf8"
)

// Kind is the first byte of a payload.
type Kind byte

// The payload kinds. An unknown kind is ignored, so that newer peers can say more.
const (
	KindText  Kind = 1 // a numbered message
	KindAck   Kind = 2 // what has arrived
	KindRead  Kind = 3 // what a person has seen
	KindReset Kind = 4 // "I cannot open this session: begin a new one and send again"
	KindPing  Kind = 5
	KindPong  Kind = 6
	KindLow   Kind = 7 // what will not come any more
	// KindBundle is several payloads in one envelope: what waits for one device by one way when the next envelope is sealed.
	KindBundle Kind = 8
	KindPunch  Kind = 9  // a step towards dialling each other at the same moment
	KindTerms  Kind = 10 // the policy of its sender
)

// Bounds of a payload's parts.
const (
	MaxBody     = 64 << 10 // bytes of a text
	maxRanges   = 64
	maxReceipts = 64
	MaxBundle   = 64       // payloads in a bundle
	MaxPayload  = 60 << 10 // bytes of a bundle that a sender fills up; a single text may be longer
	maxName     = 128      // bytes of an account name: 32 characters of at most 4 bytes
	maxNetwork  = 64       // bytes of findings
	MaxAddrs    = 8        // addresses in a punch
	maxAddr     = 64       // bytes of one
	// maxTime is the end of the year 9999 in Unix milliseconds: what comes after has no form in JSON.
	maxTime = 253_402_300_799_999
)

// ErrPayload is returned for bytes that are no payload. They came through an authenticated session, so the peer that sent them is broken or hostile.
var ErrPayload = errors.New("payload is malformed")

// Payload is what a sealed envelope carries: exactly one of the pointers is set, according to Kind.
//
// Layout (docs/protocol.md, "Payloads"): the kind byte, then its fields. u is an unsigned varint, t a time as 8 bytes big-endian
// Unix milliseconds, lp a 4-byte big-endian length and the bytes. Bytes after the known fields are ignored.
//
//	Text   id(16) n:u prev(8) low:u base(8) start:u flags:u sent:t copy-of:lp body:lp
//	Ack    next:u tip(8) ranges:u{first:u count:u} receipts:u{n:u count:u way(1) arrived:t}
//	Read   upto:u
//	Reset  session(16)
//	Ping   token(8)        Pong   token(8) way(1)
//	Low    low:u base(8) start:u
//	Bundle count:u {payload:lp}
//	Punch  step(1) token(8) trip:u network:lp count:u {address:lp}
//	Terms  policy(1) set:u heard:u
type Payload struct {
	Kind  Kind
	Text  *Text
	Ack   *Ack
	Read  *Read
	Reset *Reset
	Ping  *Ping
	Pong  *Pong
	Low   *Low
	Punch *Punch
	Terms *Terms
	// Bundle is at most MaxBundle payloads, none of them a bundle.
	Bundle []*Payload
}

// Parts returns the payloads of a bundle, or p alone.
func (p *Payload) Parts() []*Payload {
	if p.Kind == KindBundle {
		return p.Bundle
	}
	return []*Payload{p}
}

// Text is a numbered message.
type Text struct {
	ID     MessageID
	N      uint64 // from 1
	Low    uint64 // the lowest number that the sender still holds for this device
	Start  uint64 // the number at which the sender began to write to this device
	Sent   time.Time
	CopyOf Account // see Message
	Body   string
	Prev   Link // at N - 1
	Base   Link // at Low - 1: where the chain of a receiver that misses numbers below Low goes on
	// Renumbered says that the message had another number before: see Link.
	Renumbered bool
	// Apart says that the message goes by the rendezvous because its writer wants the two sides kept apart: it is no reason to look for a direct way.
	Apart bool
}

// The flags of a Text.
const (
	flagRenumbered = 1 << iota
	flagApart
)

// Ack tells what of the sender's numbers has been committed here.
type Ack struct {
	Next     uint64  // every number below it has arrived or been given up
	Tip      Link    // at Next - 1
	Ranges   []Range // what has arrived above it
	Receipts []Receipt
}

// Range is count numbers from First.
type Range struct{ First, Count uint64 }

// Receipt says how messages arrived: Count of them from N on, by the same way in the same millisecond.
type Receipt struct {
	N, Count uint64
	Way      Way
	Arrived  time.Time // by the receiver's clock
}

// Low says that the sender holds nothing below a number any more: what has not arrived of it never will. Start is as in Text.
type Low struct {
	Low, Start uint64
	Base       Link // as in Text
}

// Read says that a person has seen every message up to Upto.
type Read struct{ Upto uint64 }

// Reset asks for a new session in place of this one.
type Reset struct{ Session [16]byte }

// Ping asks for a Pong with the same token. Fill is how many bytes follow that mean nothing, at most MaxFill: they make it as large as a message.
// A parser leaves it 0.
type Ping struct {
	Token [8]byte
	Fill  int
}

// MaxFill is the largest Fill of a Ping.
const MaxFill = MaxBody

// Pong answers a Ping and says by which way that arrived.
type Pong struct {
	Token [8]byte
	Way   Way
}

// Append encodes p at the end of b.
func (p *Payload) Append(b []byte) []byte {
	b = append(b, byte(p.Kind))
	switch p.Kind {
	case KindText:
		return p.Text.append(b)
	case KindAck:
		return p.Ack.append(b)
	case KindRead:
		return binary.AppendUvarint(b, p.Read.Upto)
	case KindReset:
		return append(b, p.Reset.Session[:]...)
	case KindPing:
		return append(append(b, p.Ping.Token[:]...), make([]byte, p.Ping.Fill)...)
	case KindPong:
		return append(append(b, p.Pong.Token[:]...), wayCodes[p.Pong.Way])
	case KindLow:
		b = append(binary.AppendUvarint(b, p.Low.Low), p.Low.Base[:]...)
		return binary.AppendUvarint(b, p.Low.Start)
	case KindPunch:
		return p.Punch.append(b)
	case KindTerms:
		return p.Terms.append(b)
	case KindBundle:
		b = binary.AppendUvarint(b, uint64(len(p.Bundle)))
		for _, part := range p.Bundle {
			at := len(b)
			b = part.Append(append(b, 0, 0, 0, 0))
			binary.BigEndian.PutUint32(b[at:], uint32(len(b)-at-4))
		}
	}
	return b
}

// Size returns how many bytes Append adds, or somewhat more. It is of no use for a bundle.
func (p *Payload) Size() int {
	if p.Text != nil {
		return 100 + maxName + len(p.Text.Body)
	}
	if p.Ack != nil {
		return 40 + 20*len(p.Ack.Ranges) + 40*len(p.Ack.Receipts)
	}
	if p.Ping != nil {
		return 40 + p.Ping.Fill
	}
	if p.Punch != nil {
		return 40 + maxNetwork + MaxAddrs*(4+maxAddr)
	}
	return 40
}

func (t *Text) append(b []byte) []byte {
	b = append(b, t.ID[:]...)
	b = append(binary.AppendUvarint(b, t.N), t.Prev[:]...)
	b = append(binary.AppendUvarint(b, t.Low), t.Base[:]...)
	b = binary.AppendUvarint(b, t.Start)
	flags := uint64(0)
	if t.Renumbered {
		flags |= flagRenumbered
	}
	if t.Apart {
		flags |= flagApart
	}
	b = binary.AppendUvarint(b, flags)
	b = appendTime(b, t.Sent)
	b = appendString(b, string(t.CopyOf))
	return appendString(b, t.Body)
}

func (a *Ack) append(b []byte) []byte {
	b = append(binary.AppendUvarint(b, a.Next), a.Tip[:]...)
	b = binary.AppendUvarint(b, uint64(len(a.Ranges)))
	for _, r := range a.Ranges {
		b = binary.AppendUvarint(b, r.First)
		b = binary.AppendUvarint(b, r.Count)
	}
	b = binary.AppendUvarint(b, uint64(len(a.Receipts)))
	for _, r := range a.Receipts {
		b = binary.AppendUvarint(b, r.N)
		b = binary.AppendUvarint(b, r.Count)
		b = append(b, wayCodes[r.Way])
		b = appendTime(b, r.Arrived)
	}
	return b
}

// ParsePayload reads what Append wrote. A kind that it does not know is returned with no part set. Errors are [ErrPayload].
func ParsePayload(b []byte) (*Payload, error) {
	r := reader{b: b}
	p := &Payload{Kind: Kind(r.byte())}
	switch p.Kind {
	case KindText:
		p.Text = r.text()
	case KindAck:
		p.Ack = r.ack()
	case KindRead:
		p.Read = &Read{Upto: r.uvarint()}
	case KindReset:
		p.Reset = &Reset{Session: [16]byte(r.take(16))}
	case KindPing:
		p.Ping = &Ping{Token: [8]byte(r.take(8))}
	case KindPong:
		p.Pong = &Pong{Token: [8]byte(r.take(8)), Way: wayOf(r.byte())}
	case KindPunch:
		p.Punch = r.punch()
	case KindTerms:
		p.Terms = r.terms()
	case KindBundle:
		p.Bundle = r.bundle()
	case KindLow:
		p.Low = &Low{Low: r.uvarint(), Base: Link(r.take(8)), Start: r.uvarint()}
		r.bad = r.bad || p.Low.Start == 0 || p.Low.Start > p.Low.Low || p.Low.Low >= 1<<62
	}
	if r.bad {
		return nil, ErrPayload
	}
	return p, nil
}

func appendTime(b []byte, t time.Time) []byte {
	return binary.BigEndian.AppendUint64(b, uint64(t.UnixMilli()))
}

func appendString(b []byte, s string) []byte {
	return append(binary.BigEndian.AppendUint32(b, uint32(len(s))), s...)
}

func appendBytes(b, field []byte) []byte {
	return append(binary.BigEndian.AppendUint32(b, uint32(len(field))), field...)
}

// reader takes fields off b. After the first short or oversized field it is bad and returns zeros.
type reader struct {
	b   []byte
	bad bool
}

func (r *reader) take(n int) []byte {
	if r.bad || len(r.b) < n {
		r.bad = true
		return make([]byte, n)
	}
	out := r.b[:n]
	r.b = r.b[n:]
	return out
}

func (r *reader) byte() byte { return r.take(1)[0] }

func (r *reader) uvarint() uint64 {
	v, n := binary.Uvarint(r.b)
	if r.bad || n <= 0 || n > 1 && r.b[n-1] == 0 { // only the shortest form is valid
		r.bad = true
		return 0
	}
	r.b = r.b[n:]
	return v
}

// count reads a number of elements and refuses one over limit before anything is allocated for them.
func (r *reader) count(limit uint64) int {
	n := r.uvarint()
	if n > limit {
		r.bad = true
		return 0
	}
	return int(n)
}

func (r *reader) time() time.Time {
	ms := binary.BigEndian.Uint64(r.take(8))
	if ms > maxTime {
		r.bad = true
		return time.Time{}
	}
	return time.UnixMilli(int64(ms)).UTC()
}

// bytes takes a field with its length before it, and returns a part of b.
func (r *reader) bytes(limit uint32) []byte {
	n := binary.BigEndian.Uint32(r.take(4))
	if r.bad || n > limit || int(n) > len(r.b) {
		r.bad = true
		return nil
	}
	return r.take(int(n))
}

func (r *reader) string(limit uint32) string {
	s := string(r.bytes(limit))
	if !utf8.ValidString(s) {
		r.bad = true
	}
	return s
}

func (r *reader) text() *Text {
	t := &Text{ID: MessageID(r.take(16)), N: r.uvarint(), Prev: Link(r.take(8)), Low: r.uvarint(), Base: Link(r.take(8)), Start: r.uvarint()}
	flags := r.uvarint() // those that are not known are for newer peers
	t.Renumbered, t.Apart = flags&flagRenumbered != 0, flags&flagApart != 0
	t.Sent = r.time()
	t.CopyOf = Account(r.string(maxName))
	t.Body = r.string(MaxBody)
	// The ceiling keeps n + 1 from wrapping round and fits a database's signed integers.
	if t.N == 0 || t.N >= 1<<62 || t.Low == 0 || t.Low > t.N || t.Start == 0 || t.Start > t.Low {
		r.bad = true
	}
	return t
}

func (r *reader) ack() *Ack {
	a := &Ack{Next: r.uvarint(), Tip: Link(r.take(8))}
	for range r.count(maxRanges) {
		g := Range{First: r.uvarint(), Count: r.uvarint()}
		if g.Count > 1<<20 || g.First >= 1<<62 {
			r.bad = true
		}
		a.Ranges = append(a.Ranges, g)
	}
	for range r.count(maxReceipts) {
		x := Receipt{N: r.uvarint(), Count: r.uvarint(), Way: wayOf(r.byte()), Arrived: r.time()}
		if x.Count > 1<<20 || x.N >= 1<<62 {
			r.bad = true
		}
		a.Receipts = append(a.Receipts, x)
	}
	return a
}

func (r *reader) bundle() []*Payload {
	var parts []*Payload
	for range r.count(MaxBundle) {
		n := binary.BigEndian.Uint32(r.take(4))
		if r.bad || int64(n) > int64(len(r.b)) {
			r.bad = true
			return nil
		}
		body := r.take(int(n))
		if len(body) > 0 && Kind(body[0]) == KindBundle {
			r.bad = true // one level, so that the bytes bound the work
			return nil
		}
		part, err := ParsePayload(body)
		if err != nil {
			r.bad = true
			return nil
		}
		parts = append(parts, part)
	}
	return parts
}
