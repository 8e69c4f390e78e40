package identity

import (
	"crypto/ed25519"
	"crypto/rand"
	"fmt"
	"time"
)

// MaxEncryptionKeys is how many encryption keys a keyring may hold: the current one and those whose mailbox lifetime has
// not passed. Weekly rotation needs four.
const MaxEncryptionKeys = 16

// StorageKey seals what a device keeps on disk. It is a [32]byte that does not print.
type StorageKey [32]byte

// Keyring is all private keys of one device. The owner may replace its fields; the keys themselves are immutable. It
// neither prints nor marshals; [Keyring.ExportPEM] is the deliberate way out.
type Keyring struct {
	unprintable

	Identity   *PrivateKey             // for ever
	Encryption []*EncryptionPrivateKey // newest first, 1 to MaxEncryptionKeys
	Host       ed25519.PrivateKey      // for ever: the libp2p PeerID
	Storage    StorageKey              // for ever
}

// GenerateKeyring makes the keys of a new device. The two RSA keys are made side by side on two goroutines that have ended when it
// returns; it takes 0.3 to 2 s.
func GenerateKeyring(now time.Time) (*Keyring, error) {
	type result struct {
		key *EncryptionPrivateKey
		err error
	}
	encryption := make(chan result, 1)
	go func() {
		key, err := GenerateEncryptionKey(now)
		encryption <- result{key, err}
	}()
	signing, err := GeneratePrivateKey()
	other := <-encryption
	if err != nil {
		return nil, err
	}
	if other.err != nil {
		return nil, other.err
	}
	_, host, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		return nil, fmt.Errorf("generate host key: %w", err)
	}
	k := &Keyring{Identity: signing, Encryption: []*EncryptionPrivateKey{other.key}, Host: host}
	if _, err := rand.Read(k.Storage[:]); err != nil {
		return nil, fmt.Errorf("generate storage key: %w", err)
	}
	return k, nil
}

// EncryptionKey returns the key of that id, and nil where the keyring holds none: it was never ours, or has been
// destroyed.
func (k *Keyring) EncryptionKey(id KeyID) *EncryptionPrivateKey {
	for _, key := range k.Encryption {
		if key.public.id == id {
			return key
		}
	}
	return nil
}
