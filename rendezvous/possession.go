package rendezvous

import (
	"github.com/libp2p/go-libp2p/core/peer"

	"github.com/byway-chat/byway/crypto/identity"
)

const (
	// NonceSize is the length in bytes of the nonce in Welcome.
	NonceSize = 32

	// domainPossession is the domain string of a proof of possession.
	domainPossession = "byway/v1 possession"
)

// possession is what a device signs to show a rendezvous, on this one stream, that the identity key is its own:
//
//	lp(rendezvous PeerID) lp(username) lp(device PeerID) lp(nonce)
//
// It is a signature and never a decryption: a device that decrypts what a rendezvous hands it would be an oracle.
func possession(rendezvous peer.ID, name Username, device peer.ID, nonce []byte) []byte {
	b := appendLP(nil, rendezvous)
	b = appendLP(b, name)
	b = appendLP(b, device)
	return appendLP(b, nonce)
}

// SignPossession proves to rendezvous that the device with host key device, signing in as name, holds k. nonce is the one in the
// stream's Welcome, so that the proof serves once. The result is a signature of 384 bytes.
func SignPossession(k *identity.PrivateKey, rendezvous peer.ID, name Username, device peer.ID, nonce []byte) ([]byte, error) {
	if len(nonce) != NonceSize {
		return nil, refuse("a nonce of %d bytes, not %d", len(nonce), NonceSize)
	}
	return k.Sign(domainPossession, possession(rendezvous, name, device, nonce))
}

// VerifyPossession checks what SignPossession made. Its error is an *[Error] of [CodeKeyRefused].
func VerifyPossession(
	key *identity.PublicKey, rendezvous peer.ID, name Username, device peer.ID, nonce, signature []byte,
) error {
	if len(nonce) != NonceSize || key.Verify(domainPossession, possession(rendezvous, name, device, nonce), signature) != nil {
		return refuse("the proof that the identity key is held does not verify")
	}
	return nil
}
