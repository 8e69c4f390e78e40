// Package link is the direct way to one device: a long-lived libp2p stream that carries sealed envelopes and a heartbeat.
//
// The side that opens the stream says Hello first, with its name and fingerprint; the other checks that the stream's PeerID is
// the one which the directory certifies for that device, and answers with its own Hello. Then either side sends envelopes.
// Whatever is heard is a sign of life. A side that has heard nothing for a [Heartbeat] sends a Ping, and ends the link after two; one that has
// sent something and hears nothing for [AskAfter] asks at once, and soon says that the link is in doubt, until its Ping is answered. So does one that
// hears, but is not heard itself: while it sends it asks every [ProveAfter].
// libp2p's own timeouts (30 s and more) are never waited for. The link says nothing about an envelope's fate: package delivery does that end to
// end.
//
// Layout of a frame: its length as an unsigned varint (kind byte included), the kind, the body.
//
//	1 Hello     version(1) fingerprint(32) name(to the end of the frame)
//	2 Envelope  the sealed envelope
//	3 Ping      token(8)
//	4 Pong      token(8)
//	5 Card      what a side has signed for the directory; its meaning is the owner's (package peer)
//
// A frame of unknown kind is skipped. An oversized or cut frame ends the link.
package link

import (
	"bufio"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"sync"
	"sync/atomic"
	"time"

	"github.com/libp2p/go-libp2p/core/network"
)

// ProtocolID names the link's protocol in libp2p's stream negotiation.
const ProtocolID = "/byway/link/1.0.0"

// Times and bounds of a link.
const (
	Heartbeat = 5 * time.Second
	// AskAfter is how long something sent may go without any answer before a Ping asks, and doubtAfter how much longer before the link
	// is in doubt. On a slow way they are at least the round trip and twice of it, but not more than maxPatience. Together they are most of the second
	// within which the relay must carry what was sent.
	AskAfter    = 300 * time.Millisecond
	doubtAfter  = 250 * time.Millisecond
	maxPatience = 2 * time.Second
	// ProveAfter is how often a Ping asks while other things are heard, and how long it may then go without an answer, doubtAfter aside.
	ProveAfter = time.Second

	handshakeTime = 5 * time.Second
	writeTime     = 5 * time.Second
	queueFrames   = 1024
	queueBytes    = 8 << 20
)

// ErrFull is returned by Send when the device takes less than is sent to it.
var ErrFull = errors.New("link queue is full")

// ErrClosed is returned by Send on a link that has ended.
var ErrClosed = errors.New("link is closed")

// ErrSilent is why a link has ended whose other side has gone: it says nothing, or takes nothing.
var ErrSilent = errors.New("the other side has gone silent")

// Handler is what a link's owner wants to know. Both functions are called from the link's goroutines, and neither may call Close.
type Handler struct {
	// Receive gets each envelope, in order, and holds the stream back while it runs: for longer than two heartbeats ends the link.
	Receive func(l *Link, envelope []byte)
	// Doubt tells that something sent has gone without an answer for too long, and with false that the other side has answered again. nil:
	// nobody wants to know.
	Doubt func(l *Link, doubtful bool)
	// Card gets each Card of the other side. The next frame waits for it. nil: nobody wants them.
	Card func(l *Link, body []byte)
	// Lose decides for each frame that leaves or has arrived, a Hello and a heartbeat too, whether it is lost: an experiment with a bad network. It is called
	// from any goroutine. nil: none is.
	Lose func(s network.Stream) bool
}

func (h *Handler) loses(s network.Stream) bool { return h.Lose != nil && h.Lose(s) }

