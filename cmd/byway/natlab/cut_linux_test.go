package natlab

import (
	"encoding/json"
	"fmt"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/byway-chat/byway/cmd/byway/stage"
)

// Of the conversations in which the direct way is cut.
const (
	pace     = 12 * time.Millisecond // between two messages
	shortCut = 3 * time.Second       // the link is in doubt, and not given up
	// longer is by how much one cut after the way was given up outlasts the one before, up to maxLonger: so they end at any moment of the search for it.
	longer    = 1300 * time.Millisecond
	maxLonger = 6 * time.Second

	worstOnTheWay = time.Second      // for every message, whatever is cut
	worstLeft     = 11 * time.Second // two heartbeats, and a second for a machine with other things to do
	worstBack     = 10 * time.Second
)

// outage is what one cut has led to.
type outage struct {
	arrived time.Duration // the longest from sending to the other device, of the messages that were sent just before and while nothing passed
	known   time.Duration // the longest until their sender knew
	left    time.Duration // until the way was given up; 0: it was not
	back    time.Duration // from the end of the cut until a message was sent that went by it again

	began time.Time // of the cut
}

// cutting is a direct way that is cut.
type cutting struct {
	name   string
	want   string
	build  func(w *internet) (place town, cut func(off bool))
	cuts   int // in the long form; half of them long
	enough int // messages in the long form, at least
}

// between are two places behind routers of a kind. The cut is between the routers.
func between(r router) func(w *internet) (town, func(bool)) {
	return func(w *internet) (town, func(bool)) {
		a, b := w.behind("a", r), w.behind("b", r)
		return apart(w, a.host("alice"), b.host("bob")), w.between(a.public, b.public)
	}
}

var cuttings = []cutting{
	{name: "punched over QUIC", want: "punched", build: between(cone), cuts: 20, enough: 10_000},
	{name: "punched over TCP", want: "punched", build: between(coneWithout), cuts: 10},
	{name: "the same, its end unheard", want: "punched", build: between(coneDeaf), cuts: 10},
	{name: "one LAN", want: "lan", cuts: 10, build: func(w *internet) (town, func(bool)) {
		l, t := together(w)
		return t, func(off bool) {
			l.isolate("alice", off)
			l.isolate("bob", off)
		}
	}},
	{name: "public - public", want: "direct", cuts: 10, build: func(w *internet) (town, func(bool)) {
		alice, a := w.publicAt("alice")
		bob, b := w.publicAt("bob")
		return apart(w, alice, bob), w.between(a, b)
	}},
}

// TestCut has alice write to bob while what passes between the two directly is cut off and let through again. Nothing may be lost, doubled or out of
// order, each message arrives within a second, and the way is used again within ten of its return.
func TestCut(t *testing.T) {
	t.Parallel()
	for i, k := range cuttings {
		t.Run(k.name, func(t *testing.T) {
			roll.Begin(t, stage.Linking, translating)
			if !long {
				k.cuts, k.enough = 2, 0
			}
			w := newInternet(t)
			place, cut := k.build(w)
			w.run()
			c := meet(t, place)
			if found, why, _ := c.settle(pair{name: "before", want: k.want}); found != k.want {
				t.Fatalf("the way is %s because %s\n%s", found, why, c.story())
			}
			t.Cleanup(func() { // whose fault it was is as often seen at the other end
				if t.Failed() {
					t.Logf("bob:\n%s", c.bob.Stderr())
				}
			})
			tellers := c.listen()
			f := &flow{c: c, over: make(chan struct{}), ended: make(chan struct{})}
			go f.run()
			r := cutRow{order: i, name: k.name}
			for n := range k.cuts {
				r.all = append(r.all, f.cut(cut, n))
				check(t, tellers, r.all)
			}
			for f.count() < k.enough {
				<-time.After(pace)
			}
			close(f.over)
			<-f.ended
			f.compare()
			r.messages = f.count()
			outages.add(r)
			if bad := r.bad(); bad != "" {
				t.Error(bad)
			}
		})
	}
}

// flow is a stream of numbered messages from alice to bob.
type flow struct {
	c     *conversation
	over  chan struct{} // closed to end it
	ended chan struct{} // closed when it has
	progress
}

// body is the text of a message, and the name under which alice hears of it.
func body(n int) string { return fmt.Sprintf("flow %d", n) }

// number is that of a message with such a text, or -1.
func number(text string) int {
	n, err := strconv.Atoi(strings.TrimPrefix(text, "flow "))
	if err != nil {
		return -1
	}
	return n
}

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

// cut keeps the two from each other: for a while, or until some time after alice has given the way up.
func (f *flow) cut(cut func(off bool), n int) (o outage) {
	f.c.t.Helper()
	first := max(1, f.count()-int(time.Second/pace)) // what is under way is of it too
	began := time.Now()
	cut(true)
	if n%2 == 1 {
		f.c.alice.Await("the way is given up", func(e stage.Event) bool { return e.Type == "route" && e.New == "relay" })
		o.left = time.Since(began)
		<-time.After(time.Duration(n/2) * longer % maxLonger)
	} else {
		<-time.After(shortCut)
	}
	last := f.count() + 1
	healed := time.Now()
	cut(false)
	o.began = began
	o.back = f.back(last, healed)
	o.arrived, o.known = f.slowest(first, last)
	f.c.t.Logf("%s messages %d to %d: arrived %v, known %v, left %v, back %v", began.UTC().Format(clock), first, last, o.arrived, o.known, o.left, o.back)
	return o
}

// back waits until a message that was sent after a moment has gone directly, and returns how long after it that was sent. Two places that can be
// dialled may have found each other by a punch this time.
func (f *flow) back(first int, after time.Time) time.Duration {
	f.c.t.Helper()
	e := f.c.alice.Await("the way is used again", func(e stage.Event) bool {
		return e.Type == "state" && e.State == "delivered" && e.Way != "relay" && e.Way != "mailbox" && number(e.Re) > first && f.at(number(e.Re)).After(after)
	})
	return f.at(number(e.Re)).Sub(after)
}

// slowest returns how long the slowest of these messages took until it was there, and until alice knew. It waits until all are.
func (f *flow) slowest(first, last int) (arrived, known time.Duration) {
	f.c.t.Helper()
	stage.Eventually(f.c.t, "all messages of the cut are delivered", func() bool {
		missing := 2 * (last - first + 1)
		arrived, known = 0, 0
		for line := range strings.Lines(f.c.alice.Stdout()) {
			var e stage.Event
			if json.Unmarshal([]byte(line), &e) == nil && e.Type == "state" && e.State == "delivered" && number(e.Re) >= first && number(e.Re) <= last {
				missing--
				known = max(known, time.Duration(*e.MS*float64(time.Millisecond)))
			}
		}
		for line := range strings.Lines(f.c.bob.Stdout()) {
			var e stage.Event
			if json.Unmarshal([]byte(line), &e) == nil && e.Type == "message" && e.Body != nil && number(*e.Body) >= first && number(*e.Body) <= last {
				missing--
				arrived = max(arrived, e.Received.Sub(e.Sent))
			}
		}
		return missing == 0
	})
	return arrived, known
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
