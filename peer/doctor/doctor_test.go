package doctor

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/byway-chat/byway/peer"
	"github.com/byway-chat/byway/peer/trace"
)

// nobody is an address at which nothing answers.
const nobody = "/ip4/127.0.0.1/tcp/1/p2p/12D3KooWD3eckifWpRn9wQpMG9R9hX3sD158z7EqHWmweQAJU5SA"

// states carries out all steps and returns how each came out, with the code of a failure.
func states(t *testing.T, cfg Config) (map[string]string, []Step) {
	t.Helper()
	cfg.NoMDNS = true
	told := 0
	steps, err := Examine(t.Context(), cfg, func(Step) error { told++; return nil })
	if err != nil || told != len(steps) {
		t.Fatalf("%d steps of %d were told: %v", told, len(steps), err)
	}
	out := map[string]string{}
	place := 0
	for _, s := range steps {
		for place < len(Names) && Names[place] != s.Name {
			place++
		}
		if place == len(Names) {
			t.Errorf("the step %s has no name or is out of order", s.Name)
		}
		if s.Detail == "" || s.State == Failed && s.Code == "" {
			t.Errorf("got %+v", s)
		}
		out[s.Name] = strings.TrimSpace(string(s.State) + " " + string(s.Code))
	}
	return out, steps
}

func write(t *testing.T, path, text string, mode os.FileMode) {
	t.Helper()
	if err := os.WriteFile(path, []byte(text), mode); err != nil {
		t.Fatal(err)
	}
}

const account = `{"v":1,"user":"alice","device":"d","peer_id":"p","rendezvous":"` + nobody + `"}`

const openKeys = "-----BEGIN BYWAY KEYS-----\nAAAA\n-----END BYWAY KEYS-----\n"

func TestHomes(t *testing.T) {
	for _, tc := range []struct {
		name string
		make func(dir string)
		want map[string]string // of the steps that matter
		code peer.Code
	}{
		{"none", func(dir string) { _ = os.Remove(dir) }, map[string]string{
			"home": "ok", "lock": "ok", "key-file": "skipped", "disk": "ok", "rendezvous": "failed no-rendezvous-found", "sign-in": "skipped", "contact": "skipped",
		}, peer.CodeNoRendezvousFound},
		{"empty", func(string) {}, map[string]string{"home": "ok", "key-file": "skipped", "disk": "ok"}, peer.CodeNoRendezvousFound},
		{"cut off", func(dir string) {
			write(t, filepath.Join(dir, "home.json"), strings.Replace(account, "{", `{"pending":true,`, 1), 0o600)
		}, map[string]string{
			"home": "ok", "key-file": "skipped", "rendezvous": "ok", "rendezvous-tcp": "failed rendezvous-unreachable", "rendezvous-quic": "skipped", "clock": "skipped",
		}, peer.CodeRendezvousUnreachable},
		{"damaged", func(dir string) { write(t, filepath.Join(dir, "home.json"), "{", 0o600) }, map[string]string{
			"home": "failed key-file", "key-file": "skipped", "sign-in": "skipped",
		}, peer.CodeKeyFile},
		{"open to others", func(dir string) {
			write(t, filepath.Join(dir, "home.json"), account, 0o600)
			_ = os.Chmod(dir, 0o755)
		}, map[string]string{"home": "failed key-file"}, peer.CodeKeyFile},
		{"without keys", func(dir string) { write(t, filepath.Join(dir, "home.json"), account, 0o600) }, map[string]string{
			"home": "ok", "key-file": "failed key-file", "rendezvous": "ok", "sign-in": "skipped",
		}, peer.CodeKeyFile},
		{"keys open to others", func(dir string) {
			write(t, filepath.Join(dir, "home.json"), account, 0o600)
			write(t, filepath.Join(dir, "keystore.age"), openKeys, 0o644)
		}, map[string]string{"home": "ok", "key-file": "failed key-file"}, peer.CodeKeyFile},
		{"a file", func(dir string) {
			_ = os.Remove(dir)
			write(t, dir, "", 0o600)
		}, map[string]string{"home": "failed usage"}, peer.CodeUsage},
	} {
		t.Run(tc.name, func(t *testing.T) {
			dir := filepath.Join(t.TempDir(), "home")
			if err := os.Mkdir(dir, 0o700); err != nil {
				t.Fatal(err)
			}
			tc.make(dir)
			got, steps := states(t, Config{Home: dir, Version: "test", Ask: func(context.Context) (peer.Checkup, error) {
				t.Error("a peer was asked for")
				return peer.Checkup{}, errors.New("no")
			}})
			for name, want := range tc.want {
				if got[name] != want {
					t.Errorf("%s: got %q, want %q", name, got[name], want)
				}
			}
			if code := CodeOf(steps); code != tc.code {
				t.Errorf("got code %q, want %q", code, tc.code)
			}
			if left, _ := filepath.Glob(filepath.Join(dir, ".doctor-*")); len(left) > 0 {
				t.Errorf("%q is left", left)
			}
		})
	}
}

