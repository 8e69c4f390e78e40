package identity_test

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"encoding/gob"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"math/big"
	"strings"
	"testing"
	"time"

	"github.com/byway-chat/byway/crypto/identity"
	"github.com/byway-chat/byway/crypto/identity/identitytest"
)

// modulus returns the modulus of a good key with one thing changed.
func modulus(change func(n *big.Int)) *rsa.PublicKey {
	k := identitytest.Keyring(0).Encryption[0].Public().RSA()
	n := new(big.Int).Set(k.N)
	change(n)
	return &rsa.PublicKey{N: n, E: k.E}
}

// withFactor returns a modulus of exactly 3072 bits that p divides.
func withFactor(p int64) *rsa.PublicKey {
	return modulus(func(n *big.Int) {
		n.Sub(n, new(big.Int).Rem(n, big.NewInt(p)))
		if n.Bit(0) == 0 && p != 2 {
			n.Add(n, big.NewInt(p))
		}
	})
}

func randomModulus(t *testing.T, size int) *rsa.PublicKey {
	t.Helper()
	b := make([]byte, size/8)
	_, _ = rand.Read(b)
	b[0] |= 0x80
	b[len(b)-1] |= 1
	return &rsa.PublicKey{N: new(big.Int).SetBytes(b), E: 65537}
}

// badRSA is every kind of key that Byway never makes.
func badRSA(t *testing.T) map[string]*rsa.PublicKey {
	good := identitytest.Keyring(0).Encryption[0].Public().RSA()
	return map[string]*rsa.PublicKey{
		"1024 bits":      randomModulus(t, 1024),
		"2048 bits":      randomModulus(t, 2048),
		"3071 bits":      modulus(func(n *big.Int) { n.Rsh(n, 1).SetBit(n, 0, 1) }),
		"3073 bits":      modulus(func(n *big.Int) { n.SetBit(n, 3072, 1) }),
		"4096 bits":      randomModulus(t, 4096),
		"exponent 3":     {N: good.N, E: 3},
		"exponent 65539": {N: good.N, E: 65539},
		"even":           modulus(func(n *big.Int) { n.SetBit(n, 0, 0) }),
		"factor 3":       withFactor(3),
		"factor 65521":   withFactor(65521),
	}
}

func TestParsePublicKeyRefuses(t *testing.T) {
	for name, key := range badRSA(t) {
		t.Run(name, func(t *testing.T) {
			spki, err := x509.MarshalPKIXPublicKey(key)
			if err != nil {
				t.Fatal(err)
			}
			if _, err := identity.ParsePublicKey(spki); !errors.Is(err, identity.ErrBadKey) {
				t.Errorf("identity key: got %v, want ErrBadKey", err)
			}
			ek := identitytest.Keyring(0).Encryption[0].Public().MLKEM()
			if _, err := identity.ParseEncryptionPublicKey(x509.MarshalPKCS1PublicKey(key), ek); !errors.Is(err, identity.ErrBadKey) {
				t.Errorf("encryption key: got %v, want ErrBadKey", err)
			}
		})
	}
}

func TestParsePublicKeyRefusesEncodings(t *testing.T) {
	good := identitytest.Keyring(0).Identity.Public().SPKI()
	curve, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	ec, err := x509.MarshalPKIXPublicKey(&curve.PublicKey)
	if err != nil {
		t.Fatal(err)
	}
	tests := map[string][]byte{
		"nothing":        nil,
		"cut":            good[:len(good)-1],
		"trailing byte":  append(bytes.Clone(good), 0),
		"another kind":   ec,
		"noise":          bytes.Repeat([]byte{0x30}, identity.SPKISize),
		"RSASSA-PSS oid": bytes.Replace(good, []byte{0xf7, 0x0d, 1, 1, 1}, []byte{0xf7, 0x0d, 1, 1, 10}, 1),
		"no NULL":        bytes.Replace(good, []byte{1, 1, 1, 5, 0}, []byte{1, 1, 1, 4, 0}, 1),
	}
	for name, spki := range tests {
		if _, err := identity.ParsePublicKey(spki); !errors.Is(err, identity.ErrBadKey) {
			t.Errorf("%s: got %v, want ErrBadKey", name, err)
		}
	}
	parsed, err := identity.ParsePublicKey(good)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(parsed.SPKI(), good) || parsed.Fingerprint() != sha256.Sum256(good) {
		t.Error("a good key came back changed")
	}
	if !parsed.Equal(identitytest.Keyring(0).Identity.Public()) || parsed.Equal(identitytest.Keyring(1).Identity.Public()) {
		t.Error("Equal does not tell keys apart")
	}
}

