package storetest

import (
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"github.com/libp2p/go-libp2p/core/peer"

	"github.com/byway-chat/byway/crypto/identity"
	"github.com/byway-chat/byway/rendezvous"
	"github.com/byway-chat/byway/rendezvous/directory"
)

func runAccounts(t *testing.T, f Factory) {
	for _, tt := range []struct {
		name string
		test func(t *testing.T, s Store)
	}{
		{"create and read", createAndRead},
		{"names and keys are unique", uniqueness},
		{"entries are replaced in order", replaceEntries},
		{"devices change", updateDevices},
		{"addresses are withheld", withholding},
		{"withholding ends with the device", withholdingEnds},
		{"accounts change", updateAccount},
		{"pages are in order", pages},
		{"invitations", invitations},
		{"hostile strings are only strings", hostileStrings},
	} {
		t.Run(tt.name, func(t *testing.T) { tt.test(t, f.start(t)) })
	}
}

func wantError(t testing.TB, doing string, got, want error) {
	t.Helper()
	if !errors.Is(got, want) {
		t.Errorf("%s: got error %v, want %v", doing, got, want)
	}
}

func wantAccount(t testing.TB, s Store, want *directory.Account) {
	t.Helper()
	got := mustAccount(t, s, string(want.Name))
	if diff := cmp.Diff(want, got, cmpopts.EquateEmpty()); diff != "" {
		t.Errorf("account %s (-want +got):\n%s", want.Name, diff)
	}
}

func createAndRead(t *testing.T, s Store) {
	alice := account("alice", 2)
	alice.Devices[1].LastSeen = epoch.Add(time.Hour)
	alice.Devices[1].PeerRecord = []byte("record")
	mustCreate(t, s, alice)
	wantAccount(t, s, alice)
	_, err := s.Account(t.Context(), "bob")
	wantError(t, "unknown account", err, directory.ErrNotFound)

	owner, err := s.Owner(t.Context(), fingerprint("alice/1"))
	if err != nil || owner != "alice" {
		t.Errorf("owner: got %q, %v", owner, err)
	}
	_, err = s.Owner(t.Context(), fingerprint("bob/0"))
	wantError(t, "owner of an unknown device", err, directory.ErrNotFound)
}

func uniqueness(t *testing.T, s Store) {
	mustCreate(t, s, account("alice", 1))
	similar := account("a1ice", 1)
	similar.Skeleton = "looks like alice"
	sameKey, samePeer := account("bob", 2), account("bob", 2)
	sameKey.Devices[1].Fingerprint = fingerprint("alice/0")
	samePeer.Devices[1].PeerID = "peer of alice/0"
	twice := account("alice", 1)
	twice.Devices[0] = device("other")
	for _, tt := range []struct {
		name string
		a    *directory.Account
		want error
	}{
		{"same name", twice, directory.ErrNameTaken},
		{"same skeleton", similar, directory.ErrNameTaken},
		{"same key", sameKey, directory.ErrKeyTaken},
		{"same peer id", samePeer, directory.ErrKeyTaken},
	} {
		wantError(t, tt.name, s.Create(t.Context(), tt.a, nil), tt.want)
	}
	// What was refused has left nothing behind.
	_, err := s.Account(t.Context(), "bob")
	wantError(t, "refused account", err, directory.ErrNotFound)
	mustCreate(t, s, account("bob", 2))
	wantAccount(t, s, account("alice", 1))
}

