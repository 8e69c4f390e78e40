package natlab

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/byway-chat/byway/cmd/byway/stage"
)

// neighbourRows is where the rows of these tests stand in the table: after all pairs.
const neighbourRows = 100

// neighbourhood is alice and bob on one LAN whose rendezvous comes and goes.
type neighbourhood struct {
	*conversation
	l     *lan
	w     *internet
	place town
	said  int
}

// newNeighbourhood has alice and bob register and talk over the LAN. Where deaf is set, no multicast passes.
func newNeighbourhood(t *testing.T, deaf bool) *neighbourhood {
	t.Helper()
	w := newInternet(t)
	l, place := together(w)
	if deaf {
		w.deafen(place.alice)
		w.deafen(place.bob)
	}
	w.run()
	h := &neighbourhood{conversation: meet(t, place), l: l, w: w, place: place}
	if found, _, _ := h.settle(pair{name: "before", want: "lan"}); found != "lan" {
		t.Fatalf("the way is %s\n%s", found, h.story())
	}
	return h
}

// say sends a message from alice to bob and returns how it was delivered.
func (h *neighbourhood) say() stage.Event {
	h.t.Helper()
	id := h.write()
	return h.alice.State(id, "delivered")
}

// write sends a message from alice to bob and waits until it is accepted.
func (h *neighbourhood) write() (id string) {
	h.t.Helper()
	h.said++
	id = fmt.Sprintf("neighbour %d", h.said)
	h.alice.Send(id, "bob", id, "auto")
	h.alice.State(id, "accepted")
	return id
}

// unplug takes the rendezvous off the network: nothing answers there any more, not even with a refusal.
func (h *neighbourhood) unplug() {
	h.t.Helper()
	h.w.net.IP("-n", h.l.bridge, "link", "set", "rdv", "down")
	h.o.Kill()
	for _, s := range []*stage.Stream{h.alice, h.bob} {
		s.Await("the rendezvous is away", func(e stage.Event) bool { return e.Type == "rendezvous" })
	}
}

// replug brings it back.
func (h *neighbourhood) replug() {
	h.t.Helper()
	h.w.net.IP("-n", h.l.bridge, "link", "set", "rdv", "up")
	h.o.Again()
}

// leave stops both.
func (h *neighbourhood) leave() {
	h.t.Helper()
	for _, s := range []*stage.Stream{h.alice, h.bob} {
		if code := s.Stop(); code != 0 && code != 130 {
			h.t.Errorf("%s: exit code %d", s.Name, code)
		}
	}
}

// start starts a bot and does not wait for it.
func start(p *stage.Person) *stage.Stream { return p.Open("bot") }

// outcome is a row of the table.
func (h *neighbourhood) row(order int, what, found string, took time.Duration) {
	h.t.Helper()
	r := row{order: neighbourRows + order, networks: what, want: "lan", found: found, took: took}
	if !r.right() {
		h.t.Errorf("%s: the way is %s, want lan\n%s", what, found, h.story())
	}
	results.add(r)
}

// TestRendezvousKilled kills the rendezvous in mid-conversation. They go on, `who` says how it is, and what has waited is settled when it returns.
func TestRendezvousKilled(t *testing.T) {
	roll.Begin(t, stage.Linking, translating)
	h := newNeighbourhood(t, false)
	h.o.Kill()
	began := time.Now()
	h.alice.Await("the rendezvous is away", func(e stage.Event) bool { return e.Type == "rendezvous" })
	e := h.say()
	h.row(0, "one LAN, rendezvous killed", e.Way, time.Since(began))
	who := h.must(0, "who", "--json")
	var bob struct {
		Name, Way, Key string
		Online         bool
	}
	if err := json.Unmarshal([]byte(who.Out), &bob); err != nil || bob.Name != "bob" || bob.Way != "lan" || !bob.Online || bob.Key != "pinned" {
		t.Errorf("who says %s", who.Out)
	}
	if !strings.Contains(who.Errors, "byway: warning: the rendezvous is away") {
		t.Errorf("who does not say that the rendezvous is away: %q", who.Errors)
	}
	if r := h.must(0, "send", "bob", "from another command"); !strings.HasPrefix(r.Out, "delivered to bob by lan") {
		t.Errorf("send says %q", r.Out)
	}
	h.must(10, "send", "carol", "whom nobody has met")
	h.must(0, "route", "bob")
	h.must(4, "send", "bob", "only by relay", "--way", "relay", "--timeout", "300ms", "--wait", "delivered")
	h.o.Again()
	h.alice.Await("the rendezvous is back", func(e stage.Event) bool { return e.Type == "rendezvous" })
	h.bob.Message("alice", "only by relay")
	h.must(0, "send", "bob", "by the rendezvous again", "--way", "relay", "--wait", "delivered")
}

