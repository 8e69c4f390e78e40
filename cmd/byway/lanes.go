package main

import "sync"

// lanes lets what is done for one name happen in the order of joining, and what is done for others beside it.
type lanes struct {
	mu   sync.Mutex // guards the following
	last map[string]chan struct{}
}

// turn is a place in a lane.
type turn struct {
	name  string
	ready <-chan struct{} // closed when all before it have left
	over  chan struct{}
}

func newLanes() *lanes { return &lanes{last: map[string]chan struct{}{}} }

// join takes the next place for name.
func (l *lanes) join(name string) turn {
	l.mu.Lock()
	defer l.mu.Unlock()
	before, ok := l.last[name]
	if !ok {
		before = make(chan struct{})
		close(before)
	}
	over := make(chan struct{})
	l.last[name] = over
	return turn{name: name, ready: before, over: over}
}

// leave lets the next one begin. A lane without anybody is forgotten.
func (l *lanes) leave(t turn) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.last[t.name] == t.over {
		delete(l.last, t.name)
	}
	close(t.over)
}
