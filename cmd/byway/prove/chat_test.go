package prove_test

import (
	"strings"
	"testing"
)

// accounts asserts who is registered and who of them is online, by both of the operator's lists.
func accounts(t *testing.T, o *operator, online map[string]bool) {
	t.Helper()
	users, active := o.users(), o.active()
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
func exchange(t *testing.T, from, to *stream, id, body, way, want string) {
	t.Helper()
	from.send(id, to.name, body, way)
	accepted := from.state(id, "accepted")
	got := to.message(from.name, body)
	if got.Way != want {
		t.Errorf("%s came by %s, want %s", id, got.Way, want)
	}
	delivered := from.state(id, "delivered")
	if delivered.Way != want || delivered.MS == nil || *delivered.MS < 0 {
		t.Errorf("delivered: %+v, want way %s and the milliseconds", delivered, want)
	}
	if accepted.N == 0 || got.N != accepted.N || delivered.N != accepted.N || got.ID != accepted.ID {
		t.Errorf("the message has the numbers %d, %d, %d and the ids %s, %s", accepted.N, got.N, delivered.N, accepted.ID, got.ID)
	}
}

func TestTwoBots(t *testing.T) {
	t.Parallel()
	o := serve(t, "", loopback...)
	accounts(t, o, nil)
	alice, bob := newPerson(t, "alice", o), newPerson(t, "bob", o)
	a := alice.bot()
	accounts(t, o, map[string]bool{"alice": true})
	b := bob.bot()
	accounts(t, o, map[string]bool{"alice": true, "bob": true})

	exchange(t, a, b, "1", "by relay", "relay", "relay")
	exchange(t, b, a, "2", "and back", "relay", "relay")
	exchange(t, a, b, "3", "on the same machine", "direct", "lan")
	exchange(t, b, a, "4", "and back again", "direct", "lan")

	b.kill()
	a.presence("bob", false)
	accounts(t, o, map[string]bool{"alice": true, "bob": false})
	a.send("5", "bob", "while you were away", "auto")
	stored := a.state("5", "stored")
	if stored.MS == nil || stored.Way != "mailbox" {
		t.Errorf("stored: %+v, want way mailbox and the milliseconds", stored)
	}
	if m := o.users()["bob"].Mailbox; m.Messages == 0 || m.Bytes == 0 {
		t.Errorf("bob's mailbox: %+v, want a message", m)
	}

	b = bob.bot()
	if got := b.message("alice", "while you were away"); got.Way != "mailbox" {
		t.Errorf("it came by %s, want mailbox", got.Way)
	}
	both := a.read // bob's presence and his receipt overtake one another
	a.presence("bob", true)
	a.read = both
	if delivered := a.state("5", "delivered"); delivered.Way != "mailbox" || delivered.MS == nil {
		t.Errorf("delivered: %+v, want way mailbox and the milliseconds", delivered)
	}
	accounts(t, o, map[string]bool{"alice": true, "bob": true})
	eventually(t, "bob's mailbox is empty", func() bool { return o.users()["bob"].Mailbox.Messages == 0 })

	for _, s := range []*stream{a, b} {
		s.write(`{"cmd":"quit"}`)
		if code := s.wait(); code != 0 {
			t.Errorf("%s: exit code %d\n%s", s.name, code, s.stderr())
		}
	}
	eventually(t, "nobody is online", func() bool { return len(o.active()) == 0 })
	accounts(t, o, map[string]bool{"alice": false, "bob": false})
	if code := o.stop(); code != 0 {
		t.Errorf("rendezvous: exit code %d", code)
	}
}
