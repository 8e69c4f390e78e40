package relay_test

import (
	"context"
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	gocmp "github.com/google/go-cmp/cmp"

	"github.com/byway-chat/byway/rendezvous"
	"github.com/byway-chat/byway/rendezvous/relay"
)

// inBubble runs a test with virtual time and a Service that is closed at its end.
func inBubble(t *testing.T, o relay.Options, test func(t *testing.T, s *relay.Service, box *memoryMailbox, out *outcomes)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		box := new(memoryMailbox)
		s := relay.New(box, everybody(), o)
		defer func() {
			if err := s.Close(); err != nil {
				t.Error(err)
			}
			if err := s.Close(); err != nil {
				t.Error("second close:", err)
			}
		}()
		test(t, s, box, new(outcomes))
	})
}

func wantOutcome(t *testing.T, out *outcomes, body, want string) {
	t.Helper()
	if got := out.of(t, body); got != want {
		t.Errorf("outcome of %q: got %q, want %q", body, got, want)
	}
}

func wantBodies(t *testing.T, what string, got []string, want ...string) {
	t.Helper()
	if diff := gocmp.Diff(want, got); diff != "" && len(want)+len(got) > 0 {
		t.Errorf("%s (-want +got):\n%s", what, diff)
	}
}

// numbered are the bodies m0, m1 and so on.
func numbered(n int) []string {
	bodies := make([]string, n)
	for i := range bodies {
		bodies[i] = fmt.Sprint("m", i)
	}
	return bodies
}

// returned is bob after n envelopes have been kept for him and the first window of them has been delivered.
func returned(t *testing.T, s *relay.Service, out *outcomes, n int) *receiver {
	t.Helper()
	for _, body := range numbered(n) {
		out.submit(s, alice, bob, body, false)
	}
	synctest.Wait()
	r := attach(t, s, bob)
	synctest.Wait()
	return r
}

func TestLiveIsTaken(t *testing.T) {
	inBubble(t, relay.Options{}, func(t *testing.T, s *relay.Service, box *memoryMailbox, out *outcomes) {
		r := attach(t, s, bob)
		synctest.Wait()
		out.submit(s, alice, bob, "one", false)
		wantBodies(t, "delivered", r.bodies(), "one")
		wantOutcome(t, out, "one", "")
		if d := r.deliveries()[0]; d.Stored || d.From != alice || d.ID == 0 {
			t.Errorf("delivery: got %+v", d)
		}
		r.takeAll()
		wantOutcome(t, out, "one", "TAKEN")
		wantBodies(t, "mailbox", box.bodies(bob))
		if c := s.Counters(); c.Relayed != (relay.Usage{Messages: 1, Bytes: 3}) || c.InMemory != (relay.Usage{}) {
			t.Errorf("counters: got %+v", c)
		}
	})
}

func TestAwayIsStoredAndComesInOrder(t *testing.T) {
	inBubble(t, relay.Options{Window: relay.Usage{Messages: 64, Bytes: 1 << 20}}, func(t *testing.T, s *relay.Service, box *memoryMailbox, out *outcomes) {
		r := returned(t, s, out, 300)
		want := numbered(300)
		for _, body := range want {
			wantOutcome(t, out, body, "STORED")
		}
		if got := len(r.deliveries()); got != 64 {
			t.Fatalf("untaken deliveries: got %d, want the window of 64", got)
		}
		for len(r.deliveries()) < len(want) {
			before := len(r.deliveries())
			r.takeAll()
			synctest.Wait()
			if len(r.deliveries()) == before {
				t.Fatalf("stuck after %d deliveries", before)
			}
		}
		wantBodies(t, "delivered", r.bodies(), want...)
		for _, d := range r.deliveries() {
			if !d.Stored {
				t.Fatalf("%q is not marked as stored", d.Data)
			}
		}
		r.takeAll()
		synctest.Wait()
		wantBodies(t, "mailbox after all are taken", box.bodies(bob))
		out.submit(s, alice, bob, "live again", false)
		if d := r.deliveries()[len(want)]; d.Stored || string(d.Data) != "live again" {
			t.Errorf("after the drain: got %+v", d)
		}
	})
}

func TestNothingOvertakesTheMailbox(t *testing.T) {
	inBubble(t, relay.Options{}, func(t *testing.T, s *relay.Service, box *memoryMailbox, out *outcomes) {
		for i := range 100 {
			out.submit(s, alice, bob, fmt.Sprint("old", i), false)
		}
		synctest.Wait()
		r := attach(t, s, bob)
		out.submit(s, alice, bob, "new", false)
		synctest.Wait()
		wantOutcome(t, out, "new", "STORED")
		r.takeAll()
		synctest.Wait()
		if got := r.bodies(); len(got) != 101 || got[100] != "new" {
			t.Errorf("delivered %d, the last is %q", len(got), got[len(got)-1])
		}
	})
}

