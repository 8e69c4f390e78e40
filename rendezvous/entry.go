package rendezvous

import (
	"bytes"
	"encoding/binary"
	"time"

	"github.com/libp2p/go-libp2p/core/peer"

	"github.com/byway-chat/byway/crypto/identity"
)

// MaxEntry is the largest signed directory entry in bytes; one of eight devices has about 4.3 KiB.
const MaxEntry = 8 << 10

// domainEntry is the domain string of a directory entry's signature.
const domainEntry = "byway/v1 directory entry"

// Entry says which devices a name has at one rendezvous. The signed bytes travel unchanged, from the device that made them to
// everybody who asks; who holds two of them compares Seq, and checks that the newer keeps what was trusted.
type Entry struct {
	Rendezvous peer.ID // whose directory: an entry means nothing at another
	Username   Username
	Seq        uint64               // 1 for the first entry of a name, then one more each time
	Issued     time.Time            // by the clock of the signing device
	Devices    []EntryDevice        // 1 to MaxDevices, in the order they were added
	Signer     identity.Fingerprint // which of Devices signed; set by Sign
}

// EntryDevice is one device of an account.
type EntryDevice struct {
	Key    *identity.PublicKey // its identity; unique in the entry
	PeerID peer.ID             // its libp2p host key, Ed25519; unique in the entry
	Added  time.Time
}

// Device returns the device of that fingerprint.
func (e *Entry) Device(f identity.Fingerprint) (EntryDevice, bool) {
	for _, d := range e.Devices {
		if d.Key.Fingerprint() == f {
			return d, true
		}
	}
	return EntryDevice{}, false
}

// Sign makes k's device the signer and returns the entry as it travels, body and signature. k must be among the devices.
// It refuses, as *[Error] of [CodeKeyRefused], what ParseEntry would.
func (e *Entry) Sign(k *identity.PrivateKey) ([]byte, error) {
	e.Signer = k.Public().Fingerprint()
	if err := e.check(); err != nil {
		return nil, err
	}
	body := e.body()
	signature, err := k.Sign(domainEntry, body)
	if err != nil {
		return nil, err
	}
	return append(body, signature...), nil
}

// body is what is signed:
//
//	version(1)=1 lp(rendezvous PeerID) lp(username) seq(8) issued(8) count(1)
//	count × [ lp(identity SPKI) lp(PeerID) added(8) ] signer fingerprint(32)
func (e *Entry) body() []byte {
	b := []byte{recordVersion}
	b = appendLP(b, e.Rendezvous)
	b = appendLP(b, e.Username)
	b = binary.BigEndian.AppendUint64(b, e.Seq)
	b = appendTime(b, e.Issued)
	b = append(b, byte(len(e.Devices)))
	for _, d := range e.Devices {
		b = appendLP(b, d.Key.SPKI())
		b = appendLP(b, d.PeerID)
		b = appendTime(b, d.Added)
	}
	return append(b, e.Signer[:]...)
}

func (e *Entry) check() error {
	if err := checkSubject(e.Rendezvous, e.Username, e.Seq); err != nil {
		return err
	}
	if err := checkTime(e.Issued); err != nil {
		return err
	}
	if len(e.Devices) == 0 || len(e.Devices) > MaxDevices {
		return refuse("a directory entry of %d devices, not 1 to %d", len(e.Devices), MaxDevices)
	}
	keys, peers := make(map[identity.Fingerprint]bool), make(map[peer.ID]bool)
	for _, d := range e.Devices {
		if d.Key == nil {
			return refuse("a device without a key")
		}
		if err := checkPeerID(d.PeerID); err != nil {
			return err
		}
		if err := checkTime(d.Added); err != nil {
			return err
		}
		keys[d.Key.Fingerprint()], peers[d.PeerID] = true, true
	}
	if len(keys) != len(e.Devices) || len(peers) != len(e.Devices) {
		return refuse("a directory entry names a device twice")
	}
	if !keys[e.Signer] {
		return refuse("the directory entry is not signed by a device it lists")
	}
	return nil
}

// ParseEntry reads a directory entry and checks its bounds, its canonical form, every key in it, and the signature by one of its
// own devices. That proves it whole and self-consistent; whether the name is theirs is for who has pinned it.
// Its error is an *[Error] of [CodeKeyRefused].
func ParseEntry(b []byte) (*Entry, error) {
	body, signature, err := splitSigned(b, MaxEntry)
	if err != nil {
		return nil, err
	}
	r := canonicalReader{rest: body}
	if r.uint8() != recordVersion {
		return nil, refuse("a directory entry of an unknown version")
	}
	e := &Entry{Rendezvous: r.peerID(), Username: r.username(), Seq: r.uint64(), Issued: r.time()}
	count := int(r.uint8())
	if r.bad || count == 0 || count > MaxDevices {
		return nil, refuse("the directory entry is malformed")
	}
	for range count {
		spki := r.lp(identity.SPKISize)
		d := EntryDevice{PeerID: r.peerID(), Added: r.time()}
		if r.bad {
			return nil, refuse("the directory entry is malformed")
		}
		if d.Key, err = identity.ParsePublicKey(spki); err != nil {
			return nil, refuse("a device's key in the directory entry: %v", err)
		}
		e.Devices = append(e.Devices, d)
	}
	e.Signer = r.fingerprint()
	if r.bad || len(r.rest) != 0 {
		return nil, refuse("the directory entry is malformed")
	}
	return e, e.verify(body, signature)
}

func (e *Entry) verify(body, signature []byte) error {
	if err := e.check(); err != nil {
		return err
	}
	if !bytes.Equal(e.body(), body) {
		return refuse("the directory entry is not in canonical form")
	}
	signer, _ := e.Device(e.Signer)
	if signer.Key.Verify(domainEntry, body, signature) != nil {
		return refuse("the directory entry's signature does not verify")
	}
	return nil
}
