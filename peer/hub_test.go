package peer

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"

	"github.com/google/go-cmp/cmp"
)

// label is what a test sees of an event.
func label(e Event) string {
	switch e.Type {
	case EventReady:
		return "ready"
	case EventMessage:
		return fmt.Sprint("m", e.Order)
	case EventError:
		return e.Code
	}
	return e.ID
}

// read takes events until the subscription has nothing more to say. It must run in a bubble.
func read(t *testing.T, s *Subscription) string {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	var mu sync.Mutex
	var got []string
	done := make(chan error, 1)
	go func() {
		for e, err := range s.Events(ctx) {
			if err != nil {
				done <- err
				return
			}
			mu.Lock()
			got = append(got, label(e))
			mu.Unlock()
		}
		done <- nil
	}()
	synctest.Wait()
	cancel()
	if err := <-done; err != nil && !errors.Is(err, context.Canceled) {
		t.Errorf("events end with %v", err)
	}
	mu.Lock()
	defer mu.Unlock()
	return strings.Join(got, " ")
}

func ready() Event { return Event{Type: EventReady, Rendezvous: &Rendezvous{PeerID: "r"}} }

func state(id string) Event { return Event{Type: EventState, ID: id} }

func message(order int64) Event { return Event{Type: EventMessage, Order: order} }

// shelf is a history that knows messages which no face has shown.
type shelf struct {
	mu     sync.Mutex
	orders []int64
	page   int
	during func() // runs within a load
	err    error
}

func (s *shelf) unseen(_ context.Context, after int64) ([]Event, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.during != nil {
		s.during()
		s.during = nil
	}
	var out []Event
	for _, o := range s.orders {
		if o > after && len(out) < s.page {
			out = append(out, message(o))
		}
	}
	return out, s.err
}

func want(t *testing.T, got, want string) {
	t.Helper()
	if diff := cmp.Diff(got, want); diff != "" {
		t.Errorf("events differ (-got +want):\n%s", diff)
	}
}

func TestReadyComesFirst(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHub()
		early := h.subscribe(EventOptions{})
		h.publish(state("before"))
		want(t, read(t, early), "") // nothing is told before ready
		h.publish(ready())
		h.publish(state("after"))
		want(t, read(t, early), "ready before after")
		late := h.subscribe(EventOptions{})
		h.publish(state("later"))
		want(t, read(t, late), "ready later")
		want(t, read(t, early), "later")
		h.publish(ready()) // told once
		want(t, read(t, early), "")
	})
}

// TestReadyIsFresh wants a late reader to be told how the connection is now.
func TestReadyIsFresh(t *testing.T) {
	h := newHub()
	h.publish(ready())
	for _, up := range []bool{true, false, true} {
		h.publish(Event{Type: EventRendezvous, Connected: &up})
		for e, err := range h.subscribe(EventOptions{}).Events(t.Context()) {
			if err != nil || e.Type != EventReady || e.Rendezvous.Connected != up || e.Rendezvous.PeerID != "r" || e.Seq != 1 || e.V != 1 {
				t.Errorf("got %+v and %v, want ready with connected %v", e, err, up)
			}
			break
		}
	}
}

func TestResume(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHub()
		h.publish(ready())
		for i := 2; i <= 5; i++ {
			h.publish(state(fmt.Sprint(i)))
		}
		for _, row := range []struct {
			after uint64
			want  string
		}{{1, "2 3 4 5"}, {3, "4 5"}, {5, ""}, {0, "ready"}, {6, "events-lost ready 2 3 4 5"}} { // 6: of another process
			want(t, read(t, h.subscribe(EventOptions{After: row.after})), row.want)
		}
		s := h.subscribe(EventOptions{After: 4})
		h.publish(state("6"))
		want(t, read(t, s), "5 6")
	})
}

// TestResumeOfAnotherProcess wants whoever was a reader of another process to be told so, and then all that is here: what no face has shown, and every event,
// also messages that a face has shown meanwhile.
func TestResumeOfAnotherProcess(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHub()
		history := &shelf{orders: []int64{3, 5, 9}, page: 2}
		h.open(history.unseen)
		h.publish(ready())
		s := h.subscribe(EventOptions{Lost: true})
		want(t, read(t, s), "events-lost ready m3 m5 m9")
		h.publish(state("x"))
		h.publish(message(8), message(9)) // 8 was shown
		want(t, read(t, h.subscribe(EventOptions{Lost: true})), "events-lost ready m3 m5 x m8 m9")
		for i := range ringSize {
			h.publish(state(fmt.Sprint(i)))
		}
		for _, row := range []struct {
			after uint64
			want  string
		}{{1, "events-lost ready m3 m5 m8 m9 0"}, {2, "m8 m9 0"}} { // x is gone, and nothing after it
			got := strings.Fields(read(t, h.subscribe(EventOptions{After: row.after})))
			begin := len(strings.Fields(row.want))
			if len(got) != begin-1+ringSize || strings.Join(got[:begin], " ") != row.want {
				t.Errorf("after %d: got %d events beginning %q, want %q", row.after, len(got), got[:begin], row.want)
			}
		}
	})
}