func TestParseEncryptionPublicKeyRefuses(t *testing.T) {
	public := identitytest.Keyring(0).Encryption[0].Public()
	pkcs1, ek := public.PKCS1(), public.MLKEM()
	overflow := bytes.Clone(ek)
	overflow[0], overflow[1] = 0xff, 0xff // a coefficient above the modulus 3329
	tests := []struct {
		name      string
		pkcs1, ek []byte
	}{
		{"nothing", nil, nil},
		{"cut RSA", pkcs1[1:], ek},
		{"cut ML-KEM", pkcs1, ek[1:]},
		{"swapped", ek, pkcs1},
		{"unreduced ML-KEM", pkcs1, overflow},
		{"noise", bytes.Repeat([]byte{1}, identity.PKCS1Size), ek},
	}
	for _, tc := range tests {
		if _, err := identity.ParseEncryptionPublicKey(tc.pkcs1, tc.ek); !errors.Is(err, identity.ErrBadKey) {
			t.Errorf("%s: got %v, want ErrBadKey", tc.name, err)
		}
	}
	parsed, err := identity.ParseEncryptionPublicKey(pkcs1, ek)
	if err != nil {
		t.Fatal(err)
	}
	sum := sha256.Sum256(append(pkcs1, ek...))
	if got := parsed.ID(); !bytes.Equal(got[:], sum[:8]) {
		t.Errorf("key id %s, want %x", got, sum[:8])
	}
}

func TestSignatures(t *testing.T) {
	k, other := identitytest.Keyring(0).Identity, identitytest.Keyring(1).Identity
	msg := []byte("message")
	sig, err := k.Sign("byway/test one", msg)
	if err != nil {
		t.Fatal(err)
	}
	digest := sha256.Sum256(msg)
	long, err := rsa.SignPSS(rand.Reader, mustRSA(t, 0), crypto.SHA256, digest[:], &rsa.PSSOptions{SaltLength: 64})
	if err != nil {
		t.Fatal(err)
	}
	tests := []struct {
		name, domain string
		key          *identity.PublicKey
		msg, sig     []byte
		want         error
	}{
		{"good", "byway/test one", k.Public(), msg, sig, nil},
		{"other domain", "byway/test two", k.Public(), msg, sig, identity.ErrBadSignature},
		{"domain and message shifted", "byway/test", k.Public(), append([]byte(" one\x00"), msg...), sig, identity.ErrBadSignature},
		{"other message", "byway/test one", k.Public(), []byte("Message"), sig, identity.ErrBadSignature},
		{"other key", "byway/test one", other.Public(), msg, sig, identity.ErrBadSignature},
		{"cut", "byway/test one", k.Public(), msg, sig[:len(sig)-1], identity.ErrBadSignature},
		{"empty", "byway/test one", k.Public(), msg, nil, identity.ErrBadSignature},
		{"other salt length", "byway/test one", k.Public(), msg, long, identity.ErrBadSignature},
	}
	for _, tc := range tests {
		if err := tc.key.Verify(tc.domain, tc.msg, tc.sig); !errors.Is(err, tc.want) {
			t.Errorf("%s: got %v, want %v", tc.name, err, tc.want)
		}
	}
}

// mustRSA takes the identity key of a test device out of its export.
func mustRSA(t *testing.T, device int) *rsa.PrivateKey {
	t.Helper()
	text, err := identitytest.Keyring(device).ExportPEM()
	if err != nil {
		t.Fatal(err)
	}
	blocks := decodeAll(text)
	key, err := x509.ParsePKCS8PrivateKey(blocks[1].Bytes)
	if err != nil {
		t.Fatal(err)
	}
	return key.(*rsa.PrivateKey)
}

