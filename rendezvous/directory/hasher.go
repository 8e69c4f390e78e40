package directory

import "github.com/byway-chat/byway/crypto/password"

// Hasher makes and checks password records (PHC strings). Argon2 makes the one for production.
type Hasher interface {
	Hash(password []byte) (string, error)
	// Verify says whether the password is the record's, and whether the record should be made anew with the present parameters.
	Verify(record string, password []byte) (ok, rehash bool, err error)
	// Dummy is a record that no password fits and that costs as much to check as one that Hash makes.
	Dummy() string
	// Describe names a record's scheme and parameters, such as "argon2id m=65536,t=3,p=4", and nothing else of it.
	Describe(record string) string
}

// Argon2 hashes with package crypto/password at the given cost. It panics on a cost that the package refuses.
func Argon2(p password.Params) Hasher { return argon2{params: p, dummy: password.Dummy(p)} }

type argon2 struct {
	params password.Params
	dummy  string
}

func (a argon2) Hash(prepared []byte) (string, error) { return password.Hash(prepared, a.params) }

func (a argon2) Verify(record string, prepared []byte) (ok, rehash bool, err error) {
	return a.params.Verify(record, prepared)
}

func (a argon2) Dummy() string { return a.dummy }

func (a argon2) Describe(record string) string { return password.Describe(record) }
