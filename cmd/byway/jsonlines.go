package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"strconv"
	"sync"
	"unicode/utf8"

	"github.com/byway-chat/byway/cmd/internal/ledger"
	"github.com/byway-chat/byway/cmd/internal/terminal"
	"github.com/byway-chat/byway/peer"
	"github.com/byway-chat/byway/peer/trace"
)

// lines writes JSON objects, one a line, numbered in the order in which they are written. It may be used by several goroutines.
type lines struct {
	w io.Writer // immutable

	mu   sync.Mutex // guards the following, and the order of writing
	seq  uint64
	book *ledger.Ledger // messages are printed through it; nil: they are written
}

// through lets messages be printed through a ledger from now on, or written, for nil.
func (l *lines) through(book *ledger.Ledger) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.book = book
}

// event writes e with the next number.
func (l *lines) event(e peer.Event) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.seq++
	e.V, e.Seq = 1, l.seq
	if m := markOf(&e); l.book != nil && m.Order > 0 {
		line, err := encodeLine(e)
		if err != nil {
			return err
		}
		return l.book.Print(line, m)
	}
	return l.writeLocked(e)
}

// step writes one line of the story of the ways with the next number.
func (l *lines) step(s trace.Step) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.seq++
	s.V, s.Seq = 1, l.seq
	return l.writeLocked(s)
}

// heading begins an object that is not an event of the peer.
type heading struct {
	V    int    `json:"v"`
	Seq  uint64 `json:"seq,omitempty"`
	Type string `json:"type"`
	Re   string `json:"re,omitempty"`
}

// reply writes one object of an answer in the event stream: v's fields after the heading. v may be nil.
func (l *lines) reply(kind, re string, v any) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.seq++
	return l.writeLocked(joined{heading{V: 1, Seq: l.seq, Type: kind, Re: re}, v})
}

// entry writes one object of a list: v's fields after the heading, without a number.
func (l *lines) entry(kind string, v any) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.writeLocked(joined{heading{V: 1, Type: kind}, v})
}

func (l *lines) writeLocked(v any) error {
	line, err := encodeLine(v)
	if err != nil {
		return err
	}
	_, err = l.w.Write(line)
	return terminal.Unwritten(err)
}

// joined is the fields of two objects in one.
type joined struct {
	head heading
	tail any // a struct or nil
}

// MarshalJSON puts the second object's fields behind the first's.
func (j joined) MarshalJSON() ([]byte, error) {
	head, err := json.Marshal(j.head)
	if err != nil || j.tail == nil {
		return head, err
	}
	tail, err := json.Marshal(j.tail)
	if err != nil {
		return nil, err
	}
	if bytes.Equal(tail, []byte("{}")) {
		return head, nil
	}
	return append(append(head[:len(head)-1], ','), tail[1:]...), nil
}

// encodeLine is v as one line of JSON that can do nothing to a terminal it may end on: besides the controls that JSON must escape it
// escapes DEL, the C1 controls, line separators and all that turns the direction of writing.
func encodeLine(v any) ([]byte, error) {
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	if err := e.Encode(v); err != nil {
		return nil, fmt.Errorf("encoding JSON: %w", err)
	}
	return escape(b.Bytes()), nil
}

// escape rewrites runes that a terminal would obey. In valid JSON they stand only within strings.
func escape(line []byte) []byte {
	if !bytes.ContainsFunc(line, commands) {
		return line
	}
	out := make([]byte, 0, len(line)+64)
	for len(line) > 0 {
		r, n := utf8.DecodeRune(line)
		if commands(r) {
			out = append(out, `\u`...)
			out = append(out, fourHex(r)...)
		} else {
			out = append(out, line[:n]...)
		}
		line = line[n:]
	}
	return out
}

func fourHex(r rune) string { return strconv.FormatInt(0x10000|int64(r), 16)[1:] }

// commands says whether a terminal may act on r: invisible, one of a direction, or a control above ASCII. All lie below U+10000.
func commands(r rune) bool {
	switch {
	case r >= 0x7f && r <= 0x9f, r == 0xad, r == 0x61c, r == 0x180e, r == 0xfeff:
		return true
	case r >= 0x200b && r <= 0x200f && r != 0x200c && r != 0x200d, r >= 0x2028 && r <= 0x202e, r >= 0x2060 && r <= 0x206f:
		return true
	}
	return false
}
