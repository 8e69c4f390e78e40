package directory_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/byway-chat/byway/rendezvous"
	"github.com/byway-chat/byway/rendezvous/directory"
)

// withheld is a list as it travels.
func withheld(names ...string) *rendezvous.Withheld { return &rendezvous.Withheld{Usernames: names} }

// hidden returns of which of an account's devices another gets no address.
func (f *fixture) hidden(asks rendezvous.Username, name string) (devices []int) {
	f.t.Helper()
	found, err := f.s.Lookup(f.t.Context(), &directory.SignedIn{User: asks}, &rendezvous.Lookup{Usernames: []string{name}})
	if err != nil {
		f.t.Fatal(err)
	}
	for i, d := range found.GetRecords()[0].GetDevices() {
		if len(d.GetBundle()) == 0 {
			f.t.Errorf("%s gets no key of device %d", asks, i)
		}
		if len(d.GetPeerRecord()) == 0 {
			devices = append(devices, i)
		}
	}
	return devices
}

// TestWithheld publishes, one after the other, from whom a device withholds its addresses, and asks as each of three accounts.
func TestWithheld(t *testing.T) {
	f := start(t)
	alice := f.register("alice", 0)
	f.register("bob", 1)
	if err := f.s.Publish(t.Context(), alice, &rendezvous.Publish{PeerRecord: peerRecord(t, 0, 0, 1, 1)}); err != nil {
		t.Fatal(err)
	}
	tooMany := make([]string, rendezvous.MaxWithheld+1)
	for i := range tooMany {
		tooMany[i] = fmt.Sprint("user", i)
	}
	for _, tt := range []struct {
		name    string
		publish *rendezvous.Publish
		want    rendezvous.Code // empty: it is done
		told    bool            // watchers are
		hidden  string          // from whom, afterwards
	}{
		{"from bob", &rendezvous.Publish{Withheld: withheld("bob")}, "", true, "bob"},
		{"once more", &rendezvous.Publish{Withheld: withheld("bob", "bob")}, "", false, "bob"},
		{"nothing is said of it", &rendezvous.Publish{PeerRecord: peerRecord(t, 0, 0, 2, 1)}, "", true, "bob"},
		{"with other addresses", &rendezvous.Publish{Withheld: withheld("zoe", "bob", "carol"), PeerRecord: peerRecord(t, 0, 0, 3, 1)}, "", true, "bob carol"},
		{"in another order", &rendezvous.Publish{Withheld: withheld("carol", "zoe", "bob")}, "", false, "bob carol"},
		{"not in canonical form", &rendezvous.Publish{Withheld: withheld("Bob")}, rendezvous.CodeBadRequest, false, "bob carol"},
		{"a reserved name", &rendezvous.Publish{Withheld: withheld("nobody")}, rendezvous.CodeBadRequest, false, "bob carol"},
		{"no name", &rendezvous.Publish{Withheld: withheld("dave", "")}, rendezvous.CodeBadRequest, false, "bob carol"},
		{"an escape sequence", &rendezvous.Publish{Withheld: withheld("\x1b[2J")}, rendezvous.CodeBadRequest, false, "bob carol"},
		{"too many", &rendezvous.Publish{Withheld: withheld(tooMany...)}, rendezvous.CodeTooLarge, false, "bob carol"},
		{"beside what is refused", &rendezvous.Publish{Withheld: withheld(), PeerRecord: peerRecord(t, 0, 0, 2, 1)}, rendezvous.CodeStale, false, "bob carol"},
		{"with no address", &rendezvous.Publish{Withheld: withheld("carol"), HideAddresses: true}, "", true, "alice bob carol"},
		{"addresses again", &rendezvous.Publish{PeerRecord: peerRecord(t, 0, 0, 1, 1)}, "", true, "carol"},
		{"from as many as can be", &rendezvous.Publish{Withheld: withheld(append(tooMany[2:], "bob")...)}, "", true, "bob"},
		{"from themselves", &rendezvous.Publish{Withheld: withheld("alice")}, "", true, "alice"},
		{"from nobody", &rendezvous.Publish{Withheld: withheld()}, "", true, ""},
	} {
		before := len(f.online.changed)
		err := f.s.Publish(t.Context(), alice, tt.publish)
		if tt.want != "" {
			wantCode(t, tt.name, err, tt.want)
		} else if err != nil {
			t.Errorf("%s: %v", tt.name, err)
		}
		if told := len(f.online.changed) > before; told != tt.told {
			t.Errorf("%s: watchers were told: %v, want %v", tt.name, told, tt.told)
		}
		var hidden []string
		for _, asks := range []rendezvous.Username{"alice", "bob", "carol"} {
			if len(f.hidden(asks, "alice")) > 0 {
				hidden = append(hidden, string(asks))
			}
		}
		if got := strings.Join(hidden, " "); got != tt.hidden {
			t.Errorf("%s: hidden from %q, want %q", tt.name, got, tt.hidden)
		}
	}
}

