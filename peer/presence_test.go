package peer

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/byway-chat/byway/peer/delivery"
	"github.com/byway-chat/byway/rendezvous"
	"github.com/byway-chat/byway/rendezvous/client"
)

// TestPresenceAfterAnOutage wants to be told after it who has come and who has left meanwhile, and of nobody else.
func TestPresenceAfterAnOutage(t *testing.T) {
	c, s := desk(t)
	at := now(t)
	snapshot := func(last bool, names ...string) {
		p := &rendezvous.Presence{Snapshot: true, Last: last}
		for _, name := range names {
			p.Changes = append(p.Changes, &rendezvous.Change{Kind: rendezvous.Change_JOIN, Username: name, Device: make([]byte, 32)})
		}
		c.presence(at, p)
	}
	want := func(want string) {
		t.Helper()
		var got []string
		for _, e := range told(t, s) {
			if e.Type == EventPresence {
				got = append(got, fmt.Sprint(e.User, *e.Online))
			}
		}
		if got := strings.Join(got, " "); got != want {
			t.Errorf("told %q, want %q", got, want)
		}
	}
	up := func() { c.connected(at, new(client.Conn)) }
	down := func() {
		c.disconnected(at, "unreachable")
		if len(c.online) > 0 {
			t.Error("somebody counts as online without a rendezvous")
		}
	}

	up()
	snapshot(true, "carol")
	want("caroltrue")
	c.present(at, "bob", delivery.Device{}, true)
	want("bobtrue")
	down()
	want("")
	up()
	snapshot(false, "dave") // and is cut off
	down()
	down()
	up()
	snapshot(false, "bob")
	want("")
	snapshot(true, "erin")
	want("erintrue carolfalse")
	if c.online["dave"] != nil || len(c.online["bob"]) != 1 {
		t.Errorf("got %v online", c.online)
	}
	c.present(at, "bob", delivery.Device{}, false)
	want("bobfalse")
}

// TestLongSnapshot wants those of a long list who are not contacts to be told only when they leave.
func TestLongSnapshot(t *testing.T) {
	c, s := desk(t)
	at := time.Now()
	p := &rendezvous.Presence{Snapshot: true, Last: true}
	for i := range maxSnapshotEvents + 1 {
		p.Changes = append(p.Changes, &rendezvous.Change{Kind: rendezvous.Change_JOIN, Username: fmt.Sprint("user", i), Device: make([]byte, 32)})
	}
	for range 2 {
		c.connected(at, new(client.Conn))
		c.presence(at, p)
		c.disconnected(at, "unreachable")
	}
	c.connected(at, new(client.Conn))
	p.Changes = p.Changes[1:]
	c.presence(at, p)
	var got []string
	for _, e := range told(t, s) {
		if e.Type == EventPresence {
			got = append(got, fmt.Sprint(e.User, *e.Online))
		}
	}
	if len(got) != 1 || got[0] != "user0false" {
		t.Errorf("told %d times, beginning %v, want user0 once", len(got), got[:min(3, len(got))])
	}
}
