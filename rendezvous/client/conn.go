// Package client speaks the rendezvous protocol: [Dial] makes a connection, its methods send requests and wait for the
// answers, and [Conn.Pushes] yields what the rendezvous sends of its own accord. A Conn does not reconnect; when [Conn.Done]
// is closed, dial again after a jittered pause.
package client

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/libp2p/go-libp2p/core/host"
	"github.com/libp2p/go-libp2p/core/network"
	"github.com/libp2p/go-libp2p/core/peer"
	ma "github.com/multiformats/go-multiaddr"

	"github.com/byway-chat/byway/rendezvous"
	"github.com/byway-chat/byway/rendezvous/framing"
)

// The ends of a connection that a caller may want to tell apart.
var (
	// ErrNotARendezvous means that something answers at the address, but it does not speak this protocol.
	ErrNotARendezvous = errors.New("this is not a rendezvous")
	// ErrWrongIdentity means that the address is answered by another PeerID than the one asked for.
	ErrWrongIdentity = errors.New("the address is answered by another peer id")
	// ErrSilent means that two heartbeats in a row went unanswered.
	ErrSilent = errors.New("the rendezvous has gone silent")
	// ErrClosed means that Close was called.
	ErrClosed = errors.New("the connection is closed")
	// ErrQueueFull means that nothing was queued because too much already waits for the network.
	ErrQueueFull = framing.ErrQueueFull
)

// Bounds of what waits on this side of a connection.
const (
	maxQueuedFrames = 1024
	maxQueuedBytes  = 8 << 20
	maxPushes       = 16
	closeTimeout    = time.Second
)

// Options is what Dial needs; Host and Rendezvous are required.
type Options struct {
	Host       host.Host     // not closed by the Conn
	Rendezvous peer.AddrInfo // without addresses, those in the host's peerstore are tried
	Agent      string        // program and version, for the operator's eyes; cut to 64 bytes
	Logger     *slog.Logger  // nil: discard
	// ConnectTime bounds how long it may take until there is a connection, before anything is said on it. 0: only ctx does.
	ConnectTime time.Duration
}

// Conn is one control stream to a rendezvous. All methods may be called from any goroutine.
type Conn struct {
	host    host.Host           // immutable, as is the next
	others  []ma.Multiaddr      // addresses of the rendezvous
	stream  network.Stream      // immutable; read by the reader, written through writer
	reader  *framing.Reader     // owned by the reader goroutine after Dial
	batch   batch               // owned by the reader goroutine
	writer  *framing.Writer     // immutable
	welcome *rendezvous.Welcome // immutable after Dial
	log     *slog.Logger        // immutable
	pushes  chan Pushed         // sent to and closed by the reader
	done    chan struct{}       // closed by end
	flushed chan struct{}       // closed when the writer has returned
	wg      sync.WaitGroup      // reader, writer and heartbeat
	taken   taken

	nextID  atomic.Uint64
	heard   atomic.Int64 // Unix nanoseconds at which the reader last got a frame
	waiting atomic.Bool  // the reader waits for a reader of Pushes: silence is then our own
	rtt     atomic.Int64 // nanoseconds

	mu    sync.Mutex // guards the following
	calls map[uint64]chan *rendezvous.Frame
	pings map[uint64]time.Time // token to time sent; at most a handful
	err   error                // why the connection ended; set before done is closed
}

// Welcome returns what the rendezvous said first. The caller must not change it.
func (c *Conn) Welcome() *rendezvous.Welcome { return c.welcome }

// Remote returns the multiaddr of the rendezvous's end of the connection, as text.
func (c *Conn) Remote() string { return c.stream.Conn().RemoteMultiaddr().String() }

// Pushes yields what the rendezvous sends of its own accord, all that one read has brought together. The channel holds 16; when it is full the
// connection is no longer read, so somebody must read it. It is closed when the connection has ended and everything that arrived
// has been read.
func (c *Conn) Pushes() <-chan Pushed { return c.pushes }

// Done is closed when the connection has ended; Err then says why.
func (c *Conn) Done() <-chan struct{} { return c.done }

// Err returns why the connection ended: ErrClosed, ErrSilent, io.EOF when the rendezvous closed it, a [*rendezvous.Error] when it
// said Goodbye first, or a network error. It is nil while the connection lives.
func (c *Conn) Err() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.err
}

// RTT returns the round trip of the last answered heartbeat, or of Hello before the first.
func (c *Conn) RTT() time.Duration { return time.Duration(c.rtt.Load()) }

// Close writes what is queued, as far as that takes no more than a second, ends the connection, and waits for its goroutines. It may
// be called again.
func (c *Conn) Close() error {
	c.taken.flush(c.writer)
	c.writer.Close()
	select {
	case <-c.flushed:
	case <-time.After(closeTimeout):
	}
	c.end(ErrClosed)
	c.wg.Wait()
	return nil
}

// end records the first reason, frees whoever waits, and stops the goroutines without waiting for them.
func (c *Conn) end(reason error) {
	c.mu.Lock()
	if c.err != nil {
		c.mu.Unlock()
		return
	}
	c.err = reason
	c.mu.Unlock()
	c.writer.Close() // first: whoever has seen the end is to have nothing taken any more
	close(c.done)
	c.taken.close()
	switch {
	case errors.Is(reason, ErrClosed):
		// Not a reset, so that the other end can read what was written before.
		_ = c.stream.Close()
	case errors.Is(reason, ErrSilent):
		_ = c.stream.Reset()
		// The connection below is dead too, and libp2p would take it for alive for half a minute more.
		_ = c.stream.Conn().Close()
	default:
		_ = c.stream.Reset()
	}
	c.log.Debug("control stream ended", slog.String("reason", reason.Error()))
}

// call sends a request and waits for its answer, for ctx, or for the end of the connection. A Failure becomes a *rendezvous.Error.
func (c *Conn) call(ctx context.Context, f *rendezvous.Frame) (*rendezvous.Frame, error) {
	answer := make(chan *rendezvous.Frame, 1)
	f.Id = c.nextID.Add(1)
	c.mu.Lock()
	c.calls[f.Id] = answer
	c.mu.Unlock()
	defer func() {
		c.mu.Lock()
		delete(c.calls, f.Id)
		c.mu.Unlock()
	}()
	if err := c.add(f); err != nil {
		return nil, err
	}
	got, err := c.await(ctx, answer)
	if err != nil {
		return nil, err
	}
	if failure := got.GetFailure(); failure != nil {
		return nil, failure.Err()
	}
	return got, nil
}

// await waits for an answer. One that has come counts, though the connection has ended behind it.
func (c *Conn) await(ctx context.Context, answer <-chan *rendezvous.Frame) (*rendezvous.Frame, error) {
	select {
	case got := <-answer:
		return got, nil
	case <-ctx.Done():
		return nil, ctx.Err()
	case <-c.done:
	}
	select {
	case got := <-answer:
		return got, nil
	default:
		return nil, fmt.Errorf("wait for the rendezvous's answer: %w", c.Err())
	}
}

// add queues a frame; after the end it returns the reason of the end.
func (c *Conn) add(f *rendezvous.Frame) error { return c.added(c.writer.Add(f)) }

// added is what came of queueing a frame.
func (c *Conn) added(err error) error {
	if !errors.Is(err, framing.ErrClosed) {
		return err
	}
	if reason := c.Err(); reason != nil {
		return reason
	}
	return ErrClosed
}
