package delivery

import (
	"fmt"
	"maps"
	"slices"
	"testing"
	"time"

	"pgregory.net/rapid"
)

// The cast: alice with one device writes to bob, who has two and gets a third on the way, and they write back. Both write with carol.
var (
	alice1 = Device{1}
	bob1   = Device{2}
	bob2   = Device{3}
	bob3   = Device{4} // joins in mid-conversation
	carol1 = Device{5}
	cast   = []Device{alice1, bob1, bob2, bob3, carol1}
	people = []Account{"alice", "bob", "carol"}
)

func ownerOf(d Device) Account {
	switch d {
	case alice1:
		return "alice"
	case carol1:
		return "carol"
	}
	return "bob"
}

// party is one device: an engine on a disk.
type party struct {
	device Device
	engine *Engine
	disk   *disk
	lazy   []Op // not on the disk yet
}

// packet is a payload on its way, or a copy in the mailbox.
type packet struct {
	from Device
	send Send
}

// net is everything between the parties: it loses, doubles, reorders and stores as step draws.
type net struct {
	t        fataler
	now      time.Time
	parties  map[Device]*party
	flying   []packet
	mailbox  []packet
	relay    map[Device]bool    // is the party connected to the rendezvous
	links    map[[2]Device]Way  // open direct ways, both directions set
	barred   map[[2]Device]bool // the first may send the other nothing by the relay
	accepted map[MessageID]Message
	failed   map[MessageID]string
	lost     map[MessageID]bool // forgotten by who accepted them
	joined   bool               // bob3 is on the account
	count    byte
}

func newNet(t fataler) *net {
	n := &net{
		t: t, now: time.Unix(1_700_000_000, 0).UTC(), parties: map[Device]*party{}, relay: map[Device]bool{},
		links: map[[2]Device]Way{}, barred: map[[2]Device]bool{}, accepted: map[MessageID]Message{}, failed: map[MessageID]string{}, lost: map[MessageID]bool{},
	}
	for _, d := range cast {
		n.parties[d] = &party{device: d, disk: newDisk(t)}
		n.boot(n.parties[d])
	}
	return n
}

// limits are small, so that short schedules reach them.
var limits = Limits{Window: 4, Reorder: 6, ReorderSize: 20}

func (n *net) boot(p *party) {
	p.engine = New(ownerOf(p.device), p.disk.snapshot(), limits)
	n.tellDevices(p)
	for ends := range n.links {
		if ends[0] == p.device || ends[1] == p.device {
			delete(n.links, ends)
		}
		if other := n.parties[ends[0]]; ends[1] == p.device { // its heartbeat notices
			other.engine.DirectDown(n.now, ownerOf(p.device), p.device)
		}
	}
	n.relay[p.device] = false
	for ends := range n.barred {
		if ends[0] == p.device {
			p.engine.Relayed(n.now, ownerOf(ends[1]), ends[1], false)
		}
	}
}

// bar keeps what a party has for a device from the relay, or ends that.
func (n *net) bar(p *party, d Device, barred bool) {
	n.settle(p, lives) // what was on its way before goes
	if delete(n.barred, [2]Device{p.device, d}); barred {
		n.barred[[2]Device{p.device, d}] = true
	}
	p.engine.Relayed(n.now, ownerOf(d), d, !barred)
}

// signal reports whether a payload says nothing of messages.
func signal(k Kind) bool { return k == KindReset || k == KindPunch || k == KindTerms }

// tellDevices is what the directory tells a party.
func (n *net) tellDevices(p *party) {
	for _, name := range people {
		var devices []Device
		for _, d := range cast {
			if d != p.device && ownerOf(d) == name && (d != bob3 || n.joined) {
				devices = append(devices, d)
			}
		}
		p.engine.SetDevices(n.now, name, devices)
	}
}

func (n *net) join() {
	n.joined = true
	for _, p := range n.parties {
		n.tellDevices(p)
		n.settle(p, lives)
	}
}

// crashes say where in settle a process dies.
type crashes int

const (
	lives        crashes = iota
	beforeCommit         // nothing of the batch reached the disk
	afterCommit          // nothing of it was sent or told
)

