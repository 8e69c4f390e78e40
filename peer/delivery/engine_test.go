package delivery

import (
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
)

var t0 = time.Unix(1_700_000_000, 0).UTC()

// newSender returns alice's engine, which knows bob with the given devices and has the relay up.
func newSender(l Limits, devices ...Device) *Engine {
	e := New("alice", Snapshot{}, l)
	e.SetDevices(t0, "bob", devices)
	e.RelayUp(t0)
	return e
}

func accept(t *testing.T, e *Engine, m Message) Message {
	t.Helper()
	if m.To == "" {
		m.To = "bob"
	}
	if m.Sent.IsZero() {
		m.Sent = t0
	}
	m, err := e.Accept(t0, m)
	if err != nil {
		t.Fatalf("accept: %v", err)
	}
	return m
}

// numbers returns what was sent to a device: n for a text, -low for a Low.
func numbers(out Effects, d Device) []int {
	var ns []int
	for _, s := range out.Sends {
		if s.Device != d {
			continue
		}
		if s.Payload.Text != nil {
			ns = append(ns, int(s.N))
		}
		if s.Payload.Low != nil {
			ns = append(ns, -int(s.Payload.Low.Low))
		}
	}
	return ns
}

// ackOf is from a device that has had only messages with the zero id, as accept makes them.
func ackOf(next uint64, ranges ...Range) *Payload {
	return &Payload{Kind: KindAck, Ack: &Ack{Next: next, Tip: linkAfter(next - 1), Ranges: ranges}}
}

// linkAfter is the link after so many messages with the zero id.
func linkAfter(n uint64) (l Link) {
	for range min(n, 1000) {
		l = l.Next(MessageID{})
	}
	return l
}

// textOf is number n of a sender whose messages have their numbers as ids.
func textOf(n, low, start uint64) *Payload {
	link := func(upto uint64) (l Link) {
		for i := range upto {
			l = l.Next(MessageID{byte(i + 1)})
		}
		return l
	}
	return &Payload{Kind: KindText, Text: &Text{
		ID: MessageID{byte(n)}, N: n, Prev: link(n - 1), Low: low, Base: link(low - 1), Start: start, Sent: t0, Body: "hi",
	}}
}

func pick[T any, E any](list []E) []T {
	var out []T
	for _, x := range list {
		if v, ok := any(x).(T); ok {
			out = append(out, v)
		}
	}
	return out
}

func equal(t *testing.T, what string, got, want any) {
	t.Helper()
	if diff := cmp.Diff(got, want, cmpopts.IgnoreTypes(Link{})); diff != "" { // links have tests of their own
		t.Errorf("%s differs (-got +want):\n%s", what, diff)
	}
}

func TestAcceptRefuses(t *testing.T) {
	rows := []struct {
		name   string
		limits Limits
		before int // messages of 10 bytes accepted first
		to     Account
		size   int
		want   error
	}{
		{"no device", Limits{}, 0, "carol", 1, ErrNoDevice},
		{"too large", Limits{}, 0, "bob", MaxBody + 1, ErrTooLarge},
		{"largest", Limits{}, 0, "bob", MaxBody, nil},
		{"too many", Limits{Outbox: 2}, 2, "bob", 1, ErrOutboxFull},
		{"the last one", Limits{Outbox: 2}, 1, "bob", 1, nil},
		{"too many bytes", Limits{OutboxSize: 25}, 2, "bob", 6, ErrOutboxFull},
		{"the last bytes", Limits{OutboxSize: 25}, 2, "bob", 5, nil},
	}
	for _, row := range rows {
		t.Run(row.name, func(t *testing.T) {
			e := newSender(row.limits, bob1)
			for range row.before {
				accept(t, e, Message{Body: strings.Repeat("x", 10)})
			}
			e.Take(t0)
			m, err := e.Accept(t0, Message{To: row.to, Body: strings.Repeat("x", row.size), Sent: t0})
			if !errors.Is(err, row.want) {
				t.Fatalf("got %v, want %v", err, row.want)
			}
			if out := e.Take(t0); row.want != nil && (!out.Empty() || m.N != 0 || e.Pending() != row.before) {
				t.Errorf("the refusal changed something: %+v", out)
			}
			if row.want == nil && m.N != uint64(row.before+1) {
				t.Errorf("got number %d, want %d", m.N, row.before+1)
			}
		})
	}
}

