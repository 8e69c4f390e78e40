package identity

import (
	"bytes"
	"crypto"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"errors"
	"fmt"
	"strings"
)

// pssSalt is the salt length in bytes, in signing and exactly in verifying: "auto" would accept signatures that no Byway made.
const pssSalt = 32

// ErrBadSignature is returned by Verify, whatever is wrong.
var ErrBadSignature = errors.New("signature does not verify")

// PublicKey is the identity public key of a device. It is immutable and safe for concurrent use.
type PublicKey struct {
	rsa         *rsa.PublicKey
	spki        []byte
	fingerprint Fingerprint
}

// ParsePublicKey reads a SubjectPublicKeyInfo in DER: RSA with a modulus of exactly 3072 bits, exponent 65537, odd and without
// factors below 2^16, and in the one canonical encoding. Every refusal wraps [ErrBadKey].
func ParsePublicKey(spki []byte) (*PublicKey, error) {
	if len(spki) != SPKISize {
		return nil, fmt.Errorf("parse identity key of %d bytes, not %d: %w", len(spki), SPKISize, ErrBadKey)
	}
	parsed, err := x509.ParsePKIXPublicKey(spki)
	if err != nil {
		return nil, fmt.Errorf("parse identity key: %w: %w", ErrBadKey, err)
	}
	key, ok := parsed.(*rsa.PublicKey)
	if !ok {
		return nil, fmt.Errorf("parse identity key: not RSA: %w", ErrBadKey)
	}
	if err := checkRSA(key); err != nil {
		return nil, fmt.Errorf("parse identity key: %w", err)
	}
	public, err := newPublicKey(key)
	if err != nil {
		return nil, err
	}
	if !bytes.Equal(public.spki, spki) {
		return nil, fmt.Errorf("parse identity key: not the canonical encoding: %w", ErrBadKey)
	}
	return public, nil
}

func newPublicKey(key *rsa.PublicKey) (*PublicKey, error) {
	spki, err := x509.MarshalPKIXPublicKey(key)
	if err != nil {
		return nil, fmt.Errorf("encode identity key: %w", err)
	}
	return &PublicKey{rsa: key, spki: spki, fingerprint: sha256.Sum256(spki)}, nil
}

// SPKI returns a copy of the DER encoding, 422 bytes.
func (p *PublicKey) SPKI() []byte { return bytes.Clone(p.spki) }

// Fingerprint returns the SHA-256 of SPKI.
func (p *PublicKey) Fingerprint() Fingerprint { return p.fingerprint }

// Equal reports whether both are the same key.
func (p *PublicKey) Equal(q *PublicKey) bool { return q != nil && p.fingerprint == q.fingerprint }

// String returns the fingerprint in full, with a prefix that says what it is of.
func (p *PublicKey) String() string { return "identity:" + p.fingerprint.String() }

// Verify checks a signature that Sign made with the same domain string. Its error is [ErrBadSignature].
func (p *PublicKey) Verify(domain string, msg, sig []byte) error {
	digest := signedDigest(domain, msg)
	if len(sig) != SignatureSize || verifyPSS(p.rsa, digest[:], sig) != nil {
		return fmt.Errorf("verify %s: %w", domain, ErrBadSignature)
	}
	return nil
}

// verifyPSS is the one call of the library's verification, so that published vectors test what runs.
func verifyPSS(key *rsa.PublicKey, digest, sig []byte) error {
	return rsa.VerifyPSS(key, crypto.SHA256, digest, sig, &rsa.PSSOptions{SaltLength: pssSalt, Hash: crypto.SHA256})
}

// signedDigest is SHA-256(domain || 0x00 || msg). A domain with a NUL could be shifted into the message: that is a bug.
func signedDigest(domain string, msg []byte) [sha256.Size]byte {
	if domain == "" || strings.ContainsRune(domain, 0) {
		panic("identity: empty domain string, or one with a NUL")
	}
	h := sha256.New()
	h.Write([]byte(domain))
	h.Write([]byte{0})
	h.Write(msg)
	return [sha256.Size]byte(h.Sum(nil))
}

// PrivateKey is the identity private key of this device. It is immutable and safe for concurrent use; it neither
// prints nor marshals.
type PrivateKey struct {
	unprintable
	rsa    *rsa.PrivateKey
	public *PublicKey
}

// GeneratePrivateKey makes an RSA-3072 key, which takes 0.2 to 1 s of one core.
func GeneratePrivateKey() (*PrivateKey, error) {
	key, err := rsa.GenerateKey(rand.Reader, rsaBits)
	if err != nil {
		return nil, fmt.Errorf("generate identity key: %w", err)
	}
	return newPrivateKey(key)
}

func newPrivateKey(key *rsa.PrivateKey) (*PrivateKey, error) {
	public, err := newPublicKey(&key.PublicKey)
	if err != nil {
		return nil, err
	}
	return &PrivateKey{rsa: key, public: public}, nil
}

// Public returns the public half.
func (k *PrivateKey) Public() *PublicKey { return k.public }

// Sign makes a PSS-SHA256 signature of 384 bytes with a salt of 32 over SHA-256(domain || 0x00 || msg). It costs 3 ms.
func (k *PrivateKey) Sign(domain string, msg []byte) ([]byte, error) {
	digest := signedDigest(domain, msg)
	sig, err := rsa.SignPSS(rand.Reader, k.rsa, crypto.SHA256, digest[:],
		&rsa.PSSOptions{SaltLength: pssSalt, Hash: crypto.SHA256})
	if err != nil {
		return nil, fmt.Errorf("sign %s: %w", domain, err)
	}
	return sig, nil
}
