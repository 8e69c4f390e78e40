package delivery

import (
	"fmt"
	"testing"
	"time"
)

func stages(out Effects) []Progress {
	var all []Progress
	for _, n := range pick[NoticeProgress](out.Notices) {
		all = append(all, n.Progress)
	}
	return all
}

func TestExpiry(t *testing.T) {
	e := newSender(Limits{}, bob1)
	accept(t, e, Message{Body: "one", Expires: t0.Add(time.Minute)})
	accept(t, e, Message{Body: "two"})
	e.Take(t0)
	late := t0.Add(time.Minute)
	if e.Tick(late.Add(-time.Millisecond)); len(pick[OpVoid](e.Take(late).Ops)) != 0 {
		t.Error("it was given up before its time")
	}
	e.Tick(late)
	out := e.Take(late)
	equal(t, "progress", stages(out), []Progress{{Stage: StageFailed, Took: time.Minute, Reason: "expired"}})
	equal(t, "voids", pick[OpVoid](out.Ops), []OpVoid{{To: "bob", N: 1, Expires: late.Add(voidLife)}})
	if got := numbers(out, bob1); len(got) == 0 || got[0] != -2 {
		t.Errorf("got %v sent, want first that nothing below 2 is held", got)
	}
	// An acknowledgement that does not say that the text has come does not undo the failure, but settles it.
	e.Arrived(late, "bob", bob1, WayRelay, ackOf(2))
	out = e.Take(late)
	equal(t, "progress after a late arrival", stages(out), []Progress(nil))
	equal(t, "settled", pick[OpSettle](out.Ops), []OpSettle{{To: "bob", N: 1}})
}

// TestLateReceipt wants a message that was given up while its acknowledgement was under way to end as delivered.
func TestLateReceipt(t *testing.T) {
	e := newSender(Limits{Direct: 10 * time.Second}, bob1)
	e.DirectUp(t0, "bob", bob1, WayLAN)
	accept(t, e, Message{Policy: DirectOnly})
	late := t0.Add(10 * time.Second)
	e.Tick(late)
	equal(t, "progress", stages(e.Take(late))[1:], []Progress{{Stage: StageFailed, Took: 10 * time.Second, Reason: "no-direct-way"}})
	late = late.Add(time.Second)
	ack := ackOf(2)
	ack.Ack.Receipts = []Receipt{{N: 1, Count: 1, Way: WayLAN, Arrived: t0}}
	e.Arrived(late, "bob", bob1, WayLAN, ack)
	out := e.Take(late)
	equal(t, "progress after the receipt", stages(out), []Progress{{Stage: StageDelivered, Way: WayLAN, Took: 11 * time.Second}})
	equal(t, "settled", pick[OpSettle](out.Ops), []OpSettle{{To: "bob", N: 1}})
}

// TestVoidOfTheUnsent wants no word about what was given up before anything of it or after it was sent: the next message says it.
func TestVoidOfTheUnsent(t *testing.T) {
	e := New("alice", Snapshot{}, Limits{})
	e.SetDevices(t0, "bob", []Device{bob1})
	accept(t, e, Message{Expires: t0.Add(time.Minute)})
	accept(t, e, Message{Policy: DirectOnly})
	late := t0.Add(time.Hour)
	e.Tick(late)
	out := e.Take(late)
	equal(t, "settled", pick[OpSettle](out.Ops), []OpSettle{{To: "bob", N: 1}, {To: "bob", N: 2}})
	e.RelayUp(late)
	equal(t, "sent", numbers(e.Take(late), bob1), []int(nil))
	accept(t, e, Message{})
	out = e.Take(late)
	if len(out.Sends) != 1 || out.Sends[0].Payload.Text.Low != 3 || out.Sends[0].Payload.Text.Start != 1 {
		t.Errorf("got %+v, want number 3 with lowest 3 and start 1", out.Sends)
	}
}

// TestVoidEnds wants the number of a message that was given up to be forgotten too, in the end.
func TestVoidEnds(t *testing.T) {
	e := newSender(Limits{}, bob1)
	accept(t, e, Message{Expires: t0.Add(time.Minute)})
	e.Tick(t0.Add(time.Minute))
	if e.Pending() != 1 {
		t.Fatalf("got %d kept, want the number of the one given up", e.Pending())
	}
	e.Take(t0)
	e.Tick(t0.Add(time.Minute + voidLife))
	equal(t, "settled", pick[OpSettle](e.Take(t0).Ops), []OpSettle{{To: "bob", N: 1}})
	if next := e.NextTick(); e.Pending() != 0 || !next.IsZero() {
		t.Errorf("got %d kept and a tick at %v, want nothing", e.Pending(), next)
	}
}

