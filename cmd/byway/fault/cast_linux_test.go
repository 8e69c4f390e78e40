package fault

import (
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/byway-chat/byway/cmd/byway/stage"
)

// patience is how long anything that must happen may take. Only a failure takes so long.
const patience = stage.Patience

// names are the people of every scenario.
var names = []string{"alice", "bob", "carol"}

// template is a rendezvous and homes that are registered there and have done nothing yet: registering costs seconds, copying does not.
var template = sync.OnceValues(func() (string, error) {
	dir, err := os.MkdirTemp("", "template-")
	return dir, err
})

var registered sync.Once

// registeredHomes returns the directory of the template: data of the rendezvous, and a home and password of everybody.
func registeredHomes(t testing.TB) string {
	t.Helper()
	dir, err := template()
	if err != nil {
		t.Fatal(err)
	}
	registered.Do(func() {
		data := filepath.Join(dir, "rendezvous")
		o := stage.Serve(t, "", append(stage.Loopback, "--data", data)...)
		o.Data = data
		var all sync.WaitGroup
		for _, name := range names {
			p := stage.NewPerson(t, name, o)
			p.Home = filepath.Join(dir, name)
			all.Go(func() { p.Must(0, "register", "--user", name, "--no-passphrase") })
		}
		all.Wait()
		if code := o.Stop(); code != 0 {
			t.Fatalf("the rendezvous of the template: exit code %d\n%s", code, o.Stderr())
		}
	})
	return dir
}

// nextCast numbers the casts of this sandbox, which has a loopback of its own.
var nextCast atomic.Int32

// The ports of the casts: one for each rendezvous, and one for each person.
const (
	firstRendezvousPort = 21000
	firstPersonPort     = 25000
)

// cast is the rendezvous and the people of one scenario, and their ledger.
type cast struct {
	t      testing.TB
	ledger *ledger
	o      *stage.Operator
	number int // 1, 2, 3 …
	people []*voice
	disks  map[string]*volume // of the setting
}

// voice is a person whose program is started again and again. Their screen is the ledger.
type voice struct {
	*stage.Person
	lane   string // distinguishes several programs of one person
	ledger *ledger

	t testing.TB

	// owned by the scenario's goroutine
	stream *stage.Stream // the program that runs, or ran last; nil before the first
	over   chan struct{} // closed when all that stream printed is in the ledger

	typewriter atomic.Pointer[typewriter] // of stream, for whoever types
}

// typewriter is the standard input of a program, and the number of the screen that answers.
type typewriter struct {
	stream *stage.Stream
	screen uint64
}

// setting says where the parts of a cast live. The zero value is loopback and memory.
type setting struct {
	people  int                              // how many; 0: everybody
	dir     func(name string) string         // where a home, or the data of "rendezvous", is put; nil: somewhere
	disks   map[string]*volume               // whose disks they are, where the power is cut; dir is not used then
	netns   func(name string) (netns string) // where a program runs; nil: here
	address string                           // that the rendezvous listens on; empty: 127.0.0.1
	flags   []string                         // of every person's commands
	serve   []string                         // further flags of the rendezvous
}

// newCast copies the template and starts nothing but the rendezvous.
func newCast(t testing.TB, s setting) *cast {
	t.Helper()
	from := registeredHomes(t)
	switch {
	case s.disks != nil:
		s.dir = func(name string) string { return s.disks[name].dir }
	case s.dir == nil:
		dir := t.TempDir()
		s.dir = func(string) string { return dir }
	}
	if s.netns == nil {
		s.netns = func(string) string { return "" }
	}
	if s.address == "" {
		s.address = "127.0.0.1"
	}
	c := &cast{t: t, ledger: newLedger(), number: int(nextCast.Add(1)), disks: s.disks}
	place := func(name string) string {
		to := filepath.Join(s.dir(name), name)
		copyTree(t, filepath.Join(from, name), to)
		return to
	}
	data := place("rendezvous")
	args := append([]string{"--no-mdns", "--data", data, "--listen", fmt.Sprintf("/ip4/%s/tcp/%d", s.address, firstRendezvousPort+c.number)}, s.serve...)
	c.o = stage.Serve(t, s.netns("rendezvous"), args...)
	c.o.Data = data
	people := names
	if s.people > 0 {
		people = names[:s.people]
	}
	for i, name := range people {
		flags := s.flags
		if flags == nil {
			flags = c.listen(i)
		}
		v := &voice{Person: stage.NewPerson(t, name, c.o, flags...), ledger: c.ledger, t: t}
		v.Home, v.Netns = place(name), s.netns(name)
		c.people = append(c.people, v)
	}
	for _, v := range s.disks {
		v.sync() // as it was when the people registered
	}
	return c
}

