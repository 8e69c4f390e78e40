package link

import (
	"encoding/binary"
	"errors"
	"net"
	"time"
)

// now is the time of the link's own clock: nanoseconds since it began, never 0.
func (l *Link) now() int64 { return int64(time.Since(l.begun)) + 1 }

// alive notes that the other side was heard.
func (l *Link) alive() {
	l.heard.Store(l.now())
	l.owed.Store(0)
	if l.doubt.Load() {
		l.setDoubt(false)
	}
}

// expect notes that something was sent which the other side will answer in one way or another.
func (l *Link) expect() {
	if l.owed.Load() == 0 && l.owed.CompareAndSwap(0, l.now()) && l.resting.CompareAndSwap(true, false) {
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
	if err := l.ping(); err != nil {
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
	l.resting.Store(true) // before owed is read: whatever is sent later wakes us
	now, heard, owed := l.now(), l.heard.Load(), l.owed.Load()
	if now-heard >= int64(2*Heartbeat) {
		return 0, ErrSilent
	}
	due := heard + int64(2*Heartbeat)
	later := func(t int64, do func() error) error {
		if now < t {
			due = min(due, t)
			return nil
		}
		return do()
	}
	slow := min(2*l.smooth.Load(), int64(maxPatience))
	if owed != 0 { // and no ping of this look: that wakes us again
		l.resting.Store(false)
		due = min(due, now+int64(AskAfter)) // nothing wakes us when the answer comes, and then other times are due
		ask := owed + max(int64(AskAfter), slow)
		if l.asked.Load() < owed {
			if err := later(ask, l.ping); err != nil {
				return 0, err
			}
		}
		if !l.doubt.Load() {
			_ = later(ask+max(int64(doubtAfter), slow), func() error { l.setDoubt(true); return nil })
		}
	}
	if l.asked.Load() <= heard {
		if err := later(heard+int64(Heartbeat), l.ping); err != nil {
			return 0, err
		}
	}
	return time.Duration(due - now), nil
}

// ping uses the time of sending as token: a pong can answer only what was really sent last.
func (l *Link) ping() error {
	now := l.now()
	l.asked.Store(now)
	l.expect()
	err := l.enqueue(appendFrame(nil, kindPing, binary.BigEndian.AppendUint64(nil, uint64(now))))
	if errors.Is(err, ErrFull) {
		return nil // what fills the queue is itself a sign of life for the other side
	}
	return err
}

// measured takes a round trip. Patience follows slowly: one that an outage has made long says little about the way.
func (l *Link) measured(rtt int64) {
	l.rtt.Store(rtt)
	smooth := l.smooth.Load()
	if smooth == 0 {
		smooth = rtt
	}
	l.smooth.Store(smooth + (rtt-smooth)/4)
}

// setDoubt tells of a change. Doubt that has been answered meanwhile is none.
func (l *Link) setDoubt(doubtful bool) {
	l.doubtMu.Lock()
	defer l.doubtMu.Unlock()
	if l.doubt.Load() == doubtful || doubtful && l.owed.Load() == 0 {
		return
	}
	l.doubt.Store(doubtful)
	if l.handler.Doubt != nil {
		l.handler.Doubt(l, doubtful)
	}
}