func TestDirectOnly(t *testing.T) {
	e := newSender(Limits{Direct: 10 * time.Second}, bob1)
	accept(t, e, Message{Policy: DirectOnly})
	out := e.Take(t0)
	equal(t, "sent", numbers(out, bob1), []int(nil))
	equal(t, "wanted", pick[NoticeWanted](out.Notices), []NoticeWanted{{Account: "bob", Device: bob1}})
	equal(t, "next tick", e.NextTick(), t0.Add(10*time.Second))
	e.DirectUp(t0, "bob", bob1, WayLAN)
	equal(t, "sent directly", numbers(e.Take(t0), bob1), []int{1})
	e.DirectDown(t0, "bob", bob1)
	equal(t, "sent after the way closed", numbers(e.Take(t0), bob1), []int(nil))
	e.Tick(t0.Add(10 * time.Second))
	equal(t, "progress", stages(e.Take(t0)), []Progress{{Stage: StageFailed, Took: 10 * time.Second, Reason: "no-direct-way"}})
}

func TestRelayOnly(t *testing.T) {
	e := newSender(Limits{}, bob1)
	e.DirectUp(t0, "bob", bob1, WayLAN)
	accept(t, e, Message{Policy: RelayOnly})
	accept(t, e, Message{})
	out := e.Take(t0)
	if len(out.Sends) != 2 || out.Sends[0].Via != WayRelay || out.Sends[1].Via != WayLAN {
		t.Errorf("got %+v, want 1 by relay and 2 by lan", out.Sends)
	}
}

// TestEarlierWaits: what is delivered behind a message that cannot leave is not shown yet, and says so until that has come.
func TestEarlierWaits(t *testing.T) {
	e := newSender(Limits{}, bob1)
	e.DirectUp(t0, "bob", bob1, WayLAN)
	e.RelayDown(t0)
	accept(t, e, Message{Policy: RelayOnly})
	accept(t, e, Message{})
	e.Take(t0)
	ack := func(next uint64, tip Link, ranges ...Range) []Op {
		e.Arrived(t0, "bob", bob1, WayLAN, &Payload{Kind: KindAck, Ack: &Ack{Next: next, Tip: tip, Ranges: ranges}})
		out := e.Take(t0)
		if next == 1 {
			equal(t, "progress", stages(out), []Progress{{Stage: StageDelivered, Way: WayLAN, Reason: EarlierWaits}})
		}
		return out.Ops
	}
	ack(1, Link{}, Range{First: 2, Count: 1})
	e.RelayUp(t0)
	e.Take(t0)
	taken := false
	for _, op := range ack(3, e.account("bob").tip) {
		p, ok := op.(OpProgress)
		taken = taken || ok && p.N == 2 && p.Progress == Progress{Stage: StageDelivered, Way: WayLAN}
	}
	if !taken {
		t.Error("the reason is not taken back")
	}
}

func TestResend(t *testing.T) {
	e := newSender(Limits{Resend: 3 * time.Second}, bob1)
	accept(t, e, Message{})
	e.Take(t0)
	now := t0
	for i, wait := range []time.Duration{3, 6, 12, 24, 48, 60, 60} {
		next := e.NextTick()
		equal(t, "wait", next.Sub(now), wait*time.Second)
		now = next
		if e.Tick(now.Add(-1)); len(e.Take(now).Sends) != 0 {
			t.Errorf("attempt %d came early", i)
		}
		e.Tick(now)
		equal(t, "sent again", numbers(e.Take(now), bob1), []int{1})
	}
}

func TestRefused(t *testing.T) {
	e := newSender(Limits{Resend: 3 * time.Second}, bob1)
	accept(t, e, Message{})
	e.Take(t0)
	e.Refused(t0, "bob", bob1, 1, "mailbox-full", 20*time.Second)
	equal(t, "progress", stages(e.Take(t0)), []Progress{{Reason: "mailbox-full"}})
	e.Refused(t0, "bob", bob1, 1, "mailbox-full", 20*time.Second) // the same again is no news
	if out := e.Take(t0); !out.Empty() {
		t.Errorf("got %+v, want nothing", out)
	}
	equal(t, "next tick", e.NextTick(), t0.Add(20*time.Second))
	e.Tick(t0.Add(19 * time.Second))
	equal(t, "sent early", numbers(e.Take(t0), bob1), []int(nil))
	e.Tick(t0.Add(20 * time.Second))
	equal(t, "sent again", numbers(e.Take(t0), bob1), []int{1})
	e.Refused(t0.Add(20*time.Second), "bob", bob1, 1, "no-such-device", 0)
	equal(t, "stale", pick[NoticeStale](e.Take(t0).Notices), []NoticeStale{{Account: "bob"}})
	e.RelayDown(t0)
	if next := e.NextTick(); !next.IsZero() {
		t.Errorf("got a tick at %v while no way is open, want none", next)
	}
}

