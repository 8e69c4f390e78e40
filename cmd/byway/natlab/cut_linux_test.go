package natlab

import (
	"encoding/json"
	"fmt"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/byway-chat/byway/cmd/byway/stage"
)

// Of the conversation in which the direct way is cut.
const (
	pace     = 12 * time.Millisecond // between two messages
	shortCut = 3 * time.Second       // the link is in doubt, and not given up
)

// outage is what one cut has led to.
type outage struct {
	slowest time.Duration // from sending to delivered, of the messages that were sent while nothing passed
	left    time.Duration // until the way was given up; 0: it was not
	back    time.Duration // from the end of the cut until it was used again
}

// TestCut has alice write to bob behind another router, while what passes between the two routers is cut off and let through again. Nothing may
// be lost, doubled or out of order.
func TestCut(t *testing.T) {
	roll.Begin(t, stage.Linking, translating)
	cuts, enough := 2, 1500 // messages
	if long {
		cuts, enough = 10, 10_000
	}
	w := newInternet(t)
	a, b := w.behind("a", cone), w.behind("b", cone)
	place := apart(w, a.host("alice"), b.host("bob"))
	w.run()
	c := meet(t, place)
	if found, why, _ := c.settle(pair{name: "before", want: "punched"}); found != "punched" {
		t.Fatalf("the way is %s because %s\n%s", found, why, c.story())
	}
	f := &flow{c: c, over: make(chan struct{}), ended: make(chan struct{})}
	go f.run()
	var all []outage
	for i := range cuts {
		all = append(all, f.cut(w, a.public, b.public, i%2 == 1))
	}
	for f.count() < enough {
		<-time.After(pace)
	}
	close(f.over)
	<-f.ended
	f.compare()
	outages.add(all, f.count())
}

// flow is a stream of numbered messages from alice to bob.
type flow struct {
	c     *conversation
	over  chan struct{} // closed to end it
	ended chan struct{} // closed when it has
	progress
}

// body is the text of a message.
func body(n int) string { return fmt.Sprintf("flow %d", n) }

func (f *flow) run() {
	defer close(f.ended)
	tick := time.NewTicker(pace)
	defer tick.Stop()
	for {
		select {
		case <-f.over:
			return
		case <-tick.C:
		}
		text := body(f.count() + 1)
		line, _ := json.Marshal(map[string]any{"id": text, "cmd": "send", "to": "bob", "body": text}) // strings always encode
		if err := f.c.alice.TryWrite(string(line)); err != nil {
			f.c.t.Error(err)
			return
		}
		f.step()
	}
}

// cut keeps two routers from each other: for a while, or until alice has given the way up.
func (f *flow) cut(w *internet, a, b netip.Addr, long bool) (o outage) {
	f.c.t.Helper()
	first := f.count() + 1
	began := time.Now()
	w.fabric.Set(func(from, to netip.Addr) stage.Weather {
		return stage.Weather{Delay: halfTrip, Down: from == a && to == b || from == b && to == a}
	})
	if long {
		f.c.alice.Await("the way is given up", func(e stage.Event) bool { return e.Type == "route" && e.Old == "punched" })
		o.left = time.Since(began)
	} else {
		<-time.After(shortCut)
	}
	last := f.count()
	healed := time.Now()
	w.fabric.All(stage.Weather{Delay: halfTrip})
	if long {
		f.c.alice.Await("the way is there again", func(e stage.Event) bool { return e.Type == "route" && e.New == "punched" })
		o.back = time.Since(healed)
	}
	o.slowest = f.slowest(first, last)
	f.c.t.Logf("%v messages %d to %d: %+v", began.UTC().Format("15:04:05.000"), first, last, o)
	return o
}

// slowest returns how long the slowest of these messages took until it was delivered. It waits until all are.
func (f *flow) slowest(first, last int) (slow time.Duration) {
	f.c.t.Helper()
	wanted := map[string]bool{}
	for n := first; n <= last; n++ {
		wanted[body(n)] = true
	}
	stage.Eventually(f.c.t, "all messages of the cut are delivered", func() bool {
		missing := len(wanted)
		slow = 0
		for line := range strings.Lines(f.c.alice.Stdout()) {
			var e stage.Event
			if json.Unmarshal([]byte(line), &e) == nil && e.Type == "state" && e.State == "delivered" && wanted[e.Re] {
				missing--
				slow = max(slow, time.Duration(*e.MS*float64(time.Millisecond)))
			}
		}
		return missing == 0
	})
	return slow
}

// compare fails the test where bob has not seen every message once and in order.
func (f *flow) compare() {
	f.c.t.Helper()
	next := 1
	f.c.bob.Await("the last message", func(e stage.Event) bool {
		if e.Type != "message" || e.Body == nil || !strings.HasPrefix(*e.Body, "flow ") {
			if e.Type == "gap" {
				f.c.t.Errorf("a gap: %+v", e)
			}
			return false
		}
		if *e.Body != body(next) {
			f.c.t.Fatalf("%q came where %q was due", *e.Body, body(next))
		}
		next++
		return next > f.count()
	})
}
