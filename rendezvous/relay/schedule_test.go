package relay_test

import (
	"context"
	"fmt"
	"math/rand/v2"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"pgregory.net/rapid"

	"github.com/byway-chat/byway/rendezvous"
	"github.com/byway-chat/byway/rendezvous/relay"
)

// world is a relay with devices that come, go, dawdle and lose their connections, over a disk that fails.
type world struct {
	t    *testing.T
	s    *relay.Service
	box  *memoryMailbox
	out  outcomes
	sent []string // bodies: "sender number", in order

	receivers map[relay.Address]*receiver // connected
	past      []*receiver                 // all, also those that are gone
	onDisk    map[string]bool             // what devices have said Taken for
}

func newWorld(t *testing.T, o relay.Options) *world {
	w := &world{t: t, box: new(memoryMailbox), receivers: make(map[relay.Address]*receiver), onDisk: make(map[string]bool)}
	w.s = relay.New(w.box, everybody(), o)
	return w
}

func (w *world) submit(from, to relay.Address, liveOnly bool) {
	body := fmt.Sprint(from.User, " ", len(w.sent))
	if liveOnly {
		body += " live-only"
	}
	w.sent = append(w.sent, body)
	w.out.submit(w.s, from, to, body, liveOnly)
}

// submitAll hands over several at once, as one read of a connection brings them.
func (w *world) submitAll(from, to relay.Address, n int) {
	var bodies []string
	for range n {
		bodies = append(bodies, fmt.Sprint(from.User, " ", len(w.sent)+len(bodies)))
	}
	w.sent = append(w.sent, bodies...)
	w.out.submitAll(w.s, from, to, false, bodies...)
}

func (w *world) attach(to relay.Address) {
	r := attach(w.t, w.s, to)
	w.receivers[to] = r
	w.past = append(w.past, r)
}

// take says Taken for the first n deliveries that are open, or for all with n < 0: first to the disk, then to the relay.
func (w *world) take(to relay.Address, n int) {
	r := w.receivers[to]
	if r == nil {
		return
	}
	var ids []uint64
	for _, d := range r.deliveries() {
		if n == 0 {
			break
		}
		if !r.taken[d.ID] {
			r.taken[d.ID] = true
			w.onDisk[string(d.Data)] = true
			ids = append(ids, d.ID)
			n--
		}
	}
	r.attachment.Taken(ids...)
}

// event is one step of a schedule.
type event struct {
	kind     int
	from, to relay.Address
	n        int
}

func (w *world) do(e event) {
	switch e.kind {
	case 0:
		for range e.n {
			w.submit(e.from, e.to, false)
		}
	case 1, 2:
		w.submitAll(e.from, e.to, e.n)
	case 3:
		w.submit(e.from, e.to, true)
	case 4:
		w.attach(e.to) // perhaps over an older connection
	case 5:
		if r := w.receivers[e.to]; r != nil {
			r.attachment.Close()
			delete(w.receivers, e.to)
		}
	case 6, 7:
		w.take(e.to, e.n)
	case 8:
		w.box.set(func(b *memoryMailbox) { b.failing = !b.failing })
	case 9:
		w.box.set(func(b *memoryMailbox) { b.latency = time.Duration(e.n%3) * time.Second })
	case 10:
		time.Sleep(time.Duration(e.n) * 100 * time.Millisecond)
	case 11:
		synctest.Wait()
	}
}

// settle heals everything and lets all devices fetch their mail.
func (w *world) settle() {
	w.box.set(func(b *memoryMailbox) { b.failing, b.latency = false, 0 })
	time.Sleep(time.Minute)
	for _, to := range []relay.Address{alice, bob, bob2, carol} {
		w.attach(to)
	}
	for idle := 0; idle < 5; idle++ {
		time.Sleep(time.Second)
		synctest.Wait()
		for to, r := range w.receivers {
			if len(r.taken) < len(r.deliveries()) {
				idle = 0
			}
			w.take(to, -1)
			for _, refusals := range r.toldOf() {
				r.attachment.Told(refusals.Mark)
			}
		}
	}
	synctest.Wait()
}

// check says what a schedule must not do: lose what was acknowledged, answer twice or not at all, deliver out of order.
func (w *world) check() {
	w.t.Helper()
	for _, body := range w.sent {
		switch outcome := w.out.of(w.t, body); outcome {
		case "":
			w.t.Errorf("%q has no outcome", body)
		case "TAKEN", "STORED":
			if !w.onDisk[body] {
				w.t.Errorf("%q was %s and is lost", body, outcome)
			}
		}
	}
	for i, r := range w.past {
		last := make(map[string]int)
		for _, d := range r.deliveries() {
			sender, number, _ := strings.Cut(string(d.Data), " ")
			if strings.HasSuffix(number, "live-only") {
				continue
			}
			n, err := strconv.Atoi(number)
			if err != nil {
				w.t.Fatal(err)
			}
			if before, ok := last[sender]; ok && n <= before {
				w.t.Errorf("connection %d got %q after number %d", i, d.Data, before)
			}
			last[sender] = n
		}
	}
	if c := w.s.Counters(); c.InMemory != (relay.Usage{}) {
		w.t.Errorf("left in memory: %+v", c.InMemory)
	}
	if len(w.box.rows) > 0 || len(w.box.refused) > 0 {
		w.t.Errorf("%d left in the mailbox, %d refusals untold", len(w.box.rows), len(w.box.refused))
	}
}

