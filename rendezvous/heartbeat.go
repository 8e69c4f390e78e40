package rendezvous

import (
	"encoding/binary"

	"google.golang.org/protobuf/encoding/protowire"
)

// A rendezvous with thousands of idle peers does little else than answer heartbeats. So this one exchange is parsed and encoded without the
// generated code, which would allocate half a kilobyte for it.

// The tags of Frame's two bodies, and of the token in both.
var (
	pingTag  = binary.AppendUvarint(nil, protowire.EncodeTag(18, protowire.BytesType))
	pongTag  = binary.AppendUvarint(nil, protowire.EncodeTag(19, protowire.BytesType))
	tokenTag = byte(protowire.EncodeTag(1, protowire.VarintType))
)

// ParsePing finds the token in a frame, without its length, that is a Ping in its usual form: with the id 0 and no field that this version does
// not know. Of any other frame, ok is false, and [ParseFrame] says what it is.
func ParsePing(frame []byte) (token uint64, ok bool) {
	n := len(pingTag)
	if len(frame) <= n || string(frame[:n]) != string(pingTag) || int(frame[n]) != len(frame)-n-1 {
		return 0, false
	}
	body := frame[n+1:]
	if len(body) == 0 {
		return 0, true
	}
	if body[0] != tokenTag {
		return 0, false
	}
	token, n = protowire.ConsumeVarint(body[1:])
	return token, n == len(body)-1
}

// AppendPong appends the Pong with the id 0, as a frame with its length.
func AppendPong(buf []byte, token uint64) []byte {
	body := 0
	if token != 0 {
		body = 1 + protowire.SizeVarint(token)
	}
	buf = append(buf, byte(len(pongTag)+1+body)) // at most 14
	buf = append(append(buf, pongTag...), byte(body))
	if token != 0 {
		buf = protowire.AppendVarint(append(buf, tokenTag), token)
	}
	return buf
}
