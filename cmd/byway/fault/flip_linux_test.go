package fault

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/byway-chat/byway/cmd/byway/stage"
)

// TestFlippedBit turns round one random bit in one data file after the other, while the programs do not run; the long form overwrites
// 512 bytes in every third round, which nothing can mend. Nobody is ever shown anything that was not written to them; the damage is said on standard
// error and the damaged file is kept; what somebody has received and lost is called missing; and the conversation goes on. Each round is its own
// control: what nobody notices fails it.
func TestFlippedBit(t *testing.T) {
	roll.Begin(t)
	rounds := size(3, 60)
	c, alice, bob := couple(t)
	c.chatter(40)()
	c.ledger.settle(c.running(), patience)
	alice.stop()
	bob.stop()
	if code := c.o.Stop(); code != 0 {
		t.Errorf("SIGTERM: exit code %d", code)
	}
	whole := map[string]string{"rendezvous": c.o.Data, "alice": alice.Home, "bob": bob.Home}
	backup := t.TempDir()
	for name, dir := range whole {
		copyTree(t, dir, filepath.Join(backup, name))
	}
	for round := range rounds {
		name := []string{"alice", "rendezvous"}[round%2]
		file := flip(t, whole[name], long && round%3 == 2, "*.db")
		told := c.afterFlip(name)
		t.Logf("%s: %s", file, told)
		if told == "" { // each page has its checksum, used or not
			t.Errorf("%s: nothing was said", file)
		}
		if kept, _ := filepath.Glob(filepath.Join(whole[name], "*.damaged-*")); len(kept) == 0 {
			t.Errorf("%s: the damaged file was not kept", file)
		}
		for who, dir := range whole { // the next begins with whole files
			if err := os.RemoveAll(dir); err != nil {
				t.Fatal(err)
			}
			copyTree(t, filepath.Join(backup, who), dir)
		}
	}
	sum := c.ledger.numbers()
	if sum.phantom+sum.twice > 0 {
		t.Errorf("%s\n%s", sum, strings.Join(c.ledger.strange, "\n"))
	}
	summary.add(t.Name(), "flipped bits", rounds, sum)
}

// TestKillAndFlip kills one program after the other while everybody writes to everybody, and turns round one random bit in one of the files that it has
// left open: the database, its index, its journal, its sums. That bit is always turned back, or was of nothing: all that was accepted is shown. Only the
// database's log is left out, whose own checksums cannot tell some bits from others: there a page may be lost, with what was in it.
// TestKillWithoutWrites is its control.
func TestKillAndFlip(t *testing.T) {
	roll.Begin(t)
	campaign(t, "kill -9 and a flipped bit", size(1, 5), size(12, 60), 10, inMemory, func(c *cast, round int) {
		name := victims(round % (len(names) + 1))[0]
		c.program(name).Kill()
		dir := c.o.Data
		if name != "rendezvous" {
			dir = c.person(name).Home
		}
		t.Logf("%s: %s", name, flip(t, dir, false, "*.db*"))
		c.light([]string{name})
	})
}

// flip turns round one bit of a random file of a directory that fits a pattern, or overwrites a sector of it, and returns which.
func flip(t testing.TB, dir string, sector bool, pattern string) string {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(dir, pattern))
	files = slices.DeleteFunc(files, func(name string) bool { return strings.Contains(name, ".damaged-") || strings.HasSuffix(name, "-wal") })
	if err != nil || len(files) == 0 {
		t.Fatalf("no data files in %s: %v", dir, err)
	}
	name := files[rand.IntN(len(files))]
	content, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	at, bit := rand.IntN(len(content)), rand.IntN(8)
	for range 100 { // a journal is empty for the most part
		if around := content[at/512*512:]; len(bytes.Trim(around[:min(512, len(around))], "\x00")) > 0 {
			break
		}
		at = rand.IntN(len(content))
	}
	content[at] ^= 1 << bit
	if sector {
		for i := range 512 {
			content[at/512*512+i] = byte(rand.Uint32())
		}
	}
	if err := os.WriteFile(name, content, 0o600); err != nil {
		t.Fatal(err)
	}
	return fmt.Sprintf("%s, byte %d of %d, bit %d", filepath.Base(name), at, len(content), bit)
}

// afterFlip starts everybody, has them look at their history and write to each other, and stops them. told is what was said of the damage.
func (c *cast) afterFlip(name string) (told string) {
	c.t.Helper()
	alice, bob := c.person("alice"), c.person("bob")
	fresh := newLedger() // what was written before is looked for in the histories alone
	old := c.ledger
	defer func() {
		c.ledger, alice.ledger, bob.ledger = old, old, old
	}()
	c.ledger, alice.ledger, bob.ledger = fresh, fresh, fresh
	fresh.gapsExpected = true
	c.o.Again()
	defer c.o.Stop()
	alice.start()
	defer alice.stop()
	bob.start()
	defer bob.stop()
	for range 5 {
		alice.say("bob", "")
		bob.say("alice", "")
	}
	fresh.await(patience/3, func() bool { return fresh.refusedLocked("key-changed") > 0 || fresh.sum.shown >= 10 })
	if fresh.refusals()["key-changed"] > 0 { // it was the page with what she had pinned: that is hers to compare again
		alice.Must(0, "verify", "bob", "--accept")
		for range 5 {
			alice.say("bob", "")
		}
	}
	fresh.settle(c.running(), patience/3)
	if sum := fresh.check(c.t); sum.shown != 10 {
		c.t.Errorf("after a flipped bit in a file of %s %d of 10 messages were shown", name, sum.shown)
	}
	held := alice.Must(0, "history", "bob", "--json", "--limit", fmt.Sprint(maxHistory)).Out
	c.histories(old, fresh, held)
	said := alice.stream.Stderr() + c.o.Stderr()
	for line := range strings.Lines(said) {
		if strings.Contains(line, "damage") {
			told = line // the last says what came of it
		}
	}
	return told
}

// histories fails the test where a history holds what nobody has written, or has lost more than a page.
func (c *cast) histories(old, fresh *ledger, held string) {
	c.t.Helper()
	met, missing := map[string]bool{}, 0
	for _, h := range stage.ParseLines[historyEntry](c.t, held) {
		if h.Type == "gap" {
			missing += int(h.Last - h.First + 1) // that is what a loss must look like
			continue
		}
		id, _, _ := strings.Cut(h.Body, " ")
		w := old.letters[id]
		if w == nil {
			w = fresh.letters[id]
		} else {
			met[id] = true
		}
		if w == nil || w.body != h.Body || w.from != h.From {
			c.t.Errorf("the history holds %q from %s, which nobody has written so", h.Body, h.From)
		}
	}
	received, own := 0, 0
	for id, w := range old.letters {
		switch {
		case met[id]:
		case w.to == "alice":
			received++
		default:
			own++
		}
	}
	if received+own > 0 {
		c.t.Logf("lost: %d received messages, %d of them called missing, and %d of her own", received, missing, own)
	}
	if received > missing {
		c.t.Errorf("%d received messages are gone and %d are called missing", received, missing)
	}
}
