package identity

import (
	"bytes"
	"crypto/mlkem"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/sha3"
	"crypto/x509"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"time"
)

// Sizes in bytes of the encryption key's encapsulation.
const (
	// MLKEMSize is the length of the ML-KEM-768 half of an encryption public key.
	MLKEMSize = mlkem.EncapsulationKeySize768
	// WrappedRSASize is the length of the OAEP ciphertext, c1.
	WrappedRSASize = rsaBits / 8
	// WrappedMLKEMSize is the length of the ML-KEM ciphertext, c2.
	WrappedMLKEMSize = mlkem.CiphertextSize768

	wrappedSecret = 32
	// combinerLabel is the label of id-MLKEM768-RSA3072-SHA3-256 in draft-ietf-lamps-pq-composite-kem.
	combinerLabel = "MLKEM768-RSAOAEP3072"
)

// ErrBadCiphertext is returned for wrapped secrets of a wrong length.
var ErrBadCiphertext = errors.New("wrapped secret has a wrong length")

// KeyID names an encryption key in an envelope: the first 8 bytes of SHA-256(RSA PKCS#1 DER || ML-KEM encapsulation key).
// It selects a key; it does not authenticate one.
type KeyID [8]byte

// String returns 16 hexadecimal digits.
func (id KeyID) String() string { return hex.EncodeToString(id[:]) }

// EncryptionPublicKey is what session openings to one device are wrapped to. It is immutable and safe for concurrent use.
type EncryptionPublicKey struct {
	rsa   *rsa.PublicKey
	pkcs1 []byte
	mlkem *mlkem.EncapsulationKey768
	id    KeyID
}

// ParseEncryptionPublicKey reads both halves, with the same checks on the RSA key as [ParsePublicKey]. Every refusal
// wraps [ErrBadKey].
func ParseEncryptionPublicKey(pkcs1RSA, mlkemEK []byte) (*EncryptionPublicKey, error) {
	if len(pkcs1RSA) != PKCS1Size || len(mlkemEK) != MLKEMSize {
		return nil, fmt.Errorf("parse encryption key of %d and %d bytes: %w", len(pkcs1RSA), len(mlkemEK), ErrBadKey)
	}
	key, err := x509.ParsePKCS1PublicKey(pkcs1RSA)
	if err != nil {
		return nil, fmt.Errorf("parse encryption key: %w: %w", ErrBadKey, err)
	}
	if err := checkRSA(key); err != nil {
		return nil, fmt.Errorf("parse encryption key: %w", err)
	}
	ek, err := mlkem.NewEncapsulationKey768(mlkemEK)
	if err != nil {
		return nil, fmt.Errorf("parse encryption key: %w: %w", ErrBadKey, err)
	}
	public := newEncryptionPublicKey(key, ek)
	if !bytes.Equal(public.pkcs1, pkcs1RSA) {
		return nil, fmt.Errorf("parse encryption key: not the canonical encoding: %w", ErrBadKey)
	}
	return public, nil
}

func newEncryptionPublicKey(key *rsa.PublicKey, ek *mlkem.EncapsulationKey768) *EncryptionPublicKey {
	p := &EncryptionPublicKey{rsa: key, pkcs1: x509.MarshalPKCS1PublicKey(key), mlkem: ek}
	h := sha256.New()
	h.Write(p.pkcs1)
	h.Write(ek.Bytes())
	copy(p.id[:], h.Sum(nil))
	return p
}

// RSA returns the RSA half, which the caller must not change.
func (p *EncryptionPublicKey) RSA() *rsa.PublicKey { return p.rsa }

// PKCS1 returns a copy of the RSA half as PKCS#1 DER, 398 bytes.
func (p *EncryptionPublicKey) PKCS1() []byte { return bytes.Clone(p.pkcs1) }

// MLKEM returns the ML-KEM-768 encapsulation key, 1,184 bytes.
func (p *EncryptionPublicKey) MLKEM() []byte { return p.mlkem.Bytes() }

// ID returns the key's id.
func (p *EncryptionPublicKey) ID() KeyID { return p.id }

