package fault

import (
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"path/filepath"
	"testing"
	"time"

	libp2p "github.com/libp2p/go-libp2p/core/peer"

	"github.com/byway-chat/byway/crypto/identity"
	"github.com/byway-chat/byway/rendezvous"
	"github.com/byway-chat/byway/rendezvous/directory"
	"github.com/byway-chat/byway/rendezvous/relay"
	"github.com/byway-chat/byway/rendezvous/sqlite"
)

// TestRestartOfMany kills a rendezvous that has 100,000 users and 1,000,000 waiting envelopes, a tenth of them in the short form, and tells how long the next one
// takes until it listens, and until somebody is signed in and has their mail. All that waits is still there. TestKillWithoutWrites is its
// control.
func TestRestartOfMany(t *testing.T) {
	roll.Begin(t)
	users := size(10_000, 100_000)
	const queued, kills = 10, 3
	c := newCast(t, setting{people: 2})
	if code := c.o.Stop(); code != 0 {
		t.Errorf("SIGTERM: exit code %d", code)
	}
	crowd(t, c.o.Data, users, queued)
	c.o.Again()
	c.everybody()
	alice, bob := c.person("alice"), c.person("bob")
	for round := range kills {
		c.away("bob")
		for range 20 {
			alice.say("bob", "")
		}
		letters := 20 * (round + 1)
		if !c.ledger.await(patience, func() bool { return c.ledger.storedLocked() >= letters }) {
			t.Fatal("the mailbox does not take what is for bob")
		}
		c.o.Kill()
		began := time.Now()
		c.o.Again()
		within(t, "listened", patience, began)
		bob.start()
		within(t, "signed in", patience, began)
		if !c.ledger.await(patience, func() bool { return c.ledger.sum.shown >= letters }) {
			t.Fatal("not everything comes out of the mailbox")
		}
		within(t, "had their mail", patience, began)
	}
	var status struct{ Users int }
	if err := json.Unmarshal([]byte(c.o.Ask("status", "--json")), &status); err != nil || status.Users != users+len(names) {
		t.Errorf("%d users, want %d (%v)", status.Users, users+len(names), err)
	}
	c.verdict("kills of a rendezvous with many users", kills)
	if code := c.o.Stop(); code != 0 {
		t.Errorf("SIGTERM: exit code %d", code)
	}
	stillThere(t, c.o.Data, users, queued)
}

// crowd registers users and lets so many envelopes wait for each, in the database of a rendezvous that does not run.
func crowd(t testing.TB, data string, users, each int) {
	t.Helper()
	db := database(t, data)
	defer db.Close()
	unlimited := relay.Usage{Messages: 1 << 40, Bytes: 1 << 50}
	for i := range users {
		name, to := crowdMember(i)
		// What they have published has the size of what real ones publish. Nobody reads it here.
		err := db.Create(t.Context(), &directory.Account{
			Name: name, Skeleton: string(name), Created: time.Now(), Password: "-", Entry: make([]byte, 1200), Seq: 1,
			Devices: []directory.Device{{
				Fingerprint: to.Device, PeerID: libp2p.ID("peer of " + name), Added: time.Now(), Bundle: make([]byte, 1500), BundleSeq: 1, PeerRecord: make([]byte, 400),
			}},
		}, nil)
		if err != nil {
			t.Fatal(err)
		}
	}
	clock, err := db.Clock(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	const atOnce = 500
	for first := 0; first < users; first += atOnce {
		b := &relay.Batch{Quota: relay.Quota{Account: unlimited, Pair: unlimited}, Kept: clock.Mailbox}
		for i := first; i < min(first+atOnce, users); i++ {
			_, to := crowdMember(i)
			_, from := crowdMember(i % 100)
			for range each {
				b.Puts = append(b.Puts, &relay.Put{Envelope: &relay.Envelope{From: from, To: to, Submitted: time.Now(), Data: make([]byte, 400)}})
			}
		}
		if err := db.Apply(t.Context(), b); err != nil {
			t.Fatal(err)
		}
	}
}

func crowdMember(i int) (rendezvous.Username, relay.Address) {
	name := rendezvous.Username(fmt.Sprint("one-of-many-", i))
	return name, relay.Address{User: name, Device: identity.Fingerprint{3, byte(i), byte(i >> 8), byte(i >> 16)}}
}

func database(t testing.TB, data string) *sqlite.DB {
	t.Helper()
	db, err := sqlite.Open(t.Context(), filepath.Join(data, "rendezvous.db"), nil)
	if err != nil {
		t.Fatal(err)
	}
	return db
}

// stillThere wants what crowd has put for some users.
func stillThere(t testing.TB, data string, users, each int) {
	t.Helper()
	db := database(t, data)
	defer db.Close()
	for range 1000 {
		name, _ := crowdMember(rand.IntN(users))
		usage, err := db.Usage(t.Context(), name)
		if err != nil || usage.Messages != uint64(each) {
			t.Fatalf("%d envelopes wait for %s, want %d (%v)", usage.Messages, name, each, err)
		}
	}
	if found, _, err := db.Damage(); found != "" || err != nil {
		t.Errorf("damaged: %s (%v)", found, err)
	}
}
