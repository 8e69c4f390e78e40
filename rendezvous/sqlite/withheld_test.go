package sqlite_test

import (
	"bytes"
	"database/sql"
	"os"
	"strings"
	"testing"

	_ "modernc.org/sqlite" // to write as another program

	"github.com/byway-chat/byway/rendezvous"
	"github.com/byway-chat/byway/rendezvous/directory"
	"github.com/byway-chat/byway/rendezvous/sqlite"
)

// files reads a closed database, by what the names of its files end with.
func files(t *testing.T, dir string) map[string][]byte {
	t.Helper()
	out := map[string][]byte{}
	for _, suffix := range []string{"", ".sums", ".mark"} {
		content, err := os.ReadFile(file(dir) + suffix)
		if err != nil {
			t.Fatal(err)
		}
		out[suffix] = content
	}
	return out
}

// TestNoPageTellsWhatIsWithheld overwrites each page in turn of a directory in which alice withholds her address from bob and many others. He is never
// told it; where nothing of a table is lost, carol is.
func TestNoPageTellsWhatIsWithheld(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	db := open(t, dir)
	alice := member(t, 0, "alice")
	alice.Devices[0].PeerRecord = []byte("where alice is")
	if err := db.Create(t.Context(), alice, nil); err != nil {
		t.Fatal(err)
	}
	from := []rendezvous.Username{"bob"}
	for i := range 300 {
		from = append(from, rendezvous.Username(strings.Repeat("z", 26)+string(rune('a'+i%26))+string(rune('a'+i/26))))
	}
	if err := db.UpdateDevices(t.Context(), directory.DeviceChange{Device: alice.Devices[0].Fingerprint, Withheld: &from}); err != nil {
		t.Fatal(err)
	}
	tells := func(db *sqlite.DB, to rendezvous.Username) bool {
		t.Helper()
		a, err := db.Shown(t.Context(), "alice", to)
		return err == nil && len(a.Devices) > 0 && a.Devices[0].PeerRecord != nil
	}
	if tells(db, "bob") || !tells(db, "carol") {
		t.Fatal("withheld from the wrong one")
	}
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
	held := files(t, dir)
	lost, kept := 0, 0
	for page := range len(held[""]) / 4096 {
		c := bytes.Clone(held[""])
		copy(c[page*4096+512:], bytes.Repeat([]byte{0xee}, 512))
		db, _ := openDamaged(t, held, c, nil)
		if tells(db, "bob") {
			t.Errorf("page %d: bob is told", page+1)
		}
		if found, _, _ := db.Damage(); strings.Contains(found, "nothing was lost") {
			kept++
			if !tells(db, "carol") {
				t.Errorf("page %d: carol is not told, though %s", page+1, found)
			}
		} else if lost++; tells(db, "carol") {
			t.Errorf("page %d: carol is told, though %s", page+1, found)
		}
		if err := db.Close(); err != nil {
			t.Error(err)
		}
	}
	if lost < 3 {
		t.Errorf("%d pages were lost and %d were not", lost, kept)
	}
}

// TestOlderFileWithholdsFromNobody opens a file of the version before, whose devices publish addresses: they are shown as ever, and can be withheld now.
func TestOlderFileWithholdsFromNobody(t *testing.T) {
	dir := t.TempDir()
	db := open(t, dir)
	alice := member(t, 0, "alice")
	alice.Devices[0].PeerRecord = []byte("where alice is")
	if err := db.Create(t.Context(), alice, nil); err != nil {
		t.Fatal(err)
	}
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
	older, err := sql.Open("sqlite", file2url(file(dir)))
	if err != nil {
		t.Fatal(err)
	}
	for _, statement := range []string{"DROP TABLE withheld", "DELETE FROM goose_db_version WHERE version_id = 4"} {
		if _, err := older.Exec(statement); err != nil {
			t.Fatal(err)
		}
	}
	if err := older.Close(); err != nil {
		t.Fatal(err)
	}
	for _, suffix := range []string{".sums", ".mark"} { // they are not of what was written past them
		if err := os.Remove(file(dir) + suffix); err != nil {
			t.Fatal(err)
		}
	}
	db = open(t, dir)
	defer db.Close()
	for _, withheld := range []bool{false, true} {
		if withheld {
			from := []rendezvous.Username{"bob"}
			if err := db.UpdateDevices(t.Context(), directory.DeviceChange{Device: alice.Devices[0].Fingerprint, Withheld: &from}); err != nil {
				t.Fatal(err)
			}
		}
		a, err := db.Shown(t.Context(), "alice", "bob")
		if err != nil || (a.Devices[0].PeerRecord == nil) != withheld {
			t.Errorf("withheld %v: shown %q, %v", withheld, a.Devices[0].PeerRecord, err)
		}
	}
}

// file2url writes a path so that SQLite reads it as it stands.
func file2url(path string) string {
	return "file:" + strings.NewReplacer("%", "%25", "#", "%23", "?", "%3f", " ", "%20").Replace(path)
}
