package delivery

import (
	"slices"
	"testing"
	"time"

	"pgregory.net/rapid"
)

// TestRestores runs random schedules in which alice is put back to an old copy of her disk, once or twice, while messages are under way. Nothing may
// be shown twice or be stuck, and what she accepts after the last time must be shown; what she had accepted before and what the old copy
// does not know is hers to lose.
func TestRestores(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		n := newNet(t)
		alice := n.parties[alice1]
		steps := func(label string) {
			for range rapid.IntRange(1, 40).Draw(t, label) {
				n.step(t)
			}
		}
		steps("before")
		for range rapid.IntRange(1, 2).Draw(t, "restores") {
			n.settle(alice, afterCommit)
			old := alice.disk.backup()
			steps("lost")
			alice.disk, alice.lazy = old, nil
			n.boot(alice)
			for id, m := range n.accepted {
				fromAlice, toAlice := id[0] == alice1[0], m.To == "alice"
				if fromAlice && !slices.ContainsFunc(alice.disk.outgoing(), func(o Message) bool { return o.ID == id }) || toAlice {
					delete(n.accepted, id)
					n.lost[id] = true
				}
			}
			steps("after")
		}
		n.heal()
		n.checkShown()
	})
}

// checkShown wants what was accepted to be shown, where it has not failed, and nothing else.
func (n *net) checkShown() {
	for _, p := range n.parties {
		seen := map[MessageID]bool{}
		for _, m := range p.disk.shown {
			sent, ok := n.accepted[m.ID]
			if !n.lost[m.ID] && (!ok || sent.Body != m.Body) {
				n.t.Fatalf("%s was shown %+v, which nobody sent", p.device.Device(), m)
			}
			seen[m.ID] = true
		}
		for id, m := range n.accepted {
			_, failed := n.failed[id]
			if m.To == ownerOf(p.device) && slices.Contains(m.Devices, p.device) && !seen[id] && !failed && m.Expires.IsZero() && !m.Policy.mustBeDirect() {
				n.t.Fatalf("message %x to %s is lost", id[:2], p.device.Device())
			}
		}
	}
}

func (d *disk) outgoing() (all []Message) {
	for _, box := range d.outbox {
		for _, o := range box {
			all = append(all, o.Message)
		}
	}
	return all
}

// setBack is alice after ten messages to bob, put back to where she had sent four, and three more.
func setBack(t *testing.T) *Engine {
	t.Helper()
	e := New("alice", Snapshot{
		Accounts: []AccountState{{Name: "bob", Next: 5, Tip: linkAfter(4)}}, Devices: []DeviceState{{Account: "bob", Device: bob1, Start: 1}},
	}, Limits{})
	e.SetDevices(t0, "bob", []Device{bob1})
	e.RelayUp(t0)
	for i := range 3 {
		accept(t, e, Message{ID: MessageID{100, byte(i)}})
	}
	equal(t, "sent", numbers(e.Take(t0), bob1), []int{5, 6, 7})
	return e
}

// TestSetBackSender wants messages to get new numbers when an acknowledgement shows that others have theirs, and not else.
func TestSetBackSender(t *testing.T) {
	ours := linkAfter(4).Next(MessageID{100, 0})
	rows := []struct {
		name   string
		ack    Ack
		first  uint64 // of the new numbers; 0: none
		settle int
	}{
		{"more than we have sent", Ack{Next: 11, Tip: linkAfter(10)}, 12, 0},
		{"as many as we have sent, and others", Ack{Next: 8, Tip: linkAfter(7)}, 9, 0},
		{"fewer, and others", Ack{Next: 6, Tip: linkAfter(5)}, 9, 0},
		{"none of the new, and others", Ack{Next: 5, Tip: Link{9}}, 9, 0},
		{"ours", Ack{Next: 6, Tip: ours}, 0, 1},
		{"all ours", Ack{Next: 8, Tip: ours.Next(MessageID{100, 1}).Next(MessageID{100, 2})}, 0, 3},
		{"what is settled", Ack{Next: 4, Tip: Link{9}}, 0, 0},
		{"more than anybody sends", Ack{Next: 1 << 60, Tip: Link{9}}, 0, 3}, // it harms its own conversation
	}
	for _, row := range rows {
		t.Run(row.name, func(t *testing.T) {
			e := setBack(t)
			answer := &Payload{Kind: KindAck, Ack: &row.ack}
			e.Arrived(t0, "bob", bob1, WayRelay, answer)
			out := e.Take(t0)
			equal(t, "settled", len(pick[OpSettle](out.Ops)), row.settle)
			if row.first == 0 {
				equal(t, "renumbered", pick[OpRenumber](out.Ops), []OpRenumber(nil))
				return
			}
			first := row.first
			equal(t, "renumbered", pick[OpRenumber](out.Ops), []OpRenumber{
				{To: "bob", Old: 5, New: first}, {To: "bob", Old: 6, New: first + 1}, {To: "bob", Old: 7, New: first + 2},
			})
			equal(t, "progress", stages(out), []Progress(nil))
			equal(t, "sent again", numbers(out, bob1), []int{int(first), int(first) + 1, int(first) + 2})
			for _, s := range out.Sends {
				if !s.Payload.Text.Renumbered || s.Payload.Text.Low != first {
					t.Errorf("number %d does not say that it is new", s.N)
				}
			}
			e.Arrived(t0, "bob", bob1, WayRelay, answer) // the same answer, to what was sent before
			equal(t, "renumbered again", pick[OpRenumber](e.Take(t0).Ops), []OpRenumber(nil))
			base := out.Sends[0].Payload.Text.Base
			e.Arrived(t0, "bob", bob1, WayRelay, &Payload{Kind: KindAck, Ack: &Ack{
				Next: first + 3, Tip: base.Next(MessageID{100, 0}).Next(MessageID{100, 1}).Next(MessageID{100, 2}),
			}})
			equal(t, "settled", len(pick[OpSettle](e.Take(t0).Ops)), 3)
		})
	}
}

