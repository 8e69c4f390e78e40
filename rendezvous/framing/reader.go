package framing

import (
	"bufio"
	"encoding/binary"
	"errors"
	"fmt"
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
	last   int           // bytes of buf that the last frame occupies
	first  [firstBytes]byte
	unread []byte // of first
}

var readers = sync.Pool{New: func() any { return bufio.NewReaderSize(nil, readBuffer) }}

// NewReader returns a Reader of a stream that nothing has been read from.
func NewReader(stream io.Reader) *Reader { return &Reader{stream: stream} }

// Next returns the next frame without its length, at most [rendezvous.MaxFrame] bytes, for [rendezvous.ParseFrame]. It is the Reader's and
// lasts until the next call. The error is io.EOF only between frames, and [rendezvous.ErrFrameTooLarge] before anything is allocated for a
// frame over the bound. After an error the Reader is not to be used.
func (r *Reader) Next() ([]byte, error) {
	if err := r.wait(); err != nil {
		return nil, err
	}
	frame, err := r.read()
	if err != nil {
		r.release()
	}
	return frame, err
}

// wait returns when the beginning of a frame is there.
func (r *Reader) wait() error {
	if r.buf != nil {
		_, _ = r.buf.Discard(r.last) // it is there
		r.last = 0
		if r.buf.Buffered() > 0 || len(r.unread) > 0 {
			return nil
		}
		r.release()
	}
	n, err := io.ReadAtLeast(r.stream, r.first[:], 1)
	if err != nil {
		return err
	}
	r.unread = r.first[:n]
	r.buf = readers.Get().(*bufio.Reader)
	r.buf.Reset((*rest)(r))
	return nil
}

// release gives the buffer back.
func (r *Reader) release() {
	r.buf.Reset(nil)
	readers.Put(r.buf)
	r.buf = nil
}

func (r *Reader) read() ([]byte, error) {
	size, err := binary.ReadUvarint(r.buf)
	if err != nil {
		return nil, err
	}
	if size > rendezvous.MaxFrame {
		return nil, rendezvous.ErrFrameTooLarge
	}
	var frame []byte
	if size <= readBuffer {
		r.last = int(size)
		frame, err = r.buf.Peek(r.last)
	} else {
		frame = make([]byte, size)
		_, err = io.ReadFull(r.buf, frame)
	}
	if errors.Is(err, io.EOF) {
		err = io.ErrUnexpectedEOF
	}
	if err != nil {
		return nil, fmt.Errorf("read frame of %d bytes: %w", size, err)
	}
	return frame, nil
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