func TestDetachKeepsWhatWasNotTaken(t *testing.T) {
	inBubble(t, relay.Options{}, func(t *testing.T, s *relay.Service, box *memoryMailbox, out *outcomes) {
		r := attach(t, s, bob)
		synctest.Wait()
		out.submit(s, alice, bob, "one", false)
		out.submit(s, alice, bob, "two", false)
		out.submit(s, alice, bob, "signal", true)
		r.attachment.Close()
		r.attachment.Close()
		synctest.Wait()
		wantOutcome(t, out, "one", "STORED")
		wantOutcome(t, out, "two", "STORED")
		wantOutcome(t, out, "signal", "recipient-away")
		r.takeAll() // a dead connection's last words change nothing
		wantBodies(t, "mailbox", box.bodies(bob), "one", "two")
		again := attach(t, s, bob)
		synctest.Wait()
		wantBodies(t, "delivered again", again.bodies(), "one", "two")
	})
}

func TestNewConnectionReplacesTheDyingOne(t *testing.T) {
	inBubble(t, relay.Options{}, func(t *testing.T, s *relay.Service, box *memoryMailbox, out *outcomes) {
		old := attach(t, s, bob)
		synctest.Wait()
		out.submit(s, alice, bob, "one", false)
		fresh := attach(t, s, bob)
		out.submit(s, alice, bob, "two", false)
		synctest.Wait()
		wantBodies(t, "old connection", old.bodies(), "one")
		wantBodies(t, "new connection", fresh.bodies(), "one", "two")
		old.attachment.Close() // late: it must not detach the new one
		fresh.takeAll()
		synctest.Wait()
		out.submit(s, alice, bob, "three", false)
		wantBodies(t, "new connection", fresh.bodies(), "one", "two", "three")
	})
}

func TestUntakenGoesToTheMailboxInTime(t *testing.T) {
	inBubble(t, relay.Options{}, func(t *testing.T, s *relay.Service, box *memoryMailbox, out *outcomes) {
		r := attach(t, s, bob)
		synctest.Wait()
		out.submit(s, alice, bob, "one", false)
		time.Sleep(time.Second)
		out.submit(s, alice, bob, "two", false)
		time.Sleep(2*time.Second - time.Millisecond)
		synctest.Wait()
		wantOutcome(t, out, "one", "")
		time.Sleep(time.Millisecond)
		synctest.Wait()
		wantOutcome(t, out, "one", "STORED")
		wantOutcome(t, out, "two", "")

		// A slow device: what comes now is stored at once, behind what it has not taken, and given to it nevertheless.
		out.submit(s, alice, bob, "three", false)
		synctest.Wait()
		wantOutcome(t, out, "two", "STORED")
		wantOutcome(t, out, "three", "STORED")
		wantBodies(t, "mailbox", box.bodies(bob), "one", "two", "three")
		wantBodies(t, "delivered once each", r.bodies(), "one", "two", "three")

		r.takeAll()
		synctest.Wait()
		wantBodies(t, "mailbox", box.bodies(bob))
		out.submit(s, alice, bob, "four", false)
		r.takeAll()
		wantOutcome(t, out, "four", "TAKEN")
	})
}

func TestLiveOnlyRunsIntoItsTime(t *testing.T) {
	inBubble(t, relay.Options{}, func(t *testing.T, s *relay.Service, box *memoryMailbox, out *outcomes) {
		out.submit(s, alice, bob, "away", true)
		wantOutcome(t, out, "away", "recipient-away")
		r := attach(t, s, bob)
		out.submit(s, alice, bob, "call", true)
		wantBodies(t, "delivered", r.bodies(), "call")
		time.Sleep(3 * time.Second)
		synctest.Wait()
		wantOutcome(t, out, "call", "recipient-away")
		wantBodies(t, "mailbox", box.bodies(bob))
		r.takeAll()
		if c := s.Counters(); c.InMemory != (relay.Usage{}) {
			t.Errorf("in memory: got %+v", c.InMemory)
		}
	})
}

