package identity

import (
	"encoding/hex"
	"errors"
	"fmt"
)

// Fingerprint is the SHA-256 of an identity public key's SubjectPublicKeyInfo. It names a device on the wire, and
// two equal fingerprints mean the same key.
type Fingerprint [32]byte

// ErrBadFingerprint is returned for text or bytes that cannot be a fingerprint.
var ErrBadFingerprint = errors.New("not a fingerprint")

// String returns the 64 lower-case hexadecimal digits.
func (f Fingerprint) String() string { return hex.EncodeToString(f[:]) }

// Device returns the first 16 hexadecimal digits: the short form shown to people and in JSON. It has 64 bits, enough to
// tell the devices of one account apart and too few to trust a key by.
func (f Fingerprint) Device() string { return hex.EncodeToString(f[:8]) }

// IsZero reports whether f is the zero value, which is no key's fingerprint.
func (f Fingerprint) IsZero() bool { return f == Fingerprint{} }

// MarshalText returns the form of String, for JSON.
func (f Fingerprint) MarshalText() ([]byte, error) { return []byte(f.String()), nil }

// UnmarshalText accepts what [ParseFingerprint] accepts.
func (f *Fingerprint) UnmarshalText(text []byte) error {
	parsed, err := ParseFingerprint(string(text))
	if err != nil {
		return err
	}
	*f = parsed
	return nil
}

// ParseFingerprint reads 64 hexadecimal digits of either case. Its error is [ErrBadFingerprint].
func ParseFingerprint(s string) (Fingerprint, error) {
	var f Fingerprint
	if len(s) != hex.EncodedLen(len(f)) {
		return f, fmt.Errorf("parse fingerprint of %d characters: %w", len(s), ErrBadFingerprint)
	}
	if _, err := hex.Decode(f[:], []byte(s)); err != nil {
		return Fingerprint{}, fmt.Errorf("parse fingerprint: %w", ErrBadFingerprint)
	}
	return f, nil
}

// FingerprintFromBytes copies 32 bytes, the form on the wire. Its error is [ErrBadFingerprint].
func FingerprintFromBytes(b []byte) (Fingerprint, error) {
	var f Fingerprint
	if len(b) != len(f) {
		return f, fmt.Errorf("read fingerprint of %d bytes: %w", len(b), ErrBadFingerprint)
	}
	copy(f[:], b)
	return f, nil
}
