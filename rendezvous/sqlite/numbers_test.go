package sqlite

import (
	"database/sql"
	"encoding/binary"
	"fmt"
	"path/filepath"
	"testing"
	"time"

	"github.com/byway-chat/byway/crypto/identity"
	"github.com/byway-chat/byway/rendezvous"
	"github.com/byway-chat/byway/rendezvous/relay"
)

func numbered(i int) relay.Address {
	a := relay.Address{User: rendezvous.Username(fmt.Sprint("user", i))}
	binary.BigEndian.PutUint64(a.Device[:], uint64(i)+1)
	return a
}

// However many devices there are, what is known of them is bounded, and no number is given twice while the file is open.
func TestAddressesAreForgottenAndNumbersAreNot(t *testing.T) {
	db, err := Open(t.Context(), filepath.Join(t.TempDir(), "test.db"), nil)
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	const bound = 2000
	db.addresses.fewer = bound
	wide := relay.Usage{Messages: 1 << 40, Bytes: 1 << 50}
	put := func(from, to int) *relay.Batch {
		b := &relay.Batch{Quota: relay.Quota{Account: wide, Pair: wide}}
		for i := from; i < to; i++ {
			b.Puts = append(b.Puts, &relay.Put{Envelope: &relay.Envelope{From: numbered(0), To: numbered(i), Data: []byte{1}, Submitted: time.UnixMilli(1)}})
		}
		if err := db.Apply(t.Context(), b); err != nil {
			t.Fatal(err)
		}
		return b
	}
	const watched = 1000
	first := put(0, watched)
	gone := &relay.Batch{}
	for _, p := range first.Puts {
		gone.Deletions = append(gone.Deletions, relay.Deletion{To: p.Envelope.To, ID: p.ID, From: p.Envelope.From.User, Size: 1})
	}
	if err := db.Apply(t.Context(), gone); err != nil {
		t.Fatal(err)
	}
	for at := watched; at < 4000; at += 500 {
		put(at, at+500)
	}
	put(watched, watched+1)
	if got := len(db.addresses.by); got > bound || got != len(db.addresses.of) {
		t.Errorf("%d addresses are remembered, want at most %d", got, bound)
	}
	forgotten := 0
	for i := range watched {
		if db.addresses.find(numbered(i)) == nil {
			forgotten++
		}
	}
	if forgotten == 0 {
		t.Error("none was forgotten: the test shows nothing")
	}
	for i, p := range put(0, watched).Puts {
		if p.ID <= first.Puts[i].ID {
			t.Fatalf("device %d got number %d after %d", i, p.ID, first.Puts[i].ID)
		}
	}
	if u, err := db.Usage(t.Context(), "user5"); err != nil || u.Messages != 1 {
		t.Errorf("usage: got %+v, %v", u, err)
	}
}

// A mailbox of the first schema keeps what it holds, in order.
func TestMailboxOfTheFirstSchema(t *testing.T) {
	path := filepath.Join(t.TempDir(), "test.db")
	raw, err := sql.Open("sqlite", "file:"+path)
	if err != nil {
		t.Fatal(err)
	}
	first, err := schema.ReadFile("schema/0001_rendezvous.sql")
	if err != nil {
		t.Fatal(err)
	}
	for _, statement := range []string{
		string(first),
		"CREATE TABLE goose_db_version (id INTEGER PRIMARY KEY AUTOINCREMENT, version_id INTEGER NOT NULL, is_applied INTEGER NOT NULL, " +
			"tstamp TIMESTAMP DEFAULT (datetime('now')))",
		"INSERT INTO goose_db_version (version_id, is_applied) VALUES (0, 1), (1, 1)",
	} {
		if _, err := raw.Exec(statement); err != nil {
			t.Fatal(err)
		}
	}
	alice, bob, carol := relay.Address{User: "alice", Device: identity.Fingerprint{1}}, numbered(1), numbered(2)
	for i := range 10 {
		to := []relay.Address{bob, carol}[i%2]
		_, err := raw.Exec("INSERT INTO mailbox (id, recipient, device, sender, sender_device, submitted, size, envelope) VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
			100+i, string(to.User), to.Device[:], "alice", alice.Device[:], 1000+i, 1, []byte{byte(i)})
		if err != nil {
			t.Fatal(err)
		}
	}
	if err := raw.Close(); err != nil {
		t.Fatal(err)
	}
	db, err := Open(t.Context(), path, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	page, err := db.Page(t.Context(), carol, 0, 100, 1<<20)
	if err != nil || len(page) != 5 {
		t.Fatalf("got %d envelopes, %v", len(page), err)
	}
	for i, h := range page {
		if h.Data[0] != byte(2*i+1) || h.From != alice || h.Submitted.UnixMilli() != int64(1000+2*i+1) {
			t.Errorf("envelope %d: got %+v", i, h)
		}
	}
	b := &relay.Batch{Puts: []*relay.Put{{Envelope: &relay.Envelope{From: alice, To: carol, Data: []byte{1}}}}}
	b.Quota.Account, b.Quota.Pair = relay.Usage{Messages: 6, Bytes: 6}, relay.Usage{Messages: 6, Bytes: 6}
	if err := db.Apply(t.Context(), b); err != nil || b.Puts[0].ID <= page[4].ID {
		t.Errorf("put behind %d: got %+v, %v", page[4].ID, b.Puts[0], err)
	}
	if n, err := db.Expire(t.Context(), relay.Clock{}, 0, 100); n != 0 || err != nil {
		t.Errorf("expire: got %d, %v; the lifetime of what was there begins anew", n, err)
	}
}