func TestOutboxHasRoomAgain(t *testing.T) {
	e := newSender(Limits{Outbox: 1, OutboxSize: 10}, bob1)
	accept(t, e, Message{Body: "0123456789"})
	e.Arrived(t0, "bob", bob1, WayRelay, ackOf(2))
	accept(t, e, Message{Body: "0123456789", Expires: t0.Add(time.Minute)})
	e.Tick(t0.Add(time.Minute)) // given up: its number is kept, and its bytes are free
	e.Arrived(t0, "bob", bob1, WayRelay, ackOf(3))
	accept(t, e, Message{Body: "0123456789"})
}

func TestWindow(t *testing.T) {
	e := newSender(Limits{Window: 2}, bob1, bob2)
	for range 5 {
		accept(t, e, Message{})
	}
	out := e.Take(t0)
	equal(t, "sent to the first", numbers(out, bob1), []int{1, 2})
	equal(t, "sent to the second", numbers(out, bob2), []int{1, 2})
	e.Arrived(t0, "bob", bob1, WayRelay, ackOf(1, Range{2, 1}))
	out = e.Take(t0)
	equal(t, "sent after 2 arrived", numbers(out, bob1), []int{3})
	equal(t, "sent to the other", numbers(out, bob2), []int(nil))
	e.Stored(t0, "bob", bob1, 1) // the rendezvous answers for it: it makes room
	equal(t, "sent after 1 was stored", numbers(e.Take(t0), bob1), []int{4})
	e.Arrived(t0, "bob", bob1, WayRelay, ackOf(5))
	equal(t, "sent after 1 to 4 arrived", numbers(e.Take(t0), bob1), []int{5})
}

func TestAckRangesAreBounded(t *testing.T) {
	e := New("bob", Snapshot{}, Limits{Reorder: 1000, Window: 1000})
	e.RelayUp(t0)
	for n := uint64(3); n < 300; n += 2 { // every second one, and never the first
		e.Arrived(t0, "alice", alice1, WayRelay, textOf(n, 1, 1))
	}
	acks := slices.DeleteFunc(e.Take(t0).Sends, func(s Send) bool { return s.Payload.Kind != KindAck })
	if len(acks) != 1 {
		t.Fatalf("got %d acknowledgements of one batch, want 1", len(acks))
	}
	a := acks[0].Payload.Ack
	if a.Next != 1 || len(a.Ranges) != maxRanges || len(a.Receipts) != maxReceipts || a.Ranges[0] != (Range{3, 1}) || a.Ranges[63] != (Range{129, 1}) {
		t.Errorf("got next %d, %d ranges from %v and %d receipts", a.Next, len(a.Ranges), a.Ranges[0], len(a.Receipts))
	}
	if _, err := ParsePayload(acks[0].Payload.Append(nil)); err != nil {
		t.Errorf("the largest acknowledgement does not parse: %v", err)
	}
	for n := uint64(1); n < 300; n += 2 {
		e.Arrived(t0, "alice", alice1, WayRelay, textOf(n+1, 1, 1))
	}
	e.Arrived(t0, "alice", alice1, WayRelay, textOf(1, 1, 1))
	out := e.Take(t0)
	if next := out.Sends[0].Payload.Ack.Next; next != 301 {
		t.Errorf("got next %d when all are here, want 301", next)
	}
}

// TestTooFarAhead wants what is beyond the reorder bound to be neither kept nor acknowledged.
func TestTooFarAhead(t *testing.T) {
	e := New("bob", Snapshot{}, Limits{Reorder: 4})
	e.RelayUp(t0)
	e.Arrived(t0, "alice", alice1, WayRelay, textOf(1, 1, 1))
	e.Take(t0)
	e.Arrived(t0, "alice", alice1, WayRelay, textOf(6, 2, 1))
	if out := e.Take(t0); !out.Empty() {
		t.Errorf("got %+v, want nothing", out)
	}
	e.Arrived(t0, "alice", alice1, WayRelay, textOf(5, 2, 1))
	equal(t, "ranges", e.Take(t0).Sends[0].Payload.Ack.Ranges, []Range{{5, 1}})
	e.Arrived(t0, "alice", alice1, WayRelay, textOf(90, 89, 1)) // the sender holds nothing that would have to be kept for
	out := e.Take(t0)
	equal(t, "gaps", pick[NoticeGap](out.Notices), []NoticeGap{
		{From: "alice", Device: alice1, First: 2, Last: 4}, {From: "alice", Device: alice1, First: 6, Last: 88},
	})
}

