package main

import (
	"fmt"
	"sync"
	"time"
)

// Who comes and goes is told when it has lasted for settleTime: somebody who sends one message from a script and leaves is not worth two lines.
const (
	settleTime  = 3 * time.Second
	maxSettling = 1024 // people whose coming or going is being waited for; beyond them nothing is told
)

// comings holds back who came and went. Its timers end with stop.
type comings struct {
	tell func(line string) // called from timers

	mu       sync.Mutex // guards the following, and is held while tell runs
	settling map[string]*time.Timer
	stopped  bool
}

func newComings(tell func(line string)) *comings {
	return &comings{tell: tell, settling: map[string]*time.Timer{}}
}

// change takes that a user came or went. Two changes within settleTime are none.
func (c *comings) change(user string, online bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if timer := c.settling[user]; timer != nil {
		timer.Stop()
		delete(c.settling, user)
		return
	}
	if c.stopped || len(c.settling) >= maxSettling {
		return
	}
	var timer *time.Timer
	timer = time.AfterFunc(settleTime, func() {
		c.mu.Lock()
		defer c.mu.Unlock()
		if c.settling[user] != timer {
			return // changed back while this waited for the lock
		}
		delete(c.settling, user)
		if online {
			c.tell(fmt.Sprintf("* %s is online", clean(user)))
		} else {
			c.tell(fmt.Sprintf("* %s has left", clean(user)))
		}
	})
	c.settling[user] = timer
}

// stop ends the timers. Nothing is told after it has returned.
func (c *comings) stop() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.stopped = true
	for user, timer := range c.settling {
		timer.Stop()
		delete(c.settling, user)
	}
}
