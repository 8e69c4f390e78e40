package session

import (
	"bytes"
	"crypto/rand"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/byway-chat/byway/crypto/identity"
	"github.com/byway-chat/byway/crypto/identity/identitytest"
)

func device(name string, i int) Party {
	return Party{Name: name, Fingerprint: identitytest.Keyring(i).Identity.Public().Fingerprint()}
}

func knows(p Party) (*identity.PublicKey, error) {
	for i := range identitytest.Devices {
		if k := identitytest.Keyring(i).Identity.Public(); k.Fingerprint() == p.Fingerprint {
			return k, nil
		}
	}
	return nil, errors.New("unknown")
}

var alice, bob, carol = device("alice", 0), device("bob", 1), device("carol", 2)

func fromAlice(t testing.TB, to Party, key *identity.EncryptionPrivateKey) []byte {
	t.Helper()
	_, envelope, err := Begin(rand.Reader, Start{
		From: alice, Signer: identitytest.Keyring(0).Identity, To: to, Key: key.Public(), Time: time.UnixMilli(1e12),
	}, []byte("hello"))
	if err != nil {
		t.Fatal(err)
	}
	return envelope
}

// innerOf is what a dishonest recipient has: everything inside.
func innerOf(t testing.TB, envelope []byte, key *identity.EncryptionPrivateKey) []byte {
	t.Helper()
	p, err := parseInit(envelope)
	if err != nil {
		t.Fatal(err)
	}
	inner, _, err := p.open(key)
	if err != nil {
		t.Fatal(err)
	}
	return inner
}

