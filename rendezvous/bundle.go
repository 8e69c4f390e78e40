package rendezvous

import (
	"bytes"
	"encoding/binary"
	"time"

	"github.com/libp2p/go-libp2p/core/peer"

	"github.com/byway-chat/byway/crypto/identity"
)

const (
	// MaxBundle is the largest signed prekey bundle in bytes; the real ones have about 2.3 KiB.
	MaxBundle = 4 << 10
	// ClockSkew is how far two honest clocks may be apart.
	ClockSkew = 10 * time.Minute

	// domainBundle is the domain string of a prekey bundle's signature.
	domainBundle = "byway/v1 prekey bundle"
	// bundleSuite says what Key is made of: RSA-3072 for OAEP and ML-KEM-768.
	bundleSuite = 1
)

// Bundle is the encryption key that a device takes session openings with, certified by its identity, for a limited time. It
// also binds the device's PeerID to its identity.
type Bundle struct {
	Rendezvous peer.ID
	Username   Username
	Device     identity.Fingerprint // whose identity signs; set by Sign
	PeerID     peer.ID              // the device's libp2p host key
	Seq        uint64               // at least 1, never falls
	NotBefore  time.Time
	NotAfter   time.Time
	Key        *identity.EncryptionPublicKey
}

// ValidAt reports whether sessions may be opened to the bundle at now; its beginning is taken with [ClockSkew].
func (b *Bundle) ValidAt(now time.Time) bool {
	return !now.Add(ClockSkew).Before(b.NotBefore) && now.Before(b.NotAfter)
}

// Sign makes k's the device and returns the bundle as it travels, body and signature. It refuses, as *[Error] of
// [CodeKeyRefused], what ParseBundle would.
func (b *Bundle) Sign(k *identity.PrivateKey) ([]byte, error) {
	b.Device = k.Public().Fingerprint()
	if err := b.check(); err != nil {
		return nil, err
	}
	body := b.body()
	signature, err := k.Sign(domainBundle, body)
	if err != nil {
		return nil, err
	}
	return append(body, signature...), nil
}

// body is what is signed:
//
//	version(1)=1 lp(rendezvous PeerID) lp(username) device fingerprint(32) lp(PeerID) seq(8)
//	not before(8) not after(8) suite(1)=1 lp(RSA PKCS#1 DER) lp(ML-KEM encapsulation key)
func (b *Bundle) body() []byte {
	out := []byte{recordVersion}
	out = appendLP(out, b.Rendezvous)
	out = appendLP(out, b.Username)
	out = append(out, b.Device[:]...)
	out = appendLP(out, b.PeerID)
	out = binary.BigEndian.AppendUint64(out, b.Seq)
	out = appendTime(out, b.NotBefore)
	out = appendTime(out, b.NotAfter)
	out = append(out, bundleSuite)
	out = appendLP(out, b.Key.PKCS1())
	return appendLP(out, b.Key.MLKEM())
}

func (b *Bundle) check() error {
	if err := checkSubject(b.Rendezvous, b.Username, b.Seq); err != nil {
		return err
	}
	if err := checkPeerID(b.PeerID); err != nil {
		return err
	}
	for _, t := range []time.Time{b.NotBefore, b.NotAfter} {
		if err := checkTime(t); err != nil {
			return err
		}
	}
	if !b.NotBefore.Before(b.NotAfter) {
		return refuse("the prekey bundle ends before it begins")
	}
	if b.Key == nil {
		return refuse("a prekey bundle without a key")
	}
	return nil
}

// ParseBundle reads a bundle that signer must have signed, and checks its bounds, its canonical form and both keys in it. It has no
// clock: see ValidAt. Its error is an *[Error] of [CodeKeyRefused].
func ParseBundle(record []byte, signer *identity.PublicKey) (*Bundle, error) {
	body, signature, err := splitSigned(record, MaxBundle)
	if err != nil {
		return nil, err
	}
	// Before the keys are parsed: a stranger's bundle costs one verification.
	if signer.Verify(domainBundle, body, signature) != nil {
		return nil, refuse("the prekey bundle's signature does not verify")
	}
	r := canonicalReader{rest: body}
	if r.uint8() != recordVersion {
		return nil, refuse("a prekey bundle of an unknown version")
	}
	b := &Bundle{
		Rendezvous: r.peerID(), Username: r.username(), Device: r.fingerprint(), PeerID: r.peerID(),
		Seq: r.uint64(), NotBefore: r.time(), NotAfter: r.time(),
	}
	if r.uint8() != bundleSuite {
		return nil, refuse("a prekey bundle of an unknown suite")
	}
	pkcs1, ek := r.lp(identity.PKCS1Size), r.lp(identity.MLKEMSize)
	if r.bad || len(r.rest) != 0 || b.Device != signer.Fingerprint() {
		return nil, refuse("the prekey bundle is malformed")
	}
	if b.Key, err = identity.ParseEncryptionPublicKey(pkcs1, ek); err != nil {
		return nil, refuse("the key in the prekey bundle: %v", err)
	}
	if err := b.check(); err != nil {
		return nil, err
	}
	if !bytes.Equal(b.body(), body) {
		return nil, refuse("the prekey bundle is not in canonical form")
	}
	return b, nil
}
