// Package presence knows which devices are connected to this rendezvous now, and tells those who watch. Use [Tracker.Join] for each
// signed-in connection and [Tracker.Watch] for each connection that asked to watch.
//
// A watcher first gets everybody who is online, then each change, gathered for [Gather] so that a storm of reconnects becomes few frames. Changes are
// kept in one ring for all watchers: a watcher that falls out of it gets a fresh snapshot, so it is never silently wrong and never costs
// more memory than its position.
package presence

import (
	"time"

	"github.com/byway-chat/byway/crypto/identity"
	"github.com/byway-chat/byway/rendezvous"
	"github.com/libp2p/go-libp2p/core/peer"
)

// Limits of a Tracker.
const (
	// Gather is how long changes are gathered before watchers are told.
	Gather = 50 * time.Millisecond
	// MaxChanges is how many changes one Presence message holds; with the longest names it stays well under rendezvous.MaxFrame.
	MaxChanges = 1000
	// Ring is how many changes are kept for slow watchers.
	Ring = 8192
)

// Connection is a signed-in connection, as `rendezvous active` shows it.
type Connection struct {
	User      rendezvous.Username
	Device    identity.Fingerprint
	PeerID    peer.ID
	Since     time.Time
	Transport string // "tcp" or "quic"
	Agent     string // as the peer calls itself; uncleaned
	Address   string // remote multiaddr; shown only where asked for
}

// Tracker knows who is connected. Its methods may be called from any goroutine.
type Tracker struct{}

// New makes an empty Tracker. It starts no goroutine; only a timer runs, for Gather after a change.
func New() *Tracker { return &Tracker{} }

// Join says that a device is connected, and returns the function that says that this connection is gone (idempotent). A second
// connection of a device takes the place of the first: watchers see no change, and the first one's leave does nothing.
func (t *Tracker) Join(c Connection) (leave func()) { return func() {} }

// KeysChanged tells watchers that a device's bundle or addresses, or its account's entry, has changed.
func (t *Tracker) KeysChanged(user rendezvous.Username, device identity.Fingerprint) {}

// Online says whether any device of the account is connected.
func (t *Tracker) Online(user rendezvous.Username) bool { return false }

// DeviceOnline says whether the device is connected.
func (t *Tracker) DeviceOnline(device identity.Fingerprint) bool { return false }

// Active returns all connections in the order of user name and device.
func (t *Tracker) Active() []Connection { return nil }

// Count returns how many devices and how many accounts are connected.
func (t *Tracker) Count() (devices, users int) { return 0, 0 }

// Watch begins to watch; the first messages of Next are the snapshot.
func (t *Tracker) Watch() *Watcher { return &Watcher{} }

// Watcher is one connection's position in the changes. It is used by one goroutine.
type Watcher struct{}

// Ready returns a channel that is closed when Next has something. Ask for it anew after each Next.
func (w *Watcher) Ready() <-chan struct{} { return nil }

// Next returns the next Presence message to push, and nil when there is nothing new. It never blocks.
func (w *Watcher) Next() *rendezvous.Presence { return nil }
