package relay_test

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/byway-chat/byway/rendezvous/relay"
)

// A device that has taken much does not keep what others send from being stored: half of each transaction is for them.
func TestDeletionsDoNotStarvePuts(t *testing.T) {
	o := relay.Options{Batch: relay.Usage{Messages: 4, Bytes: 1 << 20}}
	inBubble(t, o, func(t *testing.T, s *relay.Service, box *memoryMailbox, out *outcomes) {
		r := returned(t, s, out, 40)
		hold := box.hang()
		r.takeAll()
		synctest.Wait() // a first transaction hangs, and 36 deletions wait
		out.submit(s, alice, carol, "first", false)
		out.submit(s, alice, carol, "second", false)
		for range 2 {
			hold <- struct{}{}
			synctest.Wait()
		}
		wantOutcome(t, out, "first", "STORED")
		wantOutcome(t, out, "second", "STORED")
		if left := len(box.bodies(bob)); left != 40-4-2 {
			t.Errorf("%d are left of what was taken, want that the other half of the transaction was used", left)
		}
		close(hold)
		synctest.Wait()
		wantBodies(t, "bob's mailbox", box.bodies(bob))
	})
}

// The same for deletions that have failed and are tried again.
func TestRetriedDeletionsDoNotStarvePuts(t *testing.T) {
	o := relay.Options{Batch: relay.Usage{Messages: 4, Bytes: 1 << 20}}
	inBubble(t, o, func(t *testing.T, s *relay.Service, box *memoryMailbox, out *outcomes) {
		r := returned(t, s, out, 40)
		box.set(func(b *memoryMailbox) { b.failing = true })
		r.takeAll()
		synctest.Wait()
		box.set(func(b *memoryMailbox) { b.failing = false })
		hold := box.hang()
		time.Sleep(2 * time.Second)
		synctest.Wait() // a first transaction hangs, and 36 deletions are due again
		out.submit(s, alice, carol, "kept", false)
		for range 2 {
			hold <- struct{}{}
			synctest.Wait()
		}
		wantOutcome(t, out, "kept", "STORED")
		close(hold)
		synctest.Wait()
		wantBodies(t, "bob's mailbox", box.bodies(bob))
	})
}
