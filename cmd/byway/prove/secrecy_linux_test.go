package prove_test

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/byway-chat/byway/cmd/byway/stage"
)

// secrets is one world in which every secret is known to the test and everything is looked at.
type secrets struct {
	o            *stage.Operator
	a, b         *stage.Stream
	alice, bob   *stage.Person
	watch        *stage.Process
	wire         *capture
	bodies, keys needles
	passwords    needles
	public       needles // the control: what must be found
	metrics      string
}

// TestSecrecy searches everything that the rendezvous has, says and holds, and the wire, for bodies, passwords and private keys.
func TestSecrecy(t *testing.T) {
	t.Parallel()
	s := whisper(t)
	s.onDisk(t)
	s.inWords(t)
	s.inProcesses(t)
	s.inMemory(t)
	s.inOwnMemory(t)

	s.b = s.bob.Bot() // what waits in the mailbox arrives
	s.b.Await("the mailbox", func(e stage.Event) bool { return e.Type == "message" && e.Way == "mailbox" })
	s.a.State("mailbox", "delivered")
	s.onDisk(t)
	s.inMemory(t)
	s.a.Kill()
	s.b.Kill()
	s.onWire(t)
	if err := s.o.Cmd.Process.Signal(syscall.SIGQUIT); err != nil { // the runtime dumps every goroutine
		t.Fatal(err)
	}
	<-s.o.Ended
	if !strings.Contains(s.o.Stderr(), "goroutine ") {
		t.Error("SIGQUIT brought no dump")
	}
	s.inWords(t)
	s.onDisk(t)
}

// whisper has everything happen that carries a secret: registration, a wrong password, a second device, and messages by each way.
func whisper(t *testing.T) *secrets {
	t.Helper()
	network := stage.NewNetwork(t)
	space := network.Space("one")
	s := &secrets{wire: listenTo(t, space)}
	s.o = stage.Serve(t, space, append(stage.Loopback, "--metrics", "127.0.0.1:0")...)
	s.watch = stage.Start(t, stage.Launch{Name: "watch", Netns: space, Args: []string{"rendezvous", "watch", "--json", "--bytes", "--data", s.o.Data}})
	debug := []string{"--log-level", "debug"}
	s.alice, s.bob = stage.NewPerson(t, "alicecanary", s.o, debug...), stage.NewPerson(t, "bobcanary", s.o, debug...)
	s.public = needles{"the user name alice": []byte("alicecanary"), "the user name bob": []byte("bobcanary")}
	for _, p := range []*stage.Person{s.alice, s.bob} {
		p.SetPassword(canary("password"))
		s.passwords = merged(s.passwords, spelled(p.User+"'s password", p.Password))
	}
	s.a, s.b = s.alice.Bot(), s.bob.Bot()
	s.keys = merged(keysOf(t, s.alice), keysOf(t, s.bob))

	guess := stage.NewPerson(t, "alicecanary", s.o, debug...)
	guess.SetPassword(canary("wrong"))
	s.passwords = merged(s.passwords, spelled("the wrong password", guess.Password))
	guess.Must(7, "login", "--user", "alicecanary")
	second := stage.NewPerson(t, "bobcanary", s.o, debug...)
	second.SetPassword(s.bob.Password)
	second.Must(0, "login", "--user", "bobcanary")
	s.a.Command(map[string]any{"id": "v", "cmd": "verify", "to": "bobcanary", "accept": true})

	body := func(way string) string {
		text := canary("body-" + way)
		s.bodies = merged(s.bodies, spelled("the message by "+way, text))
		return text
	}
	exchange(t, s.a, s.b, "relay", body("relay"), "relay", "relay")
	exchange(t, s.b, s.a, "lan", body("lan"), "direct", "lan")
	s.b.Kill()
	s.a.Presence("bobcanary", false)
	s.a.Send("mailbox", "bobcanary", body("mailbox"), "auto")
	s.a.State("mailbox", "stored")
	s.metrics = fetchMetrics(t, s.o)
	return s
}

// fetchMetrics gets the metrics of a rendezvous, with a header that the capture must show.
func fetchMetrics(t *testing.T, o *stage.Operator) (page string) {
	t.Helper()
	var told struct {
		Metrics string `json:"metrics"`
	}
	ready, err := os.ReadFile(filepath.Join(filepath.Dir(o.Data), "ready"))
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(ready, &told); err != nil {
		t.Fatal(err)
	}
	_, address, _ := strings.Cut(told.Metrics, "://")
	address, _, _ = strings.Cut(address, "/")
	if address == "" {
		address = told.Metrics
	}
	stage.Inside(t, o.Netns, func() error {
		c, err := net.Dial("tcp4", address)
		if err != nil {
			return err
		}
		defer c.Close()
		_ = c.SetDeadline(time.Now().Add(stage.Patience))
		if _, err := io.WriteString(c, "GET /metrics HTTP/1.0\r\nUser-Agent: control-in-the-clear\r\n\r\n"); err != nil {
			return err
		}
		b, err := io.ReadAll(bufio.NewReader(c))
		page = string(b)
		return err
	})
	return page
}