// TestNoTickForTheShutWindow wants a refused message beyond the window not to wake the owner for ever.
func TestNoTickForTheShutWindow(t *testing.T) {
	e := newSender(Limits{Window: 1}, bob1)
	accept(t, e, Message{})
	e.Stored(t0, "bob", bob1, 1)
	accept(t, e, Message{})
	e.Refused(t0, "bob", bob1, 2, "busy", time.Second)
	e.Online(t0, "bob", bob1, true) // 1 will be sent again and fill the window
	now := t0
	for range 5 {
		next := e.NextTick()
		if !next.After(now) {
			t.Fatalf("the next tick is at %v, not after %v", next, now)
		}
		now = next
		e.Tick(now)
		e.Take(now)
	}
}

func TestOnlineResendsWhatWasStored(t *testing.T) {
	e := newSender(Limits{Resend: 3 * time.Second}, bob1)
	accept(t, e, Message{})
	e.Take(t0)
	e.Stored(t0.Add(time.Second), "bob", bob1, 1)
	out := e.Take(t0)
	equal(t, "progress", stages(out), []Progress{{Stage: StageStored, Way: WayMailbox, Took: time.Second}})
	if next := e.NextTick(); !next.IsZero() {
		t.Fatalf("got a tick at %v while it lies in the mailbox, want none", next)
	}
	now := t0.Add(time.Hour)
	e.Online(now, "bob", bob1, true)
	equal(t, "next tick", e.NextTick(), now.Add(6*time.Second))
	e.Tick(now.Add(6 * time.Second))
	equal(t, "sent again", numbers(e.Take(now), bob1), []int{1})
	e.Arrived(now, "bob", bob1, WayMailbox, &Payload{Kind: KindAck, Ack: &Ack{Next: 2, Tip: linkAfter(1), Receipts: []Receipt{{1, 1, WayMailbox, now}}}})
	equal(t, "progress", stages(e.Take(now)), []Progress{{Stage: StageDelivered, Way: WayMailbox, Took: time.Hour}})
}

func TestDirectDownResends(t *testing.T) {
	e := newSender(Limits{}, bob1)
	e.DirectUp(t0, "bob", bob1, WayLAN)
	for range 3 {
		accept(t, e, Message{})
	}
	e.Arrived(t0, "bob", bob1, WayLAN, ackOf(1, Range{2, 1}))
	e.Take(t0)
	e.DirectDown(t0, "bob", bob1)
	out := e.Take(t0)
	equal(t, "sent again", numbers(out, bob1), []int{1, 3})
	for _, s := range out.Sends {
		equal(t, "way", s.Via, WayRelay)
	}
	e.RelayDown(t0)
	equal(t, "sent with no way", numbers(e.Take(t0), bob1), []int(nil))
	e.RelayUp(t0)
	equal(t, "sent when the relay is back", numbers(e.Take(t0), bob1), []int{1, 3})
}

func TestResetSendsAgain(t *testing.T) {
	e := newSender(Limits{}, bob1, bob2)
	accept(t, e, Message{})
	accept(t, e, Message{})
	e.Stored(t0, "bob", bob1, 1)
	e.Take(t0)
	e.Arrived(t0, "bob", bob1, WayRelay, &Payload{Kind: KindReset, Reset: &Reset{Session: [16]byte{5}}})
	out := e.Take(t0)
	equal(t, "notices", pick[NoticeReset](out.Notices), []NoticeReset{{Device: bob1, Session: [16]byte{5}}})
	equal(t, "sent again", numbers(out, bob1), []int{1, 2})
	equal(t, "sent to the other", numbers(out, bob2), []int(nil))
}

