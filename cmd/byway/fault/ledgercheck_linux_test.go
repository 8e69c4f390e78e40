package fault

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/byway-chat/byway/cmd/byway/stage"
)

// TestLedger is the control of everybody who asks a ledger: told of each fault there is, it counts it.
func TestLedger(t *testing.T) {
	roll.Begin(t)
	shown := func(l *ledger, screen uint64, w *letter) {
		l.note("bob", screen, &stage.Event{Type: "message", From: "alice", Body: &w.body})
	}
	state := func(l *ledger, w *letter, state string) {
		l.note("alice", 1, &stage.Event{Type: "state", Re: w.id, ID: "id of " + w.id, State: state, Reason: "expired"})
	}
	entry := func(w *letter) historyEntry { return historyEntry{Type: "message", From: w.from, Body: w.body} }
	for _, c := range []struct {
		name string
		do   func(l *ledger, a, b *letter, screen, later uint64) // a and b are from alice to bob, typed on screen 1 and accepted
		want tally
	}{
		{"nothing", func(l *ledger, a, b *letter, screen, later uint64) {
			shown(l, screen, a)
			shown(l, screen, b)
			l.collate("bob", "alice", []historyEntry{entry(a), entry(b)})
		}, tally{shown: 2}},
		{"never shown", func(l *ledger, a, b *letter, screen, later uint64) { shown(l, screen, a) }, tally{shown: 1, lost: 1}},
		{"not in the history", func(l *ledger, a, b *letter, screen, later uint64) {
			shown(l, screen, a)
			shown(l, screen, b)
			l.collate("bob", "alice", []historyEntry{entry(b)})
			l.collate("alice", "bob", []historyEntry{entry(a)})
		}, tally{shown: 2, lost: 2}},
		{"twice on a screen and in a history", func(l *ledger, a, b *letter, screen, later uint64) {
			shown(l, screen, a)
			shown(l, screen, b)
			shown(l, screen, a)
			l.collate("bob", "alice", []historyEntry{entry(a), entry(b), entry(b)})
		}, tally{shown: 2, twice: 2}},
		{"again on a screen that came later", func(l *ledger, a, b *letter, screen, later uint64) {
			shown(l, screen, a)
			shown(l, screen, b)
			shown(l, later, b)
		}, tally{shown: 2, again: 1}},
		{"on a screen beside", func(l *ledger, a, b *letter, screen, later uint64) {
			shown(l, screen, a)
			shown(l, screen-1, a)
			shown(l, screen-1, b)
		}, tally{shown: 2}},
		{"out of order", func(l *ledger, a, b *letter, screen, later uint64) {
			shown(l, screen, b)
			shown(l, screen, a)
			l.collate("bob", "alice", []historyEntry{entry(b), entry(a)})
		}, tally{shown: 2, inverted: 2}},
		{"altered, forged and refused", func(l *ledger, a, b *letter, screen, later uint64) {
			shown(l, screen, a)
			shown(l, screen, b)
			refused := l.write("alice", "", "bob", "")
			l.note("alice", 1, &stage.Event{Type: "error", Re: refused.id, Code: "disk-full"})
			shown(l, screen, refused)
			l.note("alice", screen, &stage.Event{Type: "message", From: "alice", Body: &a.body}) // to bob
			l.collate("bob", "alice", []historyEntry{entry(a), entry(b), {Type: "message", From: "bob", Body: a.body}, {Type: "message", From: "alice", Body: b.body + "!"}})
		}, tally{shown: 3, phantom: 4}},
		{"called missing", func(l *ledger, a, b *letter, screen, later uint64) {
			shown(l, screen, a)
			shown(l, screen, b)
			l.note("bob", screen, &stage.Event{Type: "gap", From: "alice", First: 3, Last: 5})
			l.collate("bob", "alice", []historyEntry{entry(a), {Type: "gap", From: "alice", First: 3, Last: 3}, entry(b)})
		}, tally{shown: 2, gaps: 4}},
		{"not answered", func(l *ledger, a, b *letter, screen, later uint64) {
			shown(l, screen, a)
			shown(l, screen, b)
			l.typed(l.write("alice", "", "bob", ""), 1)
			l.typed(l.write("alice", "", "bob", ""), 2) // to a program that does not run any more
		}, tally{shown: 2, unanswered: 1}},
	} {
		t.Run(c.name, func(t *testing.T) {
			l := newLedger()
			a, b := l.write("alice", "", "bob", ""), l.write("alice", "", "bob", "")
			for _, w := range []*letter{a, b} {
				l.typed(w, 1)
				state(l, w, "accepted")
			}
			c.do(l, a, b, screens.Add(2), screens.Load()+1_000_000)
			l.settle([]uint64{1}, time.Millisecond)
			c.want.accepted = 2
			if diff := cmp.Diff(l.numbers(), c.want, cmp.AllowUnexported(tally{})); diff != "" {
				t.Errorf("got - want +\n%s", diff)
			}
			if got, want := l.numbers().clean(), c.want.lost+c.want.twice+c.want.again+c.want.inverted+c.want.phantom+c.want.gaps+c.want.unanswered == 0; got != want {
				t.Errorf("clean: %v, want %v", got, want)
			}
		})
	}
}