func TestTooMuchUntakenGoesToTheMailbox(t *testing.T) {
	o := relay.Options{Untaken: relay.Usage{Messages: 4, Bytes: 1 << 20}}
	inBubble(t, o, func(t *testing.T, s *relay.Service, box *memoryMailbox, out *outcomes) {
		r := attach(t, s, bob)
		synctest.Wait()
		want := numbered(6)
		for _, body := range want {
			out.submit(s, alice, bob, body, false)
		}
		synctest.Wait()
		for _, body := range want {
			wantOutcome(t, out, body, "STORED")
		}
		wantBodies(t, "mailbox", box.bodies(bob), want...)
		wantBodies(t, "delivered", r.bodies(), want...)
	})
}

func TestTakenWhileItIsBeingStored(t *testing.T) {
	inBubble(t, relay.Options{}, func(t *testing.T, s *relay.Service, box *memoryMailbox, out *outcomes) {
		r := attach(t, s, bob)
		synctest.Wait()
		hold := box.hang()
		out.submit(s, alice, bob, "committing", false)
		time.Sleep(3 * time.Second)
		synctest.Wait() // it hangs in Apply
		r.takeAll()
		wantOutcome(t, out, "committing", "TAKEN")
		close(hold)
		synctest.Wait()
		wantBodies(t, "mailbox", box.bodies(bob))
		c := s.Counters()
		if c.InMemory != (relay.Usage{}) || c.Stored != (relay.Usage{}) {
			t.Errorf("counters: got %+v", c)
		}
	})
}

func TestFailedCommitIsRefusedAndForgotten(t *testing.T) {
	inBubble(t, relay.Options{}, func(t *testing.T, s *relay.Service, box *memoryMailbox, out *outcomes) {
		out.submit(s, alice, bob, "before", false)
		synctest.Wait()
		r := attach(t, s, bob)
		synctest.Wait()
		box.set(func(b *memoryMailbox) { b.failing = true })
		out.submit(s, alice, carol, "lost", false)
		r.takeAll()
		synctest.Wait()
		wantOutcome(t, out, "lost", "internal")
		if got := s.Counters(); got.Failures == 0 || got.InMemory != (relay.Usage{}) {
			t.Errorf("counters: got %+v", got)
		}
		box.set(func(b *memoryMailbox) { b.failing = false })
		out.submit(s, alice, carol, "kept", false)
		synctest.Wait()
		wantOutcome(t, out, "kept", "STORED")
		wantBodies(t, "carol's mailbox", box.bodies(carol), "kept")
		time.Sleep(2 * time.Second) // the deletion is tried again
		synctest.Wait()
		wantBodies(t, "bob's mailbox", box.bodies(bob))
	})
}

func TestFailedDeletionsPause(t *testing.T) {
	o := relay.Options{Batch: relay.Usage{Messages: 2, Bytes: 1 << 20}}
	inBubble(t, o, func(t *testing.T, s *relay.Service, box *memoryMailbox, out *outcomes) {
		r := returned(t, s, out, 20)
		box.set(func(b *memoryMailbox) { b.failing = true })
		r.takeAll()
		synctest.Wait()
		before := s.Counters().Failures
		time.Sleep(10 * time.Second)
		synctest.Wait()
		if n := s.Counters().Failures - before; n < 5 || n > 11 {
			t.Errorf("%d tries in 10 s, want one a second", n)
		}
		box.set(func(b *memoryMailbox) { b.failing = false })
		time.Sleep(2 * time.Second)
		synctest.Wait()
		wantBodies(t, "mailbox", box.bodies(bob))
	})
}

func TestReadThatFailsIsTriedAgain(t *testing.T) {
	inBubble(t, relay.Options{}, func(t *testing.T, s *relay.Service, box *memoryMailbox, out *outcomes) {
		out.submit(s, alice, bob, "one", false)
		synctest.Wait()
		box.set(func(b *memoryMailbox) { b.failing = true })
		r := attach(t, s, bob)
		time.Sleep(5 * time.Second)
		synctest.Wait()
		wantBodies(t, "delivered", r.bodies())
		box.set(func(b *memoryMailbox) { b.failing = false })
		time.Sleep(time.Second)
		synctest.Wait()
		wantBodies(t, "delivered", r.bodies(), "one")
	})
}