// What is wrong with an address is told, and nothing of it: there may be an invitation in it, or the name of a host.
func TestAddressOfRendezvous(t *testing.T) {
	const id = "/p2p/12D3KooWD3eckifWpRn9wQpMG9R9hX3sD158z7EqHWmweQAJU5SA"
	for given, want := range map[string]map[string]string{
		"https://secret.example.org/?i=secret": {"rendezvous": "failed usage"},
		"/dns4/secret/tcp/1":                   {"rendezvous": "failed usage"},
		"byway://secret!/x?i=secret":           {"rendezvous": "failed usage"},
		"/dns4/secret..x/tcp/1" + id:           {"rendezvous": "ok", "rendezvous-tcp": "failed rendezvous-unreachable"},
	} {
		got, steps := states(t, Config{Home: t.TempDir(), Version: "test", Rendezvous: given})
		for name, want := range want {
			if got[name] != want {
				t.Errorf("%s: %s: got %q, want %q", given, name, got[name], want)
			}
		}
		for _, s := range steps {
			if strings.Contains(s.Detail+s.Hint, "secret") || s.State == Failed && s.Hint == "" {
				t.Errorf("%s: got %+v", given, s)
			}
			if s.Name == "rendezvous-tcp" && s.State == Failed && s.Detail != "its name has no address" {
				t.Errorf("%s: got %+v", given, s)
			}
		}
	}
}