// TestResetAcknowledgesAgain wants what has arrived to be acknowledged once more to a device that has lost the session, as it may have lost the
// acknowledgement; one from which nothing has come hears of none.
func TestResetAcknowledgesAgain(t *testing.T) {
	e := newSender(Limits{}, bob1, bob2)
	e.Arrived(t0, "bob", bob1, WayRelay, textOf(1, 1, 1))
	e.Take(t0)
	for _, d := range []Device{bob1, bob2} {
		e.Arrived(t0, "bob", d, WayRelay, &Payload{Kind: KindReset, Reset: &Reset{}})
	}
	equal(t, "sends", e.Take(t0).Sends, []Send{{
		To: "bob", Device: bob1, Via: WayRelay, Payload: Payload{Kind: KindAck, Ack: &Ack{Next: 2, Tip: linkAfter(1)}},
	}})
}

func TestSetDevicesRemoves(t *testing.T) {
	e := newSender(Limits{}, bob1, bob2)
	accept(t, e, Message{})
	accept(t, e, Message{})
	e.Arrived(t0, "bob", bob1, WayRelay, ackOf(2))
	e.Take(t0)
	e.SetDevices(t0, "bob", []Device{bob1})
	out := e.Take(t0)
	equal(t, "settled", pick[OpSettle](out.Ops), []OpSettle{{To: "bob", N: 1}}) // bob1 has it, and nobody else will
	equal(t, "progress", stages(out), []Progress(nil))
	e.SetDevices(t0, "bob", nil)
	out = e.Take(t0)
	equal(t, "progress", stages(out), []Progress{{Stage: StageFailed, Reason: "device-removed"}})
	equal(t, "settled", pick[OpSettle](out.Ops), []OpSettle{{To: "bob", N: 2}})
}

func TestDeviceAddedLater(t *testing.T) {
	e := newSender(Limits{}, bob1)
	accept(t, e, Message{})
	e.SetDevices(t0, "bob", []Device{bob1, bob2})
	accept(t, e, Message{})
	out := e.Take(t0)
	equal(t, "sent to the first", numbers(out, bob1), []int{1, 2})
	equal(t, "sent to the second", numbers(out, bob2), []int{2})
	equal(t, "starts", pick[OpStart](out.Ops), []OpStart{{To: "bob", Device: bob1, Start: 1}, {To: "bob", Device: bob2, Start: 2}})
	if s := out.Sends[len(out.Sends)-1]; s.Payload.Text.Start != 2 || s.Payload.Text.Low != 2 {
		t.Errorf("got %+v, want start and lowest 2", s.Payload.Text)
	}
}

func TestUnsent(t *testing.T) {
	e := newSender(Limits{Resend: 3 * time.Second}, bob1)
	accept(t, e, Message{})
	e.Arrived(t0, "bob", bob1, WayRelay, textOf(1, 1, 1))
	out := e.Take(t0)
	for _, s := range out.Sends {
		e.Unsent(t0, s)
	}
	again := e.Take(t0)
	equal(t, "acknowledgement with its receipt", again.Sends, []Send{{To: "bob", Device: bob1, Via: WayRelay, Payload: Payload{
		Kind: KindAck, Ack: &Ack{Next: 2, Receipts: []Receipt{{1, 1, WayRelay, t0}}},
	}}})
	next := t0.Add(300 * time.Millisecond)
	equal(t, "next tick", e.NextTick(), next)
	e.Tick(next)
	equal(t, "sent again", numbers(e.Take(next), bob1), []int{1})
}

// TestReceiptsAreForTheirMessages wants the way of arrival from the receipt, not from what was tried last.
func TestReceiptsAreForTheirMessages(t *testing.T) {
	e := newSender(Limits{}, bob1)
	accept(t, e, Message{})
	accept(t, e, Message{})
	e.DirectUp(t0, "bob", bob1, WayLAN)
	e.Take(t0)
	e.Arrived(t0.Add(time.Second), "bob", bob1, WayLAN, &Payload{Kind: KindAck, Ack: &Ack{Next: 3, Tip: linkAfter(2), Receipts: []Receipt{{2, 1, WayLAN, t0}}}})
	equal(t, "progress", stages(e.Take(t0)), []Progress{
		{Stage: StageDelivered, Way: WayRelay, Took: time.Second}, {Stage: StageDelivered, Way: WayLAN, Took: time.Second},
	})
	// After a restart nothing is remembered of the attempt but that the rendezvous had stored it.
	m := Message{To: "bob", N: 3, Sent: t0, Devices: []Device{bob1}}
	e = New("alice", Snapshot{Outbox: []OutboxState{{Message: m, Phases: map[Device]Phase{bob1: Stored}}}}, Limits{})
	e.SetDevices(t0, "bob", []Device{bob1})
	e.Arrived(t0, "bob", bob1, WayRelay, ackOf(4))
	equal(t, "progress", stages(e.Take(t0)), []Progress{{Stage: StageDelivered, Way: WayMailbox}})
}

