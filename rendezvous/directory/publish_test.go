package directory_test

import (
	"bytes"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/byway-chat/byway/crypto/identity"
	"github.com/byway-chat/byway/rendezvous"
	"github.com/byway-chat/byway/rendezvous/directory"
)

func TestPublish(t *testing.T) {
	f := start(t)
	alice := f.register("alice", 0)
	f.register("bob", 1)
	changes := func() int { return len(f.online.changed) }
	tests := []struct {
		name    string
		publish *rendezvous.Publish
		want    rendezvous.Code // empty: it is done
		told    bool            // watchers are
	}{
		{"the bundle that is held", &rendezvous.Publish{Bundle: bundle(t, "alice", 0, 1)}, rendezvous.CodeStale, false},
		{"a newer bundle", &rendezvous.Publish{Bundle: bundle(t, "alice", 0, 7)}, "", true},
		{"an older one", &rendezvous.Publish{Bundle: bundle(t, "alice", 0, 6)}, rendezvous.CodeStale, false},
		{"another's", &rendezvous.Publish{Bundle: bundle(t, "bob", 1, 9)}, rendezvous.CodeKeyRefused, false},
		{"another name's", &rendezvous.Publish{Bundle: bundle(t, "bob", 0, 9)}, rendezvous.CodeBadRequest, false},
		{"garbage", &rendezvous.Publish{Bundle: []byte("garbage")}, rendezvous.CodeKeyRefused, false},
		{"addresses", &rendezvous.Publish{PeerRecord: peerRecord(t, 0, 0, 5, 2)}, "", true},
		{"the same addresses", &rendezvous.Publish{PeerRecord: peerRecord(t, 0, 0, 5, 2)}, "", false},
		{"older addresses", &rendezvous.Publish{PeerRecord: peerRecord(t, 0, 0, 4, 1)}, rendezvous.CodeStale, false},
		{"another peer's addresses", &rendezvous.Publish{PeerRecord: peerRecord(t, 1, 1, 9, 1)}, rendezvous.CodeBadRequest, false},
		{"addresses signed by another", &rendezvous.Publish{PeerRecord: peerRecord(t, 1, 0, 9, 1)}, rendezvous.CodeBadRequest, false},
		{"too many addresses", &rendezvous.Publish{PeerRecord: peerRecord(t, 0, 0, 9, 33)}, rendezvous.CodeBadRequest, false},
		{"a large record", &rendezvous.Publish{PeerRecord: make([]byte, rendezvous.MaxPeerRecord+1)}, rendezvous.CodeTooLarge, false},
		{"a garbled record", &rendezvous.Publish{PeerRecord: []byte("garbage")}, rendezvous.CodeBadRequest, false},
		{"nothing", &rendezvous.Publish{}, "", false},
		{"no addresses", &rendezvous.Publish{HideAddresses: true}, "", true},
		{"none once more", &rendezvous.Publish{HideAddresses: true}, "", false},
		{"addresses again", &rendezvous.Publish{PeerRecord: peerRecord(t, 0, 0, 1, 1)}, "", true},
	}
	// Signatures are randomised, so the same bundle signed again is another one with the same number: stale. Byte for byte it is no change.
	held := f.lookup("alice").GetDevices()[0].GetBundle()
	if err := f.s.Publish(t.Context(), alice, &rendezvous.Publish{Bundle: held}); err != nil || changes() != 0 {
		t.Errorf("the same bytes: got %v and %d changes", err, changes())
	}
	for _, tt := range tests {
		before := changes()
		err := f.s.Publish(t.Context(), alice, tt.publish)
		if tt.want != "" {
			wantCode(t, tt.name, err, tt.want)
		} else if err != nil {
			t.Errorf("%s: %v", tt.name, err)
		}
		if told := changes() > before; told != tt.told {
			t.Errorf("%s: watchers were told: %v, want %v", tt.name, told, tt.told)
		}
	}
	d := f.lookup("alice").GetDevices()[0]
	if parsed, err := rendezvous.ParseBundle(d.GetBundle(), device(0).Key); err != nil || parsed.Seq != 7 {
		t.Errorf("bundle that is held: got %+v, %v", parsed, err)
	}
	if len(d.GetPeerRecord()) == 0 {
		t.Error("the addresses are missing")
	}
	err := f.s.Publish(t.Context(), &directory.SignedIn{User: "alice", Device: fingerprint(1)}, &rendezvous.Publish{})
	wantCode(t, "a device that is not there", err, rendezvous.CodeNotEnrolled)
}

// anybody is somebody from whom nothing is withheld.
var anybody = &directory.SignedIn{User: "anybody"}

func (f *fixture) lookup(name string) *rendezvous.Record {
	f.t.Helper()
	found, err := f.s.Lookup(f.t.Context(), anybody, &rendezvous.Lookup{Usernames: []string{name}})
	if err != nil {
		f.t.Fatal(err)
	}
	return found.GetRecords()[0]
}

func TestLookup(t *testing.T) {
	f := start(t)
	alice := f.register("alice", 0)
	f.enrol("alice", 1, 2, 0)
	f.online.devices[fingerprint(1)] = true
	found, err := f.s.Lookup(t.Context(), anybody, &rendezvous.Lookup{Usernames: []string{"Alice", "nobody", "\x1b[2J", "alice"}})
	if err != nil {
		t.Fatal(err)
	}
	records := found.GetRecords()
	if len(records) != 4 || !records[1].GetUnknown() || !records[2].GetUnknown() || records[0].GetUnknown() {
		t.Fatalf("records: got %v", records)
	}
	r := records[0]
	if r.GetUsername() != "alice" || bytes.Equal(r.GetEntry(), alice.Entry) || len(r.GetDevices()) != 2 {
		t.Errorf("alice: got %v", r)
	}
	for i, d := range r.GetDevices() {
		fp := fingerprint(i)
		if !bytes.Equal(d.GetFingerprint(), fp[:]) || d.GetOnline() != (i == 1) || len(d.GetBundle()) == 0 {
			t.Errorf("device %d: got %v", i, d)
		}
	}
	_, err = f.s.Lookup(t.Context(), anybody, &rendezvous.Lookup{Usernames: make([]string, rendezvous.MaxLookup+1)})
	wantCode(t, "too many names", err, rendezvous.CodeBadRequest)
}