// TestTooMuchToHold wants large messages beyond the byte bound to be neither kept nor acknowledged, until those before them have come.
func TestTooMuchToHold(t *testing.T) {
	large := func(n, low uint64) *Payload {
		p := textOf(n, low, 1)
		p.Text.Body = strings.Repeat("x", MaxBody)
		return p
	}
	e := New("bob", Snapshot{}, Limits{})
	e.RelayUp(t0)
	const fit = 4 << 20 / MaxBody
	for n := uint64(2); n <= 100; n++ {
		e.Arrived(t0, "alice", alice1, WayRelay, large(n, 1))
	}
	out := e.Take(t0)
	equal(t, "ranges", out.Sends[0].Payload.Ack.Ranges, []Range{{2, fit}})
	if got := len(pick[OpReceive](out.Ops)); got != fit {
		t.Errorf("got %d kept, want %d", got, fit)
	}
	var s Snapshot
	s.Devices = []DeviceState{{Account: "alice", Device: alice1, Next: 1}}
	for _, op := range pick[OpReceive](out.Ops) {
		s.Devices[0].Held = append(s.Devices[0].Held, op.Message)
	}
	e = New("bob", s, Limits{}) // the bound outlives the process
	e.RelayUp(t0)
	e.Arrived(t0, "alice", alice1, WayRelay, large(fit+2, 1))
	if out := e.Take(t0); !out.Empty() {
		t.Errorf("got %+v, want nothing", out)
	}
	e.Arrived(t0, "alice", alice1, WayRelay, large(90, 90)) // what has no other before it frees the rest, and is taken
	out = e.Take(t0)
	equal(t, "shown", len(pick[NoticeMessage](out.Notices)), fit+1)
	equal(t, "next", out.Sends[0].Payload.Ack.Next, uint64(91))
	e.Arrived(t0, "alice", alice1, WayRelay, large(92, 91))
	equal(t, "ranges", e.Take(t0).Sends[0].Payload.Ack.Ranges, []Range{{92, 1}})
}

func TestGaps(t *testing.T) {
	type step struct {
		payload *Payload
		shown   []uint64
		gaps    [][2]uint64
		next    uint64
	}
	low := func(low, start uint64) *Payload {
		return &Payload{Kind: KindLow, Low: &Low{Low: low, Base: textOf(low, low, 1).Text.Base, Start: start}}
	}
	rows := []struct {
		name  string
		steps []step
	}{
		{"in order", []step{{textOf(1, 1, 1), []uint64{1}, nil, 2}, {textOf(2, 1, 1), []uint64{2}, nil, 3}}},
		{"joined late", []step{{textOf(41, 40, 40), nil, nil, 40}, {textOf(40, 40, 40), []uint64{40, 41}, nil, 42}}},
		{"expired before first contact", []step{{textOf(3, 3, 1), []uint64{3}, [][2]uint64{{1, 2}}, 4}}},
		{"expired between", []step{{textOf(1, 1, 1), []uint64{1}, nil, 2}, {textOf(4, 4, 1), []uint64{4}, [][2]uint64{{2, 3}}, 5}}},
		{"low alone", []step{{textOf(1, 1, 1), []uint64{1}, nil, 2}, {low(4, 1), nil, [][2]uint64{{2, 3}}, 4}}},
		{"low first of all", []step{{low(4, 2), nil, [][2]uint64{{2, 3}}, 4}}},
		{"low that is known", []step{{textOf(1, 1, 1), []uint64{1}, nil, 2}, {low(2, 1), nil, nil, 2}, {low(1, 1), nil, nil, 2}}},
		{"low through what is held", []step{
			{textOf(3, 1, 1), nil, nil, 1}, {textOf(5, 1, 1), nil, nil, 1}, {low(6, 1), []uint64{3, 5}, [][2]uint64{{1, 2}, {4, 4}}, 6},
		}},
		{"low below what is held", []step{
			{textOf(2, 1, 1), nil, nil, 1},
			{textOf(9, 1, 1), nil, nil, 1},
			{low(7, 1), []uint64{2}, [][2]uint64{{1, 1}, {3, 6}}, 7},
			{textOf(7, 7, 1), []uint64{7}, nil, 8},
			{textOf(8, 7, 1), []uint64{8, 9}, nil, 10},
		}},
		{"duplicate of what was given up", []step{{low(4, 1), nil, [][2]uint64{{1, 3}}, 4}, {textOf(2, 2, 1), nil, nil, 4}}},
		{"duplicate", []step{{textOf(1, 1, 1), []uint64{1}, nil, 2}, {textOf(1, 1, 1), nil, nil, 2}, {textOf(3, 1, 1), nil, nil, 2}, {textOf(3, 1, 1), nil, nil, 2}}},
	}
	for _, row := range rows {
		t.Run(row.name, func(t *testing.T) {
			e := New("bob", Snapshot{}, Limits{})
			e.RelayUp(t0)
			for i, s := range row.steps {
				e.Arrived(t0, "alice", alice1, WayRelay, s.payload)
				out := e.Take(t0)
				var shown []uint64
				for _, m := range pick[NoticeMessage](out.Notices) {
					shown = append(shown, m.Message.N)
				}
				var gaps [][2]uint64
				for _, g := range pick[NoticeGap](out.Notices) {
					gaps = append(gaps, [2]uint64{g.First, g.Last})
				}
				if diff := cmp.Diff([]any{shown, gaps}, []any{s.shown, s.gaps}); diff != "" {
					t.Errorf("step %d: shown and gaps differ (-got +want):\n%s", i, diff)
				}
				if len(out.Sends) != 1 || out.Sends[0].Payload.Ack.Next != s.next {
					t.Errorf("step %d: got %+v, want an acknowledgement up to %d", i, out.Sends, s.next)
				}
			}
		})
	}
}