func replaceEntries(t *testing.T, s Store) {
	alice := account("alice", 2)
	alice.Devices[0].LastSeen = epoch.Add(time.Minute)
	mustCreate(t, s, alice, account("bob", 1))

	next := account("alice", 3)
	next.Entry = []byte("newer entry")
	next.Devices[0].Bundle = []byte("not changed by this")
	next.Password = "neither is this"
	wantError(t, "from a wrong number", s.Replace(t.Context(), next, 1), directory.ErrConflict)
	must(t, s.Replace(t.Context(), next, 2))
	want := account("alice", 3)
	want.Entry = next.Entry
	want.Devices[0].LastSeen = epoch.Add(time.Minute)
	wantAccount(t, s, want)
	wantError(t, "the same once more", s.Replace(t.Context(), next, 2), directory.ErrConflict)

	taken := account("alice", 4)
	taken.Devices[3] = device("bob/0")
	wantError(t, "a key of another account", s.Replace(t.Context(), taken, 3), directory.ErrKeyTaken)
	wantAccount(t, s, want)

	less := account("alice", 4)
	less.Devices = less.Devices[1:2]
	must(t, s.Replace(t.Context(), less, 3))
	got := mustAccount(t, s, "alice")
	if len(got.Devices) != 1 || got.Devices[0].Fingerprint != fingerprint("alice/1") {
		t.Errorf("devices after removal: got %+v", got.Devices)
	}
	_, err := s.Owner(t.Context(), fingerprint("alice/0"))
	wantError(t, "owner of a removed device", err, directory.ErrNotFound)
	wantError(t, "unknown account", s.Replace(t.Context(), account("carol", 1), 0), directory.ErrNotFound)
}

func updateDevices(t *testing.T, s Store) {
	alice := account("alice", 2)
	mustCreate(t, s, alice)
	seen := epoch.Add(time.Hour)
	record := []byte("record")
	must(t, s.UpdateDevices(t.Context(),
		directory.DeviceChange{Device: fingerprint("alice/0"), Bundle: []byte("newer"), BundleSeq: 5, PeerRecord: &record},
		directory.DeviceChange{Device: fingerprint("alice/1"), LastSeen: &seen},
		directory.DeviceChange{Device: fingerprint("nobody"), LastSeen: &seen}))
	alice.Devices[0].Bundle, alice.Devices[0].BundleSeq, alice.Devices[0].PeerRecord = []byte("newer"), 5, record
	alice.Devices[1].LastSeen = seen
	wantAccount(t, s, alice)

	for _, seq := range []uint64{4, 5} {
		err := s.UpdateDevices(t.Context(),
			directory.DeviceChange{Device: fingerprint("alice/1"), LastSeen: new(time.Time)},
			directory.DeviceChange{Device: fingerprint("alice/0"), Bundle: []byte("older"), BundleSeq: seq})
		wantError(t, fmt.Sprint("bundle number ", seq), err, directory.ErrConflict)
	}
	err := s.UpdateDevices(t.Context(), directory.DeviceChange{Device: fingerprint("nobody"), Bundle: []byte("x"), BundleSeq: 9})
	wantError(t, "bundle of an unknown device", err, directory.ErrNotFound)
	wantAccount(t, s, alice)

	must(t, s.UpdateDevices(t.Context(), directory.DeviceChange{Device: fingerprint("alice/0"), PeerRecord: new([]byte)}))
	alice.Devices[0].PeerRecord = nil
	wantAccount(t, s, alice)
	must(t, s.UpdateDevices(t.Context()))
}

func updateAccount(t *testing.T, s Store) {
	alice := account("alice", 1)
	mustCreate(t, s, alice, account("bob", 1))
	alice.Password = "newer"
	alice.Ban = &directory.Ban{Since: epoch, Reason: "spam"}
	must(t, s.UpdateAccount(t.Context(), "alice", directory.AccountChange{Password: &alice.Password, Ban: &alice.Ban}))
	wantAccount(t, s, alice)
	names, err := s.Names(t.Context(), "", 10)
	if diff := cmp.Diff([]rendezvous.Username{"bob"}, names); diff != "" || err != nil {
		t.Errorf("names while alice is banned: %v\n%s", err, diff)
	}
	alice.Ban = nil
	must(t, s.UpdateAccount(t.Context(), "alice", directory.AccountChange{Ban: &alice.Ban}))
	wantAccount(t, s, alice)
	err = s.UpdateAccount(t.Context(), "carol", directory.AccountChange{Ban: &alice.Ban})
	wantError(t, "unknown account", err, directory.ErrNotFound)
}

