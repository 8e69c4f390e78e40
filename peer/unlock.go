package peer

import (
	"path/filepath"

	"github.com/byway-chat/byway/crypto/identity"
	"github.com/byway-chat/byway/crypto/password"
)

// CheckPassword says whether a password opens the key file of a home. It takes no lock, so another process may be using the home, and it
// clears raw. The code of a wrong one is CodeBadCredentials. A key file that is not sealed opens with any password.
func CheckPassword(dir string, raw []byte) error {
	prepared, err := preparePassword(raw)
	if err != nil {
		return err
	}
	defer clear(prepared)
	if _, err := identity.OpenKeyFile(filepath.Join(dir, keyFileName), prepared); err != nil {
		return keyFileError(dir, err)
	}
	return nil
}

// preparePassword brings a typed password into the form in which it is hashed and seals the key file. It clears raw.
func preparePassword(raw []byte) ([]byte, error) {
	prepared, err := password.PrepareLogin(string(raw))
	clear(raw)
	if err != nil {
		return nil, &Error{Code: CodeBadCredentials, Message: "the password is empty or has characters that cannot be used", Hint: "type it again", Err: err}
	}
	return prepared, nil
}
