package peer

import (
	"crypto/rand"
	"testing"
	"time"

	"github.com/byway-chat/byway/crypto/identity/identitytest"
	"github.com/byway-chat/byway/crypto/session"
	"github.com/byway-chat/byway/peer/delivery"
)

// opening is a session of bob's to alice's core: its opening and one envelope more.
func opening(t *testing.T, c *core) (id session.ID, first, second []byte) {
	t.Helper()
	payload := (&delivery.Payload{Kind: delivery.KindPong, Pong: &delivery.Pong{Way: WayRelay}}).Append(nil)
	bob := identitytest.Keyring(1)
	chain, first, err := session.Begin(rand.Reader, session.Start{
		From: session.Party{Name: "bob", Fingerprint: fingerprint(1)}, Signer: bob.Identity, To: c.self,
		Key: c.keys.Encryption[0].Public(), Time: time.Now(),
	}, payload)
	if err != nil {
		t.Fatal(err)
	}
	second, err = chain.Seal(payload)
	if err != nil {
		t.Fatal(err)
	}
	return chain.ID(), first, second
}

// TestOvertakenOpening gives a core the second envelope of a session before the first, as two ways do. Both are opened, and no other session is asked for.
func TestOvertakenOpening(t *testing.T) {
	c, _ := desk(t)
	if err := c.learn(now(t), records(t, c, 1, 1)); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { close(c.quit) }) // for the timer: this core does not run
	id, first, second := opening(t, c)
	taken := 0
	in := inbound{name: "bob", device: fingerprint(1), way: WayRelay, taken: func() { taken++ }}
	in.envelope = second
	c.receive(in)
	if taken != 0 {
		t.Error("taken before it could be opened")
	}
	in.envelope = first
	c.receive(in)
	if r, _ := c.receiver(id); taken != 2 || r == nil || c.early.count != 0 || c.early.bytes != 0 {
		t.Errorf("%d of 2 are taken, %d wait", taken, c.early.count)
	}
	if asked := c.devices[fingerprint(1)].resets.at; !asked.IsZero() {
		t.Error("another session was asked for")
	}
}

// TestLobbyIsBounded fills a lobby by number and by bytes.
func TestLobbyIsBounded(t *testing.T) {
	const room = 10
	l := newLobby[string](room, 1<<20)
	for range room {
		if !l.add("a", inbound{envelope: []byte{1}}) {
			t.Fatal("no room")
		}
	}
	if l.add("b", inbound{}) || l.expects("b") {
		t.Error("more are kept than there is room for")
	}
	if all := l.leave("a"); len(all) != room || l.count != 0 || l.bytes != 0 || l.expects("a") {
		t.Errorf("%d left, %d stay", len(all), l.count)
	}
	if l.add("b", inbound{envelope: make([]byte, 1<<20)}) {
		t.Error("more bytes are kept than there is room for")
	}
}

// TestOpeningThatNeverComes asks for another session after a while.
func TestOpeningThatNeverComes(t *testing.T) {
	c, _ := desk(t)
	if err := c.learn(now(t), records(t, c, 1, 1)); err != nil {
		t.Fatal(err)
	}
	_, _, second := opening(t, c)
	taken := 0
	c.receive(inbound{name: "bob", device: fingerprint(1), way: WayRelay, envelope: second, taken: func() { taken++ }})
	d := c.devices[fingerprint(1)]
	if taken != 0 || !d.resets.at.IsZero() {
		t.Error("asked at once")
	}
	(<-c.inbox)()
	if taken != 1 || d.resets.at.IsZero() {
		t.Errorf("taken %d times, asked at %v", taken, d.resets.at)
	}
}

// TestSessionsEndTogether wants a session to be replaced before the first of several envelopes that leave at once, where it has no room for all: the first goes
// the surest way, and the opening must.
func TestSessionsEndTogether(t *testing.T) {
	c, _ := desk(t)
	if err := c.learn(now(t), records(t, c, 1, 1)); err != nil {
		t.Fatal(err)
	}
	d := c.devices[fingerprint(1)]
	seal := func(envelopes int) session.ID {
		t.Helper()
		if _, err := c.seal(now(t), d, nil, envelopes, []byte("hello")); err != nil {
			t.Fatal(err)
		}
		return c.senders[d.Fingerprint].chain.ID()
	}
	first := seal(1)
	for range sessionMessages - 3 {
		seal(1)
	}
	if seal(2) != first {
		t.Error("a session was replaced that had room")
	}
	if second := seal(2); second == first || seal(1) != second {
		t.Error("a session began with the second of two envelopes")
	}
}