// TestExactSalt signs what Verify hashes, with another salt length: only the length is wrong.
func TestExactSalt(t *testing.T) {
	digest := sha256.Sum256([]byte("byway/test\x00message"))
	for _, salt := range []int{20, 31, 32, 33, 64} {
		sig, err := rsa.SignPSS(rand.Reader, mustRSA(t, 0), crypto.SHA256, digest[:], &rsa.PSSOptions{SaltLength: salt})
		if err != nil {
			t.Fatal(err)
		}
		err = identitytest.Keyring(0).Identity.Public().Verify("byway/test", []byte("message"), sig)
		if (err == nil) != (salt == 32) {
			t.Errorf("salt of %d: %v", salt, err)
		}
	}
}

func TestDomainStrings(t *testing.T) {
	for _, domain := range []string{"", "a\x00b"} {
		func() {
			defer func() {
				if recover() == nil {
					t.Errorf("domain %q was taken", domain)
				}
			}()
			_, _ = identitytest.Keyring(0).Identity.Sign(domain, nil)
		}()
	}
}

func TestEncapsulation(t *testing.T) {
	key := identitytest.Keyring(0).Encryption[0]
	secret, c1, c2, err := key.Public().Encapsulate(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	if got, err := key.Decapsulate(c1, c2); err != nil || got != secret {
		t.Fatalf("got %x and %v, want %x", got, err, secret)
	}
	// Every forged half gives some other secret and no error.
	c1[5] ^= 1
	first, err := key.Decapsulate(c1, c2)
	if err != nil || first == secret {
		t.Errorf("forged RSA half: %v, same secret: %v", err, first == secret)
	}
	if again, _ := key.Decapsulate(c1, c2); again == first {
		t.Error("a forged RSA half gives a secret that its maker could foresee")
	}
	c1[5] ^= 1
	c2[5] ^= 1
	if got, err := key.Decapsulate(c1, c2); err != nil || got == secret {
		t.Errorf("forged ML-KEM half: %v, same secret: %v", err, got == secret)
	}
	if _, err := key.Decapsulate(c1[1:], c2); !errors.Is(err, identity.ErrBadCiphertext) {
		t.Errorf("cut: %v", err)
	}
	// A wrapped secret of another length than 32 is no better than one that does not unwrap.
	short, err := rsa.EncryptOAEP(sha256.New(), rand.Reader, key.Public().RSA(), []byte("short"), nil)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := key.Decapsulate(short, c2); err != nil {
		t.Errorf("short secret: %v", err)
	}
	if _, _, _, err := key.Public().Encapsulate(strings.NewReader("short")); err == nil {
		t.Error("a short read of randomness was taken")
	}
}

func TestFingerprintText(t *testing.T) {
	f := identitytest.Keyring(0).Identity.Public().Fingerprint()
	parsed, err := identity.ParseFingerprint(strings.ToUpper(f.String()))
	if err != nil || parsed != f || f.IsZero() || f.Device() != f.String()[:16] {
		t.Errorf("got %s and %v, want %s", parsed, err, f)
	}
	for _, bad := range []string{"", "ab", f.String()[1:], f.String() + "0", strings.Repeat("g", 64)} {
		if _, err := identity.ParseFingerprint(bad); !errors.Is(err, identity.ErrBadFingerprint) {
			t.Errorf("%q: %v", bad, err)
		}
	}
	if _, err := identity.FingerprintFromBytes(f[:31]); !errors.Is(err, identity.ErrBadFingerprint) {
		t.Errorf("31 bytes: %v", err)
	}
	text, err := json.Marshal(f)
	if err != nil || string(text) != `"`+f.String()+`"` {
		t.Errorf("JSON %s and %v", text, err)
	}
	var back identity.Fingerprint
	if err := json.Unmarshal(text, &back); err != nil || back != f {
		t.Errorf("back %s and %v", back, err)
	}
	if err := json.Unmarshal([]byte(`"x"`), &back); !errors.Is(err, identity.ErrBadFingerprint) {
		t.Errorf("bad JSON: %v", err)
	}
}

// TestSecretsDoNotPrint looks for the storage key, the host key and the prime factors in everything that prints or marshals.
func TestSecretsDoNotPrint(t *testing.T) {
	k := identitytest.Keyring(0)
	values := map[string]any{
		"Keyring": k, "Keyring value": *k, "PrivateKey": k.Identity, "EncryptionPrivateKey": k.Encryption[0],
		"list": k.Encryption, "StorageKey": k.Storage, "nested": struct{ Inner any }{k},
	}
	for name, v := range values {
		for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%x", "%q", "%d"} {
			got := fmt.Sprintf(verb, v)
			if len(got) > 400 || !strings.Contains(got, "[secret]") {
				t.Errorf("%s prints as %.200q with %s", name, got, verb)
			}
		}
		var logged bytes.Buffer
		slog.New(slog.NewTextHandler(&logged, nil)).Info("x", slog.Any("value", v))
		if logged.Len() > 400 {
			t.Errorf("%s logs as %.200q", name, logged.String())
		}
		if b, err := json.Marshal(v); !errors.Is(err, identity.ErrSecret) {
			t.Errorf("%s marshals to %.100q and %v", name, b, err)
		}
		if name == "StorageKey" || name == "nested" {
			continue
		}
		if err := gob.NewEncoder(new(bytes.Buffer)).Encode(v); err == nil {
			t.Errorf("%s has a gob form", name)
		}
	}
}

