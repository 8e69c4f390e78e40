package main

import (
	"io"
	"sync"
)

// logs is where the log goes: to standard error, and while a line editor has the terminal through that. In raw mode each line would else begin where the
// one before has ended, in the middle of what is being typed.
type logs struct {
	stderr io.Writer // set before the log is used

	mu   sync.Mutex         // guards the following
	over func(string) error // nil: standard error
}

// divert sends what follows through print; nil ends that.
func (l *logs) divert(print func(string) error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.over = print
}

// Write writes one line of the log.
func (l *logs) Write(line []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.over == nil {
		return l.stderr.Write(line)
	}
	if err := l.over(string(line)); err != nil {
		return 0, err
	}
	return len(line), nil
}
