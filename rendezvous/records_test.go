package rendezvous

import (
	"bytes"
	"errors"
	"math"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/libp2p/go-libp2p/core/crypto"
	"github.com/libp2p/go-libp2p/core/peer"

	"github.com/byway-chat/byway/crypto/identity"
	"github.com/byway-chat/byway/crypto/identity/identitytest"
)

var issued = time.Date(2026, 3, 4, 5, 6, 7, 8e6, time.UTC)

// testPeerID is the PeerID of a test device.
func testPeerID(t testing.TB, device int) peer.ID {
	t.Helper()
	key, err := crypto.UnmarshalEd25519PrivateKey(identitytest.Keyring(device).Host)
	if err != nil {
		t.Fatal(err)
	}
	id, err := peer.IDFromPrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	return id
}

// testEntry lists devices 0 to count-1 of alice, at a rendezvous with device 7's host key.
func testEntry(t testing.TB, count int) *Entry {
	t.Helper()
	e := &Entry{Rendezvous: testPeerID(t, 7), Username: "alice", Seq: uint64(count), Issued: issued}
	for i := range count {
		e.Devices = append(e.Devices, EntryDevice{
			Key: identitytest.Keyring(i).Identity.Public(), PeerID: testPeerID(t, i), Added: issued.Add(time.Duration(i) * time.Hour),
		})
	}
	return e
}

func testBundle(t testing.TB) *Bundle {
	t.Helper()
	return &Bundle{
		Rendezvous: testPeerID(t, 7), Username: "bob", PeerID: testPeerID(t, 1), Seq: 3,
		NotBefore: issued, NotAfter: issued.Add(14 * 24 * time.Hour), Key: identitytest.Keyring(1).Encryption[0].Public(),
	}
}

func isRefused(err error) bool {
	e, ok := errors.AsType[*Error](err)
	return ok && e.Code == CodeKeyRefused
}

var byFingerprint = cmp.Comparer(func(a, b *identity.PublicKey) bool { return a.Equal(b) })

func TestEntry(t *testing.T) {
	for count := 1; count <= MaxDevices-1; count++ {
		want := testEntry(t, count)
		signed, err := want.Sign(identitytest.Keyring(count - 1).Identity)
		if err != nil {
			t.Fatal(err)
		}
		got, err := ParseEntry(signed)
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(want, got, byFingerprint); diff != "" {
			t.Errorf("%d devices (-want +got):\n%s", count, diff)
		}
		if got.Signer != identitytest.Keyring(count-1).Identity.Public().Fingerprint() {
			t.Errorf("%d devices: signed by %s", count, got.Signer)
		}
		if d, ok := got.Device(got.Signer); !ok || d.PeerID != testPeerID(t, count-1) {
			t.Errorf("%d devices: the signer is not found", count)
		}
		if _, ok := got.Device(identity.Fingerprint{}); ok {
			t.Error("a device of no fingerprint")
		}
	}
}

// TestLargestEntryFits bounds MaxEntry from below: eight devices and the longest name.
func TestLargestEntryFits(t *testing.T) {
	e := testEntry(t, MaxDevices)
	e.Username = Username(strings.Repeat("𐐨", MaxUsername))
	signed, err := e.Sign(identitytest.Keyring(0).Identity)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := ParseEntry(signed); err != nil {
		t.Errorf("%d bytes: %v", len(signed), err)
	}
}