func TestRandomSchedules(t *testing.T) {
	people := []relay.Address{alice, bob, bob2, carol}
	rapid.Check(t, func(rt *rapid.T) {
		events := rapid.SliceOfN(rapid.Custom(func(t *rapid.T) event {
			return event{
				kind: rapid.IntRange(0, 11).Draw(t, "kind"),
				from: rapid.SampledFrom(people).Draw(t, "from"),
				to:   rapid.SampledFrom(people).Draw(t, "to"),
				n:    rapid.IntRange(1, 40).Draw(t, "n"),
			}
		}), 20, 120).Draw(rt, "events")
		failed := false
		synctest.Test(t, func(t *testing.T) {
			w := newWorld(t, relay.Options{
				Untaken: relay.Usage{Messages: 8, Bytes: 1 << 20},
				Window:  relay.Usage{Messages: 4, Bytes: 1 << 20},
				Batch:   relay.Usage{Messages: 8, Bytes: 1 << 20},
				Quota: relay.Quota{
					Account: relay.Usage{Messages: 100, Bytes: 1 << 20},
					Pair:    relay.Usage{Messages: 60, Bytes: 1 << 20},
				},
				Readers: 2,
			})
			for _, e := range events {
				w.do(e)
			}
			w.settle()
			w.check()
			for _, r := range w.receivers {
				r.attachment.Close()
			}
			if err := w.s.Close(); err != nil {
				t.Error(err)
			}
			failed = t.Failed()
		})
		if failed {
			rt.Fatalf("after %v", events)
		}
	})
}

// Senders, devices that reconnect, and a shutdown in the middle: for the race detector, and for what only true concurrency shows.
func TestConcurrency(t *testing.T) {
	const senders, each = 4, 2000
	box := new(memoryMailbox)
	s := relay.New(box, everybody(), relay.Options{Untaken: relay.Usage{Messages: 16, Bytes: 1 << 20}, Unresolved: relay.Usage{Messages: 1 << 20, Bytes: 1 << 30}})
	people := []relay.Address{alice, bob, bob2, carol}
	var mu sync.Mutex
	onDisk := make(map[string]bool)
	acknowledged := make(map[string]bool)
	var running, sending sync.WaitGroup
	stop := make(chan struct{})
	for _, to := range people {
		running.Go(func() {
			rnd := rand.New(rand.NewPCG(uint64(to.Device[0]), 1))
			for {
				arrived := make(chan relay.Delivery, 512)
				a, err := s.Attach(to, &funcs{deliver: func(d *relay.Delivery) {
					own := *d
					own.Data = slices.Clone(d.Data)
					arrived <- own
				}})
				if err != nil {
					return // draining
				}
				for range rnd.IntN(400) {
					select {
					case d := <-arrived:
						mu.Lock()
						onDisk[string(d.Data)] = true
						mu.Unlock()
						if rnd.IntN(20) > 0 { // else the answer is lost
							a.Taken(d.ID)
						}
					case <-stop:
						a.Close()
						return
					}
				}
				a.Close()
			}
		})
	}
	for i := range senders {
		sending.Go(func() {
			body := func(n int) string { return fmt.Sprint(i, " ", n) }
			sender := s.Sender(people[i], &funcs{settle: func(number uint64, o relay.Outcome) {
				if o.State != rendezvous.Outcome_REFUSED {
					mu.Lock()
					defer mu.Unlock()
					acknowledged[body(int(number))] = true
				}
			}})
			for n := range each {
				to := people[n%len(people)]
				sender.Submit(context.Background(), relay.Submission{Number: uint64(n), Device: to.Device[:], Envelope: []byte(body(n))})
			}
		})
	}
	sending.Wait()
	if err := s.Drain(t.Context()); err != nil {
		t.Error(err)
	}
	close(stop)
	running.Wait()
	if err := s.Close(); err != nil {
		t.Error(err)
	}
	for _, h := range box.rows {
		onDisk[string(h.Data)] = true // it is still on the rendezvous's disk
	}
	lost := 0
	for body := range acknowledged {
		if !onDisk[body] {
			lost++
		}
	}
	if lost > 0 || len(acknowledged) != senders*each {
		t.Errorf("%d of %d acknowledged are lost; want 0 of %d", lost, len(acknowledged), senders*each)
	}
}

// What one live envelope costs the relay, without its connections: submit, deliver, take, tell.
func BenchmarkLive(b *testing.B) {
	for _, batch := range []int{1, 32} {
		b.Run(fmt.Sprint("batch=", batch), func(b *testing.B) {
			s := relay.New(new(memoryMailbox), everybody(), relay.Options{})
			defer s.Close()
			var ids []uint64
			told := 0
			link := &funcs{
				deliver: func(d *relay.Delivery) { ids = append(ids, d.ID) },
				settle:  func(uint64, relay.Outcome) { told++ },
			}
			a, err := s.Attach(bob, link)
			if err != nil {
				b.Fatal(err)
			}
			defer a.Close()
			sender := s.Sender(alice, link)
			submissions := make([]relay.Submission, batch)
			for i := range submissions {
				submissions[i] = relay.Submission{Number: uint64(i), Device: bob.Device[:], Envelope: make([]byte, 154)}
			}
			n := 0
			b.ReportAllocs()
			for b.Loop() {
				n++
				sender.Submit(b.Context(), submissions...)
				a.Taken(ids...)
				ids = ids[:0]
			}
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(n*batch), "ns/envelope")
			_ = told
		})
	}
}