// Encapsulate makes a fresh shared secret and the two ciphertexts that carry it. The wrapped RSA secret comes from
// random; the OAEP seed and the ML-KEM coins always come from the system. It costs 0.3 ms.
func (p *EncryptionPublicKey) Encapsulate(random io.Reader) (secret [32]byte, c1, c2 []byte, err error) {
	z := make([]byte, wrappedSecret)
	defer clear(z)
	if _, err := io.ReadFull(random, z); err != nil {
		return secret, nil, nil, fmt.Errorf("draw session secret: %w", err)
	}
	c1, err = rsa.EncryptOAEP(sha256.New(), rand.Reader, p.rsa, z, nil)
	if err != nil {
		return secret, nil, nil, fmt.Errorf("wrap session secret: %w", err)
	}
	shared, c2 := p.mlkem.Encapsulate()
	return combine(shared, z, c1, p.pkcs1), c1, c2, nil
}

// combine is SHA3-256(ML-KEM secret || RSA secret || RSA ciphertext || RSA public key || label): the secret stays unknown while
// either half holds.
func combine(shared, z, c1, pkcs1 []byte) [32]byte {
	h := sha3.New256()
	for _, part := range [][]byte{shared, z, c1, pkcs1, []byte(combinerLabel)} {
		h.Write(part)
	}
	return [32]byte(h.Sum(nil))
}

// EncryptionPrivateKey opens what was wrapped to its public half. It is immutable and safe for concurrent use; it
// neither prints nor marshals.
type EncryptionPrivateKey struct {
	unprintable
	rsa     *rsa.PrivateKey
	mlkem   *mlkem.DecapsulationKey768
	public  *EncryptionPublicKey
	created time.Time
}

// GenerateEncryptionKey makes a key that says it was made at created, cut to milliseconds. It takes as long as
// [GeneratePrivateKey].
func GenerateEncryptionKey(created time.Time) (*EncryptionPrivateKey, error) {
	key, err := rsa.GenerateKey(rand.Reader, rsaBits)
	if err != nil {
		return nil, fmt.Errorf("generate encryption key: %w", err)
	}
	dk, err := mlkem.GenerateKey768()
	if err != nil {
		return nil, fmt.Errorf("generate encryption key: %w", err)
	}
	return newEncryptionPrivateKey(key, dk, created), nil
}

func newEncryptionPrivateKey(key *rsa.PrivateKey, dk *mlkem.DecapsulationKey768, created time.Time) *EncryptionPrivateKey {
	public := newEncryptionPublicKey(&key.PublicKey, dk.EncapsulationKey())
	return &EncryptionPrivateKey{rsa: key, mlkem: dk, public: public, created: time.UnixMilli(created.UnixMilli()).UTC()}
}

// Public returns the public half.
func (k *EncryptionPrivateKey) Public() *EncryptionPublicKey { return k.public }

// Created returns when the key was made, in UTC: rotation and destruction go by it.
func (k *EncryptionPrivateKey) Created() time.Time { return k.created }

// Decapsulate recovers the shared secret. Ciphertexts of the right length always give one: for a forged one it is
// unpredictable, so that what fails is the AEAD behind it, and no answer or delay tells which half was wrong. Its error wraps
// [ErrBadCiphertext] and speaks of lengths alone. It costs 3 ms.
func (k *EncryptionPrivateKey) Decapsulate(c1, c2 []byte) (secret [32]byte, err error) {
	if len(c1) != WrappedRSASize || len(c2) != WrappedMLKEMSize {
		return secret, fmt.Errorf("unwrap session secret of %d and %d bytes: %w", len(c1), len(c2), ErrBadCiphertext)
	}
	// Drawn before the decryption and used only if that fails: both outcomes do the same work.
	substitute := make([]byte, wrappedSecret)
	if _, err := rand.Read(substitute); err != nil {
		return secret, fmt.Errorf("draw substitute secret: %w", err)
	}
	z, err := openOAEP(k.rsa, c1, nil)
	if err != nil || len(z) != wrappedSecret {
		z = substitute
	}
	defer clear(z)
	shared, err := k.mlkem.Decapsulate(c2)
	if err != nil {
		return secret, fmt.Errorf("unwrap session secret: %w", ErrBadCiphertext)
	}
	return combine(shared, z, c1, k.public.pkcs1), nil
}

// openOAEP is the one call of the library's decryption, so that published vectors test what runs. Byway's label is
// empty.
func openOAEP(key *rsa.PrivateKey, c1, label []byte) ([]byte, error) {
	return rsa.DecryptOAEP(sha256.New(), nil, key, c1, label)
}
