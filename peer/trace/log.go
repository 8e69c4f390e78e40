package trace

import (
	"context"
	"iter"
	"sync"
	"time"

	"golang.org/x/time/rate"
)

// Size is how many events a Log holds.
const Size = 4096

// Log is the story of one peer. It may be used by several goroutines. The zero value is not ready: use New.
type Log struct {
	mu      sync.Mutex
	ring    []Step        // guarded by mu; the event with seq s is at (s-1) % Size; it grows to Size
	last    uint64        // guarded by mu; seq of the newest, 0: none
	changed chan struct{} // guarded by mu; closed and replaced with each event
	closed  bool          // guarded by mu
	caused  *rate.Limiter // of what strangers cause
	omitted uint64        // guarded by mu; what it has kept out since the last that it let in
}

// What strangers cause takes only so many places a second, so that nobody can push the story out of the log.
const (
	causedPerSecond = 2
	causedBurst     = 50
)

// New makes an empty Log.
func New() *Log {
	return &Log{changed: make(chan struct{}), caused: rate.NewLimiter(causedPerSecond, causedBurst)}
}

// Add numbers and times an event, cleans its texts, and keeps it. It never waits. A Log that is closed ignores it, and so does
// a nil one.
func (l *Log) Add(e Step) {
	if l == nil {
		return
	}
	e.clean()
	l.mu.Lock()
	defer l.mu.Unlock()
	l.addLocked(e)
}

// AddCaused is AddWithin for what strangers can cause, all of them together.
func (l *Log) AddCaused(e Step) {
	if l != nil {
		l.AddWithin(l.caused, e)
	}
}

// AddWithin is Add for what others can cause as often as they like, within a limit. Where that comes too often it is left out, and told as one event Lost before
// the next that is let in by AddCaused or AddWithin.
func (l *Log) AddWithin(limit *rate.Limiter, e Step) {
	if l == nil {
		return
	}
	allowed := limit.Allow()
	if allowed {
		e.clean()
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if !allowed {
		l.omitted++
		return
	}
	if l.omitted > 0 {
		l.addLocked(Step{What: Lost, Lost: l.omitted})
		l.omitted = 0
	}
	l.addLocked(e)
}

func (l *Log) addLocked(e Step) {
	if l.closed {
		return
	}
	l.last++
	e.V, e.Type, e.Seq, e.Time = 1, Type, l.last, time.Now().UTC()
	if at := int((l.last - 1) % Size); at < len(l.ring) {
		l.ring[at] = e
	} else {
		l.ring = append(l.ring, e)
	}
	l.wakeLocked()
}

func (l *Log) wakeLocked() {
	close(l.changed)
	l.changed = make(chan struct{})
}

// Close ends all readers when they have read what is there.
func (l *Log) Close() {
	l.mu.Lock()
	defer l.mu.Unlock()
	if !l.closed {
		l.closed = true
		l.wakeLocked()
	}
}

// Options say what a reader gets.
type Options struct {
	User  string // only what concerns this contact, or this device as a whole; empty: everything
	After uint64 // resume after this seq; 0: from as far back as the Log reaches
	New   bool   // nothing that has happened before
	Held  bool   // nothing but that: the reader ends with the newest event there is
}

// Reader is one reader's place in a Log. It is for one goroutine; Close may be called from any.
type Reader struct {
	log  *Log
	user string
	next uint64 // seq of the next event to look at
	end  uint64 // seq of the last one; 0: there is none
	once sync.Once
	done chan struct{}
}

// Follow makes a reader. What happens from now on reaches it.
func (l *Log) Follow(o Options) *Reader {
	l.mu.Lock()
	defer l.mu.Unlock()
	r := &Reader{log: l, user: o.User, next: 1, done: make(chan struct{})}
	switch {
	case o.New:
		r.next = l.last + 1
	case o.After > 0 && o.After <= l.last:
		r.next = o.After + 1
	}
	if o.Held {
		r.end = l.last
		if l.last == 0 {
			r.Close()
		}
	}
	return r
}

// Close ends the reader; Events then ends too.
func (r *Reader) Close() { r.once.Do(func() { close(r.done) }) }

// Events yields what concerns the reader, oldest first, until ctx ends (then the error is ctx's), the reader or the Log is closed, or, for a
// reader of what is held, all of that was yielded. It can be ranged once.
func (r *Reader) Events(ctx context.Context) iter.Seq2[Step, error] {
	return func(yield func(Step, error) bool) {
		for ctx.Err() == nil {
			e, ok, changed := r.take()
			switch {
			case ok:
				if !yield(e, nil) {
					return
				}
				continue
			case changed == nil:
				return
			}
			select {
			case <-changed:
			case <-ctx.Done():
			case <-r.done:
				return
			}
		}
		yield(Step{}, ctx.Err())
	}
}

// take returns the next event if there is one, else a channel that is closed when there may be, or nil at the end.
func (r *Reader) take() (e Step, ok bool, changed <-chan struct{}) {
	select {
	case <-r.done:
		return Step{}, false, nil
	default:
	}
	l := r.log
	l.mu.Lock()
	defer l.mu.Unlock()
	if oldest := l.last + 1 - uint64(len(l.ring)); r.next < oldest {
		lost := oldest - r.next
		r.next = oldest
		return Step{V: 1, Type: Type, Time: time.Now().UTC(), What: Lost, Lost: lost}, true, nil
	}
	for r.next <= l.last && (r.end == 0 || r.next <= r.end) {
		e := l.ring[(r.next-1)%Size]
		r.next++
		if r.user == "" || e.User == "" || e.User == r.user {
			return e, true, nil
		}
	}
	if l.closed || r.end > 0 && r.next > r.end {
		return Step{}, false, nil
	}
	return Step{}, false, l.changed
}
