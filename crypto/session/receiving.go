package session

import (
	"encoding/binary"
	"errors"
	"fmt"
	"maps"
	"slices"
	"unicode/utf8"
)

// MaxSkipped is how many keys of messages that have not come a session keeps. A message further ahead does not open.
const MaxSkipped = 1000

// ErrReplayed is returned for a number whose key has been used: the message was opened before.
var ErrReplayed = errors.New("message was opened before")

// ErrBadState is returned by [UnmarshalReceiver] for anything that MarshalBinary did not write.
var ErrBadState = errors.New("not the state of a receiver")

// Receiver opens the messages of one session, in any order, each once. One goroutine owns it. Its marshalled form holds
// keys: the caller seals it before it is stored, and stores it in the same transaction as what it opened.
type Receiver struct {
	unprintable
	id      ID
	from    Party
	next    uint64 // the number that chain gives the key for
	chain   chainKey
	skipped map[uint64]messageKey // keys of numbers below next that have not come
}

// ID returns the session's id.
func (r *Receiver) ID() ID { return r.id }

// From returns the sender that the Init proved.
func (r *Receiver) From() Party { return r.from }

// Missing returns how many of the session's first count payloads have not come. count is what the sender's next session
// says of this one.
func (r *Receiver) Missing(count uint64) uint64 {
	var missing uint64
	for n := range r.skipped {
		if n < count {
			missing++
		}
	}
	if count > r.next {
		missing += count - r.next
	}
	return missing
}

// Open opens a Msg of this session. Its errors are [ErrReplayed] and [ErrOpen]; after either the state is what it was.
func (r *Receiver) Open(envelope []byte) ([]byte, error) {
	p, err := parseMsg(envelope)
	if err != nil || p.session != r.id {
		return nil, ErrOpen
	}
	if p.n < r.next {
		return r.openSkipped(p)
	}
	if p.n-r.next > uint64(MaxSkipped-len(r.skipped)) {
		return nil, ErrOpen
	}
	chain, passed := r.chain, make(map[uint64]messageKey)
	var key messageKey
	for n := r.next; ; n++ {
		if key, chain, err = chain.step(); err != nil {
			return nil, ErrOpen
		}
		if n == p.n {
			break
		}
		passed[n] = key
	}
	payload, err := openPayload(p, key)
	if err != nil {
		return nil, err
	}
	r.chain, r.next = chain, p.n+1
	if r.skipped == nil {
		r.skipped = passed
	} else {
		maps.Copy(r.skipped, passed)
	}
	return payload, nil
}

func (r *Receiver) openSkipped(p *msgParts) ([]byte, error) {
	key, ok := r.skipped[p.n]
	if !ok {
		return nil, ErrReplayed
	}
	payload, err := openPayload(p, key)
	if err != nil {
		return nil, err
	}
	delete(r.skipped, p.n)
	return payload, nil
}

func openPayload(p *msgParts, key messageKey) ([]byte, error) {
	padded, err := key.open(p.header, p.sealed)
	if err != nil {
		return nil, err
	}
	return unpad(padded)
}

// stateVersion is the first byte of a marshalled Receiver:
//
//	version(1) sid(16) lp(sender name) sender fingerprint(32) next(8) chain(32) count(2) count × [n(8) key(32) nonce(12)]
const (
	stateVersion = 1
	entrySize    = 8 + keySize + nonceSize
)

// MarshalBinary returns the state with its keys, at most 53 KiB. It never fails.
func (r *Receiver) MarshalBinary() ([]byte, error) {
	b := append([]byte{stateVersion}, r.id[:]...)
	b = appendLP(b, []byte(r.from.Name))
	b = append(b, r.from.Fingerprint[:]...)
	b = binary.BigEndian.AppendUint64(b, r.next)
	b = append(b, r.chain[:]...)
	b = binary.BigEndian.AppendUint16(b, uint16(len(r.skipped)))
	for _, n := range slices.Sorted(maps.Keys(r.skipped)) {
		key := r.skipped[n]
		b = binary.BigEndian.AppendUint64(b, n)
		b = append(b, key.key[:]...)
		b = append(b, key.nonce[:]...)
	}
	return b, nil
}

// UnmarshalReceiver reads what MarshalBinary wrote. Its error wraps [ErrBadState].
func UnmarshalReceiver(b []byte) (*Receiver, error) {
	r, err := parseReceiver(b)
	if err != nil {
		return nil, fmt.Errorf("read session state of %d bytes: %w", len(b), ErrBadState)
	}
	return r, nil
}

func parseReceiver(b []byte) (*Receiver, error) {
	if len(b) < 1+len(ID{}) || b[0] != stateVersion {
		return nil, ErrBadState
	}
	r := new(Receiver)
	b = b[1:]
	b = b[copy(r.id[:], b):]
	name, b, err := cutLP(b, MaxName)
	if err != nil || !utf8.Valid(name) || len(b) < 32+8+chainSize+2 {
		return nil, ErrBadState
	}
	r.from.Name = string(name)
	b = b[copy(r.from.Fingerprint[:], b):]
	r.next = binary.BigEndian.Uint64(b)
	b = b[8:]
	b = b[copy(r.chain[:], b):]
	count := int(binary.BigEndian.Uint16(b))
	b = b[2:]
	if count > MaxSkipped || len(b) != count*entrySize || r.next == 0 {
		return nil, ErrBadState
	}
	r.skipped = make(map[uint64]messageKey, count)
	for last := uint64(0); len(b) > 0; b = b[entrySize:] {
		n := binary.BigEndian.Uint64(b)
		if n <= last || n >= r.next {
			return nil, ErrBadState
		}
		var key messageKey
		copy(key.key[:], b[8:])
		copy(key.nonce[:], b[8+keySize:])
		r.skipped[n], last = key, n
	}
	return r, nil
}
