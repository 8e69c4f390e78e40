package measure_test

import (
	"fmt"
	"testing"

	"github.com/byway-chat/byway/peer"
)

// endToEndStudies measure whole peers: accepted, sealed, sent, opened, on both disks, told by the API, and the sealed receipt back.
func endToEndStudies() []study {
	var all []study
	for _, way := range []peer.Way{peer.WayRelay, peer.WayLAN} {
		for _, size := range []int{64, 1024} {
			for _, pairs := range []int{1, 10, 100} {
				all = append(all, study{
					name: fmt.Sprintf("way=%s/size=%d/pairs=%d", way, size, pairs),
					body: func(tb testing.TB, s scale) figures {
						return endToEnd(tb, s, way, size, s.pick(pairs, pairs, min(pairs, 2)))
					},
					long: size != 64 && pairs != 10 || way == peer.WayLAN && pairs == 100,
					more: pairs != 10 || size != 64,
				})
			}
		}
	}
	return all
}

func BenchmarkEndToEnd(b *testing.B) { run(b, endToEndStudies()) }

// endToEnd compares with pairs of clients of the hub that answer each message, with as many under way. Those have no disk and no secrets from
// the hub.
func endToEnd(tb testing.TB, s scale, way peer.Way, size, pairs int) figures {
	hub, node := startHub(tb), serve(tb, 0, 2*pairs)
	yard := hubPairs(tb, hub, pairs, true)
	for _, p := range yard {
		p.open(inFlight, true)
	}
	ours := couples(tb, node, pairs, way, apart)
	s = s.once()
	var yardSpent, nodeSpent, peersSpent spent
	s.gauge(tb, hub.pid(), &yardSpent, arrivals(yard), crowded(yard, make([]byte, size)), nil)
	count := delivered(tb, ours)
	first, before := count(), peersBusy(tb, ours)
	s.gauge(tb, node.pid(), &nodeSpent, count, s.busy(tb, ours, inFlight, size, &latencies{}), filled(count, pairs*inFlight))
	peersSpent.cpu = peersBusy(tb, ours) - before
	peersSpent.messages = count() - first
	var out figures
	out.add("msg/s", nodeSpent.perSecond())
	out.add("hub-msg/s", yardSpent.perSecond())
	out.add("peers-us/msg", peersSpent.cpuPerMessage())
	out.add("rendezvous-us/msg", nodeSpent.cpuPerMessage())
	out.add("hub-us/msg", yardSpent.cpuPerMessage())
	out.add("detours", float64(detours(tb, ours)))
	return out
}
