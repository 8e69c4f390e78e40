package session

import (
	"bytes"
	"math/bits"
)

// minPadded is the smallest padded length in bytes, so that short answers look alike.
const minPadded = 128

// bucket is the length that size bytes are padded to: Padmé, which leaks O(log log size) bits and adds at most 12 %, and
// not below minPadded.
func bucket(size int) int {
	if size <= minPadded {
		return minPadded
	}
	exponent := bits.Len(uint(size)) - 1
	mask := 1<<(exponent-bits.Len(uint(exponent))) - 1
	return (size + mask) &^ mask
}

// appendPadded appends payload, 0x80, and zeros. beside is how many bytes of varying length travel with it: the sum of both
// falls into a bucket, so that the length of a sender's name does not show.
func appendPadded(b, payload []byte, beside int) []byte {
	total := len(b) + bucket(beside+len(payload)+1) - beside
	b = append(b, payload...)
	b = append(b, 0x80)
	return append(b, make([]byte, total-len(b))...)
}

// unpad returns what precedes the last 0x80, after which only zeros may stand. Any amount of padding is taken: how much is the
// sender's to choose.
func unpad(padded []byte) ([]byte, error) {
	trimmed := bytes.TrimRight(padded, "\x00")
	payload, ok := bytes.CutSuffix(trimmed, []byte{0x80})
	if !ok || len(payload) > MaxPayload {
		return nil, ErrOpen
	}
	return payload, nil
}
