package framing

import (
	"bufio"
	"io"
	"sync"

	"github.com/byway-chat/byway/rendezvous"
)

const (
	// firstBytes is how much is read of what comes after a silence: a heartbeat or a short message as a whole.
	firstBytes = 256
	// readBuffer is what a stream is read through while it is busy.
	readBuffer = 16 << 10
)

// Reader reads the frames of one stream. While it waits for the other end to say something it has no buffer but its own few bytes. It is
// used by one goroutine.
type Reader struct {
	stream io.Reader
	buf    *bufio.Reader // nil: waiting
	first  [firstBytes]byte
	unread []byte // of first
}

var readers = sync.Pool{New: func() any { return bufio.NewReaderSize(nil, readBuffer) }}

// NewReader returns a Reader of a stream that nothing has been read from.
func NewReader(stream io.Reader) *Reader { return &Reader{stream: stream} }

// Next returns the next frame. The errors are those of [rendezvous.ReadFrame]; after one the Reader is not to be used.
func (r *Reader) Next() (*rendezvous.Frame, error) {
	if r.buf == nil {
		n, err := io.ReadAtLeast(r.stream, r.first[:], 1)
		if err != nil {
			return nil, err
		}
		r.unread = r.first[:n]
		r.buf = readers.Get().(*bufio.Reader)
		r.buf.Reset((*rest)(r))
	}
	f, err := rendezvous.ReadFrame(r.buf)
	if err != nil || r.buf.Buffered() == 0 && len(r.unread) == 0 {
		r.buf.Reset(nil)
		readers.Put(r.buf)
		r.buf = nil
	}
	return f, err
}

// rest is what a Reader's buffer reads: what has been read already, then the stream.
type rest Reader

func (r *rest) Read(p []byte) (int, error) {
	if len(r.unread) == 0 {
		return r.stream.Read(p)
	}
	n := copy(p, r.unread)
	r.unread = r.unread[n:]
	return n, nil
}
