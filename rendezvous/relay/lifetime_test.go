package relay_test

import (
	"fmt"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/byway-chat/byway/rendezvous"
	"github.com/byway-chat/byway/rendezvous/relay"
)

const day = 24 * time.Hour

// run lets a relay run on a mailbox for some time, with a wall clock that is off by so much.
func run(t *testing.T, box *memoryMailbox, off *atomic.Int64, d time.Duration, during func(s *relay.Service, out *outcomes)) {
	t.Helper()
	s := relay.New(box, everybody(), relay.Options{Now: func() time.Time { return time.Now().Add(time.Duration(off.Load())) }})
	synctest.Wait()
	if during != nil {
		during(s, new(outcomes))
	}
	time.Sleep(d)
	synctest.Wait()
	if err := s.Close(); err != nil {
		t.Error(err)
	}
}

// The lifetime is that of the mailbox's own clock: neither a jump of the machine's clock ends it, nor one back prolongs it.
func TestLifetimeFollowsNoJumpOfTheClock(t *testing.T) {
	put := func(s *relay.Service, out *outcomes) {
		out.submit(s, alice, bob, "kept", false)
		synctest.Wait()
	}
	tests := []struct {
		name string
		life func(t *testing.T, box *memoryMailbox, off *atomic.Int64)
		kept bool
	}{
		{"13 days", func(t *testing.T, box *memoryMailbox, off *atomic.Int64) { run(t, box, off, 13*day, put) }, true},
		{"15 days", func(t *testing.T, box *memoryMailbox, off *atomic.Int64) { run(t, box, off, 15*day, put) }, false},
		{"set forward while it runs", func(t *testing.T, box *memoryMailbox, off *atomic.Int64) {
			run(t, box, off, 13*day, func(s *relay.Service, out *outcomes) {
				put(s, out)
				off.Store(int64(3650 * day))
			})
		}, true},
		{"set back while it runs", func(t *testing.T, box *memoryMailbox, off *atomic.Int64) {
			run(t, box, off, 15*day, func(s *relay.Service, out *outcomes) {
				put(s, out)
				off.Store(int64(-3650 * day))
			})
		}, false},
		{"set forward between two runs", func(t *testing.T, box *memoryMailbox, off *atomic.Int64) {
			run(t, box, off, 6*day, put)
			off.Store(int64(20 * day))
			run(t, box, off, 6*day, nil)
		}, true},
		{"set back between two runs", func(t *testing.T, box *memoryMailbox, off *atomic.Int64) {
			run(t, box, off, 7*day, put)
			off.Store(int64(-20 * day))
			run(t, box, off, 8*day, nil)
		}, false},
		{"switched off every night", func(t *testing.T, box *memoryMailbox, off *atomic.Int64) {
			run(t, box, off, 12*time.Hour, put)
			for range 14 {
				time.Sleep(12 * time.Hour)
				run(t, box, off, 12*time.Hour, nil)
			}
			run(t, box, off, 2*time.Hour, nil)
		}, false},
		{"away for a year", func(t *testing.T, box *memoryMailbox, off *atomic.Int64) {
			run(t, box, off, day, put)
			time.Sleep(365 * day)
			run(t, box, off, day, nil)
		}, true},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				box, off := new(memoryMailbox), new(atomic.Int64)
				tt.life(t, box, off)
				if kept := len(box.bodies(bob)) == 1; kept != tt.kept {
					t.Errorf("kept: %v, want %v", kept, tt.kept)
				}
			})
		})
	}
}

// Without the clock nothing is stored: a lifetime that nobody knows could end at once.
func TestUnknownClockStoresNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		box := &memoryMailbox{failing: true}
		s := relay.New(box, everybody(), relay.Options{})
		defer s.Close()
		var out outcomes
		out.submit(s, alice, bob, "refused", false)
		synctest.Wait()
		wantOutcome(t, &out, "refused", "internal")
		box.set(func(b *memoryMailbox) { b.failing = false })
		out.submit(s, alice, bob, "kept", false)
		synctest.Wait()
		wantOutcome(t, &out, "kept", "STORED")
	})
}

// A disk that takes 300 ms for each fsync costs those who are connected nothing, and many senders to absent devices little.
func TestSlowDiskSlowsOnlyWhatItKeeps(t *testing.T) {
	const senders, each = 50, 20
	inBubble(t, relay.Options{}, func(t *testing.T, s *relay.Service, box *memoryMailbox, out *outcomes) {
		r := attach(t, s, carol)
		synctest.Wait()
		box.set(func(b *memoryMailbox) { b.latency = 300 * time.Millisecond })
		begun := time.Now()
		done := make(chan struct{}, senders)
		for i := range senders {
			next := make(chan struct{}, 1)
			sender := s.Sender(address(fmt.Sprint("sender", i), byte(100+i)), &funcs{settle: func(_ uint64, o relay.Outcome) {
				if o.State != rendezvous.Outcome_STORED {
					t.Errorf("got %+v", o)
				}
				next <- struct{}{}
			}})
			go func() { // each waits for one to be stored before it submits the next
				for n := range each {
					sender.Submit(t.Context(), relay.Submission{Number: uint64(n), Device: bob.Device[:], Envelope: []byte("x")})
					<-next
				}
				done <- struct{}{}
			}()
		}
		time.Sleep(100 * time.Millisecond) // in the middle of a commit
		for i := range 10 {
			at := time.Now()
			body := fmt.Sprint("live", i)
			out.submit(s, alice, carol, body, false)
			r.takeAll()
			wantOutcome(t, out, body, "TAKEN")
			if wait := time.Since(at); wait != 0 {
				t.Errorf("a live envelope waited %v for the disk", wait)
			}
		}
		for range senders {
			<-done
		}
		// Alone, a sender would have each of its envelopes stored in 300 ms. Half of that speed is 600 ms each.
		if took := time.Since(begun); took > each*600*time.Millisecond {
			t.Errorf("%d senders needed %v for %d envelopes each", senders, took, each)
		}
		if box.commits > 2*each+2 {
			t.Errorf("%d commits for %d envelopes of %d senders", box.commits, senders*each, senders)
		}
	})
}

// A full mailbox is refused in the commits of the others, which it does not hold up.
func TestFullMailboxSlowsNobody(t *testing.T) {
	o := relay.Options{Quota: relay.Quota{
		Account: relay.Usage{Messages: 100, Bytes: 1 << 20},
		Pair:    relay.Usage{Messages: 100, Bytes: 1 << 20},
	}}
	inBubble(t, o, func(t *testing.T, s *relay.Service, box *memoryMailbox, out *outcomes) {
		var many []string
		for i := range 1000 {
			many = append(many, fmt.Sprint("many", i))
		}
		out.submitAll(s, alice, bob, false, many...)
		synctest.Wait()
		box.set(func(b *memoryMailbox) { b.latency = 10 * time.Millisecond })
		for i := range 20 {
			out.submitAll(s, alice, bob, false, fmt.Sprint("more", i, "a"), fmt.Sprint("more", i, "b"))
			at, body := time.Now(), fmt.Sprint("carol", i)
			out.submit(s, alice, carol, body, false)
			for out.of(t, body) == "" {
				time.Sleep(time.Millisecond)
			}
			wantOutcome(t, out, body, "STORED")
			if took := time.Since(at); took > 21*time.Millisecond {
				t.Errorf("beside a full mailbox %v passed for one commit", took)
			}
		}
		if got := s.Counters().Refused[rendezvous.CodeMailboxFull]; got < 900+38 {
			t.Errorf("%d refused, want those that do not fit", got)
		}
	})
}
