package storetest

import (
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/byway-chat/byway/rendezvous"
	"github.com/byway-chat/byway/rendezvous/directory"
)

// withhold has a device withhold its peer record from these, and from nobody else.
func withhold(t testing.TB, s Store, device string, from ...rendezvous.Username) {
	t.Helper()
	must(t, s.UpdateDevices(t.Context(), directory.DeviceChange{Device: fingerprint(device), Withheld: &from}))
}

func wantWithheld(t testing.TB, s Store, device string, want ...rendezvous.Username) {
	t.Helper()
	got, err := s.Withheld(t.Context(), fingerprint(device))
	if diff := cmp.Diff(want, got, cmpopts.EquateEmpty()); diff != "" || err != nil {
		t.Errorf("%s withholds from: %v (-want +got):\n%s", device, err, diff)
	}
}

// wantShown wants another account to be shown the account, without the records of these devices.
func wantShown(t testing.TB, s Store, to rendezvous.Username, want *directory.Account, without ...int) {
	t.Helper()
	shown := *want
	shown.Devices = append([]directory.Device(nil), want.Devices...)
	for _, i := range without {
		shown.Devices[i].PeerRecord = nil
	}
	got, err := s.Shown(t.Context(), want.Name, to)
	if diff := cmp.Diff(&shown, got, cmpopts.EquateEmpty()); diff != "" || err != nil {
		t.Errorf("%s as %s sees it: %v (-want +got):\n%s", want.Name, to, err, diff)
	}
}

func withholding(t *testing.T, s Store) {
	alice := account("alice", 2)
	for i := range alice.Devices {
		alice.Devices[i].PeerRecord = []byte("record")
	}
	mustCreate(t, s, alice, account("bob", 1))
	wantShown(t, s, "bob", alice)
	_, err := s.Shown(t.Context(), "carol", "bob")
	wantError(t, "unknown account", err, directory.ErrNotFound)

	for range 2 {
		withhold(t, s, "alice/0", "bob", "carol")
		wantWithheld(t, s, "alice/0", "bob", "carol")
	}
	withhold(t, s, "alice/1", "carol")
	wantShown(t, s, "bob", alice, 0)
	wantShown(t, s, "carol", alice, 0, 1)
	wantShown(t, s, "alice", alice)
	wantShown(t, s, "bo", alice) // part of a name is another name
	wantShown(t, s, "", alice)
	wantAccount(t, s, alice) // the rendezvous itself sees it all
	wantWithheld(t, s, "bob/0")
	wantWithheld(t, s, "nobody")

	// Together with addresses, or not at all.
	record := []byte("newer")
	none := []rendezvous.Username{}
	err = s.UpdateDevices(t.Context(),
		directory.DeviceChange{Device: fingerprint("alice/0"), Withheld: &none, PeerRecord: &record},
		directory.DeviceChange{Device: fingerprint("alice/1"), Bundle: []byte("older"), BundleSeq: 1})
	wantError(t, "beside an old bundle", err, directory.ErrConflict)
	wantShown(t, s, "bob", alice, 0)
	must(t, s.UpdateDevices(t.Context(), directory.DeviceChange{Device: fingerprint("alice/0"), Withheld: &none, PeerRecord: &record}))
	alice.Devices[0].PeerRecord = record
	wantShown(t, s, "bob", alice)
	wantShown(t, s, "carol", alice, 1)
	err = s.UpdateDevices(t.Context(), directory.DeviceChange{Device: fingerprint("nobody"), Withheld: &none})
	wantError(t, "an unknown device", err, directory.ErrNotFound)

	for _, hostile := range []rendezvous.Username{"'; DROP TABLE withheld; --", "%", "_", "a\x00b"} {
		withhold(t, s, "alice/0", hostile)
		wantWithheld(t, s, "alice/0", hostile)
		wantShown(t, s, "bob", alice)
		wantShown(t, s, hostile, alice, 0)
	}
}

// withholdingEnds: what a device that was removed has withheld says nothing of one that comes later.
func withholdingEnds(t *testing.T, s Store) {
	alice := account("alice", 2)
	mustCreate(t, s, alice)
	withhold(t, s, "alice/0", "bob")
	withhold(t, s, "alice/1", "bob")
	less := account("alice", 3)
	less.Devices = alice.Devices[1:]
	must(t, s.Replace(t.Context(), less, 2))
	wantWithheld(t, s, "alice/0")
	wantWithheld(t, s, "alice/1", "bob")
}
