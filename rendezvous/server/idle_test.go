package server

import (
	"runtime"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/libp2p/go-libp2p/core/network"

	"github.com/byway-chat/byway/rendezvous"
)

// ofStreams counts the goroutines that serve control streams, and shows them.
func ofStreams() (n int, stacks string) {
	buf := make([]byte, 8<<20)
	for stack := range strings.SplitSeq(string(buf[:runtime.Stack(buf, true)]), "\n\n") {
		if strings.Contains(stack, "rendezvous/server.(*conn)") || strings.Contains(stack, "framing.(*Writer).work") {
			n++
			stacks += stack + "\n\n"
		}
	}
	return n, stacks
}

// A peer that is signed in, watches and says nothing costs one goroutine beside libp2p's own, and nothing is kept of how it signed in.
func TestIdlePeerCostsOneGoroutine(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := start(t, Config{}, true)
		const peers = 4
		for i := range peers {
			d := w.registered(string(rune('a'+i))+"lice", i)
			if err := d.conn.Watch(t.Context()); err != nil {
				t.Fatal(err)
			}
			d.settle()
		}
		for range 3 {
			time.Sleep(rendezvous.Heartbeat + 500*time.Millisecond)
			synctest.Wait()
			if n, stacks := ofStreams(); n != peers {
				t.Fatalf("%d goroutines for %d idle peers:\n%s", n, peers, stacks)
			}
		}
		for _, c := range w.server.conns.snapshot() {
			if frames, bytes := c.writer.Queued(); frames != 0 || bytes != 0 || c.requests.running != nil || c.signed.Load().Entry != nil {
				t.Errorf("an idle stream holds %d frames, %d bytes, requests %v", frames, bytes, c.requests.running)
			}
		}
	})
}

// The rendezvous has no use for what identify would tell it of its peers, and peers can still sign in.
func TestPeersAreNotIdentified(t *testing.T) {
	w := start(t, Config{}, false)
	alice := w.registered("alice", 0)
	id := alice.host.ID()
	if protocols, err := w.server.host.Peerstore().GetProtocols(id); err != nil || len(protocols) != 0 {
		t.Errorf("protocols %v of a peer are kept (%v)", protocols, err)
	}
	for _, c := range w.server.host.Network().ConnsToPeer(id) {
		for _, s := range c.GetStreams() {
			if s.Stat().Direction == network.DirOutbound {
				t.Errorf("a stream of %q is open to a peer", s.Protocol())
			}
		}
	}
	if protocols, err := alice.host.Peerstore().GetProtocols(w.server.host.ID()); err != nil || len(protocols) == 0 {
		t.Errorf("the peer has not identified the rendezvous: %v, %v", protocols, err)
	}
}

// A connection that its device has left for a newer one is closed, though the device is there.
func TestLeftConnectionIsClosed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := start(t, Config{}, true)
		old := w.registered("alice", 0)
		fresh := w.device("alice", 0)
		fresh.resume()
		w.mu.Lock()
		w.cut[old.ip] = true // it cannot close its end
		w.mu.Unlock()
		time.Sleep(rendezvous.SignInTimeout + 2*time.Second)
		conns := w.server.host.Network().ConnsToPeer(fresh.host.ID())
		if len(conns) != 1 || !strings.Contains(conns[0].RemoteMultiaddr().String(), fresh.ip) {
			t.Errorf("connections of the device: %v", conns)
		}
		if !w.server.tracker.Online("alice") {
			t.Error("the device is not online")
		}
	})
}