// What the peer says becomes steps, without names, public addresses and identities.
func TestWhatThePeerSays(t *testing.T) {
	heard := time.Now().Add(-4 * time.Second)
	rtt := 2.5
	good := peer.Checkup{
		Rendezvous: peer.Rendezvous{PeerID: "12D3", Connected: true}, Transport: "/ip4/45.0.0.10/udp/1/quic-v1", RTT: &rtt,
		Network: &trace.Network{UDP: "works", Ports: "kept", IPv4: true}, Seen: []string{"/ip4/45.0.0.7/udp/9/quic-v1"},
		Listening: []string{"/ip4/192.168.1.2/tcp/9", "/ip4/45.0.0.7/tcp/9"}, PortMapping: peer.PortMapping{State: "mapped", Protocol: "upnp", Addrs: []string{"/ip4/45.0.0.1/udp/9/quic-v1"}},
		Contacts: []peer.ContactCheck{{User: "bob", Online: true, Way: peer.WayLAN, Evidence: peer.Evidence{Heard: &heard, HeardWay: peer.WayLAN, HeardBy: peer.SignPong}}},
	}
	for _, tc := range []struct {
		name   string
		change func(c *peer.Checkup)
		want   map[string]string
		code   peer.Code
	}{
		{"all well", func(*peer.Checkup) {}, map[string]string{"sign-in": "ok", "network": "ok", "port-mapping": "ok", "listening": "ok", "contact": "ok"}, ""},
		{"symmetric", func(c *peer.Checkup) { c.Network = &trace.Network{UDP: "works", Ports: "changing"} }, map[string]string{"network": "warning"}, ""},
		{"no UDP", func(c *peer.Checkup) { c.Network = &trace.Network{UDP: "blocked", Ports: "kept"} }, map[string]string{"network": "warning"}, ""},
		{"unknown", func(c *peer.Checkup) { c.Network = &trace.Network{UDP: "unknown", Ports: "unknown"} }, map[string]string{"network": "skipped"}, ""},
		{"private", func(c *peer.Checkup) { c.Private = true }, map[string]string{"listening": "skipped"}, ""},
		{"deaf", func(c *peer.Checkup) { c.Listening = nil }, map[string]string{"listening": "warning"}, ""},
		{"not asked", func(c *peer.Checkup) { c.PortMapping = peer.PortMapping{State: "off"} }, map[string]string{"port-mapping": "skipped"}, ""},
		{"not mapped", func(c *peer.Checkup) { c.PortMapping = peer.PortMapping{State: "no-answer"} }, map[string]string{"port-mapping": "skipped"}, ""},
		{"not mapped where it matters", func(c *peer.Checkup) {
			c.PortMapping, c.Network = peer.PortMapping{State: "refused"}, &trace.Network{UDP: "works", Ports: "changing"}
		}, map[string]string{"port-mapping": "warning", "network": "warning"}, ""},
		{"relayed", func(c *peer.Checkup) {
			c.Contacts[0].Way, c.Contacts[0].Reason, c.Contacts[0].Sentence = peer.WayRelay, "punch-failed", "Bob is far."
		}, map[string]string{"contact": "warning"}, ""},
		{"away", func(c *peer.Checkup) { c.Contacts[0].Online, c.Contacts[0].Reason = false, "peer-offline" }, map[string]string{"contact": "ok"}, ""},
		{"alone", func(c *peer.Checkup) { c.Contacts = nil }, map[string]string{"contact": "skipped"}, ""},
		{"unlisted", func(c *peer.Checkup) { c.Unlisted = true }, map[string]string{"sign-in": "warning"}, ""},
		{"away from it", func(c *peer.Checkup) { c.Rendezvous.Connected, c.Reason = false, "silent" }, map[string]string{
			"sign-in": "failed rendezvous-unreachable",
		}, peer.CodeRendezvousUnreachable},
		{"banned", func(c *peer.Checkup) { c.Rendezvous.Connected, c.Reason = false, "banned" }, map[string]string{
			"sign-in": "failed not-signed-in",
		}, peer.CodeNotSignedIn},
		{"not one", func(c *peer.Checkup) { c.Rendezvous.Connected, c.Reason = false, "not-a-rendezvous" }, map[string]string{
			"sign-in": "failed not-a-rendezvous",
		}, peer.CodeNotARendezvous},
	} {
		t.Run(tc.name, func(t *testing.T) {
			check := good
			check.Contacts = []peer.ContactCheck{good.Contacts[0]}
			tc.change(&check)
			e := &examination{tell: func(Step) error { return nil }, mask: newMask(Config{Home: "/h"}), usable: true}
			e.cfg.Ask = func(context.Context) (peer.Checkup, error) { return check, nil }
			e.askPeer(t.Context())
			for _, s := range e.steps {
				want, looked := tc.want[s.Name]
				if got := strings.TrimSpace(string(s.State) + " " + string(s.Code)); looked && got != want {
					t.Errorf("%s: got %q, want %q: %+v", s.Name, got, want, s)
				}
				if s.State == Failed && s.Hint == "" {
					t.Errorf("no cure: %+v", s)
				}
				if text := s.Detail + s.Hint; strings.Contains(text, "45.0.0") || strings.Contains(text, "bob") {
					t.Errorf("what should be hidden is in %+v", s)
				}
			}
			if code := CodeOf(e.steps); code != tc.code {
				t.Errorf("got code %q, want %q", code, tc.code)
			}
		})
	}
}