func pages(t *testing.T, s Store) {
	for _, name := range []string{"émile", "bob", "alice", "zoë", "bobby", "ålesund", "carol"} {
		mustCreate(t, s, account(name, 2))
	}
	want := []rendezvous.Username{"alice", "bob", "bobby", "carol", "zoë", "ålesund", "émile"}
	var names, accounts []rendezvous.Username
	for after := rendezvous.Username(""); ; after = names[len(names)-1] {
		page, err := s.Names(t.Context(), after, 3)
		must(t, err)
		full, err := s.Accounts(t.Context(), after, 3)
		must(t, err)
		if len(page) > 3 {
			t.Fatalf("a page of %d, want at most 3", len(page))
		}
		names = append(names, page...)
		for _, a := range full {
			accounts = append(accounts, a.Name)
			if diff := cmp.Diff(account(string(a.Name), 2), a, cmpopts.EquateEmpty()); diff != "" {
				t.Error(diff)
			}
		}
		if len(page) == 0 {
			break
		}
	}
	if diff := cmp.Diff(want, names); diff != "" {
		t.Errorf("names (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff(want, accounts); diff != "" {
		t.Errorf("accounts (-want +got):\n%s", diff)
	}
}

func invitations(t *testing.T, s Store) {
	two := directory.Invite{ID: directory.InviteID{1}, Created: epoch, Uses: 2, Left: 2, Note: "for friends"}
	short := directory.Invite{ID: directory.InviteID{2}, Created: epoch, Expires: epoch.Add(time.Hour), Uses: 9, Left: 9}
	must(t, s.AddInvite(t.Context(), two))
	must(t, s.AddInvite(t.Context(), short))
	got, err := s.Invites(t.Context())
	if diff := cmp.Diff([]directory.Invite{two, short}, got); diff != "" || err != nil {
		t.Errorf("invitations: %v\n%s", err, diff)
	}

	must(t, s.Create(t.Context(), account("alice", 1), &two.ID))
	taken := account("alice", 1)
	wantError(t, "taken name", s.Create(t.Context(), taken, &two.ID), directory.ErrNameTaken)
	sameKey := account("mallory", 1)
	sameKey.Devices[0] = device("alice/0")
	wantError(t, "taken key", s.Create(t.Context(), sameKey, &two.ID), directory.ErrKeyTaken)
	if one, err := s.Invite(t.Context(), two.ID); err != nil || one.Left != 1 {
		t.Errorf("uses left after one success and two refusals: got %d, %v, want 1", one.Left, err)
	}
	must(t, s.Create(t.Context(), account("bob", 1), &two.ID))
	wantError(t, "used up", s.Create(t.Context(), account("carol", 1), &two.ID), directory.ErrInviteSpent)
	_, err = s.Account(t.Context(), "carol")
	wantError(t, "refused account", err, directory.ErrNotFound)

	late := account("dave", 1)
	late.Created = epoch.Add(time.Hour)
	wantError(t, "expired", s.Create(t.Context(), late, &short.ID), directory.ErrInviteSpent)
	wantError(t, "unknown", s.Create(t.Context(), late, &directory.InviteID{9}), directory.ErrInviteSpent)
	_, err = s.Invite(t.Context(), directory.InviteID{9})
	wantError(t, "unknown invitation", err, directory.ErrNotFound)
	must(t, s.RemoveInvite(t.Context(), short.ID))
	wantError(t, "removed twice", s.RemoveInvite(t.Context(), short.ID), directory.ErrNotFound)
}

func hostileStrings(t *testing.T, s Store) {
	for i, name := range []string{"'; DROP TABLE accounts; --", "%", "_", "a\x00b", `"`, "\xff\xfe", "\x1b[2J"} {
		a := account(name, 1)
		a.Devices[0].Fingerprint = identity.Fingerprint{byte(i + 1)}
		a.Devices[0].PeerID = peer.ID("\x00' OR 1=1 --" + name)
		mustCreate(t, s, a)
		wantAccount(t, s, a)
	}
}
