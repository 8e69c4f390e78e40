package directory_test

import (
	"bytes"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/byway-chat/byway/crypto/identity/identitytest"
	"github.com/byway-chat/byway/rendezvous"
	"github.com/byway-chat/byway/rendezvous/directory"
)

func TestRegister(t *testing.T) {
	f := start(t)
	r := registration(t, "alice", 0)
	who, err := f.s.Register(t.Context(), caller(0), r)
	if err != nil {
		t.Fatal(err)
	}
	want := &directory.SignedIn{User: "alice", Device: fingerprint(0), PeerID: peerID(0), Entry: r.GetEntry()}
	if diff := cmp.Diff(want, who); diff != "" {
		t.Errorf("signed in (-want +got):\n%s", diff)
	}
	again, err := f.s.Resume(t.Context(), caller(0), &rendezvous.Resume{Username: "Alice"})
	if err != nil || again.User != "alice" || again.Device != fingerprint(0) {
		t.Errorf("resume: got %+v, %v", again, err)
	}
	if f.hasher.hashed != 1 || len(f.hasher.verified) != 0 {
		t.Errorf("hashes: got %d and %d, want 1 for the registration and none for coming back", f.hasher.hashed, len(f.hasher.verified))
	}
}

func TestRegisterRefuses(t *testing.T) {
	f := start(t)
	f.register("alice", 0)
	otherPlace := func(r *rendezvous.Register) {
		e := &rendezvous.Entry{Rendezvous: peerID(5), Username: "bob", Seq: 1, Issued: epoch, Devices: []rendezvous.EntryDevice{device(1)}}
		r.Entry = signEntry(t, e, 1)
	}
	staleProof := func(r *rendezvous.Register) {
		p, err := rendezvous.SignPossession(identitytest.Keyring(1).Identity, here, "bob", peerID(1), bytes.Repeat([]byte{9}, rendezvous.NonceSize))
		if err != nil {
			t.Fatal(err)
		}
		r.Possession = p
	}
	tests := []struct {
		name   string
		change func(r *rendezvous.Register)
		want   rendezvous.Code
	}{
		{"reserved name", func(r *rendezvous.Register) { r.Username = "admin" }, rendezvous.CodeNameNotAllowed},
		{"name with an escape", func(r *rendezvous.Register) { r.Username = "b\x1b[2Job" }, rendezvous.CodeNameNotAllowed},
		{"name of the entry differs", func(r *rendezvous.Register) { r.Username = "carol" }, rendezvous.CodeBadRequest},
		{"taken name", func(r *rendezvous.Register) {
			*r = *registration(t, "alice", 1)
		}, rendezvous.CodeNameTaken},
		{"name that looks the same", func(r *rendezvous.Register) {
			*r = *registration(t, "a1ice", 1)
		}, rendezvous.CodeNameTaken},
		{"key of another account", func(r *rendezvous.Register) {
			*r = *registration(t, "bob", 0)
		}, rendezvous.CodeBadRequest},
		{"no entry", func(r *rendezvous.Register) { r.Entry = nil }, rendezvous.CodeKeyRefused},
		{"cut entry", func(r *rendezvous.Register) { r.Entry = r.Entry[:100] }, rendezvous.CodeKeyRefused},
		{"entry for another rendezvous", otherPlace, rendezvous.CodeBadRequest},
		{"entry with number 2", func(r *rendezvous.Register) { r.Entry = entry(t, "bob", 2, 1, 1) }, rendezvous.CodeBadRequest},
		{"two devices at once", func(r *rendezvous.Register) { r.Entry = entry(t, "bob", 1, 1, 1, 2) }, rendezvous.CodeBadRequest},
		{"another's device", func(r *rendezvous.Register) { r.Entry = entry(t, "bob", 1, 2, 2) }, rendezvous.CodeBadRequest},
		{"another's bundle", func(r *rendezvous.Register) { r.Bundle = bundle(t, "bob", 2, 1) }, rendezvous.CodeKeyRefused},
		{"bundle of another name", func(r *rendezvous.Register) { r.Bundle = bundle(t, "carol", 1, 1) }, rendezvous.CodeBadRequest},
		{"no bundle", func(r *rendezvous.Register) { r.Bundle = nil }, rendezvous.CodeKeyRefused},
		{"proof for another stream", staleProof, rendezvous.CodeKeyRefused},
		{"proof by another key", func(r *rendezvous.Register) { r.Possession = possession(t, "bob", 2) }, rendezvous.CodeKeyRefused},
		{"short password", func(r *rendezvous.Register) { r.Password = "short" }, rendezvous.CodePasswordTooWeak},
		{"password that no keyboard types", func(r *rendezvous.Register) { r.Password = "nine green\x00lamps at noon" }, rendezvous.CodeBadRequest},
	}
	for _, tt := range tests {
		r := registration(t, "bob", 1)
		tt.change(r)
		_, err := f.s.Register(t.Context(), caller(1), r)
		wantCode(t, tt.name, err, tt.want)
	}
	f.register("bob", 1) // nothing of the above was left behind
}

