package rendezvous

import (
	"bytes"
	"encoding/binary"
	"encoding/hex"
	"math"
	"slices"
	"testing"

	"google.golang.org/protobuf/proto"
	"pgregory.net/rapid"
)

func TestByHandGolden(t *testing.T) {
	device := bytes.Repeat([]byte{0xdd}, 2)
	for _, tc := range []struct {
		name string
		got  []byte
		want string // length, frame id, kind and length of the body, body
	}{
		{"pong", AppendPong(nil, 5, 300), "08" + "0805" + "9a0103" + "08ac02"},
		{"pong nothing", AppendPong(nil, 0, 0), "03" + "9a0100"},
		{"submit", AppendSubmit(nil, 7, device, []byte{1, 2}, true), "0f" + "0807" + "92030a" + "0a02dddd" + "12020102" + "1801"},
		{"submit nothing", AppendSubmit(nil, 0, nil, nil, false), "03" + "920300"},
		{
			"deliver", AppendDeliver(nil, &Delivery{ID: 300, Username: "bob", Device: device, Envelope: []byte{9}, Stored: true, SubmittedMs: 1}),
			"16" + "a20313" + "08ac02" + "1203626f62" + "1a02dddd" + "220109" + "2801" + "3001",
		},
		{"taken", AppendTaken(nil, []uint64{9, 5, 6, 7}, 2), "0f" + "aa030c" + "0a0408051002" + "0a020809" + "1002"},
		{
			"outcome", AppendOutcome(nil, Settled{State: Outcome_REFUSED, Code: CodeBusy, RetryAfterMs: 1000}, []uint64{4}),
			"12" + "9a030f" + "0803" + "120462757379" + "18e807" + "22020804",
		},
	} {
		if got := hex.EncodeToString(tc.got); got != tc.want {
			t.Errorf("%s: got %s, want %s", tc.name, got, tc.want)
		}
	}
}

// generated is what the generated code writes for a frame, with its length.
func generated(t rapid.TB, f *Frame) []byte {
	t.Helper()
	b, err := proto.MarshalOptions{Deterministic: true}.Marshal(f)
	if err != nil {
		t.Fatal(err)
	}
	return append(binary.AppendUvarint(nil, uint64(len(b))), b...)
}

// What is written by hand is what the generated code writes.
func TestByHandIsAsGenerated(t *testing.T) {
	number := rapid.OneOf(rapid.Just(uint64(0)), rapid.Uint64Range(0, 300), rapid.Uint64())
	data := rapid.SliceOfN(rapid.Byte(), 0, 300)
	near := rapid.SliceOfNDistinct(rapid.Uint64Range(0, 40), 0, 30, rapid.ID)
	far := rapid.SliceOfNDistinct(rapid.Uint64Range(0, math.MaxUint64-1), 0, 5, rapid.ID)
	rapid.Check(t, func(t *rapid.T) {
		id, device, envelope, flag := number.Draw(t, "id"), data.Draw(t, "device"), data.Draw(t, "envelope"), rapid.Bool().Draw(t, "flag")
		ids, at, name := rapid.OneOf(near, far).Draw(t, "ids"), number.Draw(t, "at"), rapid.String().Draw(t, "name")
		state := rapid.SampledFrom([]Outcome_State{0, Outcome_TAKEN, Outcome_STORED, Outcome_REFUSED}).Draw(t, "state")
		for _, pair := range [][2][]byte{
			{AppendPong(nil, id, at), generated(t, &Frame{Id: id, Body: &Frame_Pong{Pong: &Pong{Token: at}}})},
			{
				AppendSubmit(nil, id, device, envelope, flag),
				generated(t, &Frame{Id: id, Body: &Frame_Submit{Submit: &Submit{Device: device, Envelope: envelope, LiveOnly: flag}}}),
			},
			{
				AppendDeliver(nil, &Delivery{ID: id, Username: name, Device: device, Envelope: envelope, Stored: flag, SubmittedMs: at}),
				generated(t, &Frame{Body: &Frame_Deliver{Deliver: &Deliver{
					Id: id, Username: name, Device: device, Envelope: envelope, Stored: flag, SubmittedMs: at,
				}}}),
			},
			{
				AppendTaken(nil, slices.Clone(ids), at),
				generated(t, &Frame{Body: &Frame_Taken{Taken: &Taken{Deliveries: runs(slices.Clone(ids)...), Refusals: at}}}),
			},
			{
				AppendOutcome(nil, Settled{State: state, Code: Code(name), RetryAfterMs: at}, slices.Clone(ids)),
				generated(t, &Frame{Body: &Frame_Outcome{Outcome: &Outcome{
					State: state, Code: name, RetryAfterMs: at, Submits: runs(slices.Clone(ids)...),
				}}}),
			},
		} {
			if !bytes.Equal(pair[0], pair[1]) {
				t.Fatalf("by hand   %x\ngenerated %x", pair[0], pair[1])
			}
			checkByHand(t, pair[0][len(binary.AppendUvarint(nil, uint64(len(pair[1])))):])
		}
	})
}