// TestDuplicateByAnotherWay wants it acknowledged again, by the way that just worked, without a second receipt.
func TestDuplicateByAnotherWay(t *testing.T) {
	e := New("bob", Snapshot{}, Limits{})
	e.RelayUp(t0)
	e.DirectUp(t0, "alice", alice1, WayLAN)
	e.Arrived(t0, "alice", alice1, WayLAN, textOf(1, 1, 1))
	out := e.Take(t0)
	equal(t, "first answer", out.Sends, []Send{{To: "alice", Device: alice1, Via: WayLAN, Payload: Payload{
		Kind: KindAck, Ack: &Ack{Next: 2, Receipts: []Receipt{{N: 1, Count: 1, Way: WayLAN, Arrived: t0}}},
	}}})
	e.Arrived(t0, "alice", alice1, WayRelay, textOf(1, 1, 1))
	out = e.Take(t0)
	equal(t, "second answer", out.Sends, []Send{{To: "alice", Device: alice1, Via: WayRelay, Payload: *ackOf(2)}})
	if len(out.Ops)+len(out.Notices) != 0 {
		t.Errorf("got %+v, want nothing but the answer", out)
	}
}

// TestOnlyOwnDevicesCopy wants nobody else to put words into our mouth.
func TestOnlyOwnDevicesCopy(t *testing.T) {
	e := New("bob", Snapshot{}, Limits{})
	for _, row := range []struct {
		from   Account
		device Device
		want   Account
	}{{"alice", alice1, ""}, {"bob", bob2, "carol"}} {
		p := textOf(1, 1, 1)
		p.Text.CopyOf = "carol"
		e.Arrived(t0, row.from, row.device, WayRelay, p)
		got := pick[NoticeMessage](e.Take(t0).Notices)
		if len(got) != 1 || got[0].Message.CopyOf != row.want {
			t.Errorf("from %s: got %+v, want a copy for %q", row.from, got, row.want)
		}
	}
}

func TestSeen(t *testing.T) {
	e := newSender(Limits{}, bob1, bob2)
	e.Arrived(t0, "bob", bob1, WayRelay, textOf(1, 1, 1))
	e.Take(t0)
	e.Seen("bob")
	equal(t, "read marks", e.Take(t0).Sends, []Send{{To: "bob", Device: bob1, Via: WayRelay, Payload: Payload{Kind: KindRead, Read: &Read{Upto: 1}}}})
	accept(t, e, Message{})
	e.Take(t0)
	e.Arrived(t0, "bob", bob1, WayRelay, &Payload{Kind: KindRead, Read: &Read{Upto: 1 << 60}}) // it cannot have seen what was not sent
	equal(t, "read notices", pick[NoticeRead](e.Take(t0).Notices), []NoticeRead{{To: "bob", Upto: 1}})
}