// TestRenumberedGoInTurn wants messages with new numbers to go by one way as long as another is on its way by that: those that come before their turn
// are not taken.
func TestRenumberedGoInTurn(t *testing.T) {
	e := newSender(Limits{}, bob1)
	e.DirectUp(t0, "bob", bob1, WayLAN)
	for i, policy := range []Policy{Auto, Auto, RelayOnly, RelayOnly, Auto, LANOnly} {
		accept(t, e, Message{ID: MessageID{byte(i)}, Policy: policy})
	}
	e.Take(t0)
	e.Arrived(t0, "bob", bob1, WayLAN, &Payload{Kind: KindAck, Ack: &Ack{Next: 1, Tip: Link{9}}}) // 1 to 6 become 8 to 13
	equal(t, "at first", numbers(e.Take(t0), bob1), []int{8, 9})
	answer := func(next uint64) []int {
		t.Helper()
		e.Arrived(t0, "bob", bob1, WayLAN, &Payload{Kind: KindAck, Ack: &Ack{Next: next, Tip: e.account("bob").outbox.byN[next].Prev}})
		return numbers(e.Take(t0), bob1)
	}
	equal(t, "after one", answer(9), []int(nil))
	equal(t, "after those by lan", answer(10), []int{10, 11})
	accept(t, e, Message{ID: MessageID{20}, To: "bob", Policy: Auto}) // it is held there until its turn
	equal(t, "written later", numbers(e.Take(t0), bob1), []int{14})
	e.Stored(t0, "bob", bob1, 10)
	e.Stored(t0, "bob", bob1, 11)
	equal(t, "while those before are stored", numbers(e.Take(t0), bob1), []int(nil))
	equal(t, "in the end", answer(12), []int{12, 13})
}

// receiving is bob's engine on a disk, and what brings it a payload of alice's.
func receiving(t *testing.T) (*disk, func(*Payload) Effects) {
	d := newDisk(t)
	e := New("bob", Snapshot{Past: d}, Limits{})
	e.RelayUp(t0)
	return d, func(p *Payload) Effects {
		e.Arrived(t0, "alice", alice1, WayRelay, p)
		out := e.Take(t0)
		d.apply(out.Ops)
		return out
	}
}

// TestRenumbered wants a receiver to take messages under new numbers without a gap, and to show none that it had under an old one.
func TestRenumbered(t *testing.T) {
	d, arrive := receiving(t)
	for i := range uint64(4) {
		arrive(textOf(i+1, 1, 1))
	}
	arrive(textOf(6, 1, 1)) // held
	link := Link{7}
	prev := map[uint64]Link{
		10: link, 11: link.Next(MessageID{200}), 12: link.Next(MessageID{200}).Next(MessageID{4}), 13: link.Next(MessageID{200}).Next(MessageID{4}).Next(MessageID{6}),
	}
	fresh := func(n uint64, id byte) *Payload {
		p := textOf(n, 10, 1)
		p.Text.ID, p.Text.Renumbered, p.Text.Base, p.Text.Prev = MessageID{id}, true, link, prev[n]
		return p
	}
	if out := arrive(fresh(11, 4)); len(out.Sends)+len(out.Ops) != 0 {
		t.Errorf("got %+v out of turn, want nothing", out)
	}
	out := arrive(fresh(10, 200))
	equal(t, "gaps", pick[NoticeGap](out.Notices), []NoticeGap(nil))
	for i, id := range []byte{4, 6, 201} { // what came as 4, what was held as 6 and dropped, a new one
		out = arrive(fresh(11+uint64(i), id))
	}
	want := link.Next(MessageID{200}).Next(MessageID{4}).Next(MessageID{6}).Next(MessageID{201})
	if ack := out.Sends[0].Payload.Ack; ack.Next != 14 || ack.Tip != want {
		t.Errorf("got %+v, want all up to 14 and the link %x", ack, want)
	}
	var ids []byte
	for _, m := range d.shown {
		ids = append(ids, m.ID[0])
	}
	equal(t, "shown", ids, []byte{1, 2, 3, 4, 200, 6, 201})
}

