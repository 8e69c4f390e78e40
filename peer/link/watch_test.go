package link

import (
	"errors"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// doubts keeps what a link's owner is told of its doubts, and when.
type doubts struct {
	mu   sync.Mutex
	list []doubted
}

type doubted struct {
	doubtful bool
	at       time.Time
}

func (d *doubts) handler() Handler {
	return Handler{Receive: func(*Link, []byte) {}, Doubt: func(_ *Link, doubtful bool) {
		d.mu.Lock()
		defer d.mu.Unlock()
		d.list = append(d.list, doubted{doubtful, time.Now()})
	}}
}

func (d *doubts) all() []doubted {
	d.mu.Lock()
	defer d.mu.Unlock()
	return slices.Clone(d.list)
}

// TestDoubt: what is sent and not answered makes the link doubtful in about half a second, whatever the beat; the first answer ends that, and silence ends
// the link two heartbeats after the last frame.
func TestDoubt(t *testing.T) {
	for phase := range 5 {
		synctest.Test(t, func(t *testing.T) {
			p, told := newPair(t), new(doubts)
			alice, _ := p.open(t, told.handler(), ignore)
			time.Sleep(20*time.Second + time.Duration(phase)*time.Second)
			if got := told.all(); len(got) != 0 {
				t.Fatalf("a link that is well is in doubt: %v", got)
			}
			p.sever()
			if err := alice.Send([]byte("x")); err != nil {
				t.Fatal(err)
			}
			sent := time.Now()
			time.Sleep(AskAfter + doubtAfter - time.Millisecond)
			if got := told.all(); len(got) != 0 {
				t.Errorf("in doubt already %v after sending", got[0].at.Sub(sent))
			}
			time.Sleep(2 * time.Millisecond)
			got := told.all()
			if len(got) != 1 || !got[0].doubtful {
				t.Fatalf("got %v, want doubt", got)
			}
			p.weather(false, 5*time.Millisecond)
			time.Sleep(4 * time.Second)
			if got = told.all(); len(got) != 2 || got[1].doubtful {
				t.Fatalf("got %v, want the doubt to end", got)
			}
			p.sever()
			heard := alice.Heard()
			<-alice.Done()
			if took := time.Since(heard); took != 2*Heartbeat {
				t.Errorf("the link ended after %v of silence, want %v", took, 2*Heartbeat)
			}
			if got = told.all(); len(got) != 3 || !got[2].doubtful || got[2].at.Sub(heard) > Heartbeat+2*maxPatience {
				t.Errorf("got %v, want doubt again before the end", got)
			}
		})
	}
}

// TestOutagesTeachNothing: after any number of outages the link is in doubt as soon as after the first. A ping that has waited for the end of one says nothing
// about how long answers take.
func TestOutagesTeachNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p, told := newPair(t), new(doubts)
		alice, _ := p.open(t, told.handler(), ignore)
		time.Sleep(time.Second)
		for i := range 6 {
			p.sever()
			sent, before := time.Now(), len(told.all())
			if err := alice.Send([]byte("x")); err != nil {
				t.Fatal(err)
			}
			time.Sleep(3 * time.Second)
			if got := told.all(); len(got) != before+1 || got[before].at.Sub(sent) > AskAfter+doubtAfter {
				t.Errorf("outage %d, at %v: got %v, want doubt after %v", i, sent, got[before:], AskAfter+doubtAfter)
			}
			p.weather(false, 5*time.Millisecond)
			time.Sleep(4 * time.Second)
			if alice.Doubtful() {
				t.Fatalf("outage %d: still in doubt", i)
			}
		}
	})
}

// TestUnheard: one that hears the other side all the time and gets no answer is in doubt too, until it does.
func TestUnheard(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p, told := newPair(t), new(doubts)
		alice, bob := p.open(t, told.handler(), ignore)
		talk := func(d time.Duration) {
			for end := time.Now().Add(d); time.Now().Before(end); time.Sleep(50 * time.Millisecond) {
				if err := errors.Join(alice.Send([]byte("x")), bob.Send([]byte("x"))); err != nil {
					t.Fatal(err)
				}
			}
		}
		talk(10 * time.Second)
		if got := told.all(); len(got) != 0 {
			t.Fatalf("a link that is well is in doubt: %v", got)
		}
		p.muteAlice(true)
		muted := time.Now()
		talk(4 * time.Second)
		got := told.all()
		if len(got) != 1 || !got[0].doubtful || got[0].at.Sub(muted) > 3*ProveAfter {
			t.Fatalf("since %v: got %v, want doubt within %v, and for good", muted, got, 3*ProveAfter)
		}
		p.muteAlice(false)
		talk(4 * time.Second)
		if got = told.all(); len(got) != 2 || got[1].doubtful {
			t.Errorf("got %v, want the doubt to end", got)
		}
	})
}

// TestNoDoubt: neither one who only listens nor a slow way is doubted.
func TestNoDoubt(t *testing.T) {
	for _, latency := range []time.Duration{5 * time.Millisecond, 900 * time.Millisecond} {
		synctest.Test(t, func(t *testing.T) {
			p, told := newPair(t), new(doubts)
			alice, bob := p.open(t, told.handler(), told.handler())
			time.Sleep(3 * Heartbeat)
			p.weather(false, latency)
			time.Sleep(3 * Heartbeat) // the round trip is known
			before := len(told.all())
			for range 200 {
				if err := alice.Send([]byte("x")); err != nil {
					t.Fatal(err)
				}
				time.Sleep(173 * time.Millisecond)
			}
			if got := told.all(); len(got) != before || alice.Err() != nil || bob.Err() != nil {
				t.Errorf("one way %v: got %v, %v, %v, want no doubt", latency, got, alice.Err(), bob.Err())
			}
		})
	}
}
