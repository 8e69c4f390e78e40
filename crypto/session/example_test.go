package session_test

import (
	"crypto/rand"
	"fmt"
	"time"

	"github.com/byway-chat/byway/crypto/identity"
	"github.com/byway-chat/byway/crypto/identity/identitytest"
	"github.com/byway-chat/byway/crypto/session"
)

// Alice opens a session to Bob's device and seals two messages; Bob opens them.
func Example() {
	alices, bobs := identitytest.Keyring(0), identitytest.Keyring(1)
	alice := session.Party{Name: "alice", Fingerprint: alices.Identity.Public().Fingerprint()}
	bob := session.Party{Name: "bob", Fingerprint: bobs.Identity.Public().Fingerprint()}

	sender, first, err := session.Begin(rand.Reader, session.Start{
		From: alice, Signer: alices.Identity,
		To: bob, Key: bobs.Encryption[0].Public(), // from Bob's prekey bundle
		Time: time.Now(),
	}, []byte("hello"))
	if err != nil {
		fmt.Println(err)
		return
	}
	second, err := sender.Seal([]byte("are you there?"))
	if err != nil {
		fmt.Println(err)
		return
	}

	header, err := session.Peek(first)
	if err != nil {
		fmt.Println(err)
		return
	}
	opened, err := session.Accept(first, bobs.EncryptionKey(header.Key), bob,
		func(session.Party) (*identity.PublicKey, error) { return alices.Identity.Public(), nil }) // from the directory, or pinned
	if err != nil {
		fmt.Println(err)
		return
	}
	more, err := opened.Receiver.Open(second)
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Printf("%s: %s\n%s: %s\n", opened.From.Name, opened.Payload, opened.From.Name, more)
	// Output:
	// alice: hello
	// alice: are you there?
}
