package password

import (
	"crypto/rand"
	"crypto/subtle"
	"fmt"

	"golang.org/x/crypto/argon2"
)

// Hash returns the PHC record of a prepared password under a fresh salt. Its error is [ErrBadParams].
func Hash(password []byte, p Params) (string, error) {
	if err := p.check(); err != nil {
		return "", fmt.Errorf("hash password: %w", err)
	}
	r := record{params: p, salt: make([]byte, saltSize)}
	if _, err := rand.Read(r.salt); err != nil {
		return "", fmt.Errorf("hash password: %w", err)
	}
	r.tag = r.compute(password)
	return r.String(), nil
}

func (r record) compute(password []byte) []byte {
	return argon2.IDKey(password, r.salt, r.params.Time, r.params.MemoryKiB, r.params.Threads, tagSize)
}

// Verify reports whether a prepared password is the record's, at the cost that the record names. needsRehash says that it is, and
// that the record's cost is not p: the caller should hash anew while it has the password. The error wraps [ErrBadRecord].
func (p Params) Verify(phc string, password []byte) (ok, needsRehash bool, err error) {
	r, err := parseRecord(phc)
	if err != nil {
		return false, false, fmt.Errorf("verify password: %w", err)
	}
	ok = subtle.ConstantTimeCompare(r.compute(password), r.tag) == 1
	return ok, ok && r.params != p, nil
}

// Dummy returns a record that no password opens and that costs as much as a real one. Make it once and check unknown
// names against it. It panics on a cost that Hash refuses.
func Dummy(p Params) string {
	if err := p.check(); err != nil {
		panic("password: " + err.Error())
	}
	r := record{params: p, salt: make([]byte, saltSize), tag: make([]byte, tagSize)}
	_, _ = rand.Read(r.salt) // never fails
	_, _ = rand.Read(r.tag)
	return r.String()
}
