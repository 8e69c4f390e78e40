package natlab

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/byway-chat/byway/cmd/byway/stage"
)

// scene is one cut, as it was made.
type scene struct {
	from, to time.Time // to is when the next begins, or the end
	given    bool      // the way was given up
}

// scenes are the cuts as a story must tell them.
func scenes(all []outage, end time.Time) []scene {
	var list []scene
	for i, o := range all {
		s := scene{from: o.began, to: end, given: o.left > 0}
		if i+1 < len(all) {
			s.to = all[i+1].began
		}
		list = append(list, s)
	}
	return list
}

// step is one line of `byway trace`.
type step struct {
	Seq  uint64    `json:"seq"`
	Type string    `json:"type"`
	Time time.Time `json:"time"`
	What string    `json:"what"`
	User string    `json:"user"`
	Old  string    `json:"old"`
	New  string    `json:"new"`
	Why  string    `json:"why"`
	MS   *float64  `json:"ms"`
}

// storyteller is a `byway trace` beside a peer.
type storyteller struct {
	*stage.Stream
	about string
}

// listen has both peers tell what happens from now on.
func (c *conversation) listen() [2]*storyteller {
	c.t.Helper()
	var both [2]*storyteller
	for i, about := range []string{"bob", "alice"} {
		both[i] = &storyteller{Stream: c.people[i].Open("trace", about), about: about}
		both[i].Await("the story so far", func(e stage.Event) bool { return e.Type == "trace" })
	}
	return both
}

// steps is what was told so far.
func (s *storyteller) steps() (all []step, err error) {
	for line := range strings.Lines(s.Stdout()) {
		var v step
		if err := json.Unmarshal([]byte(line), &v); err != nil {
			return all, nil // it is being written
		}
		switch {
		case v.Type != "trace" || v.Seq != uint64(len(all)+1) || v.What == "lost":
			return nil, fmt.Errorf("step %d is %s", len(all)+1, line)
		case v.User != "" && v.User != s.about:
			return nil, fmt.Errorf("the story is about somebody else: %s", line)
		case strings.Contains(line, body(1)[:5]):
			return nil, fmt.Errorf("a text is in the story: %s", line)
		}
		all = append(all, v)
	}
	return all, nil
}

// tells reports how the story differs from the scenes: of each cut it must tell, in this order, that the way was doubted or lost, where it was given up that
// messages went by the relay, and then that it was there again, with the reason and the time of each change. Who has not noticed before the other side dials
// anew has a link replaced instead.
func (s *storyteller) tells(scenes []scene) error {
	all, err := s.steps()
	if err != nil {
		return err
	}
	at := 0
	find := func(what string, from, to time.Time, fits func(v step) bool) error {
		for ; at < len(all); at++ {
			v := all[at]
			if !v.Time.Before(from) && v.Time.Before(to) && fits(v) {
				at++
				return nil
			}
		}
		return fmt.Errorf("%s: between %s and %s it is not told that %s", s.Name, from.UTC().Format(clock), to.UTC().Format(clock), what)
	}
	for _, c := range scenes {
		err := find("the way is cut", c.from, c.to, func(v step) bool { return v.What == "doubt" || v.What == "link-down" })
		if err == nil && c.given {
			err = find("the way is given up", c.from, c.to, func(v step) bool {
				return v.What == "way" && v.New == "relay" && v.Old != "" && v.Why != "" && v.MS != nil || v.What == "link-down" && v.Why == "replaced"
			})
			if err == nil {
				err = find("another is found", c.from, c.to, func(v step) bool {
					return v.What == "way" && v.Old == "relay" && v.New != "" && v.Why != "" && v.MS != nil || v.What == "link-up"
				})
			}
		} else if err == nil {
			err = find("the way is there again", c.from, c.to, func(v step) bool { return v.What == "doubt-over" || v.What == "link-up" })
		}
		if err != nil {
			return err
		}
	}
	return nil
}

const clock = "15:04:05.000"

// check waits until both stories tell all cuts so far and their ends. A way may be used again before both sides trust it again.
func check(t testing.TB, tellers [2]*storyteller, all []outage) {
	t.Helper()
	for _, s := range tellers {
		var wrong error
		for deadline := time.Now().Add(worstBack); ; <-time.After(20 * time.Millisecond) {
			if wrong = s.tells(scenes(all, time.Now())); wrong == nil || time.Now().After(deadline) {
				break
			}
		}
		if wrong != nil {
			t.Fatalf("%v\n%s", wrong, s.Stdout())
		}
	}
}
