package relay

import "time"

// refusalsEvery is how often a device that is attached is told of refusals: whoever is refused may try again every second.
const refusalsEvery = time.Minute

// announced is what an attachment was told of refusals. It is guarded by Service.mu.
type announced struct {
	mark  uint64      // of the last Refusals that it was given; 0: none
	at    time.Time   // when it was given them
	told  bool        // its person knows of them
	again *time.Timer // runs out when it may be given more; nil: nothing more has been refused
}

// refusedLocked notes that an envelope for the device has just been refused and counted.
func (a *Attachment) refusedLocked() {
	s := a.s
	if a.ask || a.refused.again != nil {
		return
	}
	if wait := refusalsEvery - time.Since(a.refused.at); wait > 0 {
		a.refused.again = time.AfterFunc(wait, func() {
			s.mu.Lock()
			defer s.mu.Unlock()
			a.refused.again = nil
			a.ask = true
			s.wantReadLocked(a)
		})
		return
	}
	a.ask = true
	s.wantReadLocked(a)
}

// announceLocked tells the device what was refused, unless it has been told just that.
func (a *Attachment) announceLocked(r Refusals, out *tidings) {
	if r.Mark <= a.refused.mark {
		return
	}
	a.refused = announced{mark: r.Mark, at: time.Now(), again: a.refused.again}
	a.link.Refused(r)
	out.touch(a.link)
}

// Told says that the device has told its person of the Refusals with this mark. Other marks are ignored.
func (a *Attachment) Told(mark uint64) {
	s := a.s
	s.mu.Lock()
	defer s.mu.Unlock()
	if a.closed || mark == 0 || mark != a.refused.mark || a.refused.told {
		return
	}
	a.refused.told = true
	s.queue.told = append(s.queue.told, Told{To: a.device.to, Mark: mark})
	s.work.Signal()
}
