package fault

import (
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/byway-chat/byway/cmd/byway/stage"
)

// pageOfLetters is how many short letters may share a damaged page at most; what is lost of them must be called missing.
const pageOfLetters = 600

// TestFlippedBit turns round one random bit in one data file after the other, while the programs do not run. Nobody is ever shown anything that was
// not written to them; where the damage is noticed it is said on standard error, the damaged file is kept, and what is lost is no more than
// a page holds; and the conversation goes on.
func TestFlippedBit(t *testing.T) {
	t.Parallel()
	rounds := 3
	if long {
		rounds = 60
	}
	c := newCast(t, setting{people: 2})
	c.everybody()
	c.chatter(40)()
	c.ledger.settle(c.running(), patience)
	alice, bob := c.person("alice"), c.person("bob")
	if code := max(alice.stop(), bob.stop(), c.o.Stop()); code != 0 {
		t.Errorf("SIGTERM: exit code %d", code)
	}
	whole := map[string]string{"rendezvous": c.o.Data, "alice": alice.Home}
	backup := t.TempDir()
	for name, dir := range whole {
		copyTree(t, dir, filepath.Join(backup, name))
	}
	noticed, refused := 0, 0
	for round := range rounds {
		name := []string{"alice", "rendezvous"}[round%2]
		file := flip(t, whole[name])
		told, stopped := c.afterFlip(name)
		if told != "" {
			noticed++
		}
		if stopped {
			refused++
		}
		t.Logf("%s: %s", file, told)
		for who, dir := range whole { // the next begins with whole files
			if err := os.RemoveAll(dir); err != nil {
				t.Fatal(err)
			}
			copyTree(t, filepath.Join(backup, who), dir)
		}
	}
	t.Logf("of %d flipped bits %d were noticed, %d of them by a program that did not start", rounds, noticed, refused)
	sum := c.ledger.numbers()
	if sum.phantom+sum.twice > 0 {
		t.Errorf("%s\n%s", sum, strings.Join(c.ledger.strange, "\n"))
	}
	summary.add(t.Name(), "flipped bits", rounds, sum)
}

// flip turns round one bit of a random data file of a directory, and returns which.
func flip(t testing.TB, dir string) string {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(dir, "*.db"))
	if err != nil || len(files) == 0 {
		t.Fatalf("no data files in %s: %v", dir, err)
	}
	name := files[rand.IntN(len(files))]
	content, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	at, bit := rand.IntN(len(content)), rand.IntN(8)
	content[at] ^= 1 << bit
	if err := os.WriteFile(name, content, 0o600); err != nil {
		t.Fatal(err)
	}
	return fmt.Sprintf("%s, byte %d of %d, bit %d", filepath.Base(name), at, len(content), bit)
}

// afterFlip starts everybody, has them look at their history and write to each other, and stops them. told is what was said of the damage, and
// stopped that a program did not start with it.
func (c *cast) afterFlip(name string) (told string, stopped bool) {
	c.t.Helper()
	alice, bob := c.person("alice"), c.person("bob")
	fresh := newLedger() // what was written before is looked for in the histories alone
	old := c.ledger
	defer func() {
		c.ledger, alice.ledger, bob.ledger = old, old, old
	}()
	c.ledger, alice.ledger, bob.ledger = fresh, fresh, fresh
	fresh.gapsExpected = true
	if r := c.tryServe(); r != "" {
		return r, true
	}
	defer func() { c.o.Stop() }()
	alice.launch()
	if !alice.comes() {
		return alice.stream.Stderr(), true
	}
	bob.start()
	defer func() { _, _ = alice.stop(), bob.stop() }()
	for range 5 {
		alice.say("bob", "")
		bob.say("alice", "")
	}
	fresh.settle(c.running(), patience)
	if sum := fresh.check(c.t); sum.shown != 10 {
		c.t.Errorf("after a flipped bit in a file of %s %d of 10 messages were shown", name, sum.shown)
	}
	held := alice.Must(0, "history", "bob", "--json", "--limit", fmt.Sprint(maxHistory)).Out
	c.histories(old, fresh, held)
	said := alice.stream.Stderr() + c.o.Stderr()
	for line := range strings.Lines(said) {
		if strings.Contains(line, "damage") {
			return line, false
		}
	}
	return "", false
}

// histories fails the test where a history holds what nobody has written, or has lost more than a page.
func (c *cast) histories(old, fresh *ledger, held string) {
	c.t.Helper()
	met := 0
	for _, h := range stage.ParseLines[historyEntry](c.t, held) {
		id, _, _ := strings.Cut(h.Body, " ")
		w := old.letters[id]
		if w == nil {
			w = fresh.letters[id]
		} else {
			met++
		}
		if h.Body != "" && (w == nil || w.body != h.Body || w.from != h.From) {
			c.t.Errorf("the history holds %q from %s, which nobody has written so", h.Body, h.From)
		}
	}
	if missing := len(old.letters) - met; missing > pageOfLetters {
		c.t.Errorf("%d messages are missing", missing)
	}
}

// comes waits until a program that was launched is ready; false when it has ended instead.
func (v *voice) comes() bool {
	for n := 0; ; n++ {
		line, ok := v.stream.Next(n, nil)
		if !ok {
			<-v.over
			return false
		}
		if strings.Contains(line, `"type":"ready"`) {
			return true
		}
	}
}

// tryServe starts the rendezvous and returns what it says where it does not.
func (c *cast) tryServe() string {
	c.t.Helper()
	if err := c.o.TryAgain(); err != nil {
		return err.Error()
	}
	return ""
}