// none fails for each hit.
func none(t *testing.T, where string, hits []string) {
	t.Helper()
	for _, hit := range hits {
		t.Errorf("%s: %s", where, hit)
	}
}

// all fails where something public is not found: then the search itself is at fault.
func (s *secrets) all(t *testing.T, where string, hits int) {
	t.Helper()
	if hits < len(s.public) {
		t.Errorf("%s: the control found %d of %d: the search does not work", where, hits, len(s.public))
	}
}

func (s *secrets) secret() needles { return merged(s.bodies, s.passwords, s.keys) }

// onDisk looks at the data directory of the rendezvous and at the peers' homes.
func (s *secrets) onDisk(t *testing.T) {
	t.Helper()
	none(t, "data directory", s.secret().inFiles(t, s.o.Data))
	s.all(t, "data directory", len(s.public.inFiles(t, s.o.Data)))
	for _, p := range []*stage.Person{s.alice, s.bob} {
		none(t, p.User+"'s home", s.secret().inFiles(t, p.Home))
	}
}

// inWords looks at all that was logged at debug level and shown to the operator.
func (s *secrets) inWords(t *testing.T) {
	t.Helper()
	log := []byte(s.o.Stderr())
	none(t, "log", s.secret().in(log))
	s.all(t, "log", len(s.public.in(log)))
	peers := s.a.Stderr() + s.b.Stderr()
	none(t, "the peers' logs", s.secret().in([]byte(peers)))
	if !strings.Contains(peers, `"level":"DEBUG"`) {
		t.Error("the peers have logged nothing")
	}
	none(t, "metrics", s.secret().in([]byte(s.metrics)))
	if !strings.Contains(s.metrics, "# HELP") {
		t.Errorf("no metrics:\n%s", s.metrics)
	}
	stage.Eventually(t, "the operator sees both messages pass", func() bool {
		return strings.Contains(s.watch.Stdout(), `"live"`) && strings.Contains(s.watch.Stdout(), `"stored"`)
	})
	seen := []byte(s.watch.Stdout())
	none(t, "watch", s.secret().in(seen))
	s.all(t, "watch", len(s.public.in(seen)))
}

// inProcesses looks at the arguments and environments of every process.
func (s *secrets) inProcesses(t *testing.T) {
	t.Helper()
	var all []byte
	for _, p := range []*stage.Process{s.o.Process, s.a.Process, s.watch} {
		for _, file := range []string{"cmdline", "environ"} {
			content, err := os.ReadFile(fmt.Sprintf("/proc/%d/%s", p.Cmd.Process.Pid, file))
			if err != nil || len(content) == 0 {
				t.Errorf("%s of %s: %d bytes, %v", file, p.Name, len(content), err)
			}
			all = append(all, content...)
		}
	}
	none(t, "arguments and environments", s.secret().in(all))
	if len(s.public.in(all)) == 0 {
		t.Error("arguments: the control found nothing")
	}
}

// inMemory looks at the memory of the rendezvous while it runs. A password passes through it, because it is hashed there; nothing can
// be promised of copies that the garbage collector has not yet overwritten, so those are told and not judged.
func (s *secrets) inMemory(t *testing.T) {
	t.Helper()
	hits := merged(s.secret(), s.public).inMemory(t, s.o.Process)
	for name := range merged(s.bodies, s.keys) {
		if hits[name] > 0 {
			t.Errorf("memory of the rendezvous: %d times %s", hits[name], name)
		}
	}
	for name := range s.public {
		if hits[name] == 0 {
			t.Errorf("memory of the rendezvous: the control did not find %s: the search does not work", name)
		}
	}
	for _, name := range slices.Sorted(maps.Keys(s.passwords)) {
		if hits[name] > 0 {
			t.Logf("memory of the rendezvous: %d copies of %s that are not yet overwritten", hits[name], name)
		}
	}
}

// inOwnMemory is the control of inMemory: the same search finds the keys where they must be, with their owner.
func (s *secrets) inOwnMemory(t *testing.T) {
	t.Helper()
	own := s.keys.inMemory(t, s.a.Process)
	primes := 0
	for name := range own {
		if strings.HasPrefix(name, s.alice.User+"'s") {
			primes++
		} else {
			t.Errorf("memory of alice's program: %s", name)
		}
	}
	if primes < 6 {
		t.Errorf("memory of alice's program: the control found %d forms of her keys: the search does not work", primes)
	}
}

// onWire looks at every byte that passed loopback.
func (s *secrets) onWire(t *testing.T) {
	t.Helper()
	s.wire.stop()
	controls := needles{"the metrics request": []byte("control-in-the-clear"), "libp2p's greeting": []byte("/multistream/1.0.0"), "Noise": []byte("/noise")}
	found := map[string]bool{}
	for _, flow := range s.wire.flows {
		none(t, "capture", merged(s.secret(), s.public).in(flow))
		for _, name := range controls.in(flow) {
			found[name] = true
		}
	}
	if !found["the metrics request"] || !found["libp2p's greeting"] {
		t.Errorf("capture: the control found only %v: the search does not work", found)
	}
	t.Logf("capture: %d bytes in %d directions of connections; in the clear: %v", s.wire.bytes, len(s.wire.flows), slices.Sorted(maps.Keys(found)))
}