// TestEachDeviceWithholds has two devices of one account withhold from different people. What one has said goes with it.
func TestEachDeviceWithholds(t *testing.T) {
	f := start(t)
	alice := f.register("alice", 0)
	phone := f.enrol("alice", 1, 2, 0)
	publish := func(who *directory.SignedIn, i int, from string) {
		t.Helper()
		if err := f.s.Publish(t.Context(), who, &rendezvous.Publish{PeerRecord: peerRecord(t, i, i, 1, 1), Withheld: withheld(from)}); err != nil {
			t.Fatal(err)
		}
	}
	want := func(asks rendezvous.Username, devices ...int) {
		t.Helper()
		if got := f.hidden(asks, "alice"); !slices.Equal(got, devices) {
			t.Errorf("hidden from %s: %v, want %v", asks, got, devices)
		}
	}
	publish(alice, 0, "bob")
	publish(phone, 1, "carol")
	want("bob", 0)
	want("carol", 1)
	want("dave")
	if _, err := f.s.RemoveDevices(t.Context(), alice, entry(t, "alice", 3, 0, 0)); err != nil {
		t.Fatal(err)
	}
	want("carol")
	publish(f.register("erin", 1), 1, "bob") // the key is another account's now
	if got := f.hidden("carol", "erin"); len(got) > 0 {
		t.Error("what a device said on another account still counts")
	}
}

// FuzzParseWithheld: whatever names come, what is taken are user names in canonical form, each once and in order, and taken again it is the same.
func FuzzParseWithheld(f *testing.F) {
	f.Add("bob\ncarol\nbob")
	f.Add("")
	f.Add("Bob")
	f.Add("b\u00f6b\n\u202e\n\x00")
	f.Add(strings.Repeat("a\n", rendezvous.MaxWithheld+1))
	f.Fuzz(func(t *testing.T, lines string) {
		texts := strings.Split(lines, "\n")
		names, err := directory.ParseWithheld(texts)
		if err != nil {
			if code := rendezvous.CodeOf(err); code != rendezvous.CodeTooLarge && code != rendezvous.CodeBadRequest {
				t.Errorf("code %q", code)
			}
			return
		}
		again := make([]string, len(names))
		for i, name := range names {
			again[i] = string(name)
			if parsed, err := rendezvous.ParseUsername(string(name)); err != nil || parsed != name || !slices.Contains(texts, string(name)) {
				t.Errorf("took %q", name)
			}
			if i > 0 && names[i-1] >= name {
				t.Errorf("%q behind %q", name, names[i-1])
			}
		}
		if len(names) > rendezvous.MaxWithheld {
			t.Errorf("took %d names", len(names))
		}
		if same, err := directory.ParseWithheld(again); err != nil || !slices.Equal(same, names) {
			t.Errorf("read again %q, %v", same, err)
		}
	})
}
