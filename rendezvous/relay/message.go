package relay

import "time"

// state is where an envelope is.
type state uint8

const (
	live       state = iota // in memory, given to its attachment, in the list of live ones
	queued                  // in memory, in the queue of the committer
	committing              // in memory, in the transaction that is running
	kept                    // in the mailbox under row; its data is gone from memory
	over                    // nowhere
)

// message is one envelope on its way, from Submit or from the mailbox. It is guarded by Service.mu.
type message struct {
	Envelope
	liveOnly bool
	size     uint64
	done     func(Outcome) // nil once told, and for what came out of the mailbox
	charged  bool          // it counts in its sender's and in the Service's memory
	state    state
	forget   bool        // it was taken while it was queued or committing
	windowed bool        // it came out of the mailbox and counts in its attachment's window
	given    *Attachment // that has it and has not said Taken; nil: none
	id       uint64      // on that attachment
	row      uint64      // while kept
	deadline time.Time   // while live
	previous *message    // while live
	next     *message    // while live
}

// tidings are outcomes to tell when the lock is free: a caller's done may take locks of its own.
type tidings []func()

func (t tidings) tell() {
	for _, f := range t {
		f()
	}
}

// resolveLocked ends a submission. Only the first outcome counts.
func (s *Service) resolveLocked(m *message, o Outcome, out *tidings) {
	if m.done == nil {
		return
	}
	done := m.done
	m.done = nil
	*out = append(*out, func() { done(o) })
	if m.charged {
		u := s.senders[m.From.Device]
		if u.remove(m.size); u.Messages == 0 {
			delete(s.senders, m.From.Device)
		}
	}
	s.countLocked(m, o)
}

// dropLocked forgets an envelope that is in memory.
func (s *Service) dropLocked(m *message, to state) {
	m.state = to
	m.Data = nil
	s.counters.InMemory.remove(m.size)
}

// liveList holds what is live, the oldest first. All have the same time to be taken, so that is the order of their deadlines.
type liveList struct{ first, last *message }

func (l *liveList) push(m *message) {
	m.previous, m.next = l.last, nil
	if l.last == nil {
		l.first = m
	} else {
		l.last.next = m
	}
	l.last = m
}

func (l *liveList) remove(m *message) {
	if m.previous == nil {
		l.first = m.next
	} else {
		m.previous.next = m.next
	}
	if m.next == nil {
		l.last = m.previous
	} else {
		m.next.previous = m.previous
	}
	m.previous, m.next = nil, nil
}
