package fault

import (
	"fmt"
	"os"
	"testing"

	"github.com/byway-chat/byway/cmd/byway/stage"
)

// speak has two people write to each other and waits until all is shown.
func (c *cast) speak(count int, a, b *voice) {
	c.t.Helper()
	for range count {
		a.say(b.User, "")
		b.say(a.User, "")
	}
	c.ledger.settle(c.running(), patience)
	c.ledger.check(c.t)
}

// acknowledged waits until whoever has written to v knows that it has arrived, and so does the rendezvous: else that brings it again. It is told no later than with the next
// envelope that v gives it, so v writes once more by the relay.
func (c *cast) acknowledged(v, to *voice) {
	c.t.Helper()
	told := func() {
		c.t.Helper()
		if !c.ledger.await(patience, func() bool { return c.ledger.sum.delivered >= c.ledger.sum.accepted }) {
			c.t.Error("not everything that was shown has been acknowledged")
		}
	}
	told()
	v.sayBy("relay", to.User, "")
	c.ledger.settle(c.running(), patience)
	told()
}

// TestRestoredHome puts an older copy in the place of a home: the numbers of what was sent since are used once more, and what was received since
// is not known. The conversation goes on in both directions, and nobody is shown anything twice. TestLedger is the control of all that is done to
// homes.
func TestRestoredHome(t *testing.T) {
	roll.Begin(t)
	c, alice, bob := couple(t)
	c.speak(5, alice, bob)
	alice.stop()
	backup := t.TempDir() + "/backup"
	copyTree(t, alice.Home, backup)
	alice.start()
	c.speak(10, alice, bob)
	c.acknowledged(alice, bob) // what the home that is lost has not acknowledged comes again, and rightly
	alice.kill()
	if err := os.RemoveAll(alice.Home); err != nil {
		t.Fatal(err)
	}
	copyTree(t, backup, alice.Home)
	alice.start()
	c.expectGaps() // bob's ten, which only the lost home has
	c.speak(10, alice, bob)
	c.speak(10, alice, bob)
	c.ledger.audit(t, bob.Person, "alice")
	sum := c.ledger.check(t)
	summary.add(t.Name(), "home restored from a backup", 1, sum)
}

// expectGaps lets what is missing from now on be no fault: something was lost with a home.
func (c *cast) expectGaps() {
	c.ledger.mu.Lock()
	defer c.ledger.mu.Unlock()
	c.ledger.gapsExpected = true
}

// TestCopiedHome runs a home and a copy of it, first in turns and then at once. Whatever either has accepted is shown, once.
func TestCopiedHome(t *testing.T) {
	roll.Begin(t)
	turns := size(4, 20)
	c, alice, bob := couple(t)
	c.speak(5, alice, bob)
	alice.stop()
	original, copied := alice.Home, t.TempDir()+"/copy"
	copyTree(t, original, copied)
	c.expectGaps() // what bob writes is received by one of the two
	c.ledger.mu.Lock()
	c.ledger.copies = true
	c.ledger.mu.Unlock()
	for turn := range turns {
		alice.Home = []string{original, copied}[turn%2]
		alice.start()
		c.speak(5, alice, bob)
		alice.kill()
	}
	if long { // it may take a minute: one of the two is told to stay away, and comes back after that
		c.atOnce(original, copied)
	}
	c.ledger.audit(t, bob.Person, "alice")
	sum := c.ledger.check(t)
	summary.add(t.Name(), "turns of a copied home", turns, sum)
}

// atOnce runs both homes of alice at the same time.
func (c *cast) atOnce(original, copied string) {
	c.t.Helper()
	alice := c.person("alice")
	alice.Home = original
	alice.start()
	twin := &voice{Person: stage.NewPerson(c.t, "alice", c.o), ledger: c.ledger, t: c.t, lane: "-copy"}
	twin.Home = copied
	twin.launch()
	for range 5 {
		alice.say("bob", "")
		twin.say("bob", "")
	}
	c.ledger.settle(append(c.running(), twin.typewriter.Load().screen), 2*patience)
}

// TestTwoFaces has two programs share a home. When the one that owns the peer is killed, the other goes on. Either shows what comes while both
// run, and nothing else is shown more than once.
func TestTwoFaces(t *testing.T) {
	roll.Begin(t)
	rounds := size(3, 20)
	c, owner, bob := couple(t)
	for round := range rounds {
		second := &voice{Person: owner.Person, ledger: c.ledger, t: t, lane: fmt.Sprintf("-%d", round+2)}
		second.start()
		for range 10 {
			owner.say("bob", "")
			second.say("bob", "")
			bob.say("alice", "")
		}
		moment(c.ledger)
		owner.kill()
		for range 10 {
			second.say("bob", "")
			bob.say("alice", "")
		}
		owner = second
		c.people[0] = second
		c.ledger.settle(c.running(), patience)
	}
	c.verdict("kill -9 of one of two faces", rounds)
}