func TestBacklog(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHub()
		history := &shelf{orders: []int64{3, 5, 6, 8, 9}, page: 2}
		s := h.subscribe(EventOptions{Unshown: true})
		h.publish(message(9)) // arrived since, and in the history too
		history.during = func() { h.publish(message(9)) }
		h.open(history.unseen)
		want(t, read(t, s), "")
		h.publish(ready())
		h.publish(state("x"))
		h.publish(message(10))
		want(t, read(t, s), "ready m3 m5 m6 m8 m9 x m10")
		h.publish(message(11))
		want(t, read(t, s), "m11")
		want(t, read(t, h.subscribe(EventOptions{})), "ready") // who does not ask gets no backlog
	})
}

// TestBacklogRace publishes messages while the backlog is read: each comes once, in order.
func TestBacklogRace(t *testing.T) {
	const count = 300
	for range 20 {
		h := newHub()
		history := &shelf{page: 7}
		h.open(history.unseen)
		h.publish(ready())
		s := h.subscribe(EventOptions{Unshown: true})
		var writer sync.WaitGroup
		writer.Go(func() {
			for o := int64(1); o <= count; o++ {
				history.mu.Lock()
				history.orders = append(history.orders, o) // on the disk first
				history.mu.Unlock()
				h.publish(message(o))
			}
		})
		next := int64(1)
		for e, err := range s.Events(t.Context()) {
			if err != nil {
				t.Fatalf("events: %v", err)
			}
			if e.Type != EventMessage {
				continue
			}
			if e.Order != next {
				t.Fatalf("got message %d, want %d", e.Order, next)
			}
			if next++; next > count {
				break
			}
		}
		writer.Wait()
	}
}

func TestBacklogFails(t *testing.T) {
	h := newHub()
	broken := errors.New("the history does not read")
	h.open((&shelf{err: broken}).unseen)
	h.publish(ready())
	var got []error
	for _, err := range h.subscribe(EventOptions{Unshown: true}).Events(t.Context()) {
		got = append(got, err)
	}
	if len(got) != 2 || got[0] != nil || !errors.Is(got[1], broken) {
		t.Errorf("got %v, want ready and the error", got)
	}
}

func TestSlowReader(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHub()
		h.publish(ready())
		exact, slow := h.subscribe(EventOptions{After: 1}), h.subscribe(EventOptions{After: 1})
		for i := range ringSize {
			h.publish(state(fmt.Sprint(i)))
		}
		got := strings.Fields(read(t, exact))
		if len(got) != ringSize || got[0] != "0" {
			t.Errorf("got %d events from %q, want all %d", len(got), got[0], ringSize)
		}
		h.publish(state("more"))
		got = strings.Fields(read(t, slow))
		if len(got) != ringSize+1 || got[0] != "events-lost" || got[1] != "1" || got[ringSize] != "more" {
			t.Errorf("got %d events beginning %q, want events-lost and the newest %d", len(got), got[:2], ringSize)
		}
	})
}

// TestFloodOfMessages wants a reader who asked for what no face has shown to lose nothing because of many messages: those that the hub has no more come from the
// history, none twice, and all else that was told comes too.
func TestFloodOfMessages(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHub()
		history := &shelf{page: 100}
		h.open(history.unseen)
		h.publish(ready())
		s, plain := h.subscribe(EventOptions{Unshown: true}), h.subscribe(EventOptions{})
		arrive := func(orders ...int64) {
			history.orders = append(history.orders, orders...)
			for _, o := range orders {
				h.publish(message(o))
			}
		}
		arrive(1, 2)
		want(t, read(t, s), "ready m1 m2")
		next := int64(3)
		for _, count := range []int64{ringSize - 1, ringSize, ringSize + 1, 3*ringSize + 7} {
			h.publish(state("before"))
			first := next
			for ; next < first+count; next++ {
				arrive(next)
			}
			h.publish(state("after"))
			got := strings.Fields(read(t, s))
			var letters []string
			others := strings.Join(slices.DeleteFunc(got, func(l string) bool {
				if l[0] == 'm' {
					letters = append(letters, l)
				}
				return l[0] == 'm'
			}), " ")
			want(t, others, "before after")
			for i, l := range letters {
				if l != fmt.Sprint("m", first+int64(i)) {
					t.Fatalf("of %d messages: got %s in place %d, want m%d", count, l, i, first+int64(i))
				}
			}
			if len(letters) != int(count) {
				t.Errorf("got %d messages, want %d", len(letters), count)
			}
		}
		got := strings.Fields(read(t, plain)) // it did not ask for a history
		if len(got) != 1+1+ringSize+8 || got[1] != "events-lost" {
			t.Errorf("got %d events beginning %q, want that some are lost", len(got), got[:4])
		}
	})
}

