package measure_test

import (
	"encoding/binary"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/byway-chat/byway/rendezvous"
)

// mailboxStudies measure the way into the mailbox of users who are away, and out again.
func mailboxStudies() []study {
	return []study{{name: "size=64", body: mailbox}}
}

func BenchmarkMailbox(b *testing.B) { run(b, mailboxStudies()) }

// Bounds of the mailbox study. A mailbox takes 10,000 envelopes, and 5,000 of one sender.
const (
	mailboxSenders = 10
	mailboxEach    = 900 // envelopes from each sender to each recipient
	unanswered     = 1000
)

// mailbox lets senders fill the mailboxes of absent users, then lets these come and take all, and checks that each envelope has come once.
// There is no yardstick beside it, for the hub keeps nothing; the disk's own speed is measured instead.
func mailbox(tb testing.TB, s scale) figures {
	recipients, each := s.pick(40, 10, 2), s.pick(mailboxEach, mailboxEach, 20)
	node := serve(tb, mailboxSenders+recipients, 0)
	senders := node.devices(tb, mailboxSenders)
	absent := people.accounts(tb, mailboxSenders+recipients)[mailboxSenders:]
	envelope := sealed(tb, 64)
	total := mailboxSenders * each * recipients

	before, begun := look(tb, node.pid()), time.Now()
	err := inParallel(len(senders), len(senders), func(i int) error { return fill(senders[i], uint32(i), absent, each, envelope) })
	in := time.Since(begun)
	if err != nil {
		tb.Fatal(err)
	}
	middle := look(tb, node.pid())

	var syncs latencies
	probeDisk(tb, &syncs, s.pick(200, 100, 3), 0)

	back := make([]*device, len(absent))
	for i, a := range absent {
		if back[i], err = a.connect(tb.Context(), node.address); err != nil {
			tb.Fatal(err)
		}
		tb.Cleanup(back[i].close)
	}
	emptied := look(tb, node.pid())
	begun = time.Now()
	lost, twice := 0, 0
	var mu sync.Mutex
	err = inParallel(len(back), len(back), func(i int) error {
		l, t, err := empty(tb, back[i], mailboxSenders*each)
		mu.Lock()
		defer mu.Unlock()
		lost, twice = lost+l, twice+t
		return err
	})
	if err == nil {
		err = forgotten(tb, node, back)
	}
	out := time.Since(begun)
	if err != nil {
		tb.Fatal(err)
	}
	after := look(tb, node.pid())
	if lost > 0 || twice > 0 {
		tb.Errorf("of %d envelopes %d were lost and %d came twice", total, lost, twice)
	}
	var f figures
	f.add("in/s", float64(total)/in.Seconds())
	f.add("out/s", float64(total)/out.Seconds())
	f.add("lost", float64(lost))
	f.add("in-us/envelope", inMicroseconds(middle.cpu-before.cpu)/float64(total))
	f.add("out-us/envelope", inMicroseconds(after.cpu-emptied.cpu)/float64(total))
	f.add("fsync-p50-ms", inMilliseconds(syncs.quantile(0.5)))
	return f
}

// fill submits so many envelopes to each recipient in turn and returns when all are stored.
func fill(d *device, sender uint32, to []account, each int, envelope []byte) error {
	room := make(chan struct{}, unanswered)
	d.told = func() { <-room }
	d.take(func([]byte) {})
	message := append([]byte(nil), envelope...)
	for n := range each {
		for _, a := range to {
			room <- struct{}{}
			binary.BigEndian.PutUint32(message[len(message)-8:], sender)
			binary.BigEndian.PutUint32(message[len(message)-4:], uint32(n))
			d.to = a.fingerprint()
			if err := d.send(message); err != nil {
				return err
			}
		}
	}
	for range cap(room) {
		select {
		case room <- struct{}{}:
		case <-time.After(patience):
			return fmt.Errorf("%s was not told what became of its envelopes", d.name)
		}
	}
	if stored := d.stored.Load(); stored != uint64(each*len(to)) {
		return fmt.Errorf("%s: of %d envelopes %d were stored, %d refused", d.name, each*len(to), stored, d.failed.Load())
	}
	return nil
}

// empty signs a device in and takes what waits for it.
func empty(tb testing.TB, d *device, want int) (lost, twice int, err error) {
	seen := make(map[uint64]bool, want)
	done := make(chan struct{})
	d.take(func(message []byte) {
		key := binary.BigEndian.Uint64(message[len(message)-8:])
		if seen[key] {
			twice++
			return
		}
		seen[key] = true
		if len(seen) == want {
			close(done)
		}
	})
	if _, err := d.conn.Resume(tb.Context(), string(d.name)); err != nil {
		return 0, 0, err
	}
	select {
	case <-done:
	case <-time.After(patience):
		d.close()
	}
	return want - len(seen), twice, nil
}

// forgotten waits until the rendezvous has committed that nothing waits any more: it says so when a device signs in anew.
func forgotten(tb testing.TB, node *rendezvousProcess, devices []*device) error {
	for _, d := range devices {
		for deadline := time.Now().Add(patience); ; <-time.After(time.Millisecond) {
			waiting, err := d.waiting(tb, node.address)
			if err != nil {
				return err
			}
			if waiting == 0 {
				break
			}
			if time.Now().After(deadline) {
				return fmt.Errorf("%d envelopes still wait for %s", waiting, d.name)
			}
		}
	}
	return nil
}

// waiting asks how many envelopes the mailbox of an account holds.
func (a account) waiting(tb testing.TB, at rendezvous.Address) (uint64, error) {
	d, err := a.connect(tb.Context(), at)
	if err != nil {
		return 0, err
	}
	defer d.close()
	d.take(func([]byte) {})
	in, err := d.conn.Resume(tb.Context(), string(a.name))
	return in.GetMailboxMessages(), err
}
