package natlab

import (
	"fmt"
	"maps"
	"net/netip"
	"os/exec"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/byway-chat/byway/cmd/byway/stage"
)

// ears hear with whom a machine exchanges packets.
type ears struct {
	stop func()

	mu   sync.Mutex // guards the following
	with map[netip.Addr]int
}

// listen hears what passes a machine, loopback aside and what is for everybody on the network: there peers announce themselves, each under its own policy for all.
func listen(t testing.TB, netns string) *ears {
	t.Helper()
	e := &ears{with: map[netip.Addr]int{}}
	e.stop = stage.Packets(t, netns, unix.SOCK_DGRAM, func(packet []byte, outgoing bool) {
		from, to, ok := stage.EndsOf(packet)
		other := from
		if outgoing {
			other = to
		}
		if ok && !from.IsLoopback() && !to.IsMulticast() && !other.IsLinkLocalUnicast() {
			e.mu.Lock()
			defer e.mu.Unlock()
			e.with[other]++
		}
	})
	return e
}

// others returns everybody but those named.
func (e *ears) others(but ...string) []netip.Addr {
	e.mu.Lock()
	defer e.mu.Unlock()
	return slices.DeleteFunc(slices.SortedFunc(maps.Keys(e.with), netip.Addr.Compare), func(a netip.Addr) bool { return slices.Contains(but, a.String()) })
}

// heard is the time in which the other side hears of a policy.
const heard = time.Second

// stranded returns how long nothing may pass after the last word: longer than the first pauses between two tries while people talk.
func stranded() time.Duration {
	if long {
		return 8 * time.Second
	}
	return 3 * time.Second
}

// setWay sets a policy by a bot.
func setWay(s *stage.Stream, user, way string) {
	id := "way of " + user + " " + way
	s.Command(map[string]any{"id": id, "cmd": "way", "to": user, "way": way})
	s.Await(id, func(e stage.Event) bool { return e.Type == "done" && e.Re == id })
}

// chatter has each write to the other, and returns the ways.
func (c *conversation) chatter(what string) (ways []string) {
	c.t.Helper()
	for i := range 3 {
		id := fmt.Sprintf("%s %d", what, i)
		c.alice.Send(id, "bob", id, "auto")
		c.bob.Send(id, "alice", id, "auto")
		ways = append(ways, c.alice.State(id, "delivered").Way, c.bob.State(id, "delivered").Way)
	}
	return ways
}

// towns are networks in which two who may would talk directly.
var towns = map[string]func(w *internet) town{
	"public": func(w *internet) town { return apart(w, w.public("alice"), w.public("bob")) },
	"one LAN": func(w *internet) town {
		_, place := together(w)
		return place
	},
	"cone - cone": routers(cone, cone),
}

// TestNoPacketBetween has two write to each other who keep to the relay, one of them for the other, for all, or for one message: no machine of theirs
// exchanges a packet with anybody but the rendezvous. As a control the same is heard without the policy: there the other one is among those.
func TestNoPacketBetween(t *testing.T) {
	for name, build := range towns {
		for policy, arrange := range map[string]func(c *conversation){
			"auto":                        func(*conversation) {},
			"relay for the contact":       func(c *conversation) { setWay(c.alice, "bob", "relay") },
			"relay for all":               func(c *conversation) { setWay(c.bob, "default", "relay") },
			"relay for all, on both ends": func(c *conversation) { setWay(c.alice, "default", "relay"); setWay(c.bob, "default", "relay") },
		} {
			if !long && (name != "public" || policy != "auto" && policy != "relay for the contact") {
				continue
			}
			t.Run(name+", "+policy, func(t *testing.T) {
				roll.Begin(t, stage.Linking, translating)
				w := newInternet(t)
				place := build(w)
				w.run()
				c := meet(t, place)
				both := []*ears{listen(t, place.alice), listen(t, place.bob)}
				arrange(c)
				<-time.After(heard)
				ways := c.chatter("before")
				if policy == "auto" {
					stage.Eventually(t, "the two have found each other", func() bool { return len(both[0].others(place.listen...)) > 0 })
				} else {
					<-time.After(stranded())
				}
				ways = append(ways, c.chatter("after")...)
				for i, e := range both {
					e.stop()
					if got := e.others(place.listen...); policy == "auto" != (len(got) > 0) {
						t.Errorf("%s exchanged packets with %v\n%s", []string{"alice", "bob"}[i], got, c.story())
					}
				}
				if policy != "auto" && slices.ContainsFunc(ways, func(w string) bool { return w != "relay" }) {
					t.Errorf("went by %v", ways)
				}
			})
		}
	}
}