// TestResetGoesBack wants the word that a session is lost to go by the way that what it is about has come.
func TestResetGoesBack(t *testing.T) {
	for came, want := range map[Way]Way{WayRelay: WayRelay, WayMailbox: WayRelay, WayLAN: WayLAN} {
		e := New("alice", Snapshot{}, Limits{})
		e.RelayUp(t0)
		e.DirectUp(t0, "bob", bob1, WayLAN)
		e.Reset("bob", bob1, came, [16]byte{1})
		equal(t, "sends", e.Take(t0).Sends, []Send{{
			To: "bob", Device: bob1, Via: want, Payload: Payload{Kind: KindReset, Reset: &Reset{Session: [16]byte{1}}},
		}})
	}
}

func TestPunch(t *testing.T) {
	e := New("alice", Snapshot{}, Limits{})
	p := &Punch{Step: PunchOffer, Token: [8]byte{7}}
	if e.Punch("bob", bob1, p) {
		t.Error("an offer left without the relay")
	}
	e.RelayUp(t0)
	if !e.Punch("bob", bob1, p) {
		t.Error("an offer did not leave")
	}
	e.Arrived(t0, "bob", bob1, WayMailbox, &Payload{Kind: KindPunch, Punch: p})
	e.Arrived(t0, "bob", bob1, WayRelay, &Payload{Kind: KindPunch, Punch: p})
	out := e.Take(t0)
	equal(t, "sends", out.Sends, []Send{{To: "bob", Device: bob1, Via: WayRelay, LiveOnly: true, Payload: Payload{Kind: KindPunch, Punch: p}}})
	equal(t, "notices", out.Notices, []Notice{NoticePunch{From: "bob", Device: bob1, Punch: p}})
}

func TestPing(t *testing.T) {
	e := New("alice", Snapshot{}, Limits{})
	token := [8]byte{7}
	if e.Ping("bob", bob1, "", Ping{Token: token}) || e.Ping("bob", bob1, WayRelay, Ping{Token: token}) {
		t.Error("a ping left without a way")
	}
	e.RelayUp(t0)
	e.DirectUp(t0, "bob", bob1, WayDirect)
	if e.Ping("bob", bob1, WayLAN, Ping{Token: token}) || !e.Ping("bob", bob1, WayRelay, Ping{Token: token}) || !e.Ping("bob", bob1, "", Ping{Token: token}) {
		t.Error("pings went by ways that are not open, or did not go by those that are")
	}
	e.Arrived(t0, "bob", bob1, WayRelay, &Payload{Kind: KindPing, Ping: &Ping{Token: token}})
	e.Arrived(t0, "bob", bob1, WayDirect, &Payload{Kind: KindPong, Pong: &Pong{Token: token, Way: WayDirect}})
	out := e.Take(t0)
	want := []Send{
		{To: "bob", Device: bob1, Via: WayRelay, LiveOnly: true, Payload: Payload{Kind: KindPing, Ping: &Ping{Token: token}}},
		{To: "bob", Device: bob1, Via: WayDirect, LiveOnly: true, Payload: Payload{Kind: KindPing, Ping: &Ping{Token: token}}},
		{To: "bob", Device: bob1, Via: WayRelay, LiveOnly: true, Payload: Payload{Kind: KindPong, Pong: &Pong{Token: token, Way: WayRelay}}},
	}
	equal(t, "sends", out.Sends, want)
	equal(t, "notices", out.Notices, []Notice{NoticePong{From: "bob", Device: bob1, Token: token, Way: WayDirect}})
}

