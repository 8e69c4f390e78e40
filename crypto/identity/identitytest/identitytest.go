// Package identitytest holds the fixed keys of eight devices, for tests only: making RSA-3072 keys takes a second each, and
// frozen test vectors need keys that never change. The keys are published with the source; anything sealed to them is open to all.
package identitytest

import (
	"bytes"
	"crypto/ed25519"
	"embed"
	"fmt"
	"slices"
	"sync"

	"github.com/byway-chat/byway/crypto/identity"
)

// Devices is how many devices there are: Keyring takes 0 to Devices-1.
const Devices = 8

//go:embed device?.pem
var files embed.FS

var keyrings [Devices]func() *identity.Keyring

func init() {
	for i := range keyrings {
		keyrings[i] = sync.OnceValue(func() *identity.Keyring { return load(i) })
	}
}

func load(i int) *identity.Keyring {
	text, err := files.ReadFile(fmt.Sprintf("device%d.pem", i))
	if err != nil {
		panic("identitytest: " + err.Error())
	}
	k, err := identity.ImportPEM(text)
	if err != nil {
		panic("identitytest: " + err.Error())
	}
	return k
}

// Keyring returns the keys of device i. The Keyring is the caller's to change; the keys in it are shared and
// immutable. It panics unless 0 <= i < Devices.
func Keyring(i int) *identity.Keyring {
	k := keyrings[i]()
	return &identity.Keyring{
		Identity:   k.Identity,
		Encryption: slices.Clone(k.Encryption),
		Host:       ed25519.PrivateKey(bytes.Clone(k.Host)),
		Storage:    k.Storage,
	}
}
