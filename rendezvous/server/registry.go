package server

import (
	"context"
	"fmt"
	"sync"

	"github.com/libp2p/go-libp2p/core/peer"

	"github.com/byway-chat/byway/crypto/identity"
	"github.com/byway-chat/byway/rendezvous"
	"github.com/byway-chat/byway/rendezvous/directory"
)

// errEnded is what comes of a sign-in whose stream is ending. Nobody is there to be told.
var errEnded = fmt.Errorf("the stream has ended: %w", context.Canceled)

// registry knows every control stream, and which of them is a device's own.
type registry struct {
	admissions [256]sync.Mutex // by the first byte of a device's fingerprint; see admission

	mu       sync.Mutex // guards the following
	all      map[*conn]struct{}
	byDevice map[identity.Fingerprint]*conn
	byPeer   map[peer.ID]int // streams, signed in or not
	ending   bool            // no more are let in
	none     chan struct{}   // closed when ending and all is empty
}

func newRegistry() *registry {
	return &registry{
		all: make(map[*conn]struct{}), byDevice: make(map[identity.Fingerprint]*conn),
		byPeer: make(map[peer.ID]int), none: make(chan struct{}),
	}
}

// add lets a stream in, unless the server is stopping.
func (r *registry) add(c *conn) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.ending {
		return false
	}
	r.all[c] = struct{}{}
	r.byPeer[c.peer]++
	return true
}

// remove forgets a stream whose handler is about to return.
func (r *registry) remove(c *conn) {
	r.mu.Lock()
	defer r.mu.Unlock()
	delete(r.all, c)
	if who := c.signed.Load(); who != nil && r.byDevice[who.Device] == c {
		delete(r.byDevice, who.Device)
	}
	if r.byPeer[c.peer]--; r.byPeer[c.peer] <= 0 {
		delete(r.byPeer, c.peer)
	}
	r.closeNoneLocked()
}

func (r *registry) closeNoneLocked() {
	if !r.ending || len(r.all) > 0 {
		return
	}
	select {
	case <-r.none:
	default:
		close(r.none)
	}
}

// admission is the lock to be held while a stream of the device is admitted: from signIn until it has joined and is attached. Without
// it, the steps of two streams of one device could mix, and the one that stays would not be the one that is attached.
func (r *registry) admission(device identity.Fingerprint) *sync.Mutex {
	return &r.admissions[int(device[0])%len(r.admissions)]
}

// signIn makes c the stream of who's device and returns the one that was before. It refuses with busy when limit devices are signed in, and
// with errEnded where c has ended meanwhile: it must not throw out a stream that lives. The caller holds the device's admission.
func (r *registry) signIn(c *conn, who *directory.SignedIn, limit int) (replaced *conn, err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if c.ending.Load() {
		return nil, errEnded
	}
	replaced = r.byDevice[who.Device]
	if replaced == nil && len(r.byDevice) >= limit {
		return nil, errBusy("the rendezvous is full")
	}
	r.byDevice[who.Device] = c
	lasting := *who
	lasting.Entry = nil // is sent once and need not be kept
	c.signed.Store(&lasting)
	return replaced, nil
}

// present reports whether a peer has a stream on any of its connections. One that does not sign in is cut in time.
func (r *registry) present(p peer.ID) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.byPeer[p] > 0
}

// of returns the streams of an account.
func (r *registry) of(user rendezvous.Username) []*conn {
	r.mu.Lock()
	defer r.mu.Unlock()
	var conns []*conn
	for _, c := range r.byDevice {
		if c.signed.Load().User == user {
			conns = append(conns, c)
		}
	}
	return conns
}

func (r *registry) snapshot() []*conn {
	r.mu.Lock()
	defer r.mu.Unlock()
	conns := make([]*conn, 0, len(r.all))
	for c := range r.all {
		conns = append(conns, c)
	}
	return conns
}

// endAll lets no more streams in and says goodbye on those that are.
func (r *registry) endAll(g *rendezvous.Goodbye) {
	r.mu.Lock()
	r.ending = true
	r.closeNoneLocked()
	r.mu.Unlock()
	for _, c := range r.snapshot() {
		c.end(g)
	}
}

// abortAll cuts the streams that have not ended.
func (r *registry) abortAll() {
	for _, c := range r.snapshot() {
		_ = c.stream.Reset()
	}
}

// empty returns a channel that is closed when no stream is left after endAll.
func (r *registry) empty() <-chan struct{} { return r.none }