func TestGenerateKeyring(t *testing.T) {
	if testing.Short() {
		t.Skip("makes RSA keys")
	}
	now := time.Now()
	k, err := identity.GenerateKeyring(now)
	if err != nil {
		t.Fatal(err)
	}
	if got := k.Encryption[0].Created(); !got.Equal(now.Truncate(time.Millisecond)) {
		t.Errorf("created %v, want %v", got, now)
	}
	if _, err := identity.ParsePublicKey(k.Identity.Public().SPKI()); err != nil {
		t.Errorf("own identity key: %v", err)
	}
	public := k.Encryption[0].Public()
	if _, err := identity.ParseEncryptionPublicKey(public.PKCS1(), public.MLKEM()); err != nil {
		t.Errorf("own encryption key: %v", err)
	}
	if k.EncryptionKey(public.ID()) != k.Encryption[0] || k.EncryptionKey(identity.KeyID{}) != nil {
		t.Error("EncryptionKey finds the wrong key")
	}
	if len(k.Host) != 64 || k.Storage == (identity.StorageKey{}) {
		t.Error("host or storage key is missing")
	}
}

func FuzzParsePublicKey(f *testing.F) {
	f.Add(identitytest.Keyring(0).Identity.Public().SPKI())
	f.Fuzz(func(t *testing.T, spki []byte) {
		k, err := identity.ParsePublicKey(spki)
		if err == nil && !bytes.Equal(k.SPKI(), spki) {
			t.Error("two encodings of one key")
		}
		if err != nil && !errors.Is(err, identity.ErrBadKey) {
			t.Errorf("refused with %v", err)
		}
	})
}

func FuzzParseEncryptionPublicKey(f *testing.F) {
	public := identitytest.Keyring(0).Encryption[0].Public()
	f.Add(public.PKCS1(), public.MLKEM())
	f.Fuzz(func(t *testing.T, pkcs1, ek []byte) {
		k, err := identity.ParseEncryptionPublicKey(pkcs1, ek)
		if err == nil && (!bytes.Equal(k.PKCS1(), pkcs1) || !bytes.Equal(k.MLKEM(), ek)) {
			t.Error("two encodings of one key")
		}
	})
}

func FuzzParseFingerprint(f *testing.F) {
	f.Add(identitytest.Keyring(0).Identity.Public().Fingerprint().String())
	f.Fuzz(func(t *testing.T, s string) {
		if p, err := identity.ParseFingerprint(s); err == nil && p.String() != strings.ToLower(s) {
			t.Errorf("%q became %s", s, p)
		}
	})
}
