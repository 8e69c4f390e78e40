package session

import (
	"errors"
	"fmt"
)

// MaxMessages is how many payloads one session carries, the Init's included. After them the sender begins anew.
const MaxMessages = 1024

// ErrSpent is returned by Seal after MaxMessages: begin a new session.
var ErrSpent = errors.New("session has carried all it may")

// Sender seals the messages of one session. It lives in memory only and has no marshalled form: a chain that was
// stored could be rolled back, and would then use a key twice. One goroutine owns it.
type Sender struct {
	unprintable
	id    ID
	next  uint64 // the number of the next message
	chain chainKey
}

// ID returns the session's id.
func (s *Sender) ID() ID { return s.id }

// Count returns how many payloads were sealed, the Init's included; it is also the number of the next one.
func (s *Sender) Count() uint64 { return s.next }

// Seal seals the next payload, of at most MaxPayload bytes, as a Msg. It costs 2 us and forgets the key it used. Its
// errors are [ErrTooLarge] and [ErrSpent]; both leave the session as it was.
func (s *Sender) Seal(payload []byte) ([]byte, error) {
	switch {
	case len(payload) > MaxPayload:
		return nil, fmt.Errorf("seal payload of %d bytes: %w", len(payload), ErrTooLarge)
	case s.next >= MaxMessages:
		return nil, fmt.Errorf("seal payload %d: %w", s.next, ErrSpent)
	}
	key, chain, err := s.chain.step()
	if err != nil {
		return nil, fmt.Errorf("seal payload: %w", err)
	}
	defer clear(key.key[:])
	envelope, err := key.seal(appendMsgHeader(nil, s.id, s.next), appendPadded(nil, payload, 0))
	if err != nil {
		return nil, fmt.Errorf("seal payload: %w", err)
	}
	s.chain = chain
	s.next++
	return envelope, nil
}
