package server

import (
	"context"
	"crypto/rand"
	"errors"
	"log/slog"
	"net/netip"
	"sync"
	"sync/atomic"
	"time"

	"github.com/libp2p/go-libp2p/core/network"
	"github.com/libp2p/go-libp2p/core/peer"
	"golang.org/x/time/rate"

	"github.com/byway-chat/byway/rendezvous"
	"github.com/byway-chat/byway/rendezvous/directory"
	"github.com/byway-chat/byway/rendezvous/framing"
	"github.com/byway-chat/byway/rendezvous/sqlite"
)

// The queue of frames to one peer. The relay keeps at most 4,608 deliveries untaken, and outcomes travel many in a frame, so only a
// peer that does not read fills it.
const (
	maxQueuedFrames = 8192
	maxQueuedBytes  = 16 << 20
	// enrolTimeout is how long a stream may stay between Login and Enrol: the peer may have to make its keys.
	enrolTimeout = time.Minute
	// signInGrace is how much longer a stream may stay while a request that may sign it in waits its turn to be hashed.
	signInGrace = 10 * time.Second
	// lingerTimeout is how long a peer has to close its end after Goodbye.
	lingerTimeout = time.Second
)

// conn is one control stream.
type conn struct {
	server *Server        // immutable, as are the following
	stream network.Stream // read by the reader, written through writer
	peer   peer.ID        // proven by the handshake
	ip     netip.Addr     // invalid where the transport has none
	nonce  []byte
	since  time.Time
	writer *framing.Writer

	agent            string   // set by the reader in hello
	greeted          bool     // owned by the reader
	carried          *carried // owned by the reader; nil: nothing has gathered
	requests         requests
	published, asked *rate.Limiter // immutable

	signed  atomic.Pointer[directory.SignedIn] // set once, by registry.signIn
	link    atomic.Pointer[carrier]            // to the relay; set once, after signed
	signing atomic.Bool                        // a request of the session family is being done
	heard   atomic.Int64                       // Unix nanoseconds of the last frame
	ending  atomic.Bool                        // whatever still arrives is ignored
	dropped atomic.Pointer[string]             // why the stream is to be cut
	dog     *time.Timer                        // runs watchdog

	mu        sync.Mutex // guards the following; held while attaching, never in deliver
	deadline  time.Time  // until when it must be signed in
	enrolment *directory.Enrolment
	leave     func()
}

// handle begins to serve one stream. The goroutine that libp2p calls it in has grown with the handshake; the one that will wait for as long as the
// stream lasts begins small.
func (s *Server) handle(ctx context.Context, stream network.Stream) {
	now := time.Now()
	c := &conn{
		server: s, stream: stream, peer: stream.Conn().RemotePeer(), ip: remoteIP(stream.Conn().RemoteMultiaddr()),
		nonce: make([]byte, rendezvous.NonceSize), since: now, deadline: now.Add(rendezvous.SignInTimeout),
		writer:    framing.NewWriter(stream, maxQueuedFrames, maxQueuedBytes),
		published: rate.NewLimiter(publishRate, publishBurst), asked: rate.NewLimiter(askRate, askBurst),
	}
	_, _ = rand.Read(c.nonce) // never fails
	c.heard.Store(now.UnixNano())
	if !s.conns.add(c) {
		_ = stream.Reset()
		return
	}
	go c.run(ctx) // Server.drain waits for it, by the registry
}

// run is the reader goroutine. While the stream is idle there is no other: the writer and the requests have one while they have work, the writer for a moment longer.
func (c *conn) run(ctx context.Context) {
	defer c.server.conns.remove(c)
	c.writer.After(c.written)
	c.dog = time.AfterFunc(time.Hour, c.watchdog)
	c.dog.Reset(rendezvous.SignInTimeout) // not before the field is set, which watchdog reads
	err := c.read(ctx)
	c.ending.Store(true)
	c.dog.Stop()
	if why := c.dropped.Load(); why != nil {
		err = errors.New(*why)
	}
	c.writer.Close()
	c.server.pusher.remove(c)
	c.requests.close()
	c.signOut()
	_ = c.writer.Run()
	_ = c.stream.Reset() // without effect where written has closed it
	if who := c.signed.Load(); who != nil {
		c.server.log.Debug("peer left", slog.String("user", string(who.User)), slog.String("device", who.Device.Device()),
			slog.String("reason", err.Error()))
	}
	if c.dropped.Load() == &silent {
		// The other end is gone, and nothing else would notice: yamux pings nobody.
		_ = c.stream.Conn().Close()
		return
	}
	c.server.expectStream(c.stream.Conn())
}

// read hands every frame to its handler until the stream ends.
func (c *conn) read(ctx context.Context) error {
	r := framing.NewReader(c.stream)
	for {
		frame, err := r.Next()
		if err != nil {
			return err
		}
		if !c.ending.Load() {
			if err := c.frame(ctx, frame); err != nil {
				return err
			}
		}
		if !r.More() {
			c.heard.Store(time.Now().UnixNano())
			c.handOver(ctx)
		}
	}
}

