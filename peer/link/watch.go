package link

import (
	"encoding/binary"
	"errors"
	"math"
	"net"
	"time"
)

// never is a time of the link's clock that does not come.
const never = math.MaxInt64

// now is the time of the link's own clock: nanoseconds since it began, never 0.
func (l *Link) now() int64 { return int64(time.Since(l.begun)) + 1 }

// alive notes that the other side was heard.
func (l *Link) alive() {
	l.heard.Store(l.now())
	l.owed.Store(0)
}

// expect notes that something was sent which the other side will answer in one way or another.
func (l *Link) expect() {
	if l.owed.Load() == 0 {
		l.owed.CompareAndSwap(0, l.now())
	}
	if l.unproven.Load() == 0 {
		l.unproven.CompareAndSwap(0, l.now())
	}
	if l.resting.Load() && l.resting.CompareAndSwap(true, false) {
		l.look()
	}
}

// look makes watch look again.
func (l *Link) look() {
	select {
	case l.stir <- struct{}{}:
	default:
	}
}

// watch asks when it is time to, tells of doubt, and ends the link when the other side has been silent for too long. It sleeps until the next of
// these is due, and does not wake for each frame.
func (l *Link) watch() error {
	if _, err := l.ping(); err != nil {
		return err
	}
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		select {
		case <-l.done:
			return net.ErrClosed
		case <-l.stir:
		case <-timer.C:
		}
		next, err := l.check()
		if err != nil {
			return err
		}
		timer.Reset(next)
	}
}

// check does what is due and returns how long there is time until the next look.
func (l *Link) check() (time.Duration, error) {
	l.resting.Store(true) // before anything is read: whatever is sent later wakes us
	now, heard := l.now(), l.heard.Load()
	end := heard + int64(2*Heartbeat)
	if now >= end {
		return 0, ErrSilent
	}
	ask, doubt := l.dues(heard)
	if now >= ask {
		sent, err := l.ping()
		if err != nil {
			return 0, err
		}
		ask = never
		if !sent {
			ask = now + int64(AskAfter)
		}
	}
	if now >= doubt {
		doubt = never
		l.setDoubt(true)
	}
	due := min(end, ask, doubt)
	if l.owed.Load() != 0 || l.unproven.Load() != 0 || l.waits() {
		l.resting.Store(false)
		due = min(due, now+int64(AskAfter)) // nothing wakes us when the answer comes, and then other times are due
	}
	return time.Duration(due - now), nil
}

// dues returns when a ping is due and when the link is in doubt.
func (l *Link) dues(heard int64) (ask, doubt int64) {
	smooth := l.smooth.Load()
	patience := max(int64(AskAfter), min(smooth, int64(maxPatience)))
	more := max(int64(doubtAfter), min(2*smooth, int64(maxPatience)))
	ask, doubt = heard+int64(Heartbeat), never
	if owed := l.owed.Load(); owed != 0 {
		ask, doubt = min(ask, owed+patience), owed+patience+more
	}
	if unproven := l.unproven.Load(); unproven != 0 {
		ask = min(ask, unproven+int64(ProveAfter))
	}
	switch {
	case l.waits():
		ask, doubt = never, min(doubt, l.asked.Load()+int64(ProveAfter)+more)
	case l.again.Load() || l.doubt.Load():
		ask = 0 // only an answer ends a doubt
	}
	if l.doubt.Load() {
		doubt = never
	}
	return ask, doubt
}

// waits reports whether a ping is under way.
func (l *Link) waits() bool { return l.asked.Load() > l.answered.Load() }

// ping asks for an answer, and returns false where there is no room to. It uses the time of sending as token: a pong can answer only what was really
// sent last.
func (l *Link) ping() (sent bool, err error) {
	now, before := l.now(), l.asked.Load()
	l.again.Store(false)
	l.unproven.Store(0)
	l.asked.Store(now)
	l.owed.CompareAndSwap(0, now)
	err = l.enqueue(appendFrame(nil, kindPing, binary.BigEndian.AppendUint64(nil, uint64(now))))
	if errors.Is(err, ErrFull) {
		l.asked.Store(before) // what fills the queue is itself a sign of life for the other side
		return false, nil
	}
	return err == nil, err
}

// ponged takes the answer to a ping. One that ends a doubt may have waited for the end of an outage, and the next ping tells what the way is like.
func (l *Link) ponged(token int64) {
	if token != l.asked.Load() || !l.waits() {
		return
	}
	l.answered.Store(token)
	l.measured(l.now() - token)
	if l.doubt.Load() {
		l.setDoubt(false)
		l.again.Store(true)
		l.look()
	}
}

// measured takes a round trip. Patience follows slowly, and only what two in a row agree on: one that an outage has made long says nothing about the way.
func (l *Link) measured(rtt int64) {
	low := rtt
	if l.previous != 0 {
		low = min(rtt, l.previous)
	}
	l.previous = rtt
	l.rtt.Store(rtt)
	smooth := l.smooth.Load()
	if smooth == 0 {
		smooth = low
	}
	l.smooth.Store(smooth + (low-smooth)/4)
}

// setDoubt tells of a change. Doubt that has been answered meanwhile is none.
func (l *Link) setDoubt(doubtful bool) {
	l.doubtMu.Lock()
	defer l.doubtMu.Unlock()
	if l.doubt.Load() == doubtful || doubtful && l.owed.Load() == 0 && !l.waits() {
		return
	}
	l.doubt.Store(doubtful)
	if l.handler.Doubt != nil {
		l.handler.Doubt(l, doubtful)
	}
}
