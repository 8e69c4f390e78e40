package server

import (
	"context"
	"io"
	"testing"
	"testing/synctest"
	"time"

	ma "github.com/multiformats/go-multiaddr"

	"github.com/byway-chat/byway/rendezvous"
)

// TestObserved has a peer ask from where it is seen, over TCP and over UDP.
func TestObserved(t *testing.T) {
	w := start(t, Config{}, false)
	d := w.registered("alice", 0)
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	seen, asked := d.conn.Observe(ctx)
	if len(seen) != 2 || !asked || seen[0].UDP() || !seen[1].UDP() {
		t.Fatalf("seen at %v; UDP asked: %v", seen, asked)
	}
	for i, transport := range []int{ma.P_TCP, ma.P_UDP} {
		local, err := seen[i].Local.ValueForProtocol(transport)
		there, thereErr := seen[i].Seen.ValueForProtocol(transport)
		if err != nil || thereErr != nil || local != there {
			t.Errorf("port %s is seen as %s: %v, %v", local, there, err, thereErr)
		}
	}
	if conns := d.host.Network().ConnsToPeer(w.server.host.ID()); len(conns) != 1 {
		t.Errorf("the host knows %d connections to the rendezvous, want 1", len(conns))
	}
	if active := w.server.Active(); len(active) != 1 || active[0].Transport != "tcp" {
		t.Errorf("active: %+v", active)
	}
}

// TestObservedByQUICAlone has a peer ask whose control stream is over QUIC.
func TestObservedByQUICAlone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := start(t, Config{}, true)
		d := w.registered("alice", 0)
		seen, asked := d.conn.Observe(t.Context())
		if len(seen) != 1 || !asked || seen[0].Seen.String() != "/ip4/"+d.ip+"/udp/8000/quic-v1" {
			t.Errorf("seen at %v; UDP asked: %v", seen, asked)
		}
	})
}

// TestObservedIsForPeers has somebody ask who does not speak to the rendezvous.
func TestObservedIsForPeers(t *testing.T) {
	w := start(t, Config{}, false)
	d := w.device("alice", 0)
	if err := d.host.Connect(t.Context(), w.info()); err != nil {
		t.Fatal(err)
	}
	stream, err := d.host.NewStream(t.Context(), w.server.host.ID(), rendezvous.ObservedProtocolID)
	if err != nil {
		return // refused at once
	}
	if answer, err := io.ReadAll(stream); err == nil {
		t.Errorf("a stranger was answered %x", answer)
	}
}
