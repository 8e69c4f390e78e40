// Package framing writes the frames of a control stream: many frames into few Writes, with a bounded queue and a deadline
// on every Write. Both ends of the protocol use it, so a slow or dead reader looks the same to both: first the queue fills,
// then a Write runs into its deadline.
package framing

import (
	"errors"
	"fmt"
	"io"
	"sync"
	"time"

	"github.com/byway-chat/byway/rendezvous"
)

var (
	// ErrQueueFull is returned by Add when the frame would not fit. Nothing was queued.
	ErrQueueFull = errors.New("the queue of frames to write is full")
	// ErrClosed is returned by Add after Close or after a Write has failed.
	ErrClosed = errors.New("the frame writer is closed")
)

const (
	// chunk is the most bytes in one Write: with writeTimeout it is the slowest link that a connection survives (6.4 KiB/s).
	chunk = 64 << 10
	// writeTimeout bounds one Write, which only takes long when the other end does not read.
	writeTimeout = 10 * time.Second
	// keep is the largest buffer that an idle Writer holds on to; ten thousand idle connections pay it.
	keep = 1 << 10
)

// Stream is what a Writer needs of a network stream.
type Stream interface {
	io.Writer
	SetWriteDeadline(time.Time) error
}

// Writer queues frames in their encoded form and writes what has gathered as one. Add never waits for the network.
type Writer struct {
	stream    Stream        // written by Run alone
	maxFrames int           // immutable
	maxBytes  int           // immutable
	wake      chan struct{} // capacity 1: there is something for Run to do

	mu      sync.Mutex // guards the following
	pending []byte
	frames  int // in pending
	closed  bool
}

// NewWriter returns a Writer whose queue holds at most maxFrames frames and maxBytes bytes, besides as much that is being
// written. It starts no goroutine: the caller runs Run in one.
func NewWriter(s Stream, maxFrames, maxBytes int) *Writer {
	return &Writer{stream: s, maxFrames: maxFrames, maxBytes: maxBytes, wake: make(chan struct{}, 1)}
}

// Add queues f. It encodes at once, so the caller may reuse f and what it points to. The errors are ErrQueueFull, ErrClosed and
// those of [rendezvous.AppendFrame].
func (w *Writer) Add(f *rendezvous.Frame) error {
	if err := w.Hold(f); err != nil {
		return err
	}
	w.Flush()
	return nil
}

// Hold is Add for a frame that is written together with the next, or on Flush.
func (w *Writer) Hold(f *rendezvous.Frame) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.addLocked(f)
}

func (w *Writer) addLocked(f *rendezvous.Frame) error {
	if w.closed {
		return ErrClosed
	}
	if w.frames >= w.maxFrames {
		return ErrQueueFull
	}
	before := len(w.pending)
	buf, err := rendezvous.AppendFrame(w.pending, f)
	if err != nil {
		w.pending = buf[:before]
		return err
	}
	if len(buf) > w.maxBytes {
		w.pending = buf[:before]
		return ErrQueueFull
	}
	w.pending = buf
	w.frames++
	return nil
}

// Queued returns how many frames and bytes wait to be written.
func (w *Writer) Queued() (frames, bytes int) {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.frames, len(w.pending)
}

// Run writes until Close has been called and everything queued before it is written, or until a Write fails. Call it once.
func (w *Writer) Run() error {
	var spare []byte
	for {
		batch, closed := w.take(spare)
		if len(batch) == 0 {
			if closed {
				return nil
			}
			spare = batch
			<-w.wake
			continue
		}
		if err := w.write(batch); err != nil {
			w.Close()
			return fmt.Errorf("write frames: %w", err)
		}
		spare = batch[:0]
		if cap(spare) > keep {
			spare = nil
		}
	}
}

// take swaps the queue for the empty buffer spare.
func (w *Writer) take(spare []byte) (batch []byte, closed bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	batch, w.pending, w.frames = w.pending, spare, 0
	return batch, w.closed
}

func (w *Writer) write(batch []byte) error {
	for len(batch) > 0 {
		n := min(len(batch), chunk)
		// A stream that cannot set deadlines is closed already, and Write says so.
		_ = w.stream.SetWriteDeadline(time.Now().Add(writeTimeout))
		if _, err := w.stream.Write(batch[:n]); err != nil {
			return err
		}
		batch = batch[n:]
	}
	return nil
}

// Close refuses further frames; Run then writes what is queued and returns. Close does not wait and may be called again.
func (w *Writer) Close() {
	w.mu.Lock()
	w.closed = true
	w.mu.Unlock()
	w.Flush()
}

// Flush makes Run write what is queued. It does not wait.
func (w *Writer) Flush() {
	select {
	case w.wake <- struct{}{}:
	default:
	}
}