// frame hands one frame to its handler.
func (c *conn) frame(ctx context.Context, frame []byte) error {
	if id, kind, body, ok := rendezvous.SplitFrame(frame); ok && c.byHand(ctx, id, kind, body) {
		return nil
	}
	f, err := rendezvous.ParseFrame(frame)
	if err != nil {
		return err
	}
	c.dispatch(ctx, f)
	return nil
}

// byHand hands a body that is parsed without the generated code to its handler. It reports false for any other, and for one that only the
// generated code can parse.
func (c *conn) byHand(ctx context.Context, id uint64, kind rendezvous.Kind, body []byte) bool {
	switch kind {
	case rendezvous.KindPing:
		token, ok := rendezvous.ParsePing(body)
		if ok {
			c.pong(id, token)
		}
		return ok
	case rendezvous.KindSubmit:
		device, envelope, liveOnly, ok := rendezvous.ParseSubmit(body)
		if ok {
			c.submit(id, device, envelope, liveOnly)
		}
		return ok
	case rendezvous.KindTaken:
		return c.carryTaken(ctx, body)
	default:
		return false
	}
}

// pong answers a heartbeat. Thousands of idle peers ask for little else, so it allocates nothing.
func (c *conn) pong(id, token uint64) {
	c.sent(c.writer.AddAppended(func(buf []byte) []byte { return rendezvous.AppendPong(buf, id, token) }))
}

// written ends the stream when its last frame is written, or none can be. After a clean end it gives the peer a moment to read what was said.
func (c *conn) written(err error) {
	if err != nil {
		_ = c.stream.Reset()
		return
	}
	_ = c.stream.CloseWrite()
	_ = c.stream.SetReadDeadline(time.Now().Add(lingerTimeout))
}

// watchdog runs when the stream may have to be cut: not signed in in time, silent, or told so by drop.
func (c *conn) watchdog() {
	why, again := c.overdue(time.Now())
	if why == nil {
		c.dog.Reset(again)
		return
	}
	c.dropped.CompareAndSwap(nil, why)
	_ = c.stream.Reset()
}

// silent is why a stream is cut on which nothing has been heard for too long, unsigned why one that has not signed in.
var silent, unsigned = "silent", "not signed in"

// overdue says why the stream is to be cut, or after what time to ask again.
func (c *conn) overdue(now time.Time) (why *string, again time.Duration) {
	if why = c.dropped.Load(); why != nil {
		return why, 0
	}
	quiet := now.Sub(time.Unix(0, c.heard.Load()))
	if quiet >= rendezvous.IdleTimeout {
		return &silent, 0
	}
	again = rendezvous.IdleTimeout - quiet
	if c.signed.Load() == nil {
		c.mu.Lock()
		left := c.deadline.Sub(now)
		c.mu.Unlock()
		if c.signing.Load() {
			left += signInGrace
		}
		if left <= 0 {
			return &unsigned, 0
		}
		again = min(again, left)
	}
	return nil, again
}

// drop cuts the stream soon. It never blocks: it is called with locks of the services held.
func (c *conn) drop(why string) {
	if c.dropped.CompareAndSwap(nil, &why) {
		c.ending.Store(true)
		c.writer.Close()
		c.dog.Reset(0)
	}
}

// end says goodbye and closes the stream when that is written. It does not wait.
func (c *conn) end(g *rendezvous.Goodbye) {
	if c.ending.Swap(true) {
		return
	}
	if l := c.link.Load(); l != nil {
		l.outcomes() // what is known is told before the end
	}
	_ = c.writer.Add(&rendezvous.Frame{Body: &rendezvous.Frame_Goodbye{Goodbye: g}})
	c.writer.Close()
}

// send queues a frame.
func (c *conn) send(f *rendezvous.Frame) { c.sent(c.writer.Add(f)) }

// sent takes what came of queueing a frame. A peer that does not read what it is sent is cut off.
func (c *conn) sent(err error) {
	switch {
	case err == nil || errors.Is(err, framing.ErrClosed):
	case errors.Is(err, framing.ErrQueueFull):
		c.drop("does not read")
	default:
		c.server.log.Error("a frame could not be encoded", slog.String("error", err.Error()))
		c.drop("a frame could not be encoded")
	}
}

// reply answers request id with a frame, or with the Failure that err amounts to.
func (c *conn) reply(id uint64, f *rendezvous.Frame, err error) {
	if err != nil {
		if _, ok := errors.AsType[*rendezvous.Error](err); !ok && !errors.Is(err, context.Canceled) {
			c.server.log.Error("a request failed", slog.String("error", err.Error()))
		}
		f = &rendezvous.Frame{Body: &rendezvous.Frame_Failure{Failure: failureOf(err)}}
	}
	f.Id = id
	c.send(f)
}

// failureOf is what a peer may know of err. That nothing can be stored is told apart: its person can do nothing but tell the operator.
func failureOf(err error) *rendezvous.Failure {
	if errors.Is(err, sqlite.ErrDiskFull) {
		return rendezvous.FailureOf(rendezvous.Errorf(rendezvous.CodeInternal, "the rendezvous cannot store anything at the moment"))
	}
	return rendezvous.FailureOf(err)
}
