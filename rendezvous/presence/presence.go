// Package presence knows which devices are connected to this rendezvous now, and tells those who watch. Use [Tracker.Join] for each
// signed-in connection and [Tracker.Watch] for each connection that asked to watch.
//
// A watcher first gets everybody who is online, then each change, gathered for [Gather] so that a storm of reconnects becomes few
// messages. Changes are kept in one ring for all watchers: a watcher that falls out of it gets a fresh snapshot, so it is never
// silently wrong and costs no more memory than its position. Watchers that are told the same share one message: see [Watcher.Next].
package presence

import (
	"cmp"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/libp2p/go-libp2p/core/peer"

	"github.com/byway-chat/byway/crypto/identity"
	"github.com/byway-chat/byway/rendezvous"
)

// Limits of a Tracker.
const (
	// Gather is how long changes are gathered before watchers are told.
	Gather = 50 * time.Millisecond
	// MaxChanges is how many changes one Presence message holds; with the longest names it stays under rendezvous.MaxFrame.
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
type Tracker struct {
	mu      sync.Mutex // guards the following
	devices map[identity.Fingerprint]*Connection
	users   map[rendezvous.Username]int // devices online
	log     changeLog
	told    uint64        // changes up to here may be shown to watchers
	tell    chan struct{} // closed when told rises
	timer   bool          // told will rise by itself
	all     *snapshot     // of the changes up to told; nil: none made yet
	news    news          // the message made last
}

// New makes an empty Tracker. It starts no goroutine; only a timer runs, for Gather after a change.
func New() *Tracker {
	return &Tracker{
		devices: make(map[identity.Fingerprint]*Connection),
		users:   make(map[rendezvous.Username]int),
		tell:    make(chan struct{}),
	}
}

// Join says that a device is connected, and returns the function that says that this connection is gone (idempotent). A second
// connection of a device takes the place of the first: watchers see no change, and the first one's leave does nothing.
func (t *Tracker) Join(c Connection) (leave func()) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if old := t.devices[c.Device]; old == nil {
		t.users[c.User]++
		t.noteLocked(rendezvous.Change_JOIN, c.User, c.Device)
	}
	present := &c
	t.devices[c.Device] = present
	return func() { t.leave(present) }
}

func (t *Tracker) leave(c *Connection) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.devices[c.Device] != c {
		return
	}
	delete(t.devices, c.Device)
	if t.users[c.User]--; t.users[c.User] == 0 {
		delete(t.users, c.User)
	}
	t.noteLocked(rendezvous.Change_LEAVE, c.User, c.Device)
}

// KeysChanged tells watchers that a device's bundle or addresses, from whom those are withheld, or its account's entry, has changed.
func (t *Tracker) KeysChanged(user rendezvous.Username, device identity.Fingerprint) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.noteLocked(rendezvous.Change_KEYS, user, device)
}

// noteLocked records a change and sees to it that watchers are told of it within Gather.
func (t *Tracker) noteLocked(kind rendezvous.Change_Kind, user rendezvous.Username, device identity.Fingerprint) {
	t.log.add(change{kind: kind, user: user, device: device})
	if t.timer {
		return
	}
	t.timer = true
	time.AfterFunc(Gather, func() {
		t.mu.Lock()
		defer t.mu.Unlock()
		t.timer = false
		t.told = t.log.end
		t.all, t.news = nil, news{} // out of date
		close(t.tell)
		t.tell = make(chan struct{})
	})
}

// Changed returns a channel that is closed when watchers have something new. Ask for it before they are asked.
func (t *Tracker) Changed() <-chan struct{} {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.tell
}

// Online says whether any device of the account is connected.
func (t *Tracker) Online(user rendezvous.Username) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.users[user] > 0
}

// DeviceOnline says whether the device is connected.
func (t *Tracker) DeviceOnline(device identity.Fingerprint) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.devices[device] != nil
}

// Active returns all connections in the order of user name and device.
func (t *Tracker) Active() []Connection {
	t.mu.Lock()
	present := slices.Collect(maps.Values(t.devices))
	t.mu.Unlock()
	active := make([]Connection, len(present))
	for i, c := range present { // a Connection never changes after Join
		active[i] = *c
	}
	slices.SortFunc(active, func(a, b Connection) int {
		return cmp.Or(cmp.Compare(a.User, b.User), slices.Compare(a.Device[:], b.Device[:]))
	})
	return active
}

// Count returns how many devices and how many accounts are connected.
func (t *Tracker) Count() (devices, users int) {
	t.mu.Lock()
	defer t.mu.Unlock()
	return len(t.devices), len(t.users)
}