// listen has a person listen where nobody of another cast ever does. All casts are copies of one template and have the same keys, so all of one name would want
// the same port (peer/port.go); and who comes to listen on a port that a dead one of another cast had would be taken for that one.
func (c *cast) listen(person int) []string {
	port := firstPersonPort + c.number*len(names) + person
	return []string{"--listen", fmt.Sprintf("/ip4/127.0.0.1/tcp/%d", port), "--listen", fmt.Sprintf("/ip4/127.0.0.1/udp/%d/quic-v1", port)}
}

// couple is alice and bob, whose programs run.
func couple(t testing.TB) (c *cast, alice, bob *voice) {
	t.Helper()
	c = newCast(t, setting{people: 2})
	c.everybody()
	return c, c.person("alice"), c.person("bob")
}

// campaign has everybody of several casts write to everybody else, strikes them at a random moment, and once more, until it has done so strikes
// times to each cast. The long form does it to all casts at once.
func campaign(t *testing.T, faults string, casts, strikes, messages int, where func(testing.TB) setting, strike func(c *cast, round int)) {
	for i := range casts {
		t.Run(fmt.Sprint(i+1), func(t *testing.T) {
			if long {
				t.Parallel()
			}
			c := newCast(t, where(t))
			c.everybody()
			for round := range strikes {
				wait := c.chatter(messages)
				moment(c.ledger)
				strike(c, round)
				wait()
				c.breathe()
			}
			c.verdict(faults, strikes)
		})
	}
}

// copyTree copies a directory as it is.
func copyTree(t testing.TB, from, to string) {
	t.Helper()
	if err := stage.Tool("cp", "-a", from, to); err != nil {
		t.Fatal(err)
	}
}

// person returns one of them by name.
func (c *cast) person(name string) *voice {
	for _, v := range c.people {
		if v.User == name {
			return v
		}
	}
	c.t.Helper()
	c.t.Fatalf("nobody is called %s", name)
	return nil
}

// everybody starts all bots.
func (c *cast) everybody() {
	c.t.Helper()
	for _, v := range c.people {
		v.launch()
	}
	for _, v := range c.people {
		v.ready()
	}
}

// screens numbers all processes that print.
var screens atomic.Uint64

// launch starts the bot. Everything that it prints goes to the ledger.
func (v *voice) launch(args ...string) {
	v.t.Helper()
	v.stream = v.Open("bot", args...)
	v.over = make(chan struct{})
	screen := screens.Add(1)
	v.typewriter.Store(&typewriter{v.stream, screen})
	go v.listen(v.stream, v.over, screen)
}

func (v *voice) listen(s *stage.Stream, over chan<- struct{}, screen uint64) {
	defer close(over)
	for n := 0; ; n++ {
		line, ok := s.Next(n, nil)
		if !ok {
			return
		}
		var e stage.Event
		if err := json.Unmarshal([]byte(line), &e); err != nil {
			v.t.Errorf("%s: not JSON: %s", v.User, line)
			continue
		}
		v.ledger.note(v.User, screen, &e)
	}
}

// ready waits until the bot is, and fails the test where it ends instead: a home that cannot be used again is lost.
func (v *voice) ready() {
	v.t.Helper()
	v.stream.Await("ready", func(e stage.Event) bool { return e.Type == "ready" })
}

// start is launch and ready.
func (v *voice) start(args ...string) {
	v.t.Helper()
	v.launch(args...)
	v.ready()
}

