package relay_test

import (
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/byway-chat/byway/rendezvous/relay"
)

// small makes a mailbox of two envelopes, of which one at a time is given to its device.
func small() relay.Options {
	return relay.Options{
		Quota:  relay.Quota{Account: relay.Usage{Messages: 2, Bytes: 1000}, Pair: relay.Usage{Messages: 2, Bytes: 1000}},
		Window: relay.Usage{Messages: 1, Bytes: 1000},
	}
}

// What did not fit is told when the device comes, once, and again only until it says that its person knows.
func TestRefusalsAreTold(t *testing.T) {
	inBubble(t, small(), func(t *testing.T, s *relay.Service, box *memoryMailbox, out *outcomes) {
		out.submitAll(s, alice, bob, false, "1", "2", "3")
		time.Sleep(time.Hour)
		first := time.Now()
		out.submit(s, carol, bob, "4", false)
		synctest.Wait()
		wantOutcome(t, out, "3", "mailbox-full")
		wantOutcome(t, out, "4", "mailbox-full")
		if got := out.got["4"][0].RetryAfter; got != time.Minute {
			t.Errorf("retry after %v, want a minute: nobody empties the mailbox", got)
		}
		r := attach(t, s, bob)
		synctest.Wait()
		if len(r.refusals) != 1 || r.refusals[0].Messages != 2 || r.refusals[0].Accounts != 2 || !r.refusals[0].Since.Equal(first.Add(-time.Hour)) {
			t.Fatalf("refusals: got %+v", r.refusals)
		}
		out.submit(s, alice, bob, "5", false)
		synctest.Wait()
		wantOutcome(t, out, "5", "mailbox-full")
		if got := out.got["5"][0].RetryAfter; got != time.Second {
			t.Errorf("retry after %v, want a second: the device is emptying the mailbox", got)
		}
		r.attachment.Close()
		again := attach(t, s, bob)
		synctest.Wait()
		if len(again.refusals) != 1 || again.refusals[0].Messages != 3 {
			t.Fatalf("refusals that nobody has told: got %+v", again.refusals)
		}
		again.attachment.Told(again.refusals[0].Mark + 1) // not what it was given
		again.attachment.Told(again.refusals[0].Mark)
		again.attachment.Told(again.refusals[0].Mark)
		again.takeAll()
		synctest.Wait()
		again.attachment.Close()
		last := attach(t, s, bob)
		synctest.Wait()
		if len(last.refusals) != 0 || len(box.refused) != 0 {
			t.Errorf("refusals that were told: got %+v", last.refusals)
		}
	})
}

// A device that is attached is told at once what did not fit, and once a minute while it goes on.
func TestRefusalsAreToldWhileConnected(t *testing.T) {
	inBubble(t, small(), func(t *testing.T, s *relay.Service, box *memoryMailbox, out *outcomes) {
		r := returned(t, s, out, 2)
		refuse := func(n int) {
			body := fmt.Sprint("too much ", n)
			out.submit(s, alice, bob, body, false)
			synctest.Wait()
			wantOutcome(t, out, body, "mailbox-full")
		}
		want := func(told, messages int) {
			t.Helper()
			synctest.Wait()
			if len(r.refusals) != told || told > 0 && r.refusals[told-1].Messages != uint64(messages) {
				t.Fatalf("refusals: got %+v, want %d, the last of %d envelopes", r.refusals, told, messages)
			}
		}
		want(0, 0)
		refuse(1)
		want(1, 1)
		r.attachment.Told(r.refusals[0].Mark)
		for n := range 30 { // as a sender does that tries again
			refuse(2 + n)
			time.Sleep(time.Second)
		}
		want(1, 1)
		time.Sleep(30 * time.Second)
		want(2, 30)
		time.Sleep(time.Hour) // its person has not been told, but nothing more is refused
		want(2, 30)
		refuse(40)
		want(3, 31)
		r.attachment.Told(r.refusals[2].Mark)
		refuse(41)
		r.attachment.Close() // before the minute is over
		again := attach(t, s, bob)
		synctest.Wait()
		if len(again.refusals) != 1 || again.refusals[0].Messages != 1 {
			t.Errorf("on the next connection: got %+v", again.refusals)
		}
		time.Sleep(time.Hour)
		want(3, 31)
	})
}

// A read that fails does not keep what was refused from being told.
func TestRefusalsAreToldAfterAFailedRead(t *testing.T) {
	inBubble(t, small(), func(t *testing.T, s *relay.Service, box *memoryMailbox, out *outcomes) {
		r := returned(t, s, out, 2)
		out.submit(s, alice, bob, "too much", false)
		box.set(func(b *memoryMailbox) { b.unreadable = true })
		time.Sleep(3 * time.Second)
		synctest.Wait()
		if len(r.refusals) != 0 {
			t.Fatalf("refusals: got %+v from a mailbox that cannot be read", r.refusals)
		}
		box.set(func(b *memoryMailbox) { b.unreadable = false })
		time.Sleep(time.Second)
		synctest.Wait()
		if len(r.refusals) != 1 {
			t.Errorf("refusals: got %+v, want one", r.refusals)
		}
	})
}
