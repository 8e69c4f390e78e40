package natlab

import (
	"cmp"
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/byway-chat/byway/cmd/byway/stage"
)

// patience is how long the way that must be found may take. Only a pair that does not find it takes so long.
const patience = 20 * time.Second

func family(address string) string {
	if strings.Contains(address, ":") {
		return "/ip6/"
	}
	return "/ip4/"
}

// conversation is alice and bob, who talk.
type conversation struct {
	t          testing.TB
	o          *stage.Operator
	alice, bob *stage.Stream
	people     [2]*stage.Person
	asked      int
}

// meet starts a rendezvous and two peers, who register.
func meet(t testing.TB, place town) *conversation {
	t.Helper()
	o := serve(t, place)
	c := &conversation{t: t, o: o}
	for i, space := range []string{place.alice, place.bob} {
		p := stage.NewPerson(t, []string{"alice", "bob"}[i], o)
		p.Netns, p.Flags = space, []string{"--rendezvous", strings.Join(o.Addrs, ","), "--log-level", "debug"}
		if !place.mdns {
			p.Flags = append(p.Flags, "--no-mdns")
		}
		c.people[i] = p
	}
	c.alice, c.bob = c.people[0].Bot(), c.people[1].Bot()
	return c
}

// way is one entry of a route, as scripts see it.
type way struct {
	Re     string `json:"re"`
	Type   string `json:"type"`
	Way    string `json:"way"`
	State  string `json:"state"`
	Reason string `json:"reason"`
	InUse  bool   `json:"in_use"`
}

// route asks alice for the ways to bob.
func (c *conversation) route() []way {
	c.t.Helper()
	c.asked++
	re := fmt.Sprintf("route-%d", c.asked)
	c.alice.Command(map[string]any{"id": re, "cmd": "route", "to": "bob"})
	c.alice.Await(re, func(e stage.Event) bool { return e.Type == "done" && e.Re == re })
	var list []way
	for line := range strings.Lines(c.alice.Stdout()) {
		var v way
		if json.Unmarshal([]byte(line), &v) == nil && v.Type == "way" && v.Re == re {
			list = append(list, v)
		}
	}
	return list
}

// read returns the way in use and, where that is the relay, why one of the better ways is not.
func read(list []way, about string) (used, reason string) {
	for _, v := range list {
		if v.InUse {
			used = v.Way
		}
		if v.Way == about {
			reason = v.Reason
		}
	}
	if used != "relay" {
		reason = ""
	}
	return used, reason
}

// settle talks until the way is the wanted one, for the wanted reason, or time is up. It returns the way of the last message, the reason and the time.
func (c *conversation) settle(p pair) (found, reason string, took time.Duration) {
	c.t.Helper()
	if p.way != "" {
		c.alice.Command(map[string]any{"id": "way", "cmd": "way", "to": "bob", "way": p.way})
		c.alice.Await("the policy is set", func(e stage.Event) bool { return e.Type == "done" && e.Re == "way" })
	}
	began := time.Now()
	say := func(n int) string {
		id := fmt.Sprintf("%s %d", p.name, n)
		c.alice.Send(id, "bob", id, "auto")
		return c.alice.State(id, "delivered").Way
	}
	say(1)
	for {
		used, why := read(c.route(), cmp.Or(p.about, "punched"))
		late := time.Since(began) > patience
		if used == p.want && why == p.because || late {
			took = time.Since(began)
			if late {
				took = 0
			}
			return say(2), why, took
		}
		<-time.After(50 * time.Millisecond)
	}
}

// story is what alice has told, and what both have logged.
func (c *conversation) story() string {
	var b strings.Builder
	for line := range strings.Lines(c.alice.Stdout()) {
		if !strings.Contains(line, `"re":"route-`) {
			b.WriteString(line)
		}
	}
	for _, v := range c.route() {
		fmt.Fprintf(&b, "%+v\n", v)
	}
	for _, s := range []*stage.Stream{c.alice, c.bob} {
		fmt.Fprintf(&b, "%s:\n%s\n", s.Name, s.Stderr())
	}
	return b.String()
}