// kill ends the program as kill -9 does, and returns when the ledger has all that it has said.
func (v *voice) kill() {
	v.stream.Kill()
	<-v.over
}

// stop asks the program to leave, which it must do with exit code 0.
func (v *voice) stop() {
	v.t.Helper()
	if code := v.stream.Stop(); code != 0 {
		v.t.Errorf("%s: SIGTERM: exit code %d\n%s", v.User, code, v.stream.Stderr())
	}
	<-v.over
}

// say types one message and returns it, whether or not anything still reads it.
func (v *voice) say(to, padding string) *letter { return v.sayBy(v.way(), to, padding) }

// sayBy is say by a way of one's choice.
func (v *voice) sayBy(way, to, padding string) *letter {
	w := v.ledger.write(v.User, v.lane, to, padding)
	line, err := json.Marshal(map[string]string{"id": w.id, "cmd": "send", "to": to, "body": w.body, "way": way})
	if to := v.typewriter.Load(); err == nil && to != nil {
		v.ledger.typed(w, to.screen)
		_ = to.stream.TryWrite(string(line)) // to a program that was killed: then it is not accepted
	}
	return w
}

// way is how the next message goes: by the relay, or as seems best.
func (v *voice) way() string { return []string{"auto", "relay"}[rand.IntN(2)] }

// chatter has everybody write count messages to everybody else, in a goroutine each, and returns at once; wait for it before the test ends.
func (c *cast) chatter(count int) (wait func()) {
	var all sync.WaitGroup
	for _, v := range c.people {
		all.Go(func() {
			for range count {
				for _, to := range c.people {
					if to != v {
						v.say(to.User, "")
					}
				}
			}
		})
	}
	return all.Wait
}

// leave kills everything, for what comes next with the same homes.
func (c *cast) leave() {
	for _, v := range c.people {
		if v.stream != nil {
			v.kill()
		}
	}
	c.o.Kill()
}

// compare waits until everything accepted was shown, compares all histories with the ledger, and returns the tally. The programs must run.
func (c *cast) compare(patience time.Duration) tally {
	c.t.Helper()
	c.ledger.settle(c.running(), patience)
	for i, v := range c.people {
		for _, w := range c.people[i+1:] {
			c.ledger.audit(c.t, v.Person, w.User)
			c.ledger.audit(c.t, w.Person, v.User)
		}
	}
	return c.ledger.numbers()
}

// running returns the screens of the programs that run.
func (c *cast) running() (screens []uint64) {
	for _, v := range c.people {
		select {
		case <-v.stream.Ended:
		default:
			screens = append(screens, v.typewriter.Load().screen)
		}
	}
	return screens
}

// verdict is compare that fails the test for each fault, adds the tally to the summary and logs what the programs said where it failed.
func (c *cast) verdict(faults string, count int) tally {
	c.t.Helper()
	c.compare(patience)
	sum := c.ledger.check(c.t)
	if refused := c.ledger.refusals(); len(refused) > 0 {
		c.t.Logf("refused: %v", refused)
	}
	summary.add(c.t.Name(), faults, count, sum)
	if c.t.Failed() {
		c.logs()
	}
	return sum
}

// logs shows the end of everybody's standard error.
func (c *cast) logs() {
	c.t.Helper()
	tail := func(text string) string {
		lines := strings.Split(strings.TrimSpace(text), "\n")
		return strings.Join(lines[max(0, len(lines)-30):], "\n")
	}
	for _, v := range c.people {
		if v.stream != nil {
			c.t.Logf("%s: %s", v.User, tail(v.stream.Stderr()))
		}
	}
	c.t.Logf("rendezvous: %s", tail(c.o.Stderr()))
}

// within fails the test where f is not true in time, with a word on how long it took.
func within(t testing.TB, what string, limit time.Duration, began time.Time) {
	t.Helper()
	took := time.Since(began)
	t.Logf("%s: %v", what, took.Round(time.Millisecond))
	if took > limit {
		t.Errorf("%s took %v, at most %v are allowed", what, took.Round(time.Millisecond), limit)
	}
}