func TestEntrySignRefuses(t *testing.T) {
	other := identitytest.Keyring(3)
	tests := map[string]func(e *Entry){
		"no rendezvous":      func(e *Entry) { e.Rendezvous = "" },
		"name not canonical": func(e *Entry) { e.Username = "Alice" },
		"reserved name":      func(e *Entry) { e.Username = "admin" },
		"seq 0":              func(e *Entry) { e.Seq = 0 },
		"seq too high":       func(e *Entry) { e.Seq = math.MaxInt64 + 1 },
		"issued before 1970": func(e *Entry) { e.Issued = time.Time{} },
		"issued after 9999":  func(e *Entry) { e.Issued = time.Date(10000, 1, 1, 0, 0, 0, 0, time.UTC) },
		"no devices":         func(e *Entry) { e.Devices = nil },
		"nine devices":       func(e *Entry) { e.Devices = slices.Repeat(e.Devices, 5)[:9] },
		"device twice":       func(e *Entry) { e.Devices[1] = e.Devices[0] },
		"key twice":          func(e *Entry) { e.Devices[1].Key = e.Devices[0].Key },
		"PeerID twice":       func(e *Entry) { e.Devices[1].PeerID = e.Devices[0].PeerID },
		"no PeerID":          func(e *Entry) { e.Devices[1].PeerID = "" },
		"no key":             func(e *Entry) { e.Devices[1].Key = nil },
		"added before 1970":  func(e *Entry) { e.Devices[1].Added = time.Time{} },
		"signer not listed":  func(e *Entry) { e.Devices[0].Key = other.Identity.Public() },
	}
	for name, change := range tests {
		e := testEntry(t, 2)
		change(e)
		if _, err := e.Sign(identitytest.Keyring(0).Identity); !isRefused(err) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// TestRecordsSurviveNoChange turns and cuts bytes all over a record: nothing of it is unsigned.
func TestRecordsSurviveNoChange(t *testing.T) {
	entry, err := testEntry(t, 2).Sign(identitytest.Keyring(0).Identity)
	if err != nil {
		t.Fatal(err)
	}
	bundle, err := testBundle(t).Sign(identitytest.Keyring(1).Identity)
	if err != nil {
		t.Fatal(err)
	}
	records := map[string]struct {
		good  []byte
		parse func([]byte) error
	}{
		"entry":  {entry, func(b []byte) error { _, err := ParseEntry(b); return err }},
		"bundle": {bundle, func(b []byte) error { _, err := ParseBundle(b, identitytest.Keyring(1).Identity.Public()); return err }},
	}
	for name, r := range records {
		if err := r.parse(r.good); err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		for at := 0; at < len(r.good); at += 7 {
			changed := bytes.Clone(r.good)
			changed[at] ^= 0x04
			if err := r.parse(changed); !isRefused(err) {
				t.Errorf("%s with byte %d changed: %v", name, at, err)
			}
			if err := r.parse(r.good[:at]); !isRefused(err) {
				t.Errorf("%s cut to %d: %v", name, at, err)
			}
		}
		if err := r.parse(append(bytes.Clone(r.good), 0)); !isRefused(err) {
			t.Errorf("%s with a trailing byte: %v", name, err)
		}
		if err := r.parse(make([]byte, 1<<20)); !isRefused(err) {
			t.Errorf("%s of a megabyte: %v", name, err)
		}
	}
}

// TestSignaturesStayInTheirSlot gives each parser the body that it wants under a signature made for another.
func TestSignaturesStayInTheirSlot(t *testing.T) {
	alice, bob := identitytest.Keyring(0).Identity, identitytest.Keyring(1).Identity
	e, b := testEntry(t, 1), testBundle(t)
	e.Signer, b.Device = alice.Public().Fingerprint(), bob.Public().Fingerprint()
	nonce := make([]byte, NonceSize)
	message := possession(testPeerID(t, 7), "bob", testPeerID(t, 1), nonce)
	for _, domain := range []string{domainEntry, domainBundle, domainPossession, "byway/v1 init signature"} {
		sign := func(k *identity.PrivateKey, body []byte) []byte {
			sig, err := k.Sign(domain, body)
			if err != nil {
				t.Fatal(err)
			}
			return sig
		}
		_, err := ParseEntry(append(e.body(), sign(alice, e.body())...))
		if (err == nil) != (domain == domainEntry) {
			t.Errorf("entry signed as %q: %v", domain, err)
		}
		_, err = ParseBundle(append(b.body(), sign(bob, b.body())...), bob.Public())
		if (err == nil) != (domain == domainBundle) {
			t.Errorf("bundle signed as %q: %v", domain, err)
		}
		err = VerifyPossession(bob.Public(), testPeerID(t, 7), "bob", testPeerID(t, 1), nonce, sign(bob, message))
		if (err == nil) != (domain == domainPossession) {
			t.Errorf("possession signed as %q: %v", domain, err)
		}
	}
}

func TestBundle(t *testing.T) {
	want := testBundle(t)
	signed, err := want.Sign(identitytest.Keyring(1).Identity)
	if err != nil {
		t.Fatal(err)
	}
	got, err := ParseBundle(signed, identitytest.Keyring(1).Identity.Public())
	if err != nil {
		t.Fatal(err)
	}
	if got.Key.ID() != want.Key.ID() || !bytes.Equal(got.Key.MLKEM(), want.Key.MLKEM()) {
		t.Error("another key came back")
	}
	got.Key = want.Key
	if diff := cmp.Diff(want, got, cmp.Comparer(func(a, b *identity.EncryptionPublicKey) bool { return a == b })); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	if _, err := ParseBundle(signed, identitytest.Keyring(2).Identity.Public()); !isRefused(err) {
		t.Errorf("under another identity: %v", err)
	}
	tests := map[time.Duration]bool{
		-ClockSkew - time.Millisecond: false, -ClockSkew: true, 0: true, 14*24*time.Hour - 1: true, 14 * 24 * time.Hour: false,
	}
	for after, valid := range tests {
		if got.ValidAt(issued.Add(after)) != valid {
			t.Errorf("valid %v after its beginning: %v", after, !valid)
		}
	}
}

func TestBundleSignRefuses(t *testing.T) {
	tests := map[string]func(b *Bundle){
		"no rendezvous":      func(b *Bundle) { b.Rendezvous = "" },
		"name not canonical": func(b *Bundle) { b.Username = "Bob" },
		"no PeerID":          func(b *Bundle) { b.PeerID = "" },
		"hashed PeerID":      func(b *Bundle) { b.PeerID = peer.ID("\x12\x20" + string(make([]byte, 32))) },
		"seq 0":              func(b *Bundle) { b.Seq = 0 },
		"no key":             func(b *Bundle) { b.Key = nil },
		"ends at once":       func(b *Bundle) { b.NotAfter = b.NotBefore },
		"no end":             func(b *Bundle) { b.NotAfter = time.Time{} },
	}
	for name, change := range tests {
		b := testBundle(t)
		change(b)
		if _, err := b.Sign(identitytest.Keyring(1).Identity); !isRefused(err) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestPossession(t *testing.T) {
	key, nonce := identitytest.Keyring(1).Identity, bytes.Repeat([]byte{9}, NonceSize)
	host, device := testPeerID(t, 7), testPeerID(t, 1)
	proof, err := SignPossession(key, host, "bob", device, nonce)
	if err != nil {
		t.Fatal(err)
	}
	tests := []struct {
		name         string
		key          *identity.PublicKey
		host, device peer.ID
		user         Username
		nonce, proof []byte
		ok           bool
	}{
		{"good", key.Public(), host, device, "bob", nonce, proof, true},
		{"other key", identitytest.Keyring(2).Identity.Public(), host, device, "bob", nonce, proof, false},
		{"other rendezvous", key.Public(), testPeerID(t, 6), device, "bob", nonce, proof, false},
		{"other device", key.Public(), host, testPeerID(t, 2), "bob", nonce, proof, false},
		{"other name", key.Public(), host, device, "rob", nonce, proof, false},
		{"other stream", key.Public(), host, device, "bob", make([]byte, NonceSize), proof, false},
		{"short nonce", key.Public(), host, device, "bob", nonce[1:], proof, false},
		{"no proof", key.Public(), host, device, "bob", nonce, nil, false},
	}
	for _, tc := range tests {
		err := VerifyPossession(tc.key, tc.host, tc.user, tc.device, tc.nonce, tc.proof)
		if (err == nil) != tc.ok || err != nil && !isRefused(err) {
			t.Errorf("%s: %v", tc.name, err)
		}
	}
	if _, err := SignPossession(key, host, "bob", device, nonce[1:]); !isRefused(err) {
		t.Errorf("signed a short nonce: %v", err)
	}
}

func FuzzParseEntry(f *testing.F) {
	signed, err := testEntry(f, 2).Sign(identitytest.Keyring(1).Identity)
	if err != nil {
		f.Fatal(err)
	}
	f.Add(signed)
	f.Fuzz(func(t *testing.T, b []byte) {
		e, err := ParseEntry(b)
		if err != nil {
			if !isRefused(err) {
				t.Errorf("refused with %v", err)
			}
			return
		}
		if !bytes.HasPrefix(b, e.body()) {
			t.Error("two encodings of one entry")
		}
	})
}

// FuzzParseBundle signs what it is given, so that the parser behind the signature is reached.
func FuzzParseBundle(f *testing.F) {
	key := identitytest.Keyring(1).Identity
	b := testBundle(f)
	b.Device = key.Public().Fingerprint()
	f.Add(b.body())
	f.Fuzz(func(t *testing.T, body []byte) {
		signature, err := key.Sign(domainBundle, body)
		if err != nil {
			t.Fatal(err)
		}
		b, err := ParseBundle(append(bytes.Clone(body), signature...), key.Public())
		if err != nil {
			if !isRefused(err) {
				t.Errorf("refused with %v", err)
			}
			return
		}
		if !bytes.Equal(b.body(), body) {
			t.Error("two encodings of one bundle")
		}
	})
}
