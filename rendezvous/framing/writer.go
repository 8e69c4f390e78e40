// Package framing puts frames on a control stream and takes them from it. A [Writer] puts many frames into few Writes, with a bounded queue
// and a deadline on every Write; both ends of the protocol use it, so a slow or dead reader looks the same to both: first the queue
// fills, then a Write runs into its deadline. A [Reader] is for the end that has thousands of streams, most of them silent.
package framing

import (
	"errors"
	"fmt"
	"io"
	"sync"
	"sync/atomic"
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
	// chunk is the most bytes in one Write: with three quarters of writeTimeout it is the slowest link that a connection survives (8.5 KiB/s).
	chunk = 64 << 10
	// writeTimeout bounds one Write, which only takes long when the other end does not read. Setting a deadline costs about as much as writing a
	// small frame, so one is used until a quarter of it has passed.
	writeTimeout = 10 * time.Second
	// kept is the largest buffer that is used again. Buffers are shared by all Writers, and given up by the garbage collector while nobody writes.
	kept = 256 << 10
	// lingering is how long the goroutine of a Writer waits for more: the stack of a new one has to grow for each Write, which costs a relay a twentieth.
	lingering = 20 * time.Millisecond
)

// Stream is what a Writer needs of a network stream.
type Stream interface {
	io.Writer
	SetWriteDeadline(time.Time) error
}

// Writer queues frames in their encoded form and writes what has gathered as one. Add never waits for the network. A goroutine runs while there is
// something to write, and for a moment longer; an idle Writer has neither goroutine nor buffer.
type Writer struct {
	stream    Stream        // written by work alone
	maxFrames int           // immutable
	maxBytes  int           // immutable
	ended     chan struct{} // closed when nothing will be written any more
	more      chan struct{} // holds one where lingers was taken back, until work has taken that; immutable
	deadline  time.Time     // of stream; owned by work
	wrote     atomic.Int64  // Unix nanoseconds of the last Write; 0: none

	mu      sync.Mutex // guards the following
	pending *buffer    // nil: empty
	frames  int        // in pending
	running bool       // work runs, or has ended for good
	lingers bool       // work waits for more, or for its time to be over
	closed  bool
	after   func(error)
	err     error // set before ended is closed
}

// buffer is a slice of bytes that idle Writers do not keep.
type buffer struct{ b []byte }

var buffers = sync.Pool{New: func() any { return new(buffer) }}

// release gives a buffer back, unless it has grown so much that the next Writer had better not get it.
func (b *buffer) release() {
	if cap(b.b) > kept {
		return
	}
	b.b = b.b[:0]
	buffers.Put(b)
}

// NewWriter returns a Writer whose queue holds at most maxFrames frames and maxBytes bytes, besides as much that is being written. From the first
// frame until a moment after everything is written it runs a goroutine, which Close ends and Run waits for.
func NewWriter(s Stream, maxFrames, maxBytes int) *Writer {
	return &Writer{stream: s, maxFrames: maxFrames, maxBytes: maxBytes, ended: make(chan struct{}), more: make(chan struct{}, 1)}
}

// After sets what is called once, on a goroutine of the Writer's, when all has been written after Close (nil) or a Write has failed. It is
// to be set before the first frame.
func (w *Writer) After(f func(error)) {
	w.mu.Lock()
	w.after = f
	w.mu.Unlock()
}

// Add queues f. It encodes at once, so the caller may reuse f and what it points to. The errors are ErrQueueFull, ErrClosed and
// those of [rendezvous.AppendFrame].
func (w *Writer) Add(f *rendezvous.Frame) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	err := w.holdLocked(f)
	if err == nil {
		w.startLocked()
	}
	return err
}

// Hold is Add for a frame that is written together with the next, or on Flush.
func (w *Writer) Hold(f *rendezvous.Frame) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.holdLocked(f)
}

func (w *Writer) holdLocked(f *rendezvous.Frame) error {
	if err := w.admitLocked(); err != nil {
		return err
	}
	before := len(w.pending.b)
	buf, err := rendezvous.AppendFrame(w.pending.b, f)
	if err == nil && len(buf) > w.maxBytes {
		err = ErrQueueFull
	}
	if err != nil {
		w.pending.b = buf[:before]
		return err
	}
	w.pending.b = buf
	w.frames++
	return nil
}

