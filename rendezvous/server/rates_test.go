package server

import (
	"bytes"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/libp2p/go-libp2p/core/network"
	ma "github.com/multiformats/go-multiaddr"

	"github.com/byway-chat/byway/rendezvous"
	"github.com/byway-chat/byway/rendezvous/sqlite"
)

// One stream that asks or publishes without end is refused; the next stream of the same device is not.
func TestRequestRates(t *testing.T) {
	w := start(t, Config{}, false)
	alice := w.registered("alice", 0)
	untilRefused := func(burst int, request func() error) {
		t.Helper()
		for n := range 10 * burst {
			err := request()
			if err == nil {
				continue
			}
			refusal, _ := errors.AsType[*rendezvous.Error](err)
			if n < burst || rendezvous.CodeOf(err) != rendezvous.CodeRateLimited || refusal.RetryAfter <= 0 {
				t.Errorf("request %d: got %v", n, err)
			}
			return
		}
		t.Errorf("none of %d requests was refused", 10*burst)
	}
	untilRefused(publishBurst, func() error { return alice.conn.Publish(t.Context(), &rendezvous.Publish{}) })
	untilRefused(askBurst, func() error { _, err := alice.conn.Lookup(t.Context(), "nobody"); return err })
	for range 10 {
		_ = alice.conn.Close()
		alice.resume()
		for range 2 {
			if err := alice.conn.Publish(t.Context(), &rendezvous.Publish{}); err != nil {
				t.Fatalf("publish: %v", err)
			}
		}
		if _, err := alice.conn.List(t.Context(), "", 1); err != nil {
			t.Fatalf("list: %v", err)
		}
	}
}

func TestTakenIsBounded(t *testing.T) {
	w := start(t, Config{}, false)
	r := w.device("alice", 0).raw(t)
	r.send(hello())
	r.read()
	r.send(&rendezvous.Frame{Id: 7, Body: &rendezvous.Frame_Taken{Taken: &rendezvous.Taken{
		Deliveries: []*rendezvous.Run{{First: 1}, {First: 3, More: rendezvous.MaxNumbers - 1}},
	}}})
	if f := r.read(); f.GetId() != 7 || f.GetFailure().GetCode() != string(rendezvous.CodeBadRequest) {
		t.Errorf("got %v, want a refusal", f)
	}
}

func TestFullDiskIsTold(t *testing.T) {
	f := failureOf(fmt.Errorf("insert into /srv/secret: %w", sqlite.ErrDiskFull))
	if f.GetCode() != string(rendezvous.CodeInternal) || !strings.Contains(f.GetMessage(), "cannot store") || strings.Contains(f.GetMessage(), "secret") {
		t.Errorf("got %v", f)
	}
}

func TestReadyFileAlwaysNamesMetrics(t *testing.T) {
	ready := filepath.Join(t.TempDir(), "ready")
	start(t, Config{ReadyFile: ready}, false)
	text, err := os.ReadFile(ready)
	if err != nil || !bytes.Contains(text, []byte(`"metrics":""`)) {
		t.Errorf("got %s, %v", text, err)
	}
}

// All peers behind one public address come back at once after a restart; beyond that the address is held to a rate.
func TestAnOfficeComesBack(t *testing.T) {
	for _, tt := range []struct {
		name  string
		at    string // multiaddr of the peers
		holds int    // connections that the address may have
	}{
		{"an office", "/ip4/45.0.0.1/tcp/1024", perIPv4},
		{"a household", "/ip6/2600:1:2:3::1/tcp/1024", perIPv6Net},
		{"the own site", "/ip4/10.0.0.1/tcp/1024", 5000},
	} {
		t.Run(tt.name, func(t *testing.T) {
			m, err := resourceManager(DefaultMaxPeers, nil)
			if err != nil {
				t.Fatal(err)
			}
			defer func() { _ = m.Close() }()
			at, err := ma.NewMultiaddr(tt.at)
			if err != nil {
				t.Fatal(err)
			}
			open := 0
			for range tt.holds {
				// The connections that a crash has cut are counted at first, like these, and then released.
				scope, err := m.OpenConnection(network.DirInbound, false, at)
				if err != nil {
					t.Fatalf("connection %d before the restart: %v", open, err)
				}
				scope.Done()
				if _, err := m.OpenConnection(network.DirInbound, false, at); err != nil {
					t.Fatalf("connection %d is refused: %v", open, err)
				}
				if open++; open == transientConns(DefaultMaxPeers) {
					break // the handshakes of this test never end
				}
			}
		})
	}
	rates := connRates()
	for range 2 * newConnsBurst {
		rates.Allow(netip.MustParseAddr("45.0.0.2"))
	}
	if rates.Allow(netip.MustParseAddr("45.0.0.2")) {
		t.Error("an address may connect without end")
	}
}
