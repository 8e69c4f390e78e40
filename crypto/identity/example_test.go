package identity_test

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"github.com/byway-chat/byway/crypto/identity"
	"github.com/byway-chat/byway/crypto/identity/identitytest"
)

// A device seals its keys at first, and opens them at every later start.
func Example() {
	dir, err := os.MkdirTemp("", "")
	if err != nil {
		fmt.Println(err)
		return
	}
	defer func() { _ = os.RemoveAll(dir) }()
	path := filepath.Join(dir, "keystore.age")

	keys := identitytest.Keyring(0) // a real device calls GenerateKeyring
	if err := identity.CreateKeyFile(path, keys, []byte("three green owls")); err != nil {
		fmt.Println(err)
		return
	}
	opened, err := identity.OpenKeyFile(path, []byte("three green owls"))
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(opened, opened.Identity.Public().Equal(keys.Identity.Public()))

	_, err = identity.OpenKeyFile(path, nil)
	fmt.Println(errors.Is(err, identity.ErrPassphraseNeeded))
	// Output:
	// [secret] true
	// true
}

func ExamplePublicKey_Verify() {
	key := identitytest.Keyring(0).Identity
	sig, err := key.Sign("example/v1 greeting", []byte("hello"))
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(key.Public().Verify("example/v1 greeting", []byte("hello"), sig))
	fmt.Println(key.Public().Verify("example/v1 farewell", []byte("hello"), sig))
	// Output:
	// <nil>
	// verify example/v1 farewell: signature does not verify
}
