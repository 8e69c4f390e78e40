package presence

import (
	"maps"
	"slices"

	"github.com/byway-chat/byway/crypto/identity"
	"github.com/byway-chat/byway/rendezvous"
)

// change is one event, numbered by its place in the log.
type change struct {
	kind   rendezvous.Change_Kind
	user   rendezvous.Username
	device identity.Fingerprint
}

func (c *change) wire() *rendezvous.Change {
	return &rendezvous.Change{Kind: c.kind, Username: string(c.user), Device: c.device[:]}
}

// changeLog holds the last Ring changes. It belongs to the Tracker and is guarded by its lock.
type changeLog struct {
	ring []change // change n at n % Ring
	end  uint64   // number of the next change; the first is 0
}

func (l *changeLog) add(c change) {
	if len(l.ring) < Ring {
		l.ring = append(l.ring, c)
	} else {
		l.ring[l.end%Ring] = c
	}
	l.end++
}

// begin is the oldest change that is still there.
func (l *changeLog) begin() uint64 { return l.end - uint64(len(l.ring)) }

// snapshot is everybody who was online at some point of the log. It is immutable and shared by watchers.
type snapshot struct {
	at     uint64
	online []change
}

// snapshotLocked returns the snapshot of the changes that watchers may know, making it at most once for all of them.
func (t *Tracker) snapshotLocked() *snapshot {
	// Between two tellings the map is ahead of told. Then the snapshot is of now, and changes since told come once more: they
	// say what the snapshot says.
	if t.all == nil || t.all.at != t.told {
		t.all = &snapshot{at: t.told, online: make([]change, 0, len(t.devices))}
		for device, c := range t.devices {
			t.all.online = append(t.all.online, change{kind: rendezvous.Change_JOIN, user: c.User, device: device})
		}
	}
	return t.all
}

// Watch begins to watch; the first messages of Next are the snapshot.
func (t *Tracker) Watch() *Watcher { return &Watcher{t: t} }

// Watcher is one connection's position in the changes. It is used by one goroutine and needs no closing.
type Watcher struct {
	t       *Tracker
	started bool
	at      uint64    // the next change to show
	all     *snapshot // being shown; nil: none
	shown   int       // of it
}

// closed is always ready.
var closed = func() chan struct{} {
	c := make(chan struct{})
	close(c)
	return c
}()

// Ready returns a channel that is closed when Next may have something. Ask for it anew after each Next.
func (w *Watcher) Ready() <-chan struct{} {
	w.t.mu.Lock()
	defer w.t.mu.Unlock()
	if !w.started || w.all != nil || w.at < w.t.told {
		return closed
	}
	return w.t.tell
}

// Next returns the next Presence message to push, and nil when there is nothing new. It never blocks. A device may be reported to be as it already
// was; the last report counts.
func (w *Watcher) Next() *rendezvous.Presence {
	if w.all != nil {
		return w.nextPiece()
	}
	w.t.mu.Lock()
	if !w.started || w.at < w.t.log.begin() {
		w.started = true
		w.all, w.shown = w.t.snapshotLocked(), 0
		w.at = w.all.at
		w.t.mu.Unlock()
		return w.nextPiece()
	}
	n := min(w.t.told-w.at, MaxChanges)
	news := make([]change, 0, n)
	for range n {
		news = append(news, w.t.log.ring[w.at%Ring])
		w.at++
	}
	w.t.mu.Unlock()
	if n == 0 {
		return nil
	}
	return &rendezvous.Presence{Changes: compact(news)}
}

// nextPiece returns the next part of the snapshot.
func (w *Watcher) nextPiece() *rendezvous.Presence {
	n := min(len(w.all.online)-w.shown, MaxChanges)
	p := &rendezvous.Presence{Snapshot: true, Changes: make([]*rendezvous.Change, n)}
	for i := range n {
		p.Changes[i] = w.all.online[w.shown+i].wire()
	}
	w.shown += n
	if w.shown == len(w.all.online) {
		p.Last = true
		w.all = nil
	}
	return p
}

// compact keeps of each device the last coming or going and one change of keys, in the order of their last ones.
func compact(changes []change) []*rendezvous.Change {
	type key struct {
		device identity.Fingerprint
		keys   bool
	}
	last := make(map[key]int, len(changes))
	for i, c := range changes {
		last[key{c.device, c.kind == rendezvous.Change_KEYS}] = i
	}
	out := make([]*rendezvous.Change, 0, len(last))
	for _, i := range slices.Sorted(maps.Values(last)) {
		out = append(out, changes[i].wire())
	}
	return out
}