// settle does what an owner does after each batch. What only says that others have acknowledged may stay off the disk for a while, as the
// core has it: those ops go with the next commit, or are lost with the process.
func (n *net) settle(p *party, crash crashes) {
	effects := p.engine.Take(n.now)
	p.lazy = append(p.lazy, effects.Ops...)
	if crash == beforeCommit {
		n.forget(p)
		return
	}
	if crash == afterCommit || !Late(effects.Ops) || len(p.lazy) > 8 {
		p.disk.apply(p.lazy)
		p.lazy = nil
	}
	if crash == afterCommit {
		n.boot(p)
		return
	}
	for _, s := range effects.Sends {
		if s.Via == WayRelay && n.barred[[2]Device{p.device, s.Device}] && !signal(s.Payload.Kind) {
			n.t.Fatalf("%s goes to %s by the relay, which is barred", p.device.Device(), s.Device.Device())
		}
		n.flying = append(n.flying, packet{from: p.device, send: s})
	}
	for _, notice := range effects.Notices {
		progress, ok := notice.(NoticeProgress)
		switch {
		case ok && progress.Progress.Stage == StageFailed:
			n.failed[progress.ID] = progress.Progress.Reason
		case ok && progress.Progress.Stage == StageDelivered:
			delete(n.failed, progress.ID)
		}
	}
}

// forget ends a process with what it had not committed. Nobody was told that such messages were accepted.
func (n *net) forget(p *party) {
	for _, op := range p.lazy {
		if enqueued, ok := op.(OpEnqueue); ok {
			delete(n.accepted, enqueued.Message.ID)
		}
	}
	p.lazy = nil
	n.boot(p)
}

func (n *net) accept(p *party, to Account, policy Policy, life time.Duration) {
	n.count++
	m := Message{To: to, ID: MessageID{p.device[0], n.count}, Body: fmt.Sprint("text ", n.count), Sent: n.now, Policy: policy}
	if to == ownerOf(p.device) {
		m.CopyOf = "carol" // for our other devices
	}
	if life > 0 {
		m.Expires = n.now.Add(life)
	}
	m, err := p.engine.Accept(n.now, m)
	if err != nil {
		n.t.Fatalf("accept: %v", err)
	}
	n.accepted[m.ID] = m
}

// carry brings one packet to its end, or to the mailbox.
func (n *net) carry(k packet, keep bool) {
	from, to := n.parties[k.from], n.parties[k.send.Device]
	if k.send.Via.IsDirect() {
		if n.links[[2]Device{k.from, k.send.Device}] == k.send.Via {
			n.arrive(to, k, k.send.Via)
		}
		return
	}
	if !n.relay[k.from] {
		return
	}
	if n.relay[k.send.Device] && !keep {
		n.arrive(to, k, WayRelay)
		return
	}
	if k.send.LiveOnly {
		return
	}
	if n.stored(k.send.Device) >= mailboxQuota {
		if k.send.N > 0 {
			from.engine.Refused(n.now, k.send.To, k.send.Device, k.send.N, "mailbox-full", 10*time.Second)
			n.settle(from, lives)
		}
		return
	}
	n.mailbox = append(n.mailbox, k)
	if k.send.N > 0 {
		from.engine.Stored(n.now, k.send.To, k.send.Device, k.send.N)
		n.settle(from, lives)
	}
}

// mailboxQuota is small, so that short schedules reach it.
const mailboxQuota = 6

func (n *net) stored(d Device) (count int) {
	for _, k := range n.mailbox {
		if k.send.Device == d {
			count++
		}
	}
	return count
}

func (n *net) arrive(to *party, k packet, way Way) {
	payload, err := ParsePayload(k.send.Payload.Append(nil))
	if err != nil {
		n.t.Fatalf("own payload does not parse: %v", err)
	}
	to.engine.Arrived(n.now, ownerOf(k.from), k.from, way, payload)
}

func (n *net) setRelay(p *party, up bool) {
	if n.relay[p.device] == up {
		return
	}
	n.relay[p.device] = up
	if up {
		p.engine.RelayUp(n.now)
	} else {
		p.engine.RelayDown(n.now)
	}
	for _, other := range n.parties {
		if other != p && n.relay[other.device] {
			other.engine.Online(n.now, ownerOf(p.device), p.device, up)
			if up {
				p.engine.Online(n.now, ownerOf(other.device), other.device, true)
			}
		}
	}
}

func (n *net) setLink(a, b *party, way Way) {
	for _, ends := range [][2]*party{{a, b}, {b, a}} {
		key := [2]Device{ends[0].device, ends[1].device}
		if way == "" {
			delete(n.links, key)
			ends[0].engine.DirectDown(n.now, ownerOf(ends[1].device), ends[1].device)
		} else {
			n.links[key] = way
			ends[0].engine.DirectUp(n.now, ownerOf(ends[1].device), ends[1].device, way)
		}
	}
}