// TestFloodWhileReading publishes messages as fast as they are read from the history: what else is told comes all the same.
func TestFloodWhileReading(t *testing.T) {
	h := newHub()
	history := &shelf{page: 64}
	h.open(history.unseen)
	h.publish(ready())
	s := h.subscribe(EventOptions{Unshown: true})
	next := int64(1)
	arrive := func(n int) {
		history.mu.Lock()
		defer history.mu.Unlock()
		for range n {
			history.orders = append(history.orders, next)
			h.publish(message(next))
			next++
		}
	}
	arrive(2 * ringSize)
	h.publish(state("x"))
	read := int64(0)
	for e, err := range s.Events(t.Context()) {
		if err != nil {
			t.Fatal(err)
		}
		if e.Type == EventMessage {
			if read++; e.Order != read {
				t.Fatalf("got message %d, want %d", e.Order, read)
			}
			if read > 5*ringSize {
				t.Fatal("nothing but messages comes")
			}
			arrive(1)
		}
		if e.ID == "x" {
			break
		}
	}
}

// TestResumeBehind wants a reader who resumes behind what is lost to be told so, and one who does not to lose nothing.
func TestResumeBehind(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHub()
		h.publish(ready())
		for i := range 2 * ringSize {
			h.publish(message(int64(i + 1)))
			if i%2 == 1 {
				h.publish(state(fmt.Sprint(i + 1)))
			}
		}
		for _, row := range []struct {
			after uint64
			want  string
		}{{2, "events-lost"}, {h.last - 3, "m8191 m8192 8192"}, {h.last - 4, "8190 m8191 m8192 8192"}} {
			if got := read(t, h.subscribe(EventOptions{After: row.after})); !strings.HasPrefix(got, row.want) {
				t.Errorf("after %d: got %.60q, want %q", row.after, got, row.want)
			}
		}
	})
}

// TestKeptForAFace wants what is told once to wait for the first reader who is a face, and to be told once.
func TestKeptForAFace(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHub()
		var heard []string
		tell := func(code string) {
			h.tellFace(Event{Type: EventError, Code: code}, func() { heard = append(heard, code) })
		}
		wantHeard := func(codes ...string) {
			t.Helper()
			if diff := cmp.Diff(codes, heard); diff != "" {
				t.Errorf("whoever told it knows of (-want +got):\n%s", diff)
			}
			heard = nil
		}
		h.publish(ready())
		for i := range maxKept + 1 {
			tell(fmt.Sprint("n", i))
		}
		tell("n3") // in place of the one before
		want(t, read(t, h.subscribe(EventOptions{})), "ready")
		wantHeard()
		s := h.subscribe(EventOptions{Unshown: true})
		tell("now")
		wantHeard("now")
		want(t, read(t, s), "ready n1 n2 n4 n3 now")
		wantHeard("n1", "n2", "n4", "n3")
		want(t, read(t, h.subscribe(EventOptions{Unshown: true})), "ready")
		h = newHub()
		s = h.subscribe(EventOptions{Unshown: true})
		h.publish(ready())
		s.Close()
		s.Close()
		tell("later")
		resumed := h.subscribe(EventOptions{Unshown: true, After: h.last})
		tell("again")
		want(t, read(t, resumed), "later again")
		resumed.Close()
		before := h.last
		tell("meanwhile")
		wantHeard("again", "later")
		want(t, read(t, h.subscribe(EventOptions{Unshown: true, After: before})), "meanwhile")
		wantHeard("meanwhile")
		want(t, read(t, h.subscribe(EventOptions{Unshown: true})), "ready")
	})
}

func TestEventsEnd(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHub()
		h.publish(ready())
		collect := func(ctx context.Context, s *Subscription) <-chan string {
			out := make(chan string, 1)
			go func() {
				var got []string
				for e, err := range s.Events(ctx) {
					if err != nil {
						got = append(got, err.Error())
						continue
					}
					got = append(got, label(e))
				}
				out <- strings.Join(got, ", ")
			}()
			synctest.Wait()
			return out
		}
		ctx, cancel := context.WithCancel(t.Context())
		byContext := collect(ctx, h.subscribe(EventOptions{}))
		closed := h.subscribe(EventOptions{})
		byClose := collect(t.Context(), closed)
		byHub := collect(t.Context(), h.subscribe(EventOptions{}))
		cancel()
		want(t, <-byContext, "ready, context canceled")
		closed.Close()
		closed.Close()
		want(t, <-byClose, "ready")
		h.publish(state("last"))
		h.close()
		h.close()
		want(t, <-byHub, "ready, last") // what was told before the end still comes
		h.publish(state("never"))
		want(t, <-collect(t.Context(), h.subscribe(EventOptions{})), "ready")
		want(t, <-collect(ctx, h.subscribe(EventOptions{})), "context canceled")
	})
}
