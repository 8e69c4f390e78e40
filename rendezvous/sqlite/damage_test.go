package sqlite_test

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"os"
	"strings"
	"testing"

	"github.com/byway-chat/byway/crypto/identity"
	"github.com/byway-chat/byway/rendezvous/relay"
	"github.com/byway-chat/byway/rendezvous/sqlite"
)

// stored makes a closed database with 400 envelopes, of which each differs, and returns its files by what their names end with.
func stored(t *testing.T) (files map[string][]byte, want map[string]bool) {
	t.Helper()
	dir := t.TempDir()
	db := open(t, dir)
	for i := range 40 {
		b := batch(10, 2000)
		for j, p := range b.Puts {
			copy(p.Envelope.Data, fmt.Sprintf("envelope %d.", i*10+j))
		}
		if err := db.Apply(t.Context(), b); err != nil {
			t.Fatal(err)
		}
	}
	want = held(t, db)
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
	files = map[string][]byte{}
	for _, suffix := range []string{"", ".sums", ".mark"} {
		content, err := os.ReadFile(file(dir) + suffix)
		if err != nil {
			t.Fatal(err)
		}
		files[suffix] = content
	}
	return files, want
}

func held(t *testing.T, db *sqlite.DB) map[string]bool {
	t.Helper()
	all := map[string]bool{}
	for device := range 10 {
		page, err := db.Page(t.Context(), relay.Address{User: "bob", Device: identity.Fingerprint{2, byte(device)}}, 0, 1000, 1<<30)
		if err != nil {
			t.Fatal(err)
		}
		for _, h := range page {
			all[fmt.Sprint(h.ID, h.From, h.Submitted, string(h.Data))] = true
		}
	}
	return all
}

// openDamaged opens the files with another content of the database, and checks that it shows nothing that was not stored.
func openDamaged(t *testing.T, files map[string][]byte, content []byte, want map[string]bool) (db *sqlite.DB, gone int) {
	t.Helper()
	dir := t.TempDir()
	for suffix, b := range files {
		if err := os.WriteFile(file(dir)+suffix, b, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.WriteFile(file(dir), content, 0o600); err != nil {
		t.Fatal(err)
	}
	db = open(t, dir)
	t.Cleanup(func() { _ = db.Close() })
	found, kept, err := db.Damage()
	if err != nil || found == "" || len(kept) != 1 {
		t.Fatalf("damage: %q, %q and %v", found, kept, err)
	}
	if b, err := os.ReadFile(kept[0]); err != nil || !bytes.Equal(b, content) {
		t.Errorf("the damaged database was not kept as it was: %v", err)
	}
	got := held(t, db)
	for h := range got {
		if !want[h] {
			t.Errorf("an envelope that nobody stored: %.60q", h)
		}
	}
	return db, len(want) - len(got)
}

func TestFlippedBitsAreTurnedBack(t *testing.T) {
	files, want := stored(t)
	random := rand.New(rand.NewPCG(1, 2))
	for range 20 {
		c := bytes.Clone(files[""])
		bit := random.IntN(len(c) * 8)
		c[bit/8] ^= 1 << (bit % 8)
		db, gone := openDamaged(t, files, c, want)
		if found, _, _ := db.Damage(); gone != 0 || !strings.Contains(found, "nothing was lost") {
			t.Errorf("bit %d: %d envelopes gone; %s", bit, gone, found)
		}
	}
}

// TestDamagedPages loses whole pages: their envelopes are lost and counted, those beside them are not, and the quota counts what is there.
func TestDamagedPages(t *testing.T) {
	files, want := stored(t)
	c := bytes.Clone(files[""])
	for page := 40; page < 44; page++ {
		copy(c[page*4096:], bytes.Repeat([]byte{0xff}, 16))
	}
	db, gone := openDamaged(t, files, c, want)
	if gone == 0 || gone > 12 {
		t.Errorf("%d envelopes gone, want those of four pages", gone)
	}
	if found, _, _ := db.Damage(); !strings.Contains(found, "mailbox lost") {
		t.Errorf("got %q", found)
	}
	if u, err := db.Usage(t.Context(), "bob"); err != nil || int(u.Messages) != len(want)-gone {
		t.Errorf("usage %v and %v, want %d messages", u, err, len(want)-gone)
	}
	if err := db.Apply(t.Context(), batch(10, 100)); err != nil {
		t.Error(err)
	}
}

// TestEveryLostPage loses every third page in turn. What is shown after that was stored, the rest goes on, and no new address gets the mail of an old one.
func TestEveryLostPage(t *testing.T) {
	t.Parallel()
	files, want := stored(t)
	lost := 0
	for page := 0; page < len(files[""])/4096; page += 3 {
		c := bytes.Clone(files[""])
		copy(c[page*4096:], bytes.Repeat([]byte{0xff}, 4096))
		db, gone := openDamaged(t, files, c, want)
		if gone > 0 {
			lost++
		}
		b := batch(1, 100)
		stranger := relay.Address{User: "stranger", Device: identity.Fingerprint{9}}
		b.Puts[0].Envelope.To = stranger
		if err := db.Apply(t.Context(), b); err != nil {
			t.Errorf("page %d: %v", page+1, err)
		}
		if mail, err := db.Page(t.Context(), stranger, 0, 100, 1<<20); err != nil || len(mail) != 1 {
			t.Errorf("page %d: a stranger got %d envelopes, %v", page+1, len(mail), err)
		}
		if err := db.Close(); err != nil {
			t.Error(err)
		}
	}
	if lost < 15 {
		t.Errorf("only %d pages held mail", lost)
	}
}