func TestKeyBelongsToOneAccount(t *testing.T) {
	f := start(t)
	f.register("alice", 0)
	_, err := f.s.Register(t.Context(), caller(0), registration(t, "bob", 0))
	wantCode(t, "the same device for a second name", err, rendezvous.CodeKeyRefused)
}

func TestRegistrationPolicy(t *testing.T) {
	f := start(t, func(o *directory.Options) { o.Policy = "" })
	_, err := f.s.Register(t.Context(), caller(0), registration(t, "alice", 0))
	wantCode(t, "default policy", err, rendezvous.CodeRegistrationClosed)

	f.s.SetPolicy(directory.ByInvite)
	_, err = f.s.Register(t.Context(), caller(0), registration(t, "alice", 0))
	wantCode(t, "no invitation", err, rendezvous.CodeInviteRequired)

	token, made, err := f.s.Invite(t.Context(), 1, time.Hour, "for alice")
	if err != nil || made.Left != 1 || !made.Expires.Equal(epoch.Add(time.Hour)) {
		t.Fatalf("invite: got %+v, %v", made, err)
	}
	r := registration(t, "alice", 0)
	r.Invite = token
	weak := registration(t, "alice", 0)
	weak.Invite, weak.Password = token, "weak"
	_, err = f.s.Register(t.Context(), caller(0), weak)
	wantCode(t, "weak password", err, rendezvous.CodePasswordTooWeak)
	if _, err := f.s.Register(t.Context(), caller(0), r); err != nil {
		t.Fatalf("with an invitation: %v", err)
	}
	r = registration(t, "bob", 1)
	r.Invite = token
	_, err = f.s.Register(t.Context(), caller(1), r)
	wantCode(t, "used up", err, rendezvous.CodeInviteRequired)

	r.Invite, made, err = f.s.Invite(t.Context(), 3, time.Hour, "")
	if err != nil {
		t.Fatal(err)
	}
	f.now = epoch.Add(time.Hour)
	_, err = f.s.Register(t.Context(), caller(1), r)
	wantCode(t, "expired", err, rendezvous.CodeInviteRequired)

	invites, err := f.s.Invites(t.Context())
	if err != nil || len(invites) != 2 || invites[0].Left != 0 {
		t.Errorf("invitations: got %+v, %v", invites, err)
	}
	if err := f.s.RevokeInvite(t.Context(), made.ID); err != nil {
		t.Error(err)
	}
	wantCode(t, "revoked twice", f.s.RevokeInvite(t.Context(), made.ID), rendezvous.CodeBadRequest)
	_, _, err = f.s.Invite(t.Context(), 0, 0, "")
	wantCode(t, "no uses", err, rendezvous.CodeBadRequest)
}
