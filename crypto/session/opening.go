package session

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"time"
	"unicode/utf8"

	"github.com/byway-chat/byway/crypto/identity"
)

// domainInit is the domain string of an Init's signature.
const domainInit = "byway/v1 init signature"

// ErrTooLarge is returned for a payload, name or checkpoint over its limit.
var ErrTooLarge = errors.New("over the size limit")

// Start says who opens a session to whom, and what the opening tells beside its payload.
type Start struct {
	From   Party                         // its fingerprint is Signer's
	Signer *identity.PrivateKey          // the sender's identity
	To     Party                         // the owner of Key
	Key    *identity.EncryptionPublicKey // from the recipient's current prekey bundle
	Time   time.Time                     // the sender's clock, cut to milliseconds

	// Prev is the sender's session before this one to the same device, and PrevCount how many messages it had: the
	// recipient learns from them what is missing. Zero for none.
	Prev      ID
	PrevCount uint64
	// Checkpoint is the newest checkpoint of the transparency log that the sender has seen; at most MaxCheckpoint bytes.
	Checkpoint []byte
}

// Begin opens a session and seals its first payload, of at most MaxPayload bytes. It costs 3 ms. The session secret is drawn from
// random, which must be crypto/rand.Reader outside tests. The error is [ErrTooLarge] or a fault of the keys or the system.
func Begin(random io.Reader, s Start, payload []byte) (*Sender, []byte, error) {
	if err := s.check(payload); err != nil {
		return nil, nil, fmt.Errorf("begin session: %w", err)
	}
	secret, c1, c2, err := s.Key.Encapsulate(random)
	if err != nil {
		return nil, nil, fmt.Errorf("begin session: %w", err)
	}
	defer clear(secret[:])
	header := appendInitHeader(nil, s.Key.ID(), c1, c2)
	fields := innerFields{
		from: s.From, time: uint64(s.Time.UnixMilli()), prev: s.Prev, prevCount: s.PrevCount, checkpoint: s.Checkpoint,
	}
	fields.signature, err = s.Signer.Sign(domainInit, fields.signed(header, s.To))
	if err != nil {
		return nil, nil, fmt.Errorf("begin session: %w", err)
	}
	key, chain, err := openChain(secret, header)
	if err != nil {
		return nil, nil, fmt.Errorf("begin session: %w", err)
	}
	parts := initParts{header: header}
	envelope, err := key.seal(header, fields.append(nil, payload))
	if err != nil {
		return nil, nil, fmt.Errorf("begin session: %w", err)
	}
	return &Sender{id: parts.session(), next: 1, chain: chain}, envelope, nil
}

func (s *Start) check(payload []byte) error {
	switch {
	case len(payload) > MaxPayload:
		return fmt.Errorf("payload of %d bytes: %w", len(payload), ErrTooLarge)
	case len(s.From.Name) > MaxName || len(s.To.Name) > MaxName:
		return fmt.Errorf("user name: %w", ErrTooLarge)
	case len(s.Checkpoint) > MaxCheckpoint:
		return fmt.Errorf("checkpoint of %d bytes: %w", len(s.Checkpoint), ErrTooLarge)
	case s.From.Fingerprint != s.Signer.Public().Fingerprint():
		return errors.New("sender's fingerprint is not the signer's")
	case !utf8.ValidString(s.From.Name):
		return errors.New("sender's name is not UTF-8")
	case s.Time.UnixMilli() < 0 || s.Time.UnixMilli() > maxTime:
		return errors.New("time is not between 1970 and 9999")
	}
	return nil
}

// Opened is what an Init said.
type Opened struct {
	Receiver *Receiver
	From     Party // proven by the signature, which names us as well
	Time     time.Time

	Prev       ID
	PrevCount  uint64
	Checkpoint []byte
	Payload    []byte
}

