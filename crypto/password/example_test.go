package password_test

import (
	"fmt"

	"github.com/byway-chat/byway/crypto/password"
)

// A service hashes what a person chooses, and checks what is typed later.
func Example() {
	chosen, err := password.Prepare("alice", "three green owls")
	if err != nil {
		fmt.Println(err)
		return
	}
	phc, err := password.Hash(chosen, password.Small)
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(password.Describe(phc))

	typed, err := password.PrepareLogin("three green owls")
	if err != nil {
		fmt.Println(err)
		return
	}
	ok, needsRehash, err := password.Small.Verify(phc, typed)
	fmt.Println(ok, needsRehash, err)

	_, err = password.Prepare("alice", "P@ssw0rd1234")
	fmt.Println(err)
	// Output:
	// argon2id m=19456,t=2,p=1
	// true false <nil>
	// password is too weak: it is among the most common ones
}