func TestQuotas(t *testing.T) {
	o := relay.Options{Quota: relay.Quota{
		Account: relay.Usage{Messages: 4, Bytes: 1000},
		Pair:    relay.Usage{Messages: 3, Bytes: 1000},
	}}
	inBubble(t, o, func(t *testing.T, s *relay.Service, box *memoryMailbox, out *outcomes) {
		for i, want := range []string{"STORED", "STORED", "STORED", "mailbox-full"} {
			body := fmt.Sprint("alice", i)
			out.submit(s, alice, []relay.Address{bob, bob2}[i%2], body, false)
			synctest.Wait()
			wantOutcome(t, out, body, want)
		}
		out.submit(s, carol, bob, "carol0", false)
		out.submit(s, carol, bob, "carol1", false)
		synctest.Wait()
		wantOutcome(t, out, "carol0", "STORED")
		wantOutcome(t, out, "carol1", "mailbox-full")
		r := attach(t, s, bob)
		synctest.Wait()
		r.takeAll()
		synctest.Wait()
		out.submit(s, carol, bob2, "carol2", false)
		synctest.Wait()
		wantOutcome(t, out, "carol2", "STORED")
	})
}

func TestRefusals(t *testing.T) {
	stranger := address("nobody", 99)
	o := relay.Options{
		Unresolved: relay.Usage{Messages: 2, Bytes: 1 << 20},
		InitBurst:  2,
		InitRate:   1,
	}
	inBubble(t, o, func(t *testing.T, s *relay.Service, box *memoryMailbox, out *outcomes) {
		opening := "\x01\x01 opening "
		tests := []struct {
			name, body string
			to         relay.Address
			want       string
		}{
			{"empty", "", bob, "bad-request"},
			{"too large", string(make([]byte, rendezvous.MaxEnvelope+1)), bob, "too-large"},
			{"unknown device", "x", stranger, "no-such-device"},
			{"first opening", opening + "1", bob, "STORED"},
			{"second opening", opening + "2", bob, "STORED"},
			{"third opening", opening + "3", bob, "rate-limited"},
			{"no opening", "\x01\x02 message", bob, "STORED"},
		}
		for _, tt := range tests {
			out.submit(s, alice, tt.to, tt.body, false)
			synctest.Wait()
			if got := out.of(t, tt.body); got != tt.want {
				t.Errorf("%s: got %q, want %q", tt.name, got, tt.want)
			}
		}
		time.Sleep(time.Second)
		out.submit(s, alice, bob, opening+"4", false)
		synctest.Wait()
		wantOutcome(t, out, opening+"4", "STORED")

		hold := box.hang()
		for i, want := range []string{"", "", "busy"} {
			out.submit(s, alice, bob, fmt.Sprint("b", i), false)
			wantOutcome(t, out, fmt.Sprint("b", i), want)
		}
		out.submit(s, carol, bob, "another sender", false)
		close(hold)
		synctest.Wait()
		wantOutcome(t, out, "another sender", "STORED")
		wantOutcome(t, out, "b0", "STORED")
	})
}

func TestHundredOneShotSendersPass(t *testing.T) {
	inBubble(t, relay.Options{}, func(t *testing.T, s *relay.Service, box *memoryMailbox, out *outcomes) {
		for i := range 400 {
			body := fmt.Sprint("\x01\x01 ", i)
			out.submit(s, alice, bob, body, false)
			synctest.Wait()
			wantOutcome(t, out, body, "STORED")
		}
	})
}

func TestDrain(t *testing.T) {
	inBubble(t, relay.Options{}, func(t *testing.T, s *relay.Service, box *memoryMailbox, out *outcomes) {
		box.set(func(b *memoryMailbox) { b.latency = 100 * time.Millisecond })
		r := attach(t, s, bob)
		synctest.Wait()
		for i := range 3 {
			out.submit(s, alice, bob, fmt.Sprint("m", i), false)
		}
		out.submit(s, alice, bob, "call", true)
		ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
		defer cancel()
		if err := s.Drain(ctx); err != nil {
			t.Fatal(err)
		}
		for i := range 3 {
			wantOutcome(t, out, fmt.Sprint("m", i), "STORED")
		}
		wantOutcome(t, out, "call", "draining")
		wantBodies(t, "mailbox", box.bodies(bob), "m0", "m1", "m2")
		out.submit(s, alice, bob, "late", false)
		wantOutcome(t, out, "late", "draining")
		if _, err := s.Attach(bob, r); rendezvous.CodeOf(err) != rendezvous.CodeDraining {
			t.Errorf("attach: got %v", err)
		}
		r.takeAll() // the device had them after all
		if err := s.Drain(ctx); err != nil {
			t.Fatal(err)
		}
		wantBodies(t, "mailbox", box.bodies(bob))
	})
}

func TestDrainGivesUpInTime(t *testing.T) {
	inBubble(t, relay.Options{}, func(t *testing.T, s *relay.Service, box *memoryMailbox, out *outcomes) {
		hold := box.hang()
		out.submit(s, alice, bob, "one", false)
		ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
		defer cancel()
		start := time.Now()
		if err := s.Drain(ctx); err == nil || time.Since(start) != 5*time.Second {
			t.Errorf("drain of a dead disk: %v after %v", err, time.Since(start))
		}
		close(hold)
	})
}

