package session

import (
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"log/slog"

	"github.com/byway-chat/byway/crypto/identity"
)

// Limits in bytes that both ends keep, and checked before memory is allocated.
const (
	// MaxEnvelope is the largest envelope of either kind.
	MaxEnvelope = 80 << 10
	// MaxPayload is the largest payload: a text of 64 KiB and 2 KiB of what belongs to it.
	MaxPayload = 66 << 10
	// MaxName is the longest user name: 32 characters of four bytes.
	MaxName = 128
	// MaxCheckpoint is the longest log checkpoint that an Init carries.
	MaxCheckpoint = 2 << 10
	// MaxExtension is the longest header extension. Version 1 sends none, and ignores but authenticates one it gets.
	MaxExtension = 4 << 10
)

// The fixed parts of the layouts.
const (
	version  = 1
	suite    = 1  // RSA-OAEP-3072 + ML-KEM-768, SHA3-256 combiner, HKDF-SHA256, AES-256-GCM, RSA-PSS-3072
	tagSize  = 16 // AES-GCM
	initSize = 5 + len(identity.KeyID{}) + identity.WrappedRSASize + identity.WrappedMLKEMSize
	// innerMin is the inner part of an Init with empty fields and the least padding that a receiver accepts.
	innerMin = 4 + 32 + 8 + 16 + 8 + 4 + identity.SignatureSize + 1
	msgFixed = 2 + len(ID{})
)

// ErrOpen is the one error for every envelope that does not open: malformed, forged, for another key, out of range. A sender
// is told no more than a caller.
var ErrOpen = errors.New("envelope does not open")

// ID names a session: the first 16 bytes of SHA-256 of its Init's header.
type ID [16]byte

// String returns 32 hexadecimal digits.
func (id ID) String() string { return hex.EncodeToString(id[:]) }

// Party is one end of a session: a user's name and the device of theirs.
type Party struct {
	Name        string
	Fingerprint identity.Fingerprint
}

// Kind says which of the two layouts an envelope has; it is the second byte.
type Kind byte

// The kinds of version 1.
const (
	KindInit Kind = 1
	KindMsg  Kind = 2
)

// String returns "init" or "msg", the words of the documentation.
func (k Kind) String() string {
	switch k {
	case KindInit:
		return "init"
	case KindMsg:
		return "msg"
	}
	return fmt.Sprintf("kind(%d)", byte(k))
}

// Header is what anybody can read of an envelope. Nothing in it is authenticated before the envelope opens.
type Header struct {
	Kind    Kind
	Session ID             // the session this belongs to or begins
	Key     identity.KeyID // Init only: the encryption key it is wrapped to
}

// Peek reads the outside of an envelope and checks its lengths. It uses no key and costs one SHA-256 for an Init. Its error
// is [ErrOpen].
func Peek(envelope []byte) (Header, error) {
	if len(envelope) < 2 || len(envelope) > MaxEnvelope || envelope[0] != version {
		return Header{}, ErrOpen
	}
	switch Kind(envelope[1]) {
	case KindInit:
		p, err := parseInit(envelope)
		if err != nil {
			return Header{}, err
		}
		return Header{Kind: KindInit, Session: p.session(), Key: p.key}, nil
	case KindMsg:
		p, err := parseMsg(envelope)
		if err != nil {
			return Header{}, err
		}
		return Header{Kind: KindMsg, Session: p.session}, nil
	}
	return Header{}, ErrOpen
}

// initParts are the parts of an Init, aliasing the envelope.
//
//	ver(1) type(1) suite(1) extlen(2) ext kid(8) c1(384) c2(1088) | sealed inner
type initParts struct {
	header []byte // everything before the sealed part; also the associated data
	key    identity.KeyID
	c1, c2 []byte
	sealed []byte
}

func (p *initParts) session() ID {
	sum := sha256.Sum256(p.header)
	return ID(sum[:len(ID{})])
}

func appendInitHeader(b []byte, key identity.KeyID, c1, c2 []byte) []byte {
	b = append(b, version, byte(KindInit), suite, 0, 0)
	b = append(b, key[:]...)
	b = append(b, c1...)
	return append(b, c2...)
}

func parseInit(envelope []byte) (*initParts, error) {
	if len(envelope) < initSize+innerMin+tagSize || len(envelope) > MaxEnvelope ||
		envelope[0] != version || Kind(envelope[1]) != KindInit || envelope[2] != suite {
		return nil, ErrOpen
	}
	extension := int(binary.BigEndian.Uint16(envelope[3:]))
	size := initSize + extension
	if extension > MaxExtension || len(envelope) < size+innerMin+tagSize {
		return nil, ErrOpen
	}
	p := &initParts{header: envelope[:size:size], sealed: envelope[size:]}
	rest := p.header[5+extension:]
	rest = rest[copy(p.key[:], rest):]
	p.c1, p.c2 = rest[:identity.WrappedRSASize], rest[identity.WrappedRSASize:]
	return p, nil
}

// msgParts are the parts of a Msg, aliasing the envelope.
//
//	ver(1) type(1) sid(16) n(uvarint, shortest form) | sealed padded payload
type msgParts struct {
	header  []byte // everything before the sealed part; also the associated data
	session ID
	n       uint64 // at least 1: the payload of the Init is number 0
	sealed  []byte
}

func appendMsgHeader(b []byte, session ID, n uint64) []byte {
	b = append(b, version, byte(KindMsg))
	b = append(b, session[:]...)
	return binary.AppendUvarint(b, n)
}

func parseMsg(envelope []byte) (*msgParts, error) {
	if len(envelope) <= msgFixed || len(envelope) > MaxEnvelope ||
		envelope[0] != version || Kind(envelope[1]) != KindMsg {
		return nil, ErrOpen
	}
	n, width := binary.Uvarint(envelope[msgFixed:])
	size := msgFixed + width
	// One number has one encoding, or associated data could differ for equal messages.
	if width <= 0 || n == 0 || width > 1 && envelope[size-1] == 0 || len(envelope) < size+1+tagSize {
		return nil, ErrOpen
	}
	p := &msgParts{header: envelope[:size:size], n: n, sealed: envelope[size:]}
	copy(p.session[:], envelope[2:])
	return p, nil
}

// unprintable, embedded in what holds chain keys, keeps fmt and slog away from it.
type unprintable struct{ _ [0]func() }

const redacted = "[secret]"

// Format writes the same redaction for every verb.
func (unprintable) Format(f fmt.State, _ rune) { _, _ = f.Write([]byte(redacted)) }

// LogValue is what slog writes.
func (unprintable) LogValue() slog.Value { return slog.StringValue(redacted) }

// MarshalJSON always fails with [identity.ErrSecret].
func (unprintable) MarshalJSON() ([]byte, error) { return nil, identity.ErrSecret }