func (n *net) tick(d time.Duration) {
	n.now = n.now.Add(d)
	for _, p := range n.parties {
		p.engine.Tick(n.now)
		n.settle(p, lives)
		p.disk.apply(p.lazy) // it does not wait so long
		p.lazy = nil
	}
}

func (n *net) pick(t *rapid.T, label string) *party {
	return n.parties[rapid.SampledFrom(slices.DeleteFunc(slices.Clone(cast), func(d Device) bool { return d == bob3 && !n.joined })).Draw(t, label)]
}

// fates of a process: it dies one time in ten, at either place.
var fates = append(slices.Repeat([]crashes{lives}, 18), beforeCommit, afterCommit)

// step does one random thing.
func (n *net) step(t *rapid.T) {
	p := n.pick(t, "who")
	switch rapid.IntRange(0, 11).Draw(t, "what") {
	case 0, 1, 2:
		to := rapid.SampledFrom(slices.DeleteFunc(slices.Clone(people), func(a Account) bool { return a == ownerOf(p.device) && a != "bob" })).Draw(t, "to")
		policy := rapid.SampledFrom([]Policy{Auto, Auto, Auto, RelayOnly, DirectOnly, LANOnly}).Draw(t, "policy")
		life := rapid.SampledFrom([]time.Duration{0, 0, 0, 30 * time.Second}).Draw(t, "life")
		n.accept(p, to, policy, life)
	case 3, 4, 5:
		if len(n.flying) == 0 {
			break
		}
		i := rapid.IntRange(0, len(n.flying)-1).Draw(t, "packet")
		k := n.flying[i]
		if rapid.IntRange(0, 9).Draw(t, "double") > 0 {
			n.flying = slices.Delete(n.flying, i, i+1)
		}
		if rapid.IntRange(0, 9).Draw(t, "lose") > 1 {
			n.carry(k, rapid.Bool().Draw(t, "keep"))
			p = n.parties[k.send.Device]
		}
	case 6:
		n.setRelay(p, rapid.Bool().Draw(t, "relay"))
	case 7:
		if other := n.pick(t, "other"); other != p {
			if rapid.IntRange(0, 3).Draw(t, "doubt") == 0 {
				p.engine.DirectDoubt(n.now, other.device, rapid.Bool().Draw(t, "doubtful"))
			} else {
				n.setLink(p, other, rapid.SampledFrom([]Way{"", WayLAN, WayDirect}).Draw(t, "way"))
			}
		}
	case 8:
		n.tick(time.Duration(rapid.IntRange(1, 20).Draw(t, "seconds")) * time.Second)
	case 9:
		n.drainMailbox(p, rapid.IntRange(0, 3).Draw(t, "drained"))
	case 10:
		if rapid.IntRange(0, 4).Draw(t, "join") == 0 {
			n.join()
		}
	case 11:
		if other := n.pick(t, "whom"); other != p {
			n.bar(p, other.device, rapid.Bool().Draw(t, "barred"))
		}
	}
	n.settle(p, rapid.SampledFrom(fates).Draw(t, "fate"))
}

// drainMailbox gives a connected party what is stored for it; the rendezvous forgets it only after the party has committed.
func (n *net) drainMailbox(p *party, limit int) {
	if !n.relay[p.device] {
		return
	}
	var rest []packet
	for _, k := range n.mailbox {
		if k.send.Device != p.device || limit == 0 {
			rest = append(rest, k)
			continue
		}
		limit--
		n.arrive(p, k, WayMailbox)
	}
	n.settle(p, lives)
	n.mailbox = rest
}

// heal lets everything work, until nothing is left to do.
func (n *net) heal() {
	for ends := range n.barred {
		n.bar(n.parties[ends[0]], ends[1], false)
	}
	for _, p := range n.parties {
		n.setRelay(p, true)
		n.settle(p, lives)
	}
	for range 400 {
		for len(n.flying) > 0 {
			k := n.flying[0]
			n.flying = n.flying[1:]
			n.carry(k, false)
			n.settle(n.parties[k.send.Device], lives)
			n.settle(n.parties[k.from], lives)
		}
		for _, p := range n.parties {
			n.drainMailbox(p, 1000)
		}
		left := 0
		for _, p := range n.parties {
			left += p.disk.pending()
		}
		if left == 0 && len(n.flying) == 0 {
			return
		}
		n.tick(5 * time.Second)
	}
	n.t.Fatalf("messages are stuck in an outbox though every way works:%s", n.stuck())
}