// TestDeliveredWithTheFirstDevice wants a person to hear of delivery once, while the outbox waits for the others.
func TestDeliveredWithTheFirstDevice(t *testing.T) {
	e := newSender(Limits{}, bob1, bob2)
	accept(t, e, Message{})
	e.Take(t0)
	e.Arrived(t0, "bob", bob2, WayRelay, ackOf(2))
	equal(t, "progress", len(stages(e.Take(t0))), 1)
	equal(t, "pending", e.Pending(), 1)
	e.Arrived(t0, "bob", bob1, WayRelay, ackOf(2))
	out := e.Take(t0)
	equal(t, "progress", stages(out), []Progress(nil))
	equal(t, "settled", pick[OpSettle](out.Ops), []OpSettle{{To: "bob", N: 1}})
}

// TestForeignAcknowledgements wants a device to settle nothing but its own copies.
func TestForeignAcknowledgements(t *testing.T) {
	e := newSender(Limits{}, bob1)
	e.SetDevices(t0, "carol", []Device{carol1})
	accept(t, e, Message{})
	e.Take(t0)
	e.Arrived(t0, "carol", carol1, WayRelay, ackOf(1<<60))
	e.Arrived(t0, "bob", bob2, WayRelay, ackOf(1<<60))
	if out := e.Take(t0); len(out.Ops)+len(out.Notices) != 0 {
		t.Errorf("got %+v, want nothing", out)
	}
}

// TestReplacedWay wants what a direct way has carried without an acknowledgement to go by the one that takes its place, and not by the relay.
func TestReplacedWay(t *testing.T) {
	e := newSender(Limits{}, bob1)
	e.DirectUp(t0, "bob", bob1, WayDirect)
	accept(t, e, Message{})
	e.Take(t0)
	e.DirectUp(t0, "bob", bob1, WayLAN)
	var vias []string
	for _, s := range e.Take(t0).Sends {
		vias = append(vias, fmt.Sprint(s.N, " ", s.Via))
	}
	equal(t, "sent", vias, []string{"1 lan"})
	if e.NextTick().IsZero() {
		t.Error("it would not be sent again")
	}
}

// TestAgainByBothWays wants what has had no answer in its time to go by the relay too, though nobody doubts the direct way: we may hear the other
// side on it and not be heard.
func TestAgainByBothWays(t *testing.T) {
	e := newSender(Limits{Resend: time.Second}, bob1)
	e.DirectUp(t0, "bob", bob1, WayLAN)
	accept(t, e, Message{})
	accept(t, e, Message{Policy: DirectOnly})
	e.Take(t0)
	e.Tick(t0.Add(time.Second))
	var vias []string
	for _, s := range e.Take(t0.Add(time.Second)).Sends {
		vias = append(vias, fmt.Sprint(s.N, " ", s.Via))
	}
	equal(t, "sent again", vias, []string{"1 lan", "1 relay", "2 lan"})
}

