package fault

import (
	"fmt"
	"strings"
	"testing"

	"github.com/byway-chat/byway/cmd/byway/stage"
)

// historyEntry is one line of `byway history --json`.
type historyEntry struct {
	Type  string `json:"type"` // message, or gap: something that will never come
	From  string `json:"from"`
	To    string `json:"to"`
	Body  string `json:"body"`
	State string `json:"state"`
	First uint64 `json:"first"` // of a gap, as Last
	Last  uint64 `json:"last"`
}

// maxHistory is how many messages a history prints at most.
const maxHistory = 10_000

// audit compares what somebody's program tells of a conversation with the ledger.
func (l *ledger) audit(t testing.TB, of *stage.Person, with string) {
	t.Helper()
	out := of.Must(0, "history", with, "--json", "--limit", fmt.Sprint(maxHistory)).Out
	l.collate(of.User, with, stage.ParseLines[historyEntry](t, out))
}

// collate compares user's history of the conversation with another with the ledger. All that was accepted must be in it, once and in order, and
// nothing else.
func (l *ledger) collate(user, with string, history []historyEntry) {
	l.mu.Lock()
	defer l.mu.Unlock()
	met := map[string]int{}
	newest := map[direction]int{}
	for _, h := range history {
		if h.Type == "gap" {
			if !l.gapsExpected {
				l.sum.gaps++
				l.rememberLocked("the history of %s misses something from %s", user, h.From)
			}
			continue
		}
		id, _, _ := strings.Cut(h.Body, " ")
		w := l.letters[id]
		if w == nil || w.body != h.Body || w.from != h.From || w.refused != "" && !w.accepted {
			l.sum.phantom++
			l.rememberLocked("the history of %s has %q from %s", user, h.Body, h.From)
			continue
		}
		if met[id]++; met[id] > 1 {
			l.sum.twice++
			l.rememberLocked("%s is %d times in the history of %s", id, met[id], user)
			continue
		}
		d := direction{w.from, w.lane, w.to}
		if w.count < newest[d] {
			l.sum.inverted++
			l.rememberLocked("%s stands after number %d in the history of %s", id, newest[d], user)
		}
		newest[d] = max(newest[d], w.count)
	}
	for id, w := range l.letters {
		here := w.from == user && w.to == with || w.from == with && w.to == user
		if here && w.accepted && met[id] == 0 {
			l.sum.lost++
			l.rememberLocked("%s was accepted and is not in the history of %s", id, user)
		}
	}
}
