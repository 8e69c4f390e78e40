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

// snapshot is everybody who was online at some point of the log, in messages. It is immutable and shared by watchers.
type snapshot struct {
	at     uint64
	pieces []*rendezvous.Presence // at least one
}

// snapshotLocked returns the snapshot of the changes that watchers may know, making it at most once for all of them.
func (t *Tracker) snapshotLocked() *snapshot {
	// Between two tellings the map is ahead of told. Then the snapshot is of now, and changes since told come once more: they
	// say what the snapshot says.
	if t.all == nil {
		t.all = &snapshot{at: t.told}
		p := &rendezvous.Presence{Snapshot: true}
		for device, c := range t.devices {
			if len(p.Changes) == MaxChanges {
				t.all.pieces = append(t.all.pieces, p)
				p = &rendezvous.Presence{Snapshot: true}
			}
			join := change{kind: rendezvous.Change_JOIN, user: c.User, device: device}
			p.Changes = append(p.Changes, join.wire())
		}
		p.Last = true
		t.all.pieces = append(t.all.pieces, p)
	}
	return t.all
}

// news is the message of some changes, kept for the next watcher that is told the same.
type news struct {
	from, to uint64
	message  *rendezvous.Presence
}

// newsLocked returns the message of the changes from one number to another, and none of no change.
func (t *Tracker) newsLocked(from, to uint64) *rendezvous.Presence {
	if from == to {
		return nil
	}
	if t.news.message == nil || t.news.from != from || t.news.to != to {
		changes := make([]change, 0, to-from)
		for n := from; n < to; n++ {
			changes = append(changes, t.log.ring[n%Ring])
		}
		t.news = news{from: from, to: to, message: &rendezvous.Presence{Changes: compact(changes)}}
	}
	return t.news.message
}

// Watch begins to watch; the first messages of Next are the snapshot.
func (t *Tracker) Watch() *Watcher { return &Watcher{t: t} }

// Watcher is one connection's position in the changes. It is used by one goroutine at a time and needs no closing.
type Watcher struct {
	t       *Tracker
	started bool
	at      uint64                 // the next change to show
	pieces  []*rendezvous.Presence // of a snapshot that is being shown
}

// Next returns the next Presence message to push, and nil when there is nothing new. It never blocks. A device may be reported to be as it already
// was; the last report counts. Watchers at the same place get the same message, so it must not be changed, and what was encoded for one
// will do for the next.
func (w *Watcher) Next() *rendezvous.Presence {
	if len(w.pieces) == 0 {
		w.t.mu.Lock()
		defer w.t.mu.Unlock()
		if w.started && w.at >= w.t.log.begin() {
			to := w.at + min(w.t.told-w.at, MaxChanges)
			p := w.t.newsLocked(w.at, to)
			w.at = to
			return p
		}
		all := w.t.snapshotLocked()
		w.started, w.at, w.pieces = true, all.at, all.pieces
	}
	p := w.pieces[0]
	if w.pieces = w.pieces[1:]; len(w.pieces) == 0 {
		w.pieces = nil // an empty slice would keep the whole snapshot
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