// Link is an open link. Send and Close may be called from any goroutine.
type Link struct {
	stream  network.Stream
	remote  Hello     // immutable
	handler Handler   // immutable
	begun   time.Time // immutable; the times below are nanoseconds after it, so that no change of the clock is taken for silence

	mu     sync.Mutex
	queue  [][]byte // guarded by mu: encoded frames
	queued int      // guarded by mu: bytes in queue
	wake   chan struct{}

	done  chan struct{}
	once  sync.Once
	ended sync.WaitGroup
	cause error // written before done is closed

	rtt      atomic.Int64 // nanoseconds, 0 until measured
	smooth   atomic.Int64 // the same, following slowly; written by the reader
	previous int64        // the round trip before; owned by the reader
	heard    atomic.Int64 // when the latest frame came
	owed     atomic.Int64 // when the first thing was sent that no frame has come after; 0: none is
	unproven atomic.Int64 // when the first thing was sent after the latest ping; 0: nothing was
	asked    atomic.Int64 // when the latest ping was sent, which is its token
	answered atomic.Int64 // the token of the latest ping that was answered

	stir    chan struct{} // one place: watch has to look again
	resting atomic.Bool   // watch looks only at the heartbeat
	again   atomic.Bool   // a ping is due at once

	doubtMu sync.Mutex // held while Doubt is called, so that its calls come in order
	doubt   atomic.Bool
}

// Dial says Hello on a stream that the caller has opened and waits for the answer. On success it starts the link's three goroutines, which
// Close stops. On failure the stream is reset.
func Dial(ctx context.Context, s network.Stream, self Hello, handler Handler) (*Link, error) {
	r, err := greet(ctx, s, func(r *bufio.Reader) (Hello, error) {
		if err := sayHello(s, self, &handler); err != nil {
			return Hello{}, err
		}
		return hearHello(r, s, &handler)
	})
	if err != nil {
		return nil, err
	}
	return start(s, r, handler), nil
}

// Answer reads the Hello of a stream that the other side has opened, lets allow decide, and answers with self. Else like Dial.
func Answer(ctx context.Context, s network.Stream, self Hello, allow func(Hello) error, handler Handler) (*Link, error) {
	r, err := greet(ctx, s, func(r *bufio.Reader) (Hello, error) {
		h, err := hearHello(r, s, &handler)
		if err != nil {
			return h, err
		}
		if err := allow(h); err != nil {
			return h, err
		}
		return h, sayHello(s, self, &handler)
	})
	if err != nil {
		return nil, err
	}
	return start(s, r, handler), nil
}

func sayHello(s network.Stream, self Hello, handler *Handler) error {
	if handler.loses(s) {
		return nil
	}
	return writeFrame(s, self.frame())
}

// hearHello waits for a Hello. After one that was lost it waits in vain, until the deadline.
func hearHello(r *bufio.Reader, s network.Stream, handler *Handler) (Hello, error) {
	for {
		h, err := readHello(r)
		if err != nil || !handler.loses(s) {
			return h, err
		}
	}
}

type greeted struct {
	hello  Hello
	reader *bufio.Reader
}

// greet runs the exchange of Hellos under a deadline that also ends with ctx.
func greet(ctx context.Context, s network.Stream, exchange func(*bufio.Reader) (Hello, error)) (greeted, error) {
	stop := context.AfterFunc(ctx, func() { _ = s.Reset() })
	defer stop()
	_ = s.SetDeadline(time.Now().Add(handshakeTime)) // a transport without deadlines is still ended by ctx
	g := greeted{reader: bufio.NewReaderSize(s, 32<<10)}
	var err error
	if g.hello, err = exchange(g.reader); err != nil {
		_ = s.Reset()
		return g, fmt.Errorf("open link: %w", err)
	}
	_ = s.SetDeadline(time.Time{})
	return g, nil
}

func start(s network.Stream, g greeted, handler Handler) *Link {
	l := &Link{
		stream: s, remote: g.hello, handler: handler, begun: time.Now(),
		wake: make(chan struct{}, 1), stir: make(chan struct{}, 1), done: make(chan struct{}),
	}
	l.ended.Go(func() { l.end(l.read(g.reader)) })
	l.ended.Go(func() { l.end(l.write()) })
	l.ended.Go(func() { l.end(l.watch()) })
	return l
}

// Remote returns what the other side said of itself.
func (l *Link) Remote() Hello { return l.remote }

// Stream returns the link's stream, to ask for its addresses. It belongs to the link.
func (l *Link) Stream() network.Stream { return l.stream }

// RTT returns the latest measured round trip of the heartbeat, 0 before the first.
func (l *Link) RTT() time.Duration { return time.Duration(l.rtt.Load()) }