// Accept opens an Init with the key that [Peek] named. self is who we are: an Init for anybody else does not open. identityOf
// is asked, once, for the identity key of the sender that the Init claims; what it returns as an error comes back in the chain, and then nothing
// has been proven about the sender. The claimed name is valid UTF-8 of at most MaxName bytes and otherwise raw. Every other
// failure is [ErrOpen]. It costs 3 ms.
//
// Accept does not know the time and remembers nothing: the caller refuses Opened.Time outside its window and a session seen before.
func Accept(envelope []byte, key *identity.EncryptionPrivateKey, self Party,
	identityOf func(Party) (*identity.PublicKey, error),
) (*Opened, error) {
	p, err := parseInit(envelope)
	if err != nil {
		return nil, err
	}
	if p.key != key.Public().ID() {
		return nil, ErrOpen
	}
	inner, chain, err := p.open(key)
	if err != nil {
		return nil, err
	}
	fields, payload, err := parseInner(inner)
	if err != nil {
		return nil, err
	}
	signer, err := identityOf(fields.from)
	if err != nil {
		return nil, fmt.Errorf("find sender's identity: %w", err)
	}
	if signer.Fingerprint() != fields.from.Fingerprint ||
		signer.Verify(domainInit, fields.signed(p.header, self), fields.signature) != nil {
		return nil, ErrOpen
	}
	return &Opened{
		Receiver:   &Receiver{id: p.session(), from: fields.from, next: 1, chain: chain},
		From:       fields.from,
		Time:       time.UnixMilli(int64(fields.time)).UTC(),
		Prev:       fields.prev,
		PrevCount:  fields.prevCount,
		Checkpoint: fields.checkpoint,
		Payload:    payload,
	}, nil
}

func (p *initParts) open(key *identity.EncryptionPrivateKey) ([]byte, chainKey, error) {
	secret, err := key.Decapsulate(p.c1, p.c2)
	if err != nil {
		return nil, chainKey{}, ErrOpen
	}
	defer clear(secret[:])
	first, chain, err := openChain(secret, p.header)
	if err != nil {
		return nil, chainKey{}, ErrOpen
	}
	inner, err := first.open(p.header, p.sealed)
	return inner, chain, err
}

// innerFields stand before the payload inside an Init.
//
//	lp(sender name) sender fingerprint(32) time(8) prev sid(16) prev count(8) lp(checkpoint) signature(384) padded payload
type innerFields struct {
	from       Party
	time       uint64
	prev       ID
	prevCount  uint64
	checkpoint []byte
	signature  []byte
}

func (f *innerFields) append(b, payload []byte) []byte {
	b = appendLP(b, []byte(f.from.Name))
	b = append(b, f.from.Fingerprint[:]...)
	b = binary.BigEndian.AppendUint64(b, f.time)
	b = append(b, f.prev[:]...)
	b = binary.BigEndian.AppendUint64(b, f.prevCount)
	b = appendLP(b, f.checkpoint)
	b = append(b, f.signature...)
	return appendPadded(b, payload, len(f.from.Name)+len(f.checkpoint))
}

// signed is what the signature covers: every field length-prefixed, so that no two Inits share the bytes. Naming the recipient
// keeps an honest recipient from passing the Init on as if it had been for another.
func (f *innerFields) signed(header []byte, to Party) []byte {
	b := appendLP(nil, header)
	b = appendLP(b, []byte(f.from.Name))
	b = appendLP(b, f.from.Fingerprint[:])
	b = appendLP(b, []byte(to.Name))
	b = appendLP(b, to.Fingerprint[:])
	b = appendLP(b, binary.BigEndian.AppendUint64(nil, f.time))
	b = appendLP(b, f.prev[:])
	b = appendLP(b, binary.BigEndian.AppendUint64(nil, f.prevCount))
	return appendLP(b, f.checkpoint)
}

func appendLP(b, field []byte) []byte {
	b = binary.BigEndian.AppendUint32(b, uint32(len(field)))
	return append(b, field...)
}

func parseInner(b []byte) (*innerFields, []byte, error) {
	f := new(innerFields)
	name, b, err := cutLP(b, MaxName)
	if err != nil || !utf8.Valid(name) || len(b) < 32+8+16+8 {
		return nil, nil, ErrOpen
	}
	f.from.Name = string(name)
	b = b[copy(f.from.Fingerprint[:], b):]
	f.time = binary.BigEndian.Uint64(b)
	b = b[8:]
	b = b[copy(f.prev[:], b):]
	f.prevCount = binary.BigEndian.Uint64(b)
	f.checkpoint, b, err = cutLP(b[8:], MaxCheckpoint)
	if err != nil || len(b) < identity.SignatureSize || f.time > maxTime {
		return nil, nil, ErrOpen
	}
	f.signature = b[:identity.SignatureSize]
	payload, err := unpad(b[identity.SignatureSize:])
	return f, payload, err
}

// maxTime is the last millisecond of the year 9999: what every calendar can hold.
const maxTime = 253402300799999

func cutLP(b []byte, limit int) (field, rest []byte, err error) {
	if len(b) < 4 {
		return nil, nil, ErrOpen
	}
	size := binary.BigEndian.Uint32(b)
	b = b[4:]
	if uint64(size) > uint64(limit) || uint64(size) > uint64(len(b)) {
		return nil, nil, ErrOpen
	}
	return b[:size:size], b[size:], nil
}