func TestTerms(t *testing.T) {
	e := New("alice", Snapshot{}, Limits{})
	terms := Terms{Policy: 3, Set: 7, Heard: 1}
	if e.Terms("bob", bob1, terms) {
		t.Error("terms left without a way")
	}
	e.DirectUp(t0, "bob", bob1, WayLAN)
	direct := e.Terms("bob", bob1, terms)
	e.RelayUp(t0)
	e.Relayed(t0, "bob", bob1, false)
	if !direct || !e.Terms("bob", bob1, terms) {
		t.Error("terms did not leave")
	}
	equal(t, "sends", e.Take(t0).Sends, []Send{
		{To: "bob", Device: bob1, Via: WayLAN, LiveOnly: true, Payload: Payload{Kind: KindTerms, Terms: &terms}},
		{To: "bob", Device: bob1, Via: WayRelay, LiveOnly: true, Payload: Payload{Kind: KindTerms, Terms: &terms}},
	})
}

// TestBarred has nothing that anybody has written, and no word of it, go by a relay that is up.
func TestBarred(t *testing.T) {
	e, vias := New("alice", Snapshot{}, Limits{}), func(e *Engine, now time.Time) (all []Way) {
		for _, s := range e.Take(now).Sends {
			all = append(all, s.Via)
		}
		return all
	}
	e.SetDevices(t0, "bob", []Device{bob1})
	e.RelayUp(t0)
	e.Relayed(t0, "bob", bob1, false)
	e.Online(t0, "bob", bob1, true)
	accept := func(n byte, p Policy) {
		t.Helper()
		if _, err := e.Accept(t0, Message{To: "bob", ID: MessageID{n}, Body: "x", Sent: t0, Policy: p}); err != nil {
			t.Fatal(err)
		}
	}
	accept(1, Auto)
	accept(2, RelayOnly)
	e.Arrived(t0, "bob", bob1, WayRelay, textOf(1, 1, 1))
	e.Arrived(t0, "bob", bob1, WayRelay, &Payload{Kind: KindPing, Ping: &Ping{}})
	e.Seen("bob")
	if e.Ping("bob", bob1, WayRelay, Ping{}) || e.Ping("bob", bob1, "", Ping{}) {
		t.Error("a ping went by the relay")
	}
	equal(t, "ways while only the relay is up", vias(e, t0), []Way(nil))
	e.Reset("bob", bob1, WayRelay, [16]byte{1})
	equal(t, "way of a reset", vias(e, t0), []Way{WayRelay})
	e.DirectUp(t0, "bob", bob1, WayDirect)
	accept(3, LANOnly)
	equal(t, "ways with a link", vias(e, t0), []Way{WayDirect, WayDirect}) // the text that may, and the acknowledgement
	e.DirectDoubt(t0, bob1, true)
	equal(t, "ways in doubt", vias(e, t0), []Way(nil))
	e.Relayed(t0, "bob", bob1, true)
	equal(t, "ways when it is allowed", vias(e, t0), []Way{WayRelay}) // the text that waited for it
	e.Tick(t0.Add(11 * time.Second))
	failed := 0
	for _, n := range e.Take(t0).Notices {
		if p, ok := n.(NoticeProgress); ok && p.Progress.Reason == "no-direct-way" {
			failed++
		}
	}
	if failed != 1 {
		t.Errorf("%d messages were given up for want of a direct way, want the one that may only go over the LAN", failed)
	}
}

// TestUnknownAccount has a device whose account the disk has lost turn out to be bob's: what it sends is from bob, and what bob is sent reaches it.
func TestUnknownAccount(t *testing.T) {
	held := Incoming{Device: bob1, N: 3, ID: MessageID{3}, Prev: textOf(3, 1, 1).Text.Prev}
	e := New("alice", Snapshot{Devices: []DeviceState{{Device: bob1, Start: 1, Next: 2, Tip: textOf(2, 1, 1).Text.Prev, Held: []Incoming{held}}}}, Limits{})
	e.RelayUp(t0)
	e.SetDevices(t0, "bob", []Device{bob1})
	e.Arrived(t0, "bob", bob1, WayRelay, textOf(2, 1, 1))
	accept(t, e, Message{})
	out := e.Take(t0)
	var from []Account
	for _, m := range pick[NoticeMessage](out.Notices) {
		from = append(from, m.Message.From)
	}
	equal(t, "from", from, []Account{"bob", "bob"})
	var sent []Kind
	for _, s := range out.Sends {
		sent = append(sent, s.Payload.Kind)
	}
	equal(t, "sent", sent, []Kind{KindText, KindAck})
}
