package sqlite_test

import (
	"bytes"
	"fmt"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/libp2p/go-libp2p/core/crypto"
	"github.com/libp2p/go-libp2p/core/peer"

	"github.com/byway-chat/byway/crypto/identity/identitytest"
	"github.com/byway-chat/byway/rendezvous"
	"github.com/byway-chat/byway/rendezvous/directory"
	"github.com/byway-chat/byway/rendezvous/sqlite"
)

// member is an account as it is after it was made, banned and given another password.
func member(t *testing.T, i int, name rendezvous.Username) *directory.Account {
	t.Helper()
	keys := identitytest.Keyring(i)
	host, err := crypto.UnmarshalEd25519PrivateKey(keys.Host)
	if err != nil {
		t.Fatal(err)
	}
	id, err := peer.IDFromPrivateKey(host)
	if err != nil {
		t.Fatal(err)
	}
	added := time.UnixMilli(1_700_000_000_000).UTC()
	entry := &rendezvous.Entry{
		Rendezvous: id, Username: name, Seq: 1, Issued: added,
		Devices: []rendezvous.EntryDevice{{Key: keys.Identity.Public(), PeerID: id, Added: added}},
	}
	signed, err := entry.Sign(keys.Identity)
	if err != nil {
		t.Fatal(err)
	}
	return &directory.Account{
		Name: name, Skeleton: name.Skeleton(), Created: added, Password: "$argon2id$" + string(name), Entry: signed, Seq: 1,
		Devices: []directory.Device{{
			Fingerprint: keys.Identity.Public().Fingerprint(), PeerID: id, Added: added, Bundle: bytes.Repeat([]byte{byte(i)}, 2300), BundleSeq: 7,
		}},
	}
}

// TestNoPageTakesAnAccount overwrites each page of a small directory in turn. Every account keeps its password, its ban, its entry and its devices;
// what a device may lose is what it publishes again.
func TestNoPageTakesAnAccount(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	db := open(t, dir)
	names := []rendezvous.Username{"alice", "bob", "carol"}
	for i, name := range names {
		if err := db.Create(t.Context(), member(t, i, name), nil); err != nil {
			t.Fatal(err)
		}
	}
	password, ban := "$argon2id$changed", &directory.Ban{Since: time.UnixMilli(1_700_000_000_000).UTC(), Reason: "noise"}
	if err := db.UpdateAccount(t.Context(), "bob", directory.AccountChange{Password: &password, Ban: &ban}); err != nil {
		t.Fatal(err)
	}
	want := members(t, db, names)
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
	files := map[string][]byte{}
	for _, suffix := range []string{"", ".sums", ".mark"} {
		content, err := os.ReadFile(file(dir) + suffix)
		if err != nil {
			t.Fatal(err)
		}
		files[suffix] = content
	}
	restored := 0
	for page := range len(files[""]) / 4096 {
		c := bytes.Clone(files[""])
		copy(c[page*4096+512:], bytes.Repeat([]byte{0xee}, 512))
		if bytes.Equal(c, files[""]) {
			t.Fatal("nothing was overwritten")
		}
		db, _ := openDamaged(t, files, c, nil)
		if diff := cmp.Diff(want, members(t, db, names)); diff != "" {
			t.Errorf("page %d: %s", page+1, diff)
		}
		found, _, err := db.Damage()
		if err != nil {
			t.Error(err)
		}
		if strings.Contains(found, "put back") {
			restored++
		}
		if err := db.Close(); err != nil {
			t.Error(err)
		}
	}
	if restored < 3 {
		t.Errorf("only %d pages held anything that was put back", restored)
	}
}

// members returns the accounts without what their devices publish themselves.
func members(t *testing.T, db *sqlite.DB, names []rendezvous.Username) (all []string) {
	t.Helper()
	for _, name := range names {
		a, err := db.Account(t.Context(), name)
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		line := fmt.Sprintf("%s %s %v %s %x %d %v", a.Name, a.Skeleton, a.Created, a.Password, a.Entry, a.Seq, a.Ban)
		for _, d := range a.Devices {
			line += fmt.Sprintf(" %x %s %v", d.Fingerprint, d.PeerID, d.Added)
		}
		all = append(all, line)
	}
	return all
}
