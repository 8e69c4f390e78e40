package framing

import (
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
	// busyRead is how much a read brings on a stream that is busy: the next one is waited for with the large buffer.
	busyRead = 1 << 10
)

// Reader reads the frames of one stream. While it waits for a silent other end to say something it has no buffer but its own few bytes. It
// is used by one goroutine.
type Reader struct {
	stream     io.Reader
	large      *buffer // of at least readBuffer; nil: first is used
	first      [firstBytes]byte
	start, end int // of what has been read and not returned
	last       int // bytes that the last read brought
}

var readBuffers = sync.Pool{New: func() any { return &buffer{b: make([]byte, readBuffer)} }}

// NewReader returns a Reader of a stream that nothing has been read from.
func NewReader(stream io.Reader) *Reader { return &Reader{stream: stream} }

// Next returns the next frame without its length, at most [rendezvous.MaxFrame] bytes, for [rendezvous.ParseFrame]. It is the Reader's and
// lasts until Next is called when there is not More. The error is io.EOF only between frames, and [rendezvous.ErrFrameTooLarge] before
// anything is allocated for a frame over the bound. After an error the Reader is not to be used.
func (r *Reader) Next() ([]byte, error) {
	for {
		from, to, err := r.whole()
		if err != nil {
			r.large = nil // not given back: More was true, so what was returned before is in use
			return nil, err
		}
		if to > 0 && to <= r.end {
			r.start = to
			return r.buf()[from:to], nil
		}
		if err := r.fill(to - r.start); err != nil {
			r.release()
			return nil, err
		}
	}
}

// NextFrame is Next for who wants the frame parsed, and to keep it.
func (r *Reader) NextFrame() (*rendezvous.Frame, error) {
	frame, err := r.Next()
	if err != nil {
		return nil, err
	}
	return rendezvous.ParseFrame(frame)
}

// More reports whether Next returns without waiting: another whole frame, or an error, is there.
func (r *Reader) More() bool {
	_, to, err := r.whole()
	return err != nil || to > 0 && to <= r.end
}

func (r *Reader) buf() []byte {
	if r.large != nil {
		return r.large.b
	}
	return r.first[:]
}

// whole tells where the next frame lies in the buffer, or will lie when all of it has been read; to is 0 while its length is not known.
func (r *Reader) whole() (from, to int, err error) {
	size, n := binary.Uvarint(r.buf()[r.start:r.end])
	switch {
	case n < 0:
		return 0, 0, errLength
	case n == 0:
		return 0, 0, nil
	case size > rendezvous.MaxFrame:
		return 0, 0, rendezvous.ErrFrameTooLarge
	}
	from = r.start + n
	return from, from + int(size), nil
}

var errLength = errors.New("the length of a frame does not parse")

// fill reads more, into a buffer that has room for a frame of so many bytes with its length; 0: not known.
func (r *Reader) fill(size int) error {
	r.makeRoom(max(size, binary.MaxVarintLen64))
	n, err := io.ReadAtLeast(r.stream, r.buf()[r.end:], 1)
	r.end += n
	r.last = n
	if errors.Is(err, io.EOF) && r.end > r.start {
		return fmt.Errorf("read a frame: %w", io.ErrUnexpectedEOF)
	}
	return err
}

// makeRoom brings what is left to the beginning of the buffer that fits.
func (r *Reader) makeRoom(size int) {
	rest := r.buf()[r.start:r.end]
	busy := len(rest) > 0 || r.last >= busyRead || r.last == firstBytes && r.large == nil
	switch {
	case !busy:
		r.release()
	case size > readBuffer && size > len(r.buf()):
		fresh := &buffer{b: make([]byte, size)}
		copy(fresh.b, rest)
		r.release()
		r.large = fresh
	case r.large == nil:
		r.large = readBuffers.Get().(*buffer)
		copy(r.large.b, rest)
	case len(r.large.b) > readBuffer && size <= readBuffer:
		fresh := readBuffers.Get().(*buffer)
		copy(fresh.b, rest)
		r.large = fresh
	default:
		copy(r.large.b, rest)
	}
	r.start, r.end = 0, len(rest)
}

// release gives the large buffer back.
func (r *Reader) release() {
	if r.large != nil && len(r.large.b) == readBuffer {
		readBuffers.Put(r.large)
	}
	r.large = nil
}
