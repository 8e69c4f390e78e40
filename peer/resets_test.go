package peer

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/byway-chat/byway/crypto/session"
	"github.com/byway-chat/byway/peer/delivery"
)

// TestResetsAreBounded has a device ask for a new session again and again. It gets some at once; then nothing more is sent until the next may be, which is
// then not forgotten.
func TestResetsAreBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, _ := desk(t)
		if err := c.learn(now(t), records(t, c, 1, 1)); err != nil {
			t.Fatal(err)
		}
		d := c.devices[fingerprint(1)]
		begin := func() session.ID {
			t.Helper()
			if _, err := c.seal(now(t), d, nil, 1, []byte("hello")); err != nil {
				t.Fatal(err)
			}
			return c.senders[d.Fingerprint].chain.ID()
		}
		for i := range resetBurst {
			if !c.resetSession(d, begin()) {
				t.Errorf("number %d is not heard", i+1)
			}
		}
		last := begin()
		for range 3 {
			if c.resetSession(d, last) {
				t.Error("one too many is heard at once")
			}
		}
		began := time.Now()
		(<-c.inbox)()
		if took := time.Since(began); took != resetEvery {
			t.Errorf("it is heard after %v", took)
		}
		if c.senders[d.Fingerprint] != nil {
			t.Error("it is not heard later")
		}
		notices := c.engine.Take(time.Now()).Notices
		if len(notices) != 1 || notices[0] != (delivery.NoticeReset{Device: d.Fingerprint, Session: last}) {
			t.Errorf("the engine was told %+v", notices)
		}
		time.Sleep(2 * resetEvery)
		if len(c.inbox) > 0 {
			t.Error("what was asked three times is heard more than once")
		}
	})
}

// TestAskingIsBounded brings envelopes of sessions that are not known. It is asked for each at once, but not twice in a while for one, and not too often.
func TestAskingIsBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, _ := desk(t)
		if err := c.learn(now(t), records(t, c, 1, 1)); err != nil {
			t.Fatal(err)
		}
		d := c.devices[fingerprint(1)]
		c.engine.RelayUp(time.Now())
		c.engine.Take(time.Now())
		asked := func(id byte) int {
			taken := false
			c.askReset(inbound{name: "bob", device: d.Fingerprint, way: WayRelay, taken: func() { taken = true }}, session.ID{id})
			if !taken {
				t.Error("the envelope is not dealt with")
			}
			return len(c.engine.Take(time.Now()).Sends)
		}
		if got := asked(1) + asked(1) + asked(2); got != 2 {
			t.Errorf("asked %d times for two sessions", got)
		}
		time.Sleep(resetAgain)
		if asked(2) != 1 {
			t.Error("not asked again after a while")
		}
		count := 0
		for id := byte(3); id < 100; id++ {
			count += asked(id)
		}
		if count != resetBurst-3 {
			t.Errorf("asked %d times more, want %d in all", count, resetBurst)
		}
		time.Sleep(resetEvery)
		if asked(1) != 1 {
			t.Error("not asked again later")
		}
	})
}

// TestCrossedResets has both sides forget the other's session at once. The Reset that comes names the session which was ended here to ask for one: what
// went into it is sent again, but only once.
func TestCrossedResets(t *testing.T) {
	c, _ := desk(t)
	if err := c.learn(now(t), records(t, c, 1, 1)); err != nil {
		t.Fatal(err)
	}
	d := c.devices[fingerprint(1)]
	if _, err := c.seal(now(t), d, nil, 1, []byte("hello")); err != nil {
		t.Fatal(err)
	}
	ours := c.senders[d.Fingerprint].chain.ID()
	c.askReset(inbound{name: "bob", device: d.Fingerprint, taken: func() {}}, session.ID{9})
	if c.resetSession(d, session.ID{8}) || c.resetSession(d, session.ID{}) {
		t.Error("a Reset of a session that never was is heard")
	}
	if !c.resetSession(d, ours) {
		t.Error("a Reset of the session that was ended here is not heard")
	}
	if c.resetSession(d, ours) {
		t.Error("the same Reset is heard twice")
	}
}
