package measure_test

import (
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// startStudies measure the time from the start of a program until it can be used.
func startStudies() []study { return []study{{name: "ready", body: startToReady}} }

func BenchmarkStart(b *testing.B) { run(b, startStudies()) }

// startToReady takes the median of several starts: the rendezvous until its ready file is there, a peer on an existing home until its
// event ready, signed in, and the hub until it says where it listens.
func startToReady(tb testing.TB, s scale) figures {
	var hubs, nodes, peers []time.Duration
	for range s.pick(10, 5, 1) {
		hub := startHub(tb)
		hubs = append(hubs, time.Since(hub.began))
		hub.stop(tb)
		node := serve(tb, 0, 1)
		nodes = append(nodes, node.ready)
		peers = append(peers, startPeer(tb, node))
		node.stop(tb)
	}
	var out figures
	out.add("rendezvous-ms", inMilliseconds(quantile(nodes, 0.5)))
	out.add("peer-ms", inMilliseconds(quantile(peers, 0.5)))
	out.add("hub-ms", inMilliseconds(quantile(hubs, 0.5)))
	return out
}

// startPeer starts byway on a copy of a home and stops it when it has said that it is ready.
func startPeer(tb testing.TB, node *rendezvousProcess) time.Duration {
	tb.Helper()
	name := people.peers(tb, 1)[0]
	home := filepath.Join(tb.TempDir(), "home")
	people.copyHome(tb, name, home)
	p := start(tb, nil, filepath.Join(binaries, "byway"), "bot", "--home", home, "--rendezvous", node.address.String(), "--no-mdns")
	defer p.stop(tb)
	for {
		line, err := p.stdout.ReadString('\n')
		if err != nil {
			p.stop(tb)
			tb.Fatalf("the peer does not start: %v\n%s", err, p.errors.String())
		}
		if strings.Contains(line, `"type":"ready"`) {
			if !strings.Contains(line, `"connected":true`) {
				tb.Errorf("ready without the rendezvous: %s", line)
			}
			return time.Since(p.began)
		}
	}
}
