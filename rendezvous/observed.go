package rendezvous

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"

	ma "github.com/multiformats/go-multiaddr"
)

// ObservedProtocolID names the protocol by which a peer learns from where one of its connections is seen to come: it opens a stream on it, and reads one
// address, to the end of the stream.
const ObservedProtocolID = "/byway/observed/1.0.0"

// maxObserved is how long an address in binary form may be.
const maxObserved = 64

// ErrObserved is returned for what is no address of a connection.
var ErrObserved = errors.New("observed address is malformed")

// AppendObserved appends the address from which a connection comes.
func AppendObserved(b []byte, from ma.Multiaddr) []byte {
	raw := from.Bytes()
	return append(binary.AppendUvarint(b, uint64(len(raw))), raw...)
}

// ReadObserved reads what AppendObserved wrote. Errors are [ErrObserved] and those of the stream.
func ReadObserved(r io.Reader) (ma.Multiaddr, error) {
	var head [1]byte // maxObserved fits into one byte of a uvarint
	if _, err := io.ReadFull(r, head[:]); err != nil {
		return nil, fmt.Errorf("read observed address: %w", err)
	}
	if head[0] == 0 || head[0] > maxObserved {
		return nil, ErrObserved
	}
	raw := make([]byte, head[0])
	if _, err := io.ReadFull(r, raw); err != nil {
		return nil, fmt.Errorf("read observed address: %w", err)
	}
	a, err := ma.NewMultiaddrBytes(raw)
	if err != nil || !dialable(a) {
		return nil, ErrObserved
	}
	return a, nil
}
