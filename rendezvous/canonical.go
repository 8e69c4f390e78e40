package rendezvous

import (
	"encoding/binary"
	"math"
	"time"

	"github.com/libp2p/go-libp2p/core/crypto"
	"github.com/libp2p/go-libp2p/core/peer"

	"github.com/byway-chat/byway/crypto/identity"
)

// The canonical encoding of what is signed: fixed fields as they are, integers big-endian, times as Unix milliseconds in eight
// bytes, everything of varying length behind its length in four bytes ("lp"). A value has exactly one encoding, and parsers
// refuse every other.

const (
	// recordVersion is the first byte of every signed record.
	recordVersion = 1
	// maxPeerID is the length in bytes of a PeerID made from an Ed25519 key, the only kind that Byway has.
	maxPeerID = 38
	// maxTimeMS is the end of the year 9999.
	maxTimeMS = 253402300799999
)

// refuse says why a signed record is not taken; who sent it is told so.
func refuse(format string, args ...any) *Error { return Errorf(CodeKeyRefused, format, args...) }

func appendLP[T ~string | ~[]byte](b []byte, field T) []byte {
	b = binary.BigEndian.AppendUint32(b, uint32(len(field)))
	return append(b, field...)
}

func appendTime(b []byte, t time.Time) []byte {
	return binary.BigEndian.AppendUint64(b, uint64(t.UnixMilli()))
}

// canonicalReader takes fields off the front of a record. After the first failure it yields zero values and ok stays
// false, so that a parser checks once.
type canonicalReader struct {
	rest []byte
	bad  bool
}

func (r *canonicalReader) take(size int) []byte {
	if r.bad || len(r.rest) < size {
		r.bad = true
		return make([]byte, size)
	}
	field := r.rest[:size:size]
	r.rest = r.rest[size:]
	return field
}

func (r *canonicalReader) uint8() uint8   { return r.take(1)[0] }
func (r *canonicalReader) uint64() uint64 { return binary.BigEndian.Uint64(r.take(8)) }

func (r *canonicalReader) time() time.Time {
	ms := r.uint64()
	if ms > maxTimeMS {
		r.bad = true
		return time.Time{}
	}
	return time.UnixMilli(int64(ms)).UTC()
}

// lp takes a length-prefixed field of at most limit bytes.
func (r *canonicalReader) lp(limit int) []byte {
	size := binary.BigEndian.Uint32(r.take(4))
	if r.bad || uint64(size) > uint64(limit) {
		r.bad = true
		return nil
	}
	return r.take(int(size))
}

func (r *canonicalReader) fingerprint() identity.Fingerprint {
	return identity.Fingerprint(r.take(len(identity.Fingerprint{})))
}

func (r *canonicalReader) username() Username {
	s := string(r.lp(4 * MaxUsername))
	name, err := ParseUsername(s)
	if err != nil || string(name) != s {
		r.bad = true
	}
	return name
}

func (r *canonicalReader) peerID() peer.ID {
	id := peer.ID(r.lp(maxPeerID))
	if r.bad || checkPeerID(id) != nil {
		r.bad = true
		return ""
	}
	return id
}

// checkPeerID admits the PeerIDs of Ed25519 keys, which contain the key. Others would need a key beside them.
func checkPeerID(id peer.ID) error {
	if len(id) != maxPeerID {
		return refuse("a PeerID of %d bytes is not that of an Ed25519 key", len(id))
	}
	key, err := id.ExtractPublicKey()
	if err != nil || key.Type() != crypto.Ed25519 {
		return refuse("the PeerID is not that of an Ed25519 key")
	}
	return nil
}

func checkTime(t time.Time) error {
	if ms := t.UnixMilli(); ms < 0 || ms > maxTimeMS {
		return refuse("a time is not between 1970 and 9999")
	}
	return nil
}

// checkSubject checks what every record begins with.
func checkSubject(rendezvous peer.ID, name Username, seq uint64) error {
	if err := checkPeerID(rendezvous); err != nil {
		return err
	}
	if canonical, err := ParseUsername(string(name)); err != nil || canonical != name {
		return refuse("the name in the record is not in canonical form")
	}
	if seq == 0 || seq > math.MaxInt64 {
		return refuse("the sequence number is not between 1 and 2^63-1")
	}
	return nil
}

// splitSigned separates a record from the signature that ends it.
func splitSigned(record []byte, limit int) (body, signature []byte, err error) {
	if len(record) <= identity.SignatureSize || len(record) > limit {
		return nil, nil, refuse("a signed record of %d bytes", len(record))
	}
	end := len(record) - identity.SignatureSize
	return record[:end:end], record[end:], nil
}
