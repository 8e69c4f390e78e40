package measure_test

import (
	"testing"
	"time"
)

// relayStudies measure the processor time that the rendezvous and the hub need for one live message between two connected clients.
func relayStudies() []study {
	return []study{
		{name: "load=separate", body: func(tb testing.TB, s scale) figures { return relayed(tb, s, 0) }},
		{name: "load=alone", body: func(tb testing.TB, s scale) figures { return relayed(tb, s, 1) }, more: true},
		{name: "load=crowded", body: func(tb testing.TB, s scale) figures { return relayed(tb, s, relayInFlight) }},
	}
}

func BenchmarkRelay(b *testing.B) { run(b, relayStudies()) }

// The loads of the relay study.
const (
	relayPairs    = 10
	separateRate  = 10_000 // messages a second in all: each pair's next comes a millisecond later
	relayInFlight = 128    // messages of each pair; the rendezvous lets a device hold 1,024 untaken
	relayText     = 64     // bytes
)

// relayed lets hub and rendezvous take turns at the same load. The hub carries the text itself, the rendezvous the sealed envelope of such a
// text. Each pair has so many messages in flight; with 0 they come at the separate rate, which leaves the processors idle between them.
func relayed(tb testing.TB, s scale, inFlight int) figures {
	n := s.pick(relayPairs, relayPairs, 1)
	hub, node := startHub(tb), serve(tb, 2*n, 0)
	yard, ours := hubPairs(tb, hub, n, inFlight > 1), rendezvousPairs(tb, node, n)
	text, envelope := make([]byte, relayText), sealed(tb, relayText)
	for _, p := range append(append([]*pair(nil), yard...), ours...) {
		p.open(max(inFlight, 1), false)
	}
	load := func(pairs []*pair, message []byte) loader {
		if inFlight == 0 {
			return separate(pairs, separateRate, message)
		}
		return crowded(pairs, message)
	}
	var yardSpent, ourSpent spent
	for range s.rounds {
		s.gauge(tb, hub.pid(), &yardSpent, arrivals(yard), load(yard, text), nil)
		s.gauge(tb, node.pid(), &ourSpent, arrivals(ours), load(ours, envelope), nil)
	}
	var out figures
	out.add("us/msg", ourSpent.cpuPerMessage())
	out.add("hub-us/msg", yardSpent.cpuPerMessage())
	out.add("x-hub", ourSpent.cpuPerMessage()/yardSpent.cpuPerMessage())
	out.add("msg/s", ourSpent.perSecond())
	out.add("hub-msg/s", yardSpent.perSecond())
	out.add("writes/msg", ourSpent.each(ourSpent.writes))
	out.add("hub-writes/msg", yardSpent.each(yardSpent.writes))
	out.add("reads/msg", ourSpent.each(ourSpent.reads))
	out.add("hub-reads/msg", yardSpent.each(yardSpent.reads))
	out.add("not-live", float64(notLive(ours)))
	return out
}

// notLive waits until nothing is under way and counts what was not handed on at once, but stored or refused.
func notLive(pairs []*pair) (n uint64) {
	deadline := time.Now().Add(2 * time.Second)
	for _, p := range pairs {
		from := p.from.(*device)
		for from.taken.Load()+from.stored.Load()+from.failed.Load() < p.arrived.Load() && time.Now().Before(deadline) {
			time.Sleep(time.Millisecond)
		}
		n += from.stored.Load() + from.failed.Load()
	}
	return n
}