// TestBothRestarted has both start again while the rendezvous is unplugged: they find each other by mDNS.
func TestBothRestarted(t *testing.T) {
	roll.Begin(t, stage.Linking, translating)
	h := newNeighbourhood(t, false)
	waiting := h.restarted(1, "one LAN, unplugged, both restarted")
	h.bob.Message("alice", waiting)
	h.replug()
	h.alice.Await("the rendezvous is back", func(e stage.Event) bool { return e.Type == "rendezvous" })
	if e := h.say(); e.Way != "lan" {
		t.Errorf("with the rendezvous the way is %s", e.Way)
	}
}

// TestRememberedAddresses is the same on a network without multicast.
func TestRememberedAddresses(t *testing.T) {
	roll.Begin(t, stage.Linking, translating)
	h := newNeighbourhood(t, true)
	h.restarted(2, "the same without multicast: remembered addresses")
}

// restarted has both start again without the rendezvous, and what alice has written meanwhile find its way. It returns that text.
func (h *neighbourhood) restarted(order int, name string) string {
	h.t.Helper()
	h.unplug()
	h.leave()
	h.alice = h.people[0].Bot()
	waiting := h.write()
	began := time.Now()
	h.bob = start(h.people[1])
	e := h.alice.State(waiting, "delivered")
	h.row(order, name, e.Way, time.Since(began))
	return waiting
}

// TestMovedWithoutMulticast gives both another address while nothing tells it to the other; alice finds bob by a typed address and by a sweep.
func TestMovedWithoutMulticast(t *testing.T) {
	roll.Begin(t, stage.Linking, translating)
	h := newNeighbourhood(t, true)
	<-time.After(7 * time.Second) // alice should have heard bob by now
	h.unplug()
	h.move(66, 77)
	r := h.must(5, "find", "bob")
	if !strings.Contains(r.Errors, "multicast-filtered") || !strings.Contains(r.Errors, "byway: hint: ") {
		t.Errorf("find says %s", r.Errors)
	}
	h.must(2, "connect", "bob", "/dns4/bob/tcp/1")
	h.must(5, "connect", "bob", "/ip4/192.168.77.200/tcp/22000")
	began := time.Now()
	if r := h.must(0, "find", "bob", "--sweep", "--json"); !strings.Contains(r.Out, "/ip4/192.168.77.77/tcp/") || !strings.Contains(r.Out, `"way":"lan"`) {
		t.Errorf("the sweep says %s", r.Out)
	}
	took := time.Since(began)
	h.row(3, "moved, without multicast: sweep of the /24", h.say().Way, took)

	h.move(67, 78)
	address, _, _ := strings.Cut(h.people[1].Must(0, "address").Out, "\n")
	if !strings.HasPrefix(address, "/ip4/192.168.77.78/") {
		t.Errorf("the first address is %s", address)
	}
	began = time.Now()
	h.must(0, "connect", "bob", address)
	took = time.Since(began)
	h.row(4, "moved, without multicast: address typed", h.say().Way, took)
}

// must is a command of alice that has to exit with code; else the test tells the story of both.
func (h *neighbourhood) must(code int, args ...string) stage.Result {
	h.t.Helper()
	r := h.people[0].Run(args...)
	if r.Code != code {
		h.t.Fatalf("byway %v: exit code %d, want %d\n%s%s\n%s", args, r.Code, code, r.Out, r.Errors, h.story())
	}
	return r
}

// move gives both other addresses, the last octets of which are given, and waits until alice has given the way to the old one up.
func (h *neighbourhood) move(alice, bob int) {
	h.t.Helper()
	for space, octet := range map[string]int{h.place.alice: alice, h.place.bob: bob} {
		h.w.net.IP("-n", space, "addr", "flush", "dev", "eth0")
		h.w.net.IP("-n", space, "addr", "add", fmt.Sprintf("192.168.77.%d/24", octet), "dev", "eth0")
	}
	h.alice.Await("the way is given up", func(e stage.Event) bool { return e.Type == "route" && e.Old == "lan" })
}

// TestLateInterface starts both without a network; it comes later.
func TestLateInterface(t *testing.T) {
	roll.Begin(t, stage.Linking, translating)
	h := newNeighbourhood(t, false)
	h.unplug()
	h.leave()
	for _, space := range []string{h.place.alice, h.place.bob} {
		h.w.net.IP("-n", space, "link", "set", "eth0", "down")
	}
	h.alice, h.bob = h.people[0].Bot(), h.people[1].Bot()
	waiting := h.write()
	for _, space := range []string{h.place.alice, h.place.bob} {
		h.w.net.IP("-n", space, "link", "set", "eth0", "up")
	}
	began := time.Now()
	e := h.alice.State(waiting, "delivered")
	h.row(5, "one LAN, unplugged, the interface comes later", e.Way, time.Since(began))
}
