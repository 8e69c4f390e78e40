package prove_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/byway-chat/byway/cmd/byway/stage"
)

// TestManyBehindOneAddress has more users behind one address than libp2p's own limits admit. They register a few at a time, because making twelve sets of keys at
// once takes a slow machine longer than a rendezvous waits, and stay; then they sign in at once, by the public address and by a private one.
func TestManyBehindOneAddress(t *testing.T) {
	t.Parallel()
	const users = 12
	network := stage.NewNetwork(t)
	lan, far, near := network.Bridge(), network.Space("rdv"), network.Space("many")
	// go-multiaddr counts 45/8 as public; these namespaces have no way out.
	network.Join(lan, far, "rdv", "45.0.0.10/24", "192.168.77.1/24")
	network.Join(lan, near, "many", "45.0.0.2/24", "192.168.77.2/24")
	o := stage.Serve(t, far, "--listen", "/ip4/45.0.0.10/tcp/0", "--listen", "/ip4/192.168.77.1/tcp/0", "--no-mdns")

	people := make([]*stage.Person, users)
	for i := range people {
		people[i] = stage.NewPerson(t, fmt.Sprintf("user%02d", i), o)
		people[i].Netns = near
	}
	const public, private = "/ip4/45.0.0.10/", "/ip4/192.168.77.1/"
	for _, round := range []struct {
		what, prefix string
		atOnce       int
	}{
		{"registered", public, 3},
		{"signed in", public, users},
		{"signed in", private, users},
	} {
		address := o.Addrs[slices.IndexFunc(o.Addrs, func(a string) bool { return strings.HasPrefix(a, round.prefix) })]
		began := time.Now()
		var all []*stage.Stream
		for group := range slices.Chunk(people, round.atOnce) {
			for _, p := range group {
				p.Flags = []string{"--no-mdns", "--rendezvous", address}
				all = append(all, p.Open("bot"))
			}
			for _, s := range all[len(all)-len(group):] {
				if ready := s.Await("ready", func(e stage.Event) bool { return e.Type == "ready" }); !ready.Rendezvous.Connected {
					t.Errorf("%s is ready without the rendezvous", s.Name)
				}
			}
		}
		took := time.Since(began)
		active := o.Active()
		if len(active) != users {
			t.Errorf("%s: %d are signed in, want %d", round.prefix, len(active), users)
		}
		for name, c := range active {
			if c.Transport != "tcp" {
				t.Errorf("%s: %+v", name, c)
			}
		}
		if refused := o.Ask("status", "--json"); !strings.Contains(refused, `"refused":{}`) {
			t.Errorf("%s: somebody was refused: %s", round.prefix, refused)
		}
		t.Logf("%s: %d users behind one address were %s, %d at once, %v after their programs had started", round.prefix, users, round.what, round.atOnce, took.Round(time.Millisecond))
		for _, s := range all {
			s.Kill()
		}
		stage.Eventually(t, "nobody is online", func() bool { return len(o.Active()) == 0 })
	}
}

// TestNothingToConfigure has people on a LAN find the rendezvous, which nobody has told them of, and talk.
func TestNothingToConfigure(t *testing.T) {
	t.Parallel()
	network := stage.NewNetwork(t)
	lan := network.Bridge()
	var spaces []string
	for i, name := range []string{"rdv", "alice", "bob", "carol"} {
		space := network.Space(name)
		network.Join(lan, space, name, fmt.Sprintf("192.168.78.%d/24", i+1)) // and no route to anywhere else
		spaces = append(spaces, space)
	}
	person := func(user, space string) *stage.Person {
		p := stage.NewPerson(t, user, &stage.Operator{Addrs: []string{""}, Netns: space})
		p.Flags = nil
		return p
	}
	lonely := person("lonely", spaces[3])
	r := lonely.Must(20, "bot", "--user", "lonely")
	if !strings.Contains(r.Errors, "byway: error: ") || !strings.Contains(r.Errors, "byway: hint: ") {
		t.Errorf("no rendezvous: %s", r.Errors)
	}
	t.Logf("no rendezvous: exit code 20 after %v", r.Took.Round(time.Millisecond))

	o := stage.Serve(t, spaces[0])
	alice, bob := person("alice", spaces[1]), person("bob", spaces[2])
	began := time.Now()
	a := alice.Bot()
	t.Logf("found and registered %v after the program had started", time.Since(began).Round(time.Millisecond))
	listener := bob.Open("listen")
	listener.Await("ready", func(e stage.Event) bool { return e.Type == "ready" })
	if active := o.Active(); len(active) != 2 {
		t.Errorf("%d are signed in, want 2", len(active))
	}
	a.Send("1", "bob", "hello on the LAN", "direct")
	if e := listener.Message("alice", "hello on the LAN"); e.Way != "lan" {
		t.Errorf("it came by %s, want lan", e.Way)
	}
	if e := a.State("1", "delivered"); e.Way != "lan" || e.MS == nil {
		t.Errorf("delivered: %+v, want way lan and the milliseconds", e)
	}
	a.Send("2", "bob", "again, by whatever is best", "auto")
	if e := listener.Message("alice", "again, by whatever is best"); e.Way != "lan" {
		t.Errorf("it came by %s, want lan", e.Way)
	}
	if code := listener.Stop(); code != 130 && code != 0 {
		t.Errorf("listen: exit code %d", code)
	}
}