func TestListAndUsers(t *testing.T) {
	f := start(t)
	for i, name := range []string{"carol", "alice", "bob"} {
		f.register(name, i)
	}
	f.online.users["bob"], f.online.devices[fingerprint(2)] = true, true
	f.s.Seen(fingerprint(0))
	f.now = f.now.Add(time.Minute)

	listed, err := f.s.List(t.Context(), &rendezvous.List{Limit: 2})
	if err != nil || !listed.GetMore() || len(listed.GetUsers()) != 2 || !listed.GetUsers()[1].GetOnline() {
		t.Errorf("first page: got %v, %v", listed, err)
	}
	listed, err = f.s.List(t.Context(), &rendezvous.List{After: "bob", Limit: 1 << 30})
	if err != nil || listed.GetMore() || len(listed.GetUsers()) != 1 || listed.GetUsers()[0].GetUsername() != "carol" {
		t.Errorf("second page: got %v, %v", listed, err)
	}

	users, err := f.s.Users(t.Context(), "", 10)
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, u := range users {
		got = append(got, fmt.Sprint(u.Name, " ", u.Online, " ", u.Password, " ", u.LastSeen.Format("04:05"), " ", u.Devices[0].PeerID == peerID(slices.Index([]string{"carol", "alice", "bob"}, string(u.Name)))))
	}
	want := []string{
		"alice false argon2id m=8,t=1,p=1 00:00 true", // never: the zero time
		"bob true argon2id m=8,t=1,p=1 01:00 true",
		"carol false argon2id m=8,t=1,p=1 00:00 true",
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("users (-want +got):\n%s", diff)
	}
	if !users[0].LastSeen.IsZero() || !users[2].LastSeen.Equal(epoch) {
		t.Errorf("last seen: got %v and %v", users[0].LastSeen, users[2].LastSeen)
	}
	_, err = f.s.User(t.Context(), "nobody")
	wantCode(t, "unknown user", err, rendezvous.CodeNoSuchUser)
}

func TestSeenIsWritten(t *testing.T) {
	f := start(t)
	f.register("alice", 0)
	stored := func() time.Time {
		a, err := f.db.Account(t.Context(), "alice")
		if err != nil {
			t.Fatal(err)
		}
		return a.Devices[0].LastSeen
	}
	f.s.Seen(fingerprint(0))
	if !stored().IsZero() {
		t.Error("written at once")
	}
	f.now = f.now.Add(11 * time.Second)
	f.s.Seen(fingerprint(0))
	if !stored().Equal(f.now) {
		t.Errorf("after the pause: got %v, want %v", stored(), f.now)
	}
	f.now = f.now.Add(time.Second)
	f.s.Seen(fingerprint(0))
	f.s.Seen(identity.Fingerprint{1}) // on no account
	for range 2 {
		if err := f.s.Close(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	if !stored().Equal(f.now) {
		t.Errorf("after the close: got %v, want %v", stored(), f.now)
	}
}

func TestRemoveDevices(t *testing.T) {
	f := start(t)
	alice := f.register("alice", 0)
	f.enrol("alice", 1, 2, 0)
	f.enrol("alice", 2, 3, 0, 1)
	owner := func(i int) error { _, err := f.s.Owner(t.Context(), fingerprint(i)); return err }
	if err := owner(1); err != nil {
		t.Fatal(err)
	}

	remove := func(entry []byte) ([]identity.Fingerprint, error) {
		return f.s.RemoveDevices(t.Context(), alice, entry)
	}
	for _, tt := range []struct {
		name  string
		entry []byte
		want  rendezvous.Code
	}{
		{"nothing removed", entry(t, "alice", 4, 0, 0, 1, 2), rendezvous.CodeBadRequest},
		{"one exchanged", entry(t, "alice", 4, 0, 0, 3), rendezvous.CodeBadRequest},
		{"an old number", entry(t, "alice", 3, 0, 0, 2), rendezvous.CodeStale},
		{"signed by another", entry(t, "alice", 4, 2, 0, 2), rendezvous.CodeBadRequest},
		{"another name", entry(t, "bob", 4, 0, 0, 2), rendezvous.CodeBadRequest},
	} {
		_, err := remove(tt.entry)
		wantCode(t, tt.name, err, tt.want)
	}
	gone, err := remove(entry(t, "alice", 4, 0, 0, 2))
	if err != nil || len(gone) != 1 || gone[0] != fingerprint(1) {
		t.Fatalf("removed: got %v, %v", gone, err)
	}
	wantCode(t, "owner of a removed device", owner(1), rendezvous.CodeNoSuchDevice)
	_, err = f.s.Resume(t.Context(), caller(1), &rendezvous.Resume{Username: "alice"})
	wantCode(t, "a removed device comes back", err, rendezvous.CodeNotEnrolled)
	if _, err := f.s.Resume(t.Context(), caller(2), &rendezvous.Resume{Username: "alice"}); err != nil {
		t.Errorf("the device that stays: %v", err)
	}
	f.register("bob", 1) // its key is free again
}
