package prove_test

import (
	"strings"
	"testing"

	"github.com/byway-chat/byway/cmd/byway/stage"
)

// accounts asserts who is registered and who of them is online, by both of the operator's lists.
func accounts(t *testing.T, o *stage.Operator, online map[string]bool) {
	t.Helper()
	users, active := o.Users(), o.Active()
	if len(users) != len(online) {
		t.Errorf("%d users, want %d", len(users), len(online))
	}
	for name, want := range online {
		u, ok := users[name]
		if !ok {
			t.Errorf("%s is not among the users", name)
			continue
		}
		if u.Online != want {
			t.Errorf("users: %s online: %v, want %v", name, u.Online, want)
		}
		c, connected := active[name]
		if connected != want {
			t.Errorf("active: %s connected: %v, want %v", name, connected, want)
		}
		if connected && (c.PeerID == "" || c.Since.IsZero() || c.Transport != "tcp" || len(c.Device) != 16) {
			t.Errorf("active: %+v", c)
		}
		if len(u.Devices) != 1 || len(u.Devices[0].Fingerprint) != 64 || u.Devices[0].ID != u.Devices[0].Fingerprint[:16] {
			t.Errorf("users: devices of %s: %+v", name, u.Devices)
		}
		if u.Created.IsZero() || u.Seen.Before(u.Created) {
			t.Errorf("users: %s created %v, last seen %v", name, u.Created, u.Seen)
		}
		if !strings.HasPrefix(u.Password, "argon2id m=65536,t=3,p=4") {
			t.Errorf("users: password of %s: %q", name, u.Password)
		}
	}
}

// exchange sends one message and asserts all that both sides are told of it.
func exchange(t *testing.T, from, to *stage.Stream, id, body, way, want string) {
	t.Helper()
	from.Send(id, to.Name, body, way)
	accepted := from.State(id, "accepted")
	got := to.Message(from.Name, body)
	if got.Way != want {
		t.Errorf("%s came by %s, want %s", id, got.Way, want)
	}
	delivered := from.State(id, "delivered")
	if delivered.Way != want || delivered.MS == nil || *delivered.MS < 0 {
		t.Errorf("delivered: %+v, want way %s and the milliseconds", delivered, want)
	}
	if accepted.N == 0 || got.N != accepted.N || delivered.N != accepted.N || got.ID != accepted.ID {
		t.Errorf("the message has the numbers %d, %d, %d and the ids %s, %s", accepted.N, got.N, delivered.N, accepted.ID, got.ID)
	}
}

func TestTwoBots(t *testing.T) {
	t.Parallel()
	o := stage.Serve(t, "", stage.Loopback...)
	accounts(t, o, nil)
	alice, bob := stage.NewPerson(t, "alice", o), stage.NewPerson(t, "bob", o)
	a := alice.Bot()
	accounts(t, o, map[string]bool{"alice": true})
	b := bob.Bot()
	accounts(t, o, map[string]bool{"alice": true, "bob": true})

	exchange(t, a, b, "1", "by relay", "relay", "relay")
	exchange(t, b, a, "2", "and back", "relay", "relay")
	exchange(t, a, b, "3", "on the same machine", "direct", "lan")
	exchange(t, b, a, "4", "and back again", "direct", "lan")

	b.Kill()
	a.Presence("bob", false)
	accounts(t, o, map[string]bool{"alice": true, "bob": false})
	a.Send("5", "bob", "while you were away", "auto")
	stored := a.State("5", "stored")
	if stored.MS == nil || stored.Way != "mailbox" {
		t.Errorf("stored: %+v, want way mailbox and the milliseconds", stored)
	}
	if m := o.Users()["bob"].Mailbox; m.Messages == 0 || m.Bytes == 0 {
		t.Errorf("bob's mailbox: %+v, want a message", m)
	}

	b = bob.Bot()
	if got := b.Message("alice", "while you were away"); got.Way != "mailbox" {
		t.Errorf("it came by %s, want mailbox", got.Way)
	}
	both := a.Read // bob's presence and his receipt overtake one another
	a.Presence("bob", true)
	a.Read = both
	if delivered := a.State("5", "delivered"); delivered.Way != "mailbox" || delivered.MS == nil {
		t.Errorf("delivered: %+v, want way mailbox and the milliseconds", delivered)
	}
	accounts(t, o, map[string]bool{"alice": true, "bob": true})
	stage.Eventually(t, "bob's mailbox is empty", func() bool { return o.Users()["bob"].Mailbox.Messages == 0 })

	for _, s := range []*stage.Stream{a, b} {
		s.Write(`{"cmd":"quit"}`)
		if code := s.Wait(); code != 0 {
			t.Errorf("%s: exit code %d\n%s", s.Name, code, s.Stderr())
		}
	}
	stage.Eventually(t, "nobody is online", func() bool { return len(o.Active()) == 0 })
	accounts(t, o, map[string]bool{"alice": false, "bob": false})
	if code := o.Stop(); code != 0 {
		t.Errorf("rendezvous: exit code %d", code)
	}
}