// TestOvertaken wants what is lost to be sent again when an acknowledgement shows that something later has come by the same way, and not for less.
func TestOvertaken(t *testing.T) {
	by := func(way Way, first, count uint64) []Receipt {
		return []Receipt{{N: first, Count: count, Way: way, Arrived: t0}}
	}
	for _, row := range []struct {
		name     string
		ranges   []Range
		receipts []Receipt
		before   func(e *Engine)
		want     []string
	}{
		{"nothing is missing", nil, by(WayLAN, 1, 1), nil, nil},
		{"one is missing", []Range{{3, 1}}, by(WayLAN, 3, 1), nil, []string{"2 lan", "2 relay"}},
		{"two runs are missing", []Range{{3, 1}, {5, 1}}, append(by(WayLAN, 3, 1), by(WayLAN, 5, 1)...), nil, []string{"2 lan", "2 relay", "4 lan", "4 relay"}},
		{"a run has come", []Range{{3, 3}}, by(WayLAN, 3, 3), nil, []string{"2 lan", "2 relay"}},
		{"it came by another way", []Range{{3, 1}}, by(WayRelay, 3, 1), nil, nil},
		{"nothing says how it came", []Range{{3, 1}}, nil, nil, nil},
		{"what is said to have come is not said to be there", []Range{{3, 1}}, by(WayLAN, 4, 1), nil, nil},
		{"a receipt of what was never sent", []Range{{3, 1}}, by(WayLAN, 3, 1<<40), nil, nil},
		{"it may have been sent later", []Range{{3, 1}}, by(WayLAN, 3, 1), func(e *Engine) {
			_, _, c := e.copyOf("bob", bob1, 3)
			c.attempts = 2
		}, nil},
		{"it was sent again since", []Range{{3, 1}}, by(WayLAN, 3, 1), func(e *Engine) {
			_, _, c := e.copyOf("bob", bob1, 2)
			c.turn = 9
		}, nil},
	} {
		t.Run(row.name, func(t *testing.T) {
			e := newSender(Limits{}, bob1)
			e.DirectUp(t0, "bob", bob1, WayLAN)
			for range 5 {
				accept(t, e, Message{})
			}
			e.Take(t0)
			if row.before != nil {
				row.before(e)
			}
			answer := ackOf(2, row.ranges...)
			answer.Ack.Receipts = row.receipts
			e.Arrived(t0, "bob", bob1, WayLAN, answer)
			var vias []string
			for _, s := range e.Take(t0).Sends {
				vias = append(vias, fmt.Sprint(s.N, " ", s.Via))
			}
			equal(t, "sent again", vias, row.want)
		})
	}
}

// TestOvertakenTwice wants a device that says for ever that it does not have a message to be sent it a few times at once, and then at its time.
func TestOvertakenTwice(t *testing.T) {
	e := newSender(Limits{Resend: 3 * time.Second}, bob1)
	accept(t, e, Message{})
	sent := 0
	for n := range uint64(50) {
		accept(t, e, Message{})
		e.Take(t0)
		answer := ackOf(1, Range{2, n + 1})
		answer.Ack.Receipts = []Receipt{{N: n + 2, Count: 1, Way: WayRelay, Arrived: t0}}
		e.Arrived(t0, "bob", bob1, WayRelay, answer)
		sent += len(numbers(e.Take(t0), bob1))
	}
	equal(t, "attempts before their time", sent, maxQuick)
	if at := e.devices[bob1].lowest().copies[0].due; at != t0.Add(12*time.Second) {
		t.Errorf("the next is due after %v", at.Sub(t0))
	}
}

// TestDoubt wants what goes by a doubtful direct way to go by the relay too, also what had gone before the doubt, and nothing else.
func TestDoubt(t *testing.T) {
	e := newSender(Limits{}, bob1)
	e.DirectUp(t0, "bob", bob1, WayLAN)
	accept(t, e, Message{})
	accept(t, e, Message{Policy: DirectOnly})
	e.Take(t0)
	vias := func(out Effects) (all []string) {
		for _, s := range out.Sends {
			all = append(all, fmt.Sprint(s.N, " ", s.Via))
		}
		return all
	}
	e.DirectDoubt(t0, bob1, true)
	equal(t, "sent in doubt", vias(e.Take(t0)), []string{"1 relay"})
	e.DirectDoubt(t0, bob1, true)
	equal(t, "sent in the same doubt", vias(e.Take(t0)), []string(nil))
	accept(t, e, Message{})
	accept(t, e, Message{Policy: DirectOnly})
	equal(t, "sent later", vias(e.Take(t0)), []string{"3 lan", "3 relay", "4 lan"})
	e.Refused(t0, "bob", bob1, 3, "mailbox-full", time.Minute) // its double; the direct one may still arrive
	equal(t, "progress", stages(e.Take(t0)), []Progress(nil))
	e.Arrived(t0, "bob", bob1, WayLAN, textOf(1, 1, 1))
	equal(t, "acknowledged", vias(e.Take(t0)), []string{"0 lan", "0 relay"})
	e.DirectDoubt(t0, bob1, false)
	accept(t, e, Message{})
	equal(t, "sent without doubt", vias(e.Take(t0)), []string{"5 lan"})
	e.DirectDoubt(t0, bob1, true)
	e.Take(t0)
	e.RelayDown(t0)
	accept(t, e, Message{})
	equal(t, "sent in doubt without a relay", vias(e.Take(t0)), []string{"6 lan"})
	e.DirectDown(t0, "bob", bob1)
	e.DirectDoubt(t0, bob1, true) // there is no way to doubt any more
	e.RelayUp(t0)
	equal(t, "sent when the way is gone", vias(e.Take(t0)), []string{"1 relay", "3 relay", "5 relay", "6 relay"})
}
