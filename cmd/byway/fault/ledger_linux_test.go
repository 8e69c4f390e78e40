package fault

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/byway-chat/byway/cmd/byway/stage"
)

// letter is one message, from before it is given to a program until the end of the test.
type letter struct {
	id       string // also of the command; the body begins with it
	body     string
	from, to string
	lane     string // of the sender's programs
	count    int    // of the letters from this lane to this recipient, from 1

	typed                       uint64 // the screen of the program that got it; 0: none did
	answered                    bool   // that program has said what became of it
	accepted, stored, delivered bool
	code                        string   // of the error that answered it
	refused                     string   // the code of the error, or the reason of failed
	screens                     []uint64 // of the recipient's that have shown it, in that order
	since                       uint64   // the newest screen at the time when the first of them did
}

// direction is who wrote to whom, and by which of several programs of theirs: what two of them type at once has no order.
type direction struct{ from, lane, to string }

// ledger keeps every letter of a scenario and what the programs have said of it. Anybody may use it.
type ledger struct {
	run string // distinguishes the letters of this ledger from all others

	mu       sync.Mutex // guards the following
	letters  map[string]*letter
	byNumber map[string]*letter // by the id that the sender's program gave it
	counts   map[direction]int  // letters written
	newest   map[direction]int  // the highest count that was shown
	sum      tally
	strange  []string // what was never written, came late or is missing, in words; bounded
	changed  chan struct{}

	gapsExpected bool            // what a program calls missing is no fault
	copies       bool            // a home is used as two: what one has shown last the other may not know
	watchers     []chan<- string // get each state that is told: accepted, stored, delivered
}

// tally is a ledger in numbers. The first three count, all others must be 0.
type tally struct {
	accepted, delivered, shown int

	lost     int // accepted and neither shown nor in the recipient's history, or not in the sender's own
	twice    int // more than once on one screen, or in a history
	again    int // shown by a program that was started when another had shown it already; two that run at once show the same
	inverted int // on a screen for the first time, or in a history, after a later one of the same sender
	phantom  int // never written, refused, altered, or to somebody else
	gaps     int // messages that a program called missing

	unanswered int // given to a program that runs and has not said what became of them
}

func newLedger() *ledger {
	return &ledger{
		run:     fmt.Sprintf("%08x", rand.Uint32()),
		letters: map[string]*letter{}, byNumber: map[string]*letter{}, counts: map[direction]int{}, newest: map[direction]int{},
		changed: make(chan struct{}),
	}
}

// write makes the next letter. Padding is added to its body.
func (l *ledger) write(from, lane, to, padding string) *letter {
	l.mu.Lock()
	defer l.mu.Unlock()
	d := direction{from, lane, to}
	l.counts[d]++
	w := &letter{from: from, lane: lane, to: to, count: l.counts[d]}
	w.id = fmt.Sprintf("%s.%s%s.%s.%d", l.run, from, lane, to, w.count)
	w.body = w.id + " canary" + padding
	l.letters[w.id] = w
	return w
}

// note takes down an event that a program of user's has printed on a screen, which no other process writes to.
func (l *ledger) note(user string, screen uint64, e *stage.Event) {
	l.mu.Lock()
	defer l.mu.Unlock()
	defer l.tellLocked()
	switch e.Type {
	case "state":
		l.noteStateLocked(e)
	case "message":
		l.noteMessageLocked(user, screen, e)
	case "gap":
		if l.gapsExpected {
			return
		}
		l.sum.gaps += int(e.Last - e.First + 1)
		l.rememberLocked("%s misses %d to %d from %s", user, e.First, e.Last, e.From)
	case "error":
		// "failed" says that a disk did, which leaves open what it holds when it comes back; every other code says that nothing was accepted.
		if w := l.letters[e.Re]; w != nil {
			if w.answered, w.code = true, e.Code; e.Code != "failed" {
				w.refused = e.Code
			}
		}
	}
}

func (l *ledger) noteStateLocked(e *stage.Event) {
	w := l.letters[e.Re]
	if w == nil {
		w = l.byNumber[e.ID] // written by a process that was killed
	}
	if w == nil {
		return // it was killed before it had said the number
	}
	l.byNumber[e.ID] = w
	w.answered = true
	switch e.State {
	case "accepted":
		if !w.accepted {
			w.accepted = true
			l.sum.accepted++
		}
	case "stored":
		w.stored = true
	case "delivered":
		if !w.delivered {
			w.delivered = true
			l.sum.delivered++
		}
	case "failed":
		w.refused = e.Reason
	}
	for _, to := range l.watchers {
		select {
		case to <- e.State:
		default:
		}
	}
}