// TestOneMessageByRelay has alice send one message by relay, from a home where nothing runs or where her peer does: neither machine has a packet for the other.
func TestOneMessageByRelay(t *testing.T) {
	for name, runs := range map[string]bool{"nothing runs": false, "a peer runs": true} {
		t.Run(name, func(t *testing.T) {
			roll.Begin(t, stage.Linking, translating)
			w := newInternet(t)
			place := apart(w, w.public("alice"), w.public("bob"))
			w.run()
			c := meet(t, place)
			if !runs {
				c.alice.EndInput()
				c.alice.Wait()
			}
			both := []*ears{listen(t, place.alice), listen(t, place.bob)}
			c.people[0].Must(0, "send", "bob", "from nowhere", "--way", "relay")
			c.bob.Message("alice", "from nowhere")
			if runs {
				c.people[1].Must(0, "send", "alice", "to nobody", "--way", "relay")
				c.alice.Message("bob", "to nobody")
			}
			<-time.After(stranded())
			for i, e := range both {
				e.stop()
				if got := e.others(place.listen...); len(got) > 0 {
					t.Errorf("%s exchanged packets with %v", []string{"alice", "bob"}[i], got)
				}
			}
		})
	}
}

// TestWhereNoWayIsLeft refuses what may not go by any way that there is: with exit 5, the reason, and what can be done.
func TestWhereNoWayIsLeft(t *testing.T) {
	for _, tt := range []struct {
		name   string
		build  func(w *internet) town
		set    func(c *conversation)
		args   []string
		reason string
		silent bool // nothing leaves for anybody but the rendezvous
		quick  bool // in the short form too
	}{
		{name: "direct behind a symmetric NAT", build: routers(cone, symmetric), args: []string{"--way", "direct"}, reason: "symmetric-nat-there"},
		{name: "direct by policy, from a symmetric NAT", build: routers(symmetric, cone), reason: "symmetric-nat-here", set: func(c *conversation) {
			setWay(c.alice, "bob", "direct")
		}},
		{name: "lan, elsewhere", build: routers(cone, cone), reason: "no-common-network", silent: true, quick: true, set: func(c *conversation) {
			setWay(c.alice, "bob", "lan")
		}},
		{name: "lan, with a public address", build: towns["public"], reason: "no-common-network", silent: true, set: func(c *conversation) {
			setWay(c.alice, "default", "lan")
		}},
		{name: "lan here, relay there", build: towns["one LAN"], reason: "policy-there", silent: true, set: func(c *conversation) {
			setWay(c.alice, "bob", "lan")
			setWay(c.bob, "alice", "relay")
		}},
	} {
		if !long && !tt.quick {
			continue
		}
		t.Run(tt.name, func(t *testing.T) {
			roll.Begin(t, stage.Linking, translating)
			w := newInternet(t)
			place := tt.build(w)
			w.run()
			c := meet(t, place)
			e := listen(t, place.alice)
			if tt.set != nil {
				tt.set(c)
				<-time.After(heard)
			}
			r := c.people[0].Must(5, append([]string{"send", "bob", "no way"}, tt.args...)...)
			if !strings.Contains(r.Errors, tt.reason+": ") || !strings.Contains(r.Errors, "byway: hint: ") && tt.reason != "no-common-network" {
				t.Errorf("told %q, want %s and a remedy\n%s", r.Errors, tt.reason, c.story())
			}
			e.stop()
			if got := e.others(place.listen...); tt.silent && len(got) > 0 {
				t.Errorf("exchanged packets with %v", got)
			}
		})
	}
}

// TestRelayGivesPortsBack has the router of somebody who keeps to the relay for all lead nobody to them any more.
func TestRelayGivesPortsBack(t *testing.T) {
	roll.Begin(t, stage.Linking, translating)
	w := newInternet(t)
	home := w.behind("a", mapsByPMP)
	place := apart(w, home.host("alice"), w.public("bob"))
	w.run()
	c := meet(t, place)
	leads := func() bool {
		out, err := exec.Command("ip", "netns", "exec", home.router, "nft", "list", "chain", "inet", "router", "leads").CombinedOutput()
		if err != nil {
			t.Fatalf("nft: %v %s", err, out)
		}
		return strings.Contains(string(out), "dnat")
	}
	stage.Eventually(t, "the router leads to alice", leads)
	setWay(c.alice, "default", "relay")
	stage.Eventually(t, "the router leads to nobody", func() bool { return !leads() })
	if r := c.people[0].Must(0, "status", "--json"); !strings.Contains(r.Out, `"port_mapping":{"state":"off"`) {
		t.Errorf("status says %s", r.Out)
	}
}