// stuck tells of each message that is left, and what its recipient waits for.
func (n *net) stuck() (all string) {
	for _, p := range n.parties {
		for name, box := range p.disk.outbox {
			for num, o := range box {
				all += fmt.Sprintf("\n%s to %s: %d %x void=%v again=%v %v", p.device.Device()[:2], name, num, o.Message.ID[:2], o.Message.Void, o.Message.Renumbered, o.Phases)
				for _, d := range o.Message.Devices {
					s := n.parties[d].disk.device(p.device)
					all += fmt.Sprintf("; %s waits for %d and holds %d", d.Device()[:2], s.Next, len(s.Held))
				}
			}
		}
	}
	return all
}

// check compares what was accepted with what was shown: all of it, except what has failed, and nothing else.
func (n *net) check() {
	for _, p := range n.parties {
		n.checkGaps(p)
		n.checkDelivered(p)
		seen := map[MessageID]bool{}
		for _, m := range p.disk.shown {
			sent, ok := n.accepted[m.ID]
			if !ok || sent.Body != m.Body || sent.N != m.N {
				n.t.Fatalf("%s was shown %+v, which nobody sent", p.device.Device(), m)
			}
			seen[m.ID] = true
		}
		for id, m := range n.accepted {
			if m.To != ownerOf(p.device) || !slices.Contains(m.Devices, p.device) || seen[id] {
				continue
			}
			if _, failed := n.failed[id]; !failed && m.Expires.IsZero() && !m.Policy.mustBeDirect() {
				n.t.Fatalf("message %d to %s is lost", m.N, p.device.Device())
			}
		}
	}
}

// checkDelivered wants what a party's disk has as delivered to be shown by one of the devices that it was for.
func (n *net) checkDelivered(p *party) {
	for id, progress := range p.disk.progress {
		if progress.Stage == StageDelivered && !slices.ContainsFunc(n.accepted[id].Devices, func(d Device) bool {
			return slices.ContainsFunc(n.parties[d].disk.shown, func(m Incoming) bool { return m.ID == id })
		}) {
			n.t.Fatalf("message %d of %s is delivered to nobody", n.accepted[id].N, p.device.Device())
		}
	}
}

// checkGaps wants each number between the first and the last of a sender to be either shown or told as missing, and only numbers
// to be told as missing that were given up.
func (n *net) checkGaps(p *party) {
	told := map[Device]map[uint64]string{}
	tell := func(d Device, num uint64, what string) {
		if told[d] == nil {
			told[d] = map[uint64]string{}
		}
		if told[d][num] != "" {
			n.t.Fatalf("number %d of %s is %s and %s", num, d.Device(), told[d][num], what)
		}
		told[d][num] = what
	}
	for _, m := range p.disk.shown {
		tell(m.Device, m.N, "shown")
	}
	for _, g := range p.disk.gaps {
		for num := g.First; num <= g.Last; num++ {
			tell(g.Device, num, "missing")
			if m, ok := n.sent(g.Device, ownerOf(p.device), num); !ok || slices.Contains(m.Devices, p.device) && m.Expires.IsZero() && !m.Policy.mustBeDirect() {
				n.t.Fatalf("%s is told that %d of %s is missing", p.device.Device(), num, g.Device.Device())
			}
		}
	}
	for d, numbers := range told {
		first, last := slices.Min(slices.Collect(maps.Keys(numbers))), slices.Max(slices.Collect(maps.Keys(numbers)))
		if int(last-first)+1 != len(numbers) {
			n.t.Fatalf("%s has neither seen nor missed some of %d to %d of %s", p.device.Device(), first, last, d.Device())
		}
	}
}

// sent finds the message that a device gave a number.
func (n *net) sent(from Device, to Account, num uint64) (Message, bool) {
	for id, m := range n.accepted {
		if id[0] == from[0] && m.To == to && m.N == num {
			return m, true
		}
	}
	return Message{}, false
}

// TestSchedules runs random schedules of loss, doubling, reordering, crashes, changing ways, the mailbox and expiry. The disk checks at each step that
// nothing is shown twice or out of order; at the end nothing may be missing.
func TestSchedules(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		n := newNet(t)
		for range rapid.IntRange(1, 120).Draw(t, "steps") {
			n.step(t)
		}
		n.heal()
		n.check()
	})
}