// TestRenumberedToAHeldNumber wants a message under a new number to be taken though another was held under it, of a life that its sender has forgotten.
func TestRenumberedToAHeldNumber(t *testing.T) {
	d, arrive := receiving(t)
	for _, n := range []uint64{1, 6, 7} {
		arrive(textOf(n, 1, 1))
	}
	fresh := textOf(6, 6, 1)
	fresh.Text.ID, fresh.Text.Renumbered, fresh.Text.Base, fresh.Text.Prev = MessageID{200}, true, Link{7}, Link{7}
	early := *fresh.Text
	early.Low = 5
	if out := arrive(&Payload{Kind: KindText, Text: &early}); len(out.Sends)+len(out.Ops) != 0 {
		t.Errorf("got %+v out of turn, want nothing", out)
	}
	out := arrive(fresh)
	equal(t, "gaps", pick[NoticeGap](out.Notices), []NoticeGap(nil))
	if ack := out.Sends[0].Payload.Ack; ack.Next != 7 || ack.Tip != (Link{7}).Next(MessageID{200}) || len(ack.Ranges) != 0 {
		t.Errorf("got %+v, want all up to 7 and nothing that is held", ack)
	}
	if last := d.shown[len(d.shown)-1].ID; last != (MessageID{200}) {
		t.Errorf("%x is shown last", last)
	}
}

// TestOtherLink wants nothing to be taken that does not go on from what is there, next or held, and the answer to say so.
func TestOtherLink(t *testing.T) {
	d, arrive := receiving(t)
	arrive(textOf(1, 1, 1))
	other := textOf(2, 1, 1)
	other.Text.Prev = Link{9}
	ack := arrive(other).Sends[0].Payload.Ack
	if ack.Next != 2 || ack.Tip != textOf(2, 1, 1).Text.Prev || len(ack.Receipts) != 0 {
		t.Errorf("got %+v, want what there was before", ack)
	}
	held := textOf(3, 1, 1)
	held.Text.Prev = Link{9}
	arrive(held)
	ack = arrive(textOf(2, 1, 1)).Sends[0].Payload.Ack
	if ack.Next != 3 || len(ack.Ranges) != 0 || len(d.device(alice1).Held) != 0 {
		t.Errorf("got %+v, want the second alone", ack)
	}
	equal(t, "shown", len(d.shown), 2)
}

// TestKeptIsNotFinal wants a message that came before its turn to stay in the outbox until all before it have come, and to be sent again to a
// device that has lost it.
func TestKeptIsNotFinal(t *testing.T) {
	e := newSender(Limits{}, bob1)
	for range 3 {
		accept(t, e, Message{})
	}
	e.Take(t0)
	e.Arrived(t0, "bob", bob1, WayRelay, ackOf(1, Range{2, 1}))
	out := e.Take(t0)
	equal(t, "progress", stages(out), []Progress{{Stage: StageDelivered, Way: WayRelay}})
	equal(t, "settled", pick[OpSettle](out.Ops), []OpSettle(nil))
	e.Arrived(t0, "bob", bob1, WayRelay, ackOf(2))
	equal(t, "sent again", numbers(e.Take(t0), bob1), []int{2})
	e.Arrived(t0, "bob", bob1, WayRelay, ackOf(4))
	equal(t, "pending", e.Pending(), 0)
}

// TestLinks wants a receiver's links to be the sender's, over gaps and for a device that joins late.
func TestLinks(t *testing.T) {
	e := newSender(Limits{}, bob1)
	accept(t, e, Message{ID: MessageID{1}, Expires: t0.Add(time.Second)})
	e.Take(t0)
	late := t0.Add(time.Second)
	e.Tick(late)
	e.Take(late)
	e.SetDevices(late, "bob", []Device{bob1, bob2})
	accept(t, e, Message{ID: MessageID{2}})
	for _, s := range e.Take(late).Sends {
		receiver := New("bob", Snapshot{}, Limits{})
		receiver.RelayUp(late)
		receiver.Arrived(late, "alice", alice1, WayRelay, &s.Payload)
		e.Arrived(late, "bob", s.Device, WayRelay, &receiver.Take(late).Sends[0].Payload)
	}
	out := e.Take(late)
	equal(t, "renumbered", pick[OpRenumber](out.Ops), []OpRenumber(nil))
	equal(t, "pending", e.Pending(), 0)
}