// A peer that cannot be started is the failure of one step, with its cure.
func TestPeerThatDoesNotStart(t *testing.T) {
	e := &examination{tell: func(Step) error { return nil }, mask: newMask(Config{Home: "/h"}), usable: true}
	e.cfg.Ask = func(context.Context) (peer.Checkup, error) {
		return peer.Checkup{}, &peer.Error{Code: peer.CodeNotSignedIn, Message: "no password was given", Hint: "use --password-file F"}
	}
	e.askPeer(t.Context())
	want := []Step{{Name: "sign-in", State: Failed, Code: peer.CodeNotSignedIn, Detail: "no password was given", Hint: "use --password-file F"}}
	for _, name := range afterSignIn {
		want = append(want, Step{Name: name, State: Skipped, Detail: "the peer does not run"})
	}
	if diff := cmp.Diff(want, e.steps); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

// A home that is there and cannot be used is not said to have no account.
func TestHomeThatCannotBeUsed(t *testing.T) {
	for name, spoil := range map[string]func(dir string){
		"open to others": func(dir string) {
			write(t, filepath.Join(dir, "home.json"), account, 0o600)
			_ = os.Chmod(dir, 0o755)
		},
		"damaged": func(dir string) { write(t, filepath.Join(dir, "home.json"), "{", 0o600) },
	} {
		dir := filepath.Join(t.TempDir(), "home")
		if err := os.Mkdir(dir, 0o700); err != nil {
			t.Fatal(err)
		}
		spoil(dir)
		_, steps := states(t, Config{Home: dir, Version: "test"})
		for _, s := range steps {
			if (s.Name == "key-file" || s.Name == "sign-in") && (s.State != Skipped || s.Detail != "the home cannot be used as it is: see the step home") {
				t.Errorf("%s: got %+v", name, s)
			}
		}
	}
}

// A home whose lock is held by a process that does not answer is told once, and the peer is not asked for.
func TestHomeHeldInSilence(t *testing.T) {
	dir := t.TempDir()
	lock, err := os.Create(filepath.Join(dir, "lock"))
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = lock.Close() }()
	if err := syscall.Flock(int(lock.Fd()), syscall.LOCK_EX); err != nil {
		t.Fatal(err)
	}
	for _, answers := range []bool{true, false} {
		asked := false
		e := &examination{tell: func(Step) error { return nil }, mask: newMask(Config{Home: dir}), usable: true, cfg: Config{
			Home: dir, Answers: func(context.Context) bool { return answers },
			Ask: func(context.Context) (peer.Checkup, error) { asked = true; return peer.Checkup{}, nil },
		}}
		e.lookAtLock(t.Context())
		e.askPeer(t.Context())
		lock, signIn := e.steps[0], e.steps[1]
		if answers {
			if lock.State != OK || !asked {
				t.Errorf("it answers: got %+v, asked %v", lock, asked)
			}
			continue
		}
		if lock.State != Failed || lock.Code != peer.CodeHomeInUse || lock.Detail != heldInSilence || signIn.State != Skipped || !strings.Contains(signIn.Detail, heldInSilence) || asked {
			t.Errorf("it does not answer: got %+v and %+v, asked %v", lock, signIn, asked)
		}
	}
}

// No path that was given is shown, neither that of the home nor one in an error of the peer.
func TestNoPathOfErrors(t *testing.T) {
	e := &examination{tell: func(Step) error { return nil }, mask: newMask(Config{Home: "/h"}), usable: true}
	_, failed := os.Open("/needle/of a needle")
	_, relative := os.Open("needle file")
	e.cfg.Ask = func(context.Context) (peer.Checkup, error) {
		return peer.Checkup{}, &peer.Error{Message: "no /needle/x", Err: errors.Join(failed, relative)}
	}
	e.askPeer(t.Context())
	e.cfg.Home = "/proc/needle"
	e.mask = newMask(Config{Home: e.cfg.Home})
	e.lookAtHome(t.Context())
	e.lookAtDisk(t.Context())
	for _, s := range e.steps {
		if text := s.Detail + s.Hint; strings.Contains(text, "needle") || strings.Contains(text, "/proc") {
			t.Errorf("a path is shown: %+v", s)
		}
	}
}

func TestClock(t *testing.T) {
	for _, tc := range []struct {
		off  time.Duration
		want State
	}{{0, OK}, {-4 * time.Second, OK}, {time.Minute, Warning}, {-time.Minute, Warning}, {-11 * time.Minute, Failed}, {time.Hour, Failed}} {
		e := &examination{tell: func(Step) error { return nil }, mask: newMask(Config{Home: "/h"}), offset: &tc.off}
		e.lookAtClock(t.Context())
		if got := e.steps[0].State; got != tc.want {
			t.Errorf("%v: got %s, want %s", tc.off, got, tc.want)
		}
	}
}

// Whoever reads no more, or leaves, ends the examination.
func TestEnds(t *testing.T) {
	closed := errors.New("closed")
	steps, err := Examine(t.Context(), Config{Home: t.TempDir(), NoMDNS: true}, func(Step) error { return closed })
	if !errors.Is(err, closed) || len(steps) != 1 {
		t.Errorf("got %d steps and %v", len(steps), err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := Examine(ctx, Config{Home: t.TempDir(), NoMDNS: true}, func(Step) error { return nil }); !errors.Is(err, context.Canceled) {
		t.Errorf("got %v, want the context's error", err)
	}
}