// reseal wraps an inner part to another key, as anybody can.
func reseal(t testing.TB, inner []byte, to *identity.EncryptionPublicKey) []byte {
	t.Helper()
	secret, c1, c2, err := to.Encapsulate(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	header := appendInitHeader(nil, to.ID(), c1, c2)
	key, _, err := openChain(secret, header)
	if err != nil {
		t.Fatal(err)
	}
	envelope, err := key.seal(header, inner)
	if err != nil {
		t.Fatal(err)
	}
	return envelope
}

func TestAttacks(t *testing.T) {
	bobKey, carolKey := identitytest.Keyring(1).Encryption[0], identitytest.Keyring(2).Encryption[0]
	good := fromAlice(t, bob, bobKey)
	inner := innerOf(t, good, bobKey)
	edited := func(change func(inner []byte) []byte) []byte {
		return reseal(t, change(bytes.Clone(inner)), bobKey.Public())
	}
	tests := []struct {
		name     string
		envelope []byte
		key      *identity.EncryptionPrivateKey
		self     Party
	}{
		{"surreptitious forwarding: bob seals alice's words to carol", reseal(t, inner, carolKey.Public()), carolKey, carol},
		{"swapped inner: one Init's words under another's header", reseal(t, inner, bobKey.Public()), bobKey, bob},
		{"key registered by another: same key, other name", good, bobKey, Party{Name: "mallory", Fingerprint: bob.Fingerprint}},
		{"another device of the same name", good, bobKey, Party{Name: "bob", Fingerprint: carol.Fingerprint}},
		{"wrapped to another key of mine", good, carolKey, bob},
		{"stripped signature", edited(func(b []byte) []byte { return append(b[:77], make([]byte, 512)...) }), bobKey, bob},
		{"claimed sender is another device", edited(func(b []byte) []byte {
			copy(b[4+5:], carol.Fingerprint[:])
			return b
		}), bobKey, bob},
		{"claimed sender has another name", edited(func(b []byte) []byte { b[4] = 'A'; return b }), bobKey, bob},
		{"other time", edited(func(b []byte) []byte { b[4+5+32+7] ^= 1; return b }), bobKey, bob},
		{"time out of any calendar", edited(func(b []byte) []byte { b[4+5+32] = 0xff; return b }), bobKey, bob},
		{"other previous session", edited(func(b []byte) []byte { b[4+5+32+8] ^= 1; return b }), bobKey, bob},
		{"other count", edited(func(b []byte) []byte { b[4+5+32+8+16] ^= 1; return b }), bobKey, bob},
		{"name over its limit", edited(func(b []byte) []byte {
			binary.BigEndian.PutUint32(b, MaxName+1)
			return b
		}), bobKey, bob},
		{"name longer than everything", edited(func(b []byte) []byte {
			binary.BigEndian.PutUint32(b, 0xffffffff)
			return b
		}), bobKey, bob},
		{"no padding marker", edited(func(b []byte) []byte { return bytes.TrimRight(b, "\x80\x00") }), bobKey, bob},
		{"inner part cut", edited(func(b []byte) []byte { return b[:200] }), bobKey, bob},
		{"nothing inside", edited(func([]byte) []byte { return nil }), bobKey, bob},
	}
	for _, tc := range tests {
		opened, err := Accept(tc.envelope, tc.key, tc.self, knows)
		if err != ErrOpen { //nolint:errorlint // the same value, unwrapped: nothing else may be told
			t.Errorf("%s: opened %v, %v", tc.name, opened != nil, err)
		}
	}
	if _, err := Accept(good, bobKey, bob, knows); err != nil {
		t.Errorf("without an attack: %v", err)
	}
}

// TestOneErrorForEverything damages each byte region of an Init: whatever broke, the answer is the same value.
func TestOneErrorForEverything(t *testing.T) {
	key := identitytest.Keyring(1).Encryption[0]
	good := fromAlice(t, bob, key)
	for at := 0; at < len(good); at += 61 {
		envelope := bytes.Clone(good)
		envelope[at] ^= 0x40
		if _, err := Accept(envelope, key, bob, knows); err != ErrOpen { //nolint:errorlint // see TestAttacks
			t.Errorf("byte %d: %v", at, err)
		}
	}
	for size := 0; size < len(good); size += 97 {
		if _, err := Accept(good[:size], key, bob, knows); err != ErrOpen { //nolint:errorlint // see TestAttacks
			t.Errorf("cut to %d: %v", size, err)
		}
	}
}

// TestSignaturesStayInTheirSlot puts a signature made for another purpose over the very same bytes into an Init.
func TestSignaturesStayInTheirSlot(t *testing.T) {
	key := identitytest.Keyring(1).Encryption[0]
	secret, c1, c2, err := key.Public().Encapsulate(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	header := appendInitHeader(nil, key.Public().ID(), c1, c2)
	for _, tc := range []struct {
		domain string
		want   error
	}{
		{domainInit, nil},
		{"byway/v1 directory entry", ErrOpen},
		{"byway/v1 prekey bundle", ErrOpen},
		{"byway/v1 possession", ErrOpen},
		{"byway/v1 init", ErrOpen},
	} {
		fields := innerFields{from: alice, time: 1e12}
		if fields.signature, err = identitytest.Keyring(0).Identity.Sign(tc.domain, fields.signed(header, bob)); err != nil {
			t.Fatal(err)
		}
		first, _, err := openChain(secret, header)
		if err != nil {
			t.Fatal(err)
		}
		envelope, err := first.seal(bytes.Clone(header), fields.append(nil, []byte("hello")))
		if err != nil {
			t.Fatal(err)
		}
		if _, err := Accept(envelope, key, bob, knows); !errors.Is(err, tc.want) {
			t.Errorf("%s: got %v, want %v", tc.domain, err, tc.want)
		}
	}
}

// TestHeaderExtension takes an Init with bytes that a later version would understand, and not one whose extension was changed.
func TestHeaderExtension(t *testing.T) {
	key := identitytest.Keyring(1).Encryption[0]
	secret, c1, c2, err := key.Public().Encapsulate(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	plain := appendInitHeader(nil, key.Public().ID(), c1, c2)
	for _, size := range []int{1, 32, MaxExtension, MaxExtension + 1} {
		header := append(bytes.Clone(plain[:3]), byte(size>>8), byte(size))
		header = append(header, make([]byte, size)...)
		header = append(header, plain[5:]...)
		fields := innerFields{from: alice, time: 1e12}
		if fields.signature, err = identitytest.Keyring(0).Identity.Sign(domainInit, fields.signed(header, bob)); err != nil {
			t.Fatal(err)
		}
		first, _, err := openChain(secret, header)
		if err != nil {
			t.Fatal(err)
		}
		envelope, err := first.seal(header, fields.append(nil, []byte("hello")))
		if err != nil {
			t.Fatal(err)
		}
		want := error(nil)
		if size > MaxExtension {
			want = ErrOpen
		}
		if _, err := Accept(envelope, key, bob, knows); !errors.Is(err, want) {
			t.Errorf("extension of %d: got %v, want %v", size, err, want)
		}
		envelope[5] ^= 1
		if _, err := Accept(envelope, key, bob, knows); !errors.Is(err, ErrOpen) {
			t.Errorf("changed extension of %d: %v", size, err)
		}
	}
}

func TestMsgNumbers(t *testing.T) {
	var id ID
	tests := map[string][]byte{
		"number 0":       append(append([]byte{1, 2}, id[:]...), 0),
		"longer form":    append(append([]byte{1, 2}, id[:]...), 0x81, 0x00),
		"over 64 bits":   append(append([]byte{1, 2}, id[:]...), bytes.Repeat([]byte{0xff}, 11)...),
		"no number":      append([]byte{1, 2}, id[:]...),
		"other version":  append(append([]byte{2, 2}, id[:]...), 1),
		"other kind":     append(append([]byte{1, 3}, id[:]...), 1),
		"nothing sealed": append(append([]byte{1, 2}, id[:]...), 1),
	}
	for name, envelope := range tests {
		if name != "nothing sealed" && name != "no number" {
			envelope = append(envelope, make([]byte, 144)...)
		}
		if _, err := Peek(envelope); !errors.Is(err, ErrOpen) {
			t.Errorf("%s: %v", name, err)
		}
		if _, err := new(Receiver).Open(envelope); !errors.Is(err, ErrOpen) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if _, err := Peek(make([]byte, MaxEnvelope+1)); !errors.Is(err, ErrOpen) {
		t.Errorf("over the limit: %v", err)
	}
}

func TestPadding(t *testing.T) {
	for size, want := range map[int]int{1: 128, 128: 128, 129: 144, 144: 144, 145: 160, 1000: 1024, 65536: 65536, 67585: 69632} {
		if got := bucket(size); got != want {
			t.Errorf("bucket(%d) = %d, want %d", size, got, want)
		}
	}
	for size := 1; size <= MaxPayload; size += 13 {
		if got := bucket(size); got < size || size > 128 && float64(got) > 1.12*float64(size) || bucket(got) != got {
			t.Errorf("bucket(%d) = %d", size, got)
		}
	}
	for name, padded := range map[string][]byte{"empty": nil, "zeros": make([]byte, 128), "no marker": []byte("hello"), "after the marker": {0x80, 1}} {
		if _, err := unpad(padded); !errors.Is(err, ErrOpen) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestReceiverState(t *testing.T) {
	r := &Receiver{from: alice, next: 10, skipped: map[uint64]messageKey{3: {}, 5: {}}}
	good, _ := r.MarshalBinary()
	entries := len(good) - 2*entrySize
	edit := func(change func(b []byte) []byte) []byte { return change(bytes.Clone(good)) }
	tests := map[string][]byte{
		"nothing":            nil,
		"other version":      edit(func(b []byte) []byte { b[0] = 2; return b }),
		"cut":                good[:len(good)-1],
		"cut in the name":    good[:20],
		"trailing":           append(bytes.Clone(good), 0),
		"count too low":      edit(func(b []byte) []byte { b[entries-1] = 1; return b }),
		"count too high":     edit(func(b []byte) []byte { b[entries-2] = 0xff; return b }),
		"number twice":       edit(func(b []byte) []byte { b[entries+7] = 5; return b }),
		"number 0":           edit(func(b []byte) []byte { b[entries+7] = 0; return b }),
		"number not skipped": edit(func(b []byte) []byte { b[entries+entrySize+7] = 10; return b }),
		"name not UTF-8":     edit(func(b []byte) []byte { b[21] = 0xff; return b }),
		"next is 0":          edit(func(b []byte) []byte { b[17+4+5+32+7] = 0; return b }),
	}
	for name, state := range tests {
		if _, err := UnmarshalReceiver(state); !errors.Is(err, ErrBadState) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if _, err := UnmarshalReceiver(good); err != nil {
		t.Errorf("unchanged: %v", err)
	}
}

// TestNoKeyTwice follows a chain: no two messages of a session share a key or a nonce.
func TestNoKeyTwice(t *testing.T) {
	first, chain, err := openChain([32]byte{1}, []byte("header"))
	if err != nil {
		t.Fatal(err)
	}
	seen := map[messageKey]bool{first: true}
	for n := 1; n < MaxMessages; n++ {
		var key messageKey
		if key, chain, err = chain.step(); err != nil {
			t.Fatal(err)
		}
		if seen[key] {
			t.Fatalf("message %d has the key of an earlier one", n)
		}
		seen[key] = true
	}
}

func FuzzPeek(f *testing.F) {
	f.Add(fromAlice(f, bob, identitytest.Keyring(1).Encryption[0]))
	f.Add(append(appendMsgHeader(nil, ID{1}, 300), make([]byte, 144)...))
	f.Fuzz(func(t *testing.T, envelope []byte) {
		h, err := Peek(envelope)
		if err != nil {
			return
		}
		if (h.Kind == KindMsg) != (h.Key == identity.KeyID{}) && h.Kind == KindMsg {
			t.Error("a Msg names an encryption key")
		}
	})
}

// FuzzInit tries the parts behind the decryption as well: the fuzzed bytes are the inner part, well sealed.
func FuzzInit(f *testing.F) {
	key := identitytest.Keyring(1).Encryption[0]
	// Frozen, because the processes of one fuzzing run must agree on what is genuine.
	text, err := os.ReadFile("testdata/init.hex")
	if err != nil {
		f.Fatal(err)
	}
	good, err := hex.DecodeString(strings.TrimSpace(string(text)))
	if err != nil {
		f.Fatal(err)
	}
	f.Add(good, innerOf(f, good, key))
	f.Fuzz(func(t *testing.T, envelope, inner []byte) {
		if _, err := Accept(envelope, key, bob, knows); err == nil && !bytes.Equal(envelope, good) {
			t.Error("a forged Init opened")
		}
		fields, payload, err := parseInner(inner)
		if err != nil {
			return
		}
		if len(payload) > MaxPayload || len(fields.from.Name) > MaxName || len(fields.checkpoint) > MaxCheckpoint {
			t.Error("over a limit")
		}
		again, payload2, err := parseInner(fields.append(nil, payload))
		if err != nil || again.from != fields.from || !bytes.Equal(payload, payload2) {
			t.Errorf("the fields do not survive: %v", err)
		}
	})
}

func FuzzMsg(f *testing.F) {
	_, chain, err := openChain([32]byte{1}, nil)
	if err != nil {
		f.Fatal(err)
	}
	sender := &Sender{next: 1, chain: chain}
	good, err := sender.Seal([]byte("hello"))
	if err != nil {
		f.Fatal(err)
	}
	f.Add(good)
	f.Fuzz(func(t *testing.T, envelope []byte) {
		r := &Receiver{next: 1, chain: chain}
		before, _ := r.MarshalBinary()
		if _, err := r.Open(envelope); err == nil && !bytes.Equal(envelope, good) {
			t.Error("a forged Msg opened")
		} else if after, _ := r.MarshalBinary(); err != nil && !bytes.Equal(before, after) {
			t.Error("a failure changed the state")
		}
	})
}

func FuzzUnmarshalReceiver(f *testing.F) {
	r := &Receiver{from: alice, next: 10, skipped: map[uint64]messageKey{3: {}, 5: {}}}
	good, _ := r.MarshalBinary()
	f.Add(good)
	f.Fuzz(func(t *testing.T, state []byte) {
		r, err := UnmarshalReceiver(state)
		if err != nil {
			return
		}
		if again, _ := r.MarshalBinary(); !bytes.Equal(state, again) {
			t.Error("two encodings of one state")
		}
	})
}