// runs is what names ids, which it sorts.
func runs(ids ...uint64) []*Run {
	slices.Sort(ids)
	var all []*Run
	for len(ids) > 0 {
		n := run(ids)
		all = append(all, &Run{First: ids[0], More: uint64(n - 1)})
		ids = ids[n:]
	}
	return all
}

// checkByHand compares what the hand-written parsers make of a frame, where they take it, with what the generated code does.
func checkByHand(t rapid.TB, frame []byte) (taken bool) {
	t.Helper()
	id, kind, body, ok := SplitFrame(frame)
	if !ok {
		return false
	}
	var by Frame
	switch kind {
	case KindPing:
		var m Ping
		if m.Token, ok = ParsePing(body); ok {
			by.Body = &Frame_Ping{Ping: &m}
		}
	case KindSubmit:
		var m Submit
		if m.Device, m.Envelope, m.LiveOnly, ok = ParseSubmit(body); ok {
			by.Body = &Frame_Submit{Submit: &m}
		}
	case KindDeliver:
		var d Delivery
		if ok = ParseDeliver(body, &d); ok {
			by.Body = &Frame_Deliver{Deliver: &Deliver{
				Id: d.ID, Username: d.Username, Device: d.Device, Envelope: d.Envelope, Stored: d.Stored, SubmittedMs: d.SubmittedMs,
			}}
		}
	case KindTaken:
		var m Taken
		var ids []uint64
		if ids, m.Refusals, ok = ParseTaken(body, nil); ok {
			m.Deliveries = runs(ids...)
			by.Body = &Frame_Taken{Taken: &m}
		}
	case KindOutcome:
		var s Settled
		var ids []uint64
		if ids, s, ok = ParseOutcome(body, nil); ok {
			by.Body = &Frame_Outcome{Outcome: &Outcome{State: s.State, Code: string(s.Code), RetryAfterMs: s.RetryAfterMs, Submits: runs(ids...)}}
		}
	default:
		return false
	}
	if !ok {
		return false
	}
	by.Id = id
	var want Frame
	if err := (proto.UnmarshalOptions{DiscardUnknown: true}).Unmarshal(frame, &want); err != nil {
		t.Fatalf("the generated code does not take %x: %v", frame, err)
	}
	normalize(t, &want)
	if !proto.Equal(&by, &want) {
		t.Fatalf("%x\nby hand   %v\ngenerated %v", frame, &by, &want)
	}
	return true
}

// normalize brings the runs of a frame into the one form that the hand-written code knows, and what is empty into one form.
func normalize(t rapid.TB, f *Frame) {
	t.Helper()
	for _, named := range []*[]*Run{&f.GetTaken().orNew().Deliveries, &f.GetOutcome().orNew().Submits} {
		ids, ok := Numbers(nil, *named)
		if !ok {
			t.Fatalf("a frame was taken that names too many")
		}
		*named = runs(ids...)
	}
}

func (x *Taken) orNew() *Taken {
	if x == nil {
		return new(Taken)
	}
	return x
}

func (x *Outcome) orNew() *Outcome {
	if x == nil {
		return new(Outcome)
	}
	return x
}

