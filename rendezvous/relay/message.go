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
	sender   *Sender // to be told the outcome; nil once told, and for what came out of the mailbox
	number   uint64  // by which its sender knows it
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

const (
	// spareMessages is how many records of envelopes are kept for the next ones.
	spareMessages = 4096
	// spareData is the largest envelope whose memory is kept with them.
	spareData = 512
)

// newMessageLocked returns an empty record, perhaps with memory for its Data.
func (s *Service) newMessageLocked() *message {
	last := len(s.spare) - 1
	if last < 0 {
		return new(message)
	}
	m := s.spare[last]
	s.spare[last] = nil
	s.spare = s.spare[:last]
	return m
}

// recycleLocked keeps the record of an envelope that nothing refers to any more.
func (s *Service) recycleLocked(m *message, data []byte) {
	if len(s.spare) >= spareMessages {
		return
	}
	*m = message{}
	if cap(data) <= spareData {
		m.Data = data[:0]
	}
	s.spare = append(s.spare, m)
}

// tidings are the links on which something is to go out when the lock is free: a Flush may take locks of its own.
type tidings struct {
	few   [8]Link // the first of them
	count int     // of few
	more  []Link
}

// touch notes a link. One of many may come to be noted twice, which does no harm.
func (t *tidings) touch(l Link) {
	for _, known := range t.few[:t.count] {
		if known == l {
			return
		}
	}
	switch {
	case t.count < len(t.few):
		t.few[t.count] = l
		t.count++
	case len(t.more) == 0 || t.more[len(t.more)-1] != l:
		t.more = append(t.more, l)
	}
}

// tell is called without the lock.
func (t *tidings) tell() {
	for _, l := range t.few[:t.count] {
		l.Flush()
	}
	for _, l := range t.more {
		l.Flush()
	}
}

// resolveLocked ends a submission. Only the first outcome counts.
func (s *Service) resolveLocked(m *message, o Outcome, out *tidings) {
	x := m.sender
	if x == nil {
		return
	}
	m.sender = nil
	x.unresolved.remove(m.size)
	x.settleLocked(m.number, o, out)
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
