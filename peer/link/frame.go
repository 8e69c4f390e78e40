package link

import (
	"bufio"
	"encoding/binary"
	"errors"
	"io"
	"unicode/utf8"

	"github.com/byway-chat/byway/crypto/identity"
	"github.com/byway-chat/byway/rendezvous"
)

const (
	kindHello    byte = 1
	kindEnvelope byte = 2
	kindPing     byte = 3
	kindPong     byte = 4
	kindCard     byte = 5

	version  = 1
	maxFrame = rendezvous.MaxEnvelope + 1
	maxName  = 128 // bytes: 32 characters of at most 4
)

// ErrFrame is returned for a frame that is oversized or malformed. The stream is out of step after it.
var ErrFrame = errors.New("link frame is malformed")

// Hello is what each side says of itself. It is a claim until it is compared with the directory.
type Hello struct {
	Name        string
	Fingerprint identity.Fingerprint
}

func (h Hello) frame() []byte {
	body := append([]byte{version}, h.Fingerprint[:]...)
	return appendFrame(nil, kindHello, append(body, h.Name...))
}

func parseHello(body []byte) (Hello, error) {
	var h Hello
	if len(body) < 1+len(h.Fingerprint) || len(body) > 1+len(h.Fingerprint)+maxName || body[0] != version {
		return h, ErrFrame
	}
	copy(h.Fingerprint[:], body[1:])
	h.Name = string(body[1+len(h.Fingerprint):])
	if !utf8.ValidString(h.Name) {
		return h, ErrFrame
	}
	return h, nil
}

func readHello(r *bufio.Reader) (Hello, error) {
	kind, body, err := readFrame(r)
	if err != nil {
		return Hello{}, err
	}
	if kind != kindHello {
		return Hello{}, ErrFrame
	}
	return parseHello(body)
}

func appendFrame(b []byte, kind byte, body []byte) []byte {
	b = binary.AppendUvarint(b, uint64(1+len(body)))
	return append(append(b, kind), body...)
}

// readFrame reads one frame and refuses an oversized one before allocating for it.
func readFrame(r *bufio.Reader) (kind byte, body []byte, err error) {
	size, err := binary.ReadUvarint(r)
	if err != nil {
		return 0, nil, err
	}
	if size == 0 || size > maxFrame {
		return 0, nil, ErrFrame
	}
	buf := make([]byte, size)
	if _, err := io.ReadFull(r, buf); err != nil {
		return 0, nil, err
	}
	return buf[0], buf[1:], nil
}