// What every program sends is taken by the hand-written parsers; what is unusual is left to the generated code.
func TestByHandIsTaken(t *testing.T) {
	for _, tc := range []struct {
		name  string
		frame []byte
		want  bool
	}{
		{"ping", generated(t, &Frame{Body: &Frame_Ping{Ping: &Ping{Token: 1}}})[1:], true},
		{"ping nothing", generated(t, &Frame{Body: &Frame_Ping{Ping: &Ping{}}})[1:], true},
		{"ping with the largest token", generated(t, &Frame{Body: &Frame_Ping{Ping: &Ping{Token: math.MaxUint64}}})[1:], true},
		{"ping with an id", generated(t, &Frame{Id: 5, Body: &Frame_Ping{Ping: &Ping{Token: 1}}})[1:], true},
		{"submit", AppendSubmit(nil, 1, []byte("d"), []byte("e"), false)[1:], true},
		{"deliver", AppendDeliver(nil, &Delivery{ID: 1, Envelope: []byte("e")})[1:], true},
		{"taken", AppendTaken(nil, []uint64{1}, 0)[1:], true},
		{"outcome", AppendOutcome(nil, Settled{State: Outcome_TAKEN}, []uint64{1, 3})[1:], true},
		{"unknown fields in the body", []byte{0x92, 3, 4, 0x38, 1, 0x12, 0}, false},
		{"another body", generated(t, &Frame{Id: 1, Body: &Frame_Pong{Pong: &Pong{Token: 1}}})[1:], false},
		{"ping without its body", []byte{0x92, 1}, false},
		{"ping with a field that is not known", []byte{0x92, 1, 2, 0x10, 1}, false},
		{"ping with a token twice", []byte{0x92, 1, 4, 8, 1, 8, 2}, true},
		{"ping with a token that is cut", []byte{0x92, 1, 2, 8, 0x80}, false},
		{"ping with a body that is cut", []byte{0x92, 1, 5, 8}, false},
		{"ping twice", []byte{0x92, 1, 0, 0x92, 1, 0}, false},
		{"ping with something behind", []byte{0x92, 1, 2, 8, 1, 0xff}, false},
		{"two bodies", []byte{0x92, 3, 0, 0xaa, 3, 0}, false},
		{"the id last", []byte{0x92, 3, 0, 8, 1}, false},
		{"nothing", nil, false},
		{"cut", []byte{8}, false},
		{"a number for a body", []byte{0x90, 3, 1}, false},
		{"a name that is not text", []byte{0xa2, 3, 3, 0x12, 1, 0xff}, false},
		{"a run too long", generated(t, &Frame{Body: &Frame_Taken{Taken: &Taken{Deliveries: []*Run{{First: 1, More: MaxNumbers}}}}})[1:], false},
		{"the longest run", generated(t, &Frame{Body: &Frame_Taken{Taken: &Taken{Deliveries: []*Run{{First: 1, More: MaxNumbers - 1}}}}})[1:], true},
		{"an endless run", generated(t, &Frame{Body: &Frame_Taken{Taken: &Taken{Deliveries: []*Run{{More: math.MaxUint64}}}}})[1:], false},
	} {
		if got := checkByHand(t, tc.frame); got != tc.want {
			t.Errorf("%s: taken %v, want %v", tc.name, got, tc.want)
		}
	}
}

func FuzzByHand(f *testing.F) {
	f.Add([]byte{0x92, 0x01, 0x02, 0x08, 0x07})
	f.Add([]byte{0x92, 0x01, 0x03, 0x08, 0x80, 0x00})
	f.Add(AppendSubmit(nil, 1, []byte("d"), []byte("e"), true)[1:])
	f.Add(AppendDeliver(nil, &Delivery{ID: 1, Username: "bob", Envelope: []byte("e"), Stored: true, SubmittedMs: 77})[1:])
	f.Add(AppendTaken(nil, []uint64{1, 2, 9}, 4)[1:])
	f.Add(AppendOutcome(nil, Settled{State: Outcome_REFUSED, Code: CodeBusy, RetryAfterMs: 5}, []uint64{1, 3})[1:])
	f.Fuzz(func(t *testing.T, frame []byte) { checkByHand(t, frame) })
}

// A rendezvous with thousands of idle peers does little else.
func TestHeartbeatAllocatesNothing(t *testing.T) {
	ping := generated(t, &Frame{Body: &Frame_Ping{Ping: &Ping{Token: math.MaxUint64}}})[1:]
	buf := make([]byte, 0, 64)
	if n := testing.AllocsPerRun(100, func() {
		id, _, body, _ := SplitFrame(ping)
		token, _ := ParsePing(body)
		buf = AppendPong(buf[:0], id, token)
	}); n != 0 {
		t.Errorf("a heartbeat costs %v allocations", n)
	}
}

func BenchmarkByHand(b *testing.B) {
	device, envelope := make([]byte, 32), make([]byte, 154)
	var buf []byte
	b.ReportAllocs()
	for b.Loop() {
		buf = AppendSubmit(buf[:0], 70_000, device, envelope, false)
		_, _, body, _ := SplitFrame(buf[2:])
		to, data, _, _ := ParseSubmit(body)
		buf = AppendDeliver(buf[:0], &Delivery{ID: 70_000, Username: "alice", Device: to, Envelope: data, SubmittedMs: 1 << 40})
	}
}