func (l *ledger) noteMessageLocked(user string, screen uint64, e *stage.Event) {
	body := ""
	if e.Body != nil {
		body = *e.Body
	}
	id, _, _ := strings.Cut(body, " ")
	w := l.letters[id]
	if w == nil || w.body != body || w.to != user || w.from != e.From {
		l.sum.phantom++
		l.rememberLocked("%s was shown %q from %s, which nobody has written so", user, body, e.From)
		return
	}
	before := w.screens
	w.screens = append(w.screens, screen)
	switch {
	case slices.Contains(before, screen):
		l.sum.twice++
		l.rememberLocked("%s was shown twice on one screen", w.id)
		return
	case len(before) > 0 && screen > w.since && !l.copies:
		l.sum.again++
		l.rememberLocked("%s was shown again on a later screen", w.id)
		return
	case len(before) > 0:
		return
	}
	w.since = screens.Load()
	l.sum.shown++
	d := direction{w.from, w.lane, w.to}
	if w.count < l.newest[d] {
		l.sum.inverted++
		l.rememberLocked("%s was shown after number %d", w.id, l.newest[d])
	}
	l.newest[d] = max(l.newest[d], w.count)
}

// rememberLocked keeps the first of what a failure should name.
func (l *ledger) rememberLocked(format string, args ...any) {
	if len(l.strange) < 20 {
		l.strange = append(l.strange, fmt.Sprintf(format, args...))
	}
}

func (l *ledger) tellLocked() {
	close(l.changed)
	l.changed = make(chan struct{})
}

// watch sends every state that is told to the channel, where it has room, until the function it returns is called.
func (l *ledger) watch(to chan<- string) (done func()) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.watchers = append(l.watchers, to)
	return func() {
		l.mu.Lock()
		defer l.mu.Unlock()
		l.watchers = nil
	}
}

// await waits until fits says yes, which is called with the lock held; false when the time is over.
func (l *ledger) await(patience time.Duration, fits func() bool) bool {
	over := time.After(patience)
	for {
		l.mu.Lock()
		ok, changed := fits(), l.changed
		l.mu.Unlock()
		if ok {
			return true
		}
		select {
		case <-changed:
		case <-over:
			return false
		}
	}
}

// owedLocked is how many letters were accepted, not failed later, and not shown yet.
func (l *ledger) owedLocked() int {
	owed := 0
	for _, w := range l.letters {
		if w.accepted && len(w.screens) == 0 {
			owed++
		}
	}
	return owed
}

// numbers returns the tally as it is now.
func (l *ledger) numbers() tally {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.sum
}

// typed takes down that a program was given a letter.
func (l *ledger) typed(w *letter, screen uint64) {
	l.mu.Lock()
	defer l.mu.Unlock()
	w.typed = screen
}

// unansweredLocked is how many letters one of these programs was given and has said nothing of.
func (l *ledger) unansweredLocked(running []uint64) (n int) {
	for _, w := range l.letters {
		if !w.answered && w.typed != 0 && slices.Contains(running, w.typed) {
			n++
		}
	}
	return n
}

// settle waits until the programs that run have answered everything and all that was accepted was shown; what is missing then is lost.
func (l *ledger) settle(running []uint64, patience time.Duration) {
	// Counting all letters at each event would cost more than the events: the sums first.
	settled := l.await(patience, func() bool {
		return l.sum.shown >= l.sum.accepted && l.owedLocked() == 0 && l.unansweredLocked(running) == 0
	})
	l.mu.Lock()
	defer l.mu.Unlock()
	if n := l.unansweredLocked(running); !settled && n > 0 {
		l.sum.unanswered += n
		l.rememberLocked("%d messages were neither accepted nor refused after %v", n, patience)
	}
	for _, w := range l.letters {
		if w.accepted && len(w.screens) == 0 {
			l.sum.lost++
			l.rememberLocked("%s was accepted (stored %v, delivered %v, refused %q) and never shown", w.id, w.stored, w.delivered, w.refused)
		}
		if len(w.screens) > 0 && w.refused != "" && !w.accepted {
			l.sum.phantom++
			l.rememberLocked("%s was refused (%s) and shown", w.id, w.refused)
		}
	}
}

// refusals counts the letters that were not accepted by what was said of them.
func (l *ledger) refusals() map[string]int {
	l.mu.Lock()
	defer l.mu.Unlock()
	codes := map[string]int{}
	for _, w := range l.letters {
		if w.code != "" {
			codes[w.code]++
		}
	}
	return codes
}

// check fails the test for each number that must be zero and is not.
func (l *ledger) check(t testing.TB) tally {
	t.Helper()
	l.mu.Lock()
	defer l.mu.Unlock()
	s := l.sum
	if !s.clean() {
		t.Errorf("of %d accepted messages: %s\n%s", s.accepted, s, strings.Join(l.strange, "\n"))
	}
	return s
}

// clean says whether all that must be zero is.
func (s tally) clean() bool {
	return s == tally{accepted: s.accepted, delivered: s.delivered, shown: s.shown}
}

// String is the numbers that must be zero, in words.
func (s tally) String() string {
	return fmt.Sprintf("lost %d, twice %d, printed again %d, out of order %d, phantom %d, missing %d, unanswered %d",
		s.lost, s.twice, s.again, s.inverted, s.phantom, s.gaps, s.unanswered)
}