// Heard returns when the other side last gave a sign of life.
func (l *Link) Heard() time.Time { return l.begun.Add(time.Duration(max(1, l.heard.Load()) - 1)) }

// Age returns for how long the link has been open.
func (l *Link) Age() time.Duration { return time.Since(l.begun) }

// Doubtful reports whether something sent has gone without an answer for too long.
func (l *Link) Doubtful() bool { return l.doubt.Load() }

// Done is closed when the link has ended; Err then says why.
func (l *Link) Done() <-chan struct{} { return l.done }

// Err returns why the link has ended, nil while it is open.
func (l *Link) Err() error {
	select {
	case <-l.done:
		return l.cause
	default:
		return nil
	}
}

// Send queues an envelope and returns at once. It owns the slice from here on. Errors are [ErrFull] and [ErrClosed].
func (l *Link) Send(envelope []byte) error {
	if err := l.enqueue(appendFrame(make([]byte, 0, len(envelope)+8), kindEnvelope, envelope)); err != nil {
		return err
	}
	l.expect()
	return nil
}

// SendCard queues a Card, which must fit into a frame as an envelope does, and returns at once. Errors are those of Send.
func (l *Link) SendCard(body []byte) error { return l.enqueue(appendFrame(nil, kindCard, body)) }

func (l *Link) enqueue(frame []byte) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	select {
	case <-l.done:
		return ErrClosed
	default:
	}
	if l.handler.loses(l.stream) {
		return nil
	}
	if len(l.queue) >= queueFrames || l.queued+len(frame) > queueBytes {
		return ErrFull
	}
	l.queue = append(l.queue, frame)
	l.queued += len(frame)
	select {
	case l.wake <- struct{}{}:
	default:
	}
	return nil
}

// Close ends the link and waits for its goroutines. It must not be called from receive.
func (l *Link) Close() {
	l.end(net.ErrClosed)
	l.ended.Wait()
}

// End ends the link without waiting.
func (l *Link) End(cause error) { l.end(cause) }

func (l *Link) end(cause error) {
	l.once.Do(func() {
		l.cause = cause
		close(l.done)
		// Over TCP it waits until what is queued below has left, which on a dead way takes seconds.
		l.ended.Go(func() { _ = l.stream.Reset() })
	})
}

func (l *Link) read(r *bufio.Reader) error {
	for {
		kind, body, err := readFrame(r)
		if err != nil {
			return err
		}
		if l.handler.loses(l.stream) {
			continue
		}
		l.alive()
		switch kind {
		case kindEnvelope:
			l.handler.Receive(l, body)
		case kindPing:
			if len(body) == 8 {
				_ = l.enqueue(appendFrame(nil, kindPong, body)) // a full queue answers by silence
			}
		case kindCard:
			if l.handler.Card != nil {
				l.handler.Card(l, body)
			}
		case kindPong:
			if len(body) == 8 {
				l.ponged(int64(binary.BigEndian.Uint64(body)))
			}
		}
	}
}

// write sends what is queued in as few writes as possible.
func (l *Link) write() error {
	for {
		select {
		case <-l.done:
			return net.ErrClosed
		case <-l.wake:
			if err := l.flush(); err != nil {
				if timeout, ok := errors.AsType[net.Error](err); ok && timeout.Timeout() {
					err = fmt.Errorf("%w: %w", ErrSilent, err)
				}
				return err
			}
		}
	}
}

func (l *Link) flush() error {
	l.mu.Lock()
	batch := l.queue
	l.queue, l.queued = nil, 0
	l.mu.Unlock()
	buffers := bufio.NewWriterSize(pacedWriter{l.stream}, 64<<10)
	for _, frame := range batch {
		if _, err := buffers.Write(frame); err != nil {
			return err
		}
	}
	return buffers.Flush()
}

// pacedWriter gives each write its own deadline: a slow way may take long for a full queue, as long as it moves.
type pacedWriter struct{ stream network.Stream }

func (w pacedWriter) Write(b []byte) (int, error) {
	if err := w.stream.SetWriteDeadline(time.Now().Add(writeTime)); err != nil {
		return 0, err
	}
	return w.stream.Write(b)
}

func writeFrame(w io.Writer, frame []byte) error {
	_, err := w.Write(frame)
	return err
}