func TestCloseRefusesTheRest(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		box := &memoryMailbox{hold: make(chan struct{})}
		s := relay.New(box, everybody(), relay.Options{})
		var out outcomes
		r := attach(t, s, carol)
		synctest.Wait()
		out.submit(s, alice, carol, "live", false)
		out.submit(s, alice, bob, "running", false)
		synctest.Wait()
		out.submit(s, alice, bob, "queued", false)
		go close(box.hold)
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
		wantOutcome(t, &out, "live", "draining")
		wantOutcome(t, &out, "running", "STORED")
		wantOutcome(t, &out, "queued", "draining")
		r.takeAll()
		r.attachment.Close()
		out.submit(s, alice, bob, "after", false)
		wantOutcome(t, &out, "after", "draining")
	})
}

func TestPurge(t *testing.T) {
	inBubble(t, relay.Options{}, func(t *testing.T, s *relay.Service, box *memoryMailbox, out *outcomes) {
		out.submit(s, alice, bob, "stored", false)
		synctest.Wait()
		r := attach(t, s, bob2)
		synctest.Wait()
		out.submit(s, alice, bob2, "other device", false)
		if err := s.Purge(t.Context(), bob2); err != nil {
			t.Fatal(err)
		}
		wantOutcome(t, out, "other device", "no-such-device")
		r.takeAll()
		if err := s.Purge(t.Context(), bob); err != nil {
			t.Fatal(err)
		}
		wantBodies(t, "mailbox", box.bodies(bob))
		if err := s.Purge(t.Context(), carol); err != nil {
			t.Fatal(err)
		}
	})
}

func TestExpiry(t *testing.T) {
	inBubble(t, relay.Options{}, func(t *testing.T, s *relay.Service, box *memoryMailbox, out *outcomes) {
		for i := range 700 {
			out.submit(s, alice, bob, fmt.Sprint("old", i), false)
		}
		time.Sleep(24 * time.Hour)
		out.submit(s, alice, bob, "young", false)
		time.Sleep(13*24*time.Hour - time.Hour)
		synctest.Wait()
		if got := len(box.bodies(bob)); got != 701 {
			t.Fatalf("before the end of the lifetime: %d held, want 701", got)
		}
		time.Sleep(3 * time.Hour)
		synctest.Wait()
		wantBodies(t, "mailbox", box.bodies(bob), "young")
		if got := s.Counters().Expired; got != 700 {
			t.Errorf("expired: got %d, want 700", got)
		}
	})
}

func TestTap(t *testing.T) {
	inBubble(t, relay.Options{}, func(t *testing.T, s *relay.Service, box *memoryMailbox, out *outcomes) {
		tap, slow := s.Tap(8), s.Tap(0)
		r := attach(t, s, bob)
		synctest.Wait()
		out.submit(s, alice, bob, "live", false)
		r.takeAll()
		out.submit(s, alice, carol, "stored", false)
		out.submit(s, alice, carol, "refused", true)
		synctest.Wait()
		tap.Close()
		tap.Close()
		var got []string
		for p := range tap.C() {
			got = append(got, fmt.Sprint(p.From.User, " ", p.To.User, " ", string(p.Envelope), " ", p.Stored))
		}
		wantBodies(t, "tap", got, "alice bob live false", "alice carol stored true")
		if slow.Dropped() != 1 {
			t.Errorf("dropped by a buffer of one: got %d, want 1", slow.Dropped())
		}
	})
}

func TestWire(t *testing.T) {
	o := relay.Outcome{State: rendezvous.Outcome_REFUSED, Code: rendezvous.CodeBusy, RetryAfter: time.Second}
	if got, want := o.Settled(), (rendezvous.Settled{State: rendezvous.Outcome_REFUSED, Code: "busy", RetryAfterMs: 1000}); got != want {
		t.Errorf("got %+v, want %+v", got, want)
	}
	d := relay.Delivery{ID: 7, Stored: true, Envelope: relay.Envelope{From: alice, To: bob, Submitted: time.UnixMilli(5), Data: []byte("x")}}
	want := rendezvous.Delivery{ID: 7, Username: "alice", Device: alice.Device[:], Envelope: []byte("x"), Stored: true, SubmittedMs: 5}
	if diff := gocmp.Diff(want, d.Wire()); diff != "" {
		t.Errorf("delivery (-want +got):\n%s", diff)
	}
}