// AddEncoded is Add for a frame in the form that [rendezvous.AppendFrame] gives it, which may so be encoded once for many Writers.
func (w *Writer) AddEncoded(frame []byte) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	if err := w.admitLocked(); err != nil {
		return err
	}
	if len(w.pending.b)+len(frame) > w.maxBytes {
		return ErrQueueFull
	}
	w.pending.b = append(w.pending.b, frame...)
	w.frames++
	w.startLocked()
	return nil
}

// admitLocked sees to it that there is a buffer for one more frame.
func (w *Writer) admitLocked() error {
	switch {
	case w.closed:
		return ErrClosed
	case w.frames >= w.maxFrames:
		return ErrQueueFull
	case w.pending == nil:
		w.pending = buffers.Get().(*buffer)
	}
	return nil
}

// Wrote returns when the last Write began: what it carried tells the other end that this one is there. It is 1970 before the first.
func (w *Writer) Wrote() time.Time { return time.Unix(0, w.wrote.Load()) }

// Queued returns how many frames and bytes wait to be written.
func (w *Writer) Queued() (frames, bytes int) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.pending == nil {
		return 0, 0
	}
	return w.frames, len(w.pending.b)
}

// Flush makes that written which is queued. It does not wait.
func (w *Writer) Flush() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.startLocked()
}

// Close refuses further frames; what is queued is still written. Close does not wait and may be called again.
func (w *Writer) Close() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.closed = true
	w.startLocked()
}

// Run waits until Close has been called and everything queued before it is written, or until a Write has failed, whose error it
// returns. No goroutine of the Writer's is left then but one that is returning.
func (w *Writer) Run() error {
	<-w.ended
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.err
}

// startLocked runs work where there is something for it to do.
func (w *Writer) startLocked() {
	switch {
	case w.frames == 0 && !w.closed:
	case w.lingers:
		w.lingers = false
		w.more <- struct{}{} // has room: work takes it before it lingers again
	case !w.running:
		w.running = true
		go w.work()
	}
}

// work writes until nothing has been queued for a while.
func (w *Writer) work() {
	var batch *buffer
	var patience *time.Timer
	for {
		var closed bool
		if batch, closed = w.take(batch); batch == nil {
			switch {
			case closed:
				w.end(nil)
				return
			case patience == nil:
				patience = time.NewTimer(lingering)
				defer patience.Stop()
			default:
				patience.Reset(lingering)
			}
			if !w.linger(patience.C) {
				return
			}
			continue
		}
		if err := w.write(batch.b); err != nil {
			w.end(fmt.Errorf("write frames: %w", err))
			return
		}
	}
}

// linger waits for more to write, and reports whether there is. If not, work is over until the next frame.
func (w *Writer) linger(over <-chan time.Time) bool {
	select {
	case <-w.more:
		return true
	case <-over:
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	if !w.lingers { // more has come in the last moment
		<-w.more
		return true
	}
	w.lingers, w.running = false, false
	return false // what is only held waits for whoever starts work again
}

// take exchanges the queue for the buffer that has been written. It returns nil when nothing is queued: then work lingers, or is over when closed.
func (w *Writer) take(written *buffer) (batch *buffer, closed bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.frames == 0 {
		for _, b := range []*buffer{written, w.pending} {
			if b != nil {
				b.release()
			}
		}
		w.pending = nil
		w.lingers = !w.closed
		return nil, w.closed
	}
	batch, w.pending, w.frames = w.pending, nil, 0
	if written != nil && cap(written.b) <= kept {
		written.b = written.b[:0]
		w.pending = written
	}
	return batch, w.closed
}

func (w *Writer) write(batch []byte) error {
	for len(batch) > 0 {
		n := min(len(batch), chunk)
		now := time.Now()
		w.wrote.Store(now.UnixNano())
		if w.deadline.Sub(now) < writeTimeout*3/4 {
			w.deadline = now.Add(writeTimeout)
			// A stream that cannot set deadlines is closed already, and Write says so.
			_ = w.stream.SetWriteDeadline(w.deadline)
		}
		if _, err := w.stream.Write(batch[:n]); err != nil {
			return err
		}
		batch = batch[n:]
	}
	return nil
}

// end says that nothing is written any more.
func (w *Writer) end(err error) {
	w.mu.Lock()
	w.closed, w.err, w.pending, w.frames = true, err, nil, 0
	after := w.after
	w.mu.Unlock()
	if after != nil {
		after(err)
	}
	close(w.ended)
}
