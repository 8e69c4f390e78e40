package delivery

import (
	"bytes"
	"encoding/hex"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

var at = time.UnixMilli(1_700_000_000_123).UTC()

// golden holds each payload kind with its bytes in docs/protocol.md's layout.
var golden = []struct {
	name    string
	payload Payload
	hex     string
}{
	{"text", Payload{Kind: KindText, Text: &Text{
		ID: MessageID{0xa1, 0xa2}, N: 300, Prev: Link{0xa7}, Low: 299, Base: Link{0xb1, 7: 0xb8}, Start: 7, Sent: at, Body: "grüße",
	}}, "01" + "a1a20000000000000000000000000000" + "ac02" + "a700000000000000" + "ab02" + "b1000000000000b8" + "07" + "00" + "0000018bcfe5687b" + "00000000" + "00000007" + "6772c3bcc39f65"},
	{"text, a copy", Payload{Kind: KindText, Text: &Text{
		ID: MessageID{15: 1}, N: 1, Low: 1, Start: 1, Sent: at, CopyOf: "bob", Body: "", Renumbered: true,
	}}, "01" + "00000000000000000000000000000001" + "01" + "0000000000000000" + "01" + "0000000000000000" + "01" + "01" + "0000018bcfe5687b" + "00000003" + "626f62" + "00000000"},
	{"ack", Payload{Kind: KindAck, Ack: &Ack{
		Next: 200, Tip: Link{0xc1}, Ranges: []Range{{202, 3}, {300, 1}}, Receipts: []Receipt{{199, 1, WayLAN, at}, {202, 3, WayMailbox, at}},
	}}, "02" + "c801" + "c100000000000000" + "02" + "ca0103" + "ac0201" + "02" + "c7010101" + "0000018bcfe5687b" + "ca010305" + "0000018bcfe5687b"},
	{"ack of nothing", Payload{Kind: KindAck, Ack: &Ack{Next: 1}}, "02" + "01" + "0000000000000000" + "00" + "00"},
	{"read", Payload{Kind: KindRead, Read: &Read{Upto: 128}}, "03" + "8001"},
	{"reset", Payload{Kind: KindReset, Reset: &Reset{Session: [16]byte{1, 15: 2}}}, "04" + "01000000000000000000000000000002"},
	{"ping", Payload{Kind: KindPing, Ping: &Ping{Token: [8]byte{1, 2, 3, 4, 5, 6, 7, 8}}}, "05" + "0102030405060708"},
	{"pong", Payload{Kind: KindPong, Pong: &Pong{Token: [8]byte{1, 2, 3, 4, 5, 6, 7, 8}, Way: WayRelay}}, "06" + "0102030405060708" + "04"},
	{"low", Payload{Kind: KindLow, Low: &Low{Low: 130, Start: 2}}, "07" + "8201" + "0000000000000000" + "02"},
	{"bundle", Payload{Kind: KindBundle, Bundle: []*Payload{
		{Kind: KindRead, Read: &Read{Upto: 128}}, {Kind: KindAck, Ack: &Ack{Next: 1}},
	}}, "08" + "02" + "00000003" + "038001" + "0000000c" + "0201" + "0000000000000000" + "0000"},
	{"bundle of nothing", Payload{Kind: KindBundle}, "08" + "00"},
	{"punch", Payload{Kind: KindPunch, Punch: &Punch{
		Step: PunchOffer, Token: [8]byte{1, 7: 8}, Trip: 200, Network: []byte{1, 2, 3}, Addrs: [][]byte{{4, 5}, {6}},
	}}, "09" + "01" + "0100000000000008" + "c801" + "00000003" + "010203" + "02" + "00000002" + "0405" + "00000001" + "06"},
	{"terms", Payload{Kind: KindTerms, Terms: &Terms{Policy: 3, Set: 300, Heard: 1}}, "0a" + "03" + "ac02" + "01"},
}

// TestFill: a ping may be filled up to the size of a message, and whoever answers it does not care.
func TestFill(t *testing.T) {
	p := Payload{Kind: KindPing, Ping: &Ping{Token: [8]byte{1, 2, 3, 4, 5, 6, 7, 8}, Fill: 3}}
	got := p.Append(nil)
	if want := "05" + "0102030405060708" + "000000"; hex.EncodeToString(got) != want {
		t.Errorf("got %x, want %s", got, want)
	}
	parsed, err := ParsePayload(got)
	if err != nil || parsed.Ping.Token != p.Ping.Token {
		t.Errorf("got %+v, %v", parsed, err)
	}
	p.Ping.Fill = MaxFill
	if n := len(p.Append(nil)); n > 67_584 || n > p.Size() {
		t.Errorf("the largest has %d bytes, and says %d", n, p.Size())
	}
}

func TestPayloadGolden(t *testing.T) {
	for _, row := range golden {
		t.Run(row.name, func(t *testing.T) {
			got := row.payload.Append(nil)
			if diff := cmp.Diff(hex.EncodeToString(got), row.hex); diff != "" {
				t.Errorf("encoded differs (-got +want):\n%s", diff)
			}
			parsed, err := ParsePayload(got)
			if err != nil {
				t.Fatalf("parse: %v", err)
			}
			if diff := cmp.Diff(*parsed, row.payload); diff != "" {
				t.Errorf("parsed differs (-got +want):\n%s", diff)
			}
			for cut := range got {
				if _, err := ParsePayload(got[:cut]); !errors.Is(err, ErrPayload) {
					t.Errorf("cut to %d bytes: got %v, want ErrPayload", cut, err)
				}
			}
			longer, err := ParsePayload(append(bytes.Clone(got), "what a newer peer adds"...))
			if err != nil {
				t.Fatalf("parse a longer one: %v", err)
			}
			if diff := cmp.Diff(*longer, row.payload); diff != "" {
				t.Errorf("a longer one parses differently (-got +want):\n%s", diff)
			}
		})
	}
}

func TestParsePayloadRefuses(t *testing.T) {
	text := func(change func(*Text)) []byte {
		v := Text{N: 9, Low: 8, Start: 7, Sent: at, Body: "x"}
		change(&v)
		return (&Payload{Kind: KindText, Text: &v}).Append(nil)
	}
	ack := func(a Ack) []byte { return (&Payload{Kind: KindAck, Ack: &a}).Append(nil) }
	low := func(low, start uint64) []byte {
		return (&Payload{Kind: KindLow, Low: &Low{Low: low, Start: start}}).Append(nil)
	}
	rows := []struct {
		name  string
		bytes []byte
	}{
		{"nothing", nil},
		{"number 0", text(func(v *Text) { v.N, v.Low, v.Start = 0, 0, 0 })},
		{"number over the ceiling", text(func(v *Text) { v.N = 1 << 62 })},
		{"lowest over the number", text(func(v *Text) { v.Low = 10 })},
		{"lowest 0", text(func(v *Text) { v.Low, v.Start = 0, 0 })},
		{"start over the lowest", text(func(v *Text) { v.Start = 9 })},
		{"start 0", text(func(v *Text) { v.Start = 0 })},
		{"before 1970", text(func(v *Text) { v.Sent = time.Unix(-1, 0) })},
		{"after 9999", text(func(v *Text) { v.Sent = time.UnixMilli(maxTime + 1) })},
		{"number in a longer form", []byte{3, 0x81, 0x00}},
		{"body too long", text(func(v *Text) { v.Body = strings.Repeat("x", MaxBody+1) })},
		{"body is no UTF-8", text(func(v *Text) { v.Body = "\xff" })},
		{"name too long", text(func(v *Text) { v.CopyOf = Account(strings.Repeat("x", maxName+1)) })},
		{"name is no UTF-8", text(func(v *Text) { v.CopyOf = "\xc3" })},
		{"length of 4 GiB", append(text(func(v *Text) { v.Body = "" })[:1+16+1+8+1+8+1+1+8+4], 0xff, 0xff, 0xff, 0xff)},
		{"65 ranges", ack(Ack{Ranges: make([]Range, maxRanges+1)})},
		{"65 receipts", ack(Ack{Receipts: make([]Receipt, maxReceipts+1)})},
		{"2^63 ranges", []byte{2, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 1}},
		{"endless varint", append([]byte{3}, bytes.Repeat([]byte{0xff}, 20)...)},
		{"range of 2^20 and one", ack(Ack{Ranges: []Range{{1, 1<<20 + 1}}})},
		{"range from 2^62", ack(Ack{Ranges: []Range{{1 << 62, 1}}})},
		{"low 0", low(0, 0)},
		{"punch with 9 addresses", (&Payload{Kind: KindPunch, Punch: &Punch{Addrs: make([][]byte, MaxAddrs+1)}}).Append(nil)},
		{"punch with a long address", (&Payload{Kind: KindPunch, Punch: &Punch{Addrs: [][]byte{make([]byte, maxAddr+1)}}}).Append(nil)},
		{"punch with long findings", (&Payload{Kind: KindPunch, Punch: &Punch{Network: make([]byte, maxNetwork+1)}}).Append(nil)},
		{"low before start", low(1, 2)},
		{"low over the ceiling", low(1<<62, 1)},
		{"bundle in a bundle", []byte{8, 1, 0, 0, 0, 2, 8, 0}},
		{"bundle of 65", append([]byte{8, 65}, bytes.Repeat([]byte{0, 0, 0, 2, 3, 1}, 65)...)},
		{"bundle of nothing at all", []byte{8, 1, 0, 0, 0, 0}},
		{"bundle with a part that does not parse", []byte{8, 1, 0, 0, 0, 1, 3}},
		{"bundle with a part of 4 GiB", []byte{8, 1, 0xff, 0xff, 0xff, 0xff, 3, 1}},
		{"receipt for 2^20 and one", ack(Ack{Receipts: []Receipt{{N: 1, Count: 1<<20 + 1}}})},
	}
	for _, row := range rows {
		t.Run(row.name, func(t *testing.T) {
			if p, err := ParsePayload(row.bytes); !errors.Is(err, ErrPayload) {
				t.Errorf("got %+v and %v, want ErrPayload", p, err)
			}
		})
	}
}

func TestUnknownPayloadsAreIgnored(t *testing.T) {
	p, err := ParsePayload([]byte{200, 1, 2, 3})
	if err != nil {
		t.Fatalf("parse: %v", err)
	}
	if diff := cmp.Diff(*p, Payload{Kind: 200}); diff != "" {
		t.Errorf("parsed differs (-got +want):\n%s", diff)
	}
	e := New("alice", Snapshot{}, Limits{})
	e.RelayUp(at)
	e.Arrived(at, "bob", bob1, WayRelay, p)
	if effects := e.Take(at); !effects.Empty() {
		t.Errorf("got %+v for it, want nothing", effects)
	}
	unknownWay, err := ParsePayload([]byte{6, 1, 2, 3, 4, 5, 6, 7, 8, 99})
	if err != nil || unknownWay.Pong.Way != "" {
		t.Errorf("got %+v and %v for a pong by an unknown way, want none and no error", unknownWay, err)
	}
}

// FuzzParsePayload wants no input to panic or to go over a bound, and what parses to come back the same after encoding.
func FuzzParsePayload(f *testing.F) {
	for _, row := range golden {
		f.Add(row.payload.Append(nil))
	}
	f.Add([]byte{})
	f.Add([]byte{2, 1, 0xff, 0xff, 0xff, 0xff, 0x0f})
	f.Fuzz(func(t *testing.T, b []byte) {
		p, err := ParsePayload(b)
		if err != nil {
			if !errors.Is(err, ErrPayload) || p != nil {
				t.Fatalf("got %v and %v, want nothing and ErrPayload", p, err)
			}
			return
		}
		if p.Text != nil && (len(p.Text.Body) > MaxBody || len(p.Text.CopyOf) > maxName) {
			t.Fatalf("text of %d bytes parsed", len(p.Text.Body))
		}
		if p.Ack != nil && (len(p.Ack.Ranges) > maxRanges || len(p.Ack.Receipts) > maxReceipts) {
			t.Fatalf("ack with %d ranges and %d receipts parsed", len(p.Ack.Ranges), len(p.Ack.Receipts))
		}
		again, err := ParsePayload(p.Append(nil))
		if err != nil {
			t.Fatalf("parse what was encoded: %v", err)
		}
		if diff := cmp.Diff(again, p); diff != "" {
			t.Fatalf("round trip differs (-got +want):\n%s", diff)
		}
		// A hostile payload may harm nobody but its sender's own conversation.
		e := New("alice", Snapshot{}, Limits{Reorder: 8})
		e.RelayUp(at)
		e.SetDevices(at, "bob", []Device{bob1})
		if _, err := e.Accept(at, Message{To: "bob", Body: "x", Sent: at}); err != nil {
			t.Fatalf("accept: %v", err)
		}
		e.Arrived(at, "bob", bob1, WayRelay, p)
		e.Tick(at.Add(time.Second))
		e.Take(at)
	})
}
