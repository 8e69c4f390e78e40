package server

import (
	"net/netip"
	"slices"
	"testing"
	"time"

	"github.com/byway-chat/byway/rendezvous"
	"github.com/byway-chat/byway/rendezvous/directory"
)

// registeredConn is the stream that the registry holds for a device.
func (w *world) registeredConn(d *device) *conn {
	w.server.conns.mu.Lock()
	defer w.server.conns.mu.Unlock()
	return w.server.conns.byDevice[d.fingerprint()]
}

// opened opens a stream of the device that has not signed in, and finds the server's end of it.
func (w *world) opened(t *testing.T, d *device) (*raw, *conn) {
	t.Helper()
	known := w.server.conns.snapshot()
	r := d.raw(t)
	r.send(hello())
	r.read()
	for _, c := range w.server.conns.snapshot() {
		if c.peer == d.host.ID() && !slices.Contains(known, c) {
			return r, c
		}
	}
	t.Fatal("the server does not know the stream")
	return nil, nil
}

// Where two sign-ins of one device overlap, the stream that stays is the one that is attached and online.
func TestOverlappingSignIns(t *testing.T) {
	w := start(t, Config{}, false)
	alice, bob := w.registered("alice", 0), w.registered("bob", 1)
	who := w.registeredConn(alice).signed.Load()
	_ = alice.conn.Close()
	waitFor(t, func() bool { return w.registeredConn(alice) == nil })
	bans := w.server.directory.Bans()
	_, slow := w.opened(t, alice)
	stays, quick := w.opened(t, alice)

	admitted := make(chan error, 2)
	slow.mu.Lock() // holds it up between its entry in the registry and its attachment
	go func() { admitted <- slow.admit(t.Context(), 2, who, bans) }()
	waitFor(t, func() bool { return w.registeredConn(alice) == slow })
	go func() { admitted <- quick.admit(t.Context(), 2, who, bans) }()
	select {
	case err := <-admitted:
		admitted <- err
	case <-time.After(100 * time.Millisecond): // it waits for the slow one
	}
	slow.mu.Unlock()
	for range 2 {
		if err := <-admitted; err != nil {
			t.Fatalf("admit: %v", err)
		}
	}
	waitFor(t, func() bool { return !slices.Contains(w.server.conns.snapshot(), slow) })
	if !w.server.tracker.DeviceOnline(alice.fingerprint()) {
		t.Error("the device is signed in and not online")
	}
	bob.submit(alice, "anybody there?")
	_ = stays.s.SetReadDeadline(time.Now().Add(10 * time.Second))
	for {
		if d := stays.read().GetDeliver(); d != nil {
			break
		}
	}
}

// A stream that is ending takes nobody's place.
func TestEndingStreamDoesNotReplace(t *testing.T) {
	w := start(t, Config{}, false)
	alice := w.registered("alice", 0)
	living := w.registeredConn(alice)
	late := &conn{server: w.server, ip: netip.IPv4Unspecified()}
	late.ending.Store(true)
	replaced, err := w.server.conns.signIn(late, living.signed.Load(), 10)
	if err == nil || replaced != nil || w.registeredConn(alice) != living {
		t.Errorf("got %v, %v: an ending stream has replaced a living one", replaced, err)
	}
}

// A sign-in that has read the account before a ban, and comes to the registry after it, is refused.
func TestBanDuringSignIn(t *testing.T) {
	w := start(t, Config{}, false)
	alice := w.registered("alice", 0)
	_ = alice.conn.Close()
	waitFor(t, func() bool { return w.registeredConn(alice) == nil })
	r, c := w.opened(t, alice)
	// The account as Resume has read it.
	bans := w.server.directory.Bans()
	who, err := w.server.directory.Resume(t.Context(), directory.Caller{PeerID: alice.host.ID()}, &rendezvous.Resume{Username: "alice"})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := w.server.Ban(t.Context(), "alice", "spam"); err != nil {
		t.Fatal(err)
	}
	if err := c.admit(t.Context(), 2, who, bans); err == nil {
		t.Error("a banned user is admitted")
	}
	if f := r.read(); f.GetFailure().GetCode() != string(rendezvous.CodeBanned) {
		t.Errorf("got %v, want that the user is banned", f)
	}
	if w.server.tracker.Online("alice") {
		t.Error("a banned user is online")
	}
}
