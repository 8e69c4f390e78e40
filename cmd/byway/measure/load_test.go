package measure_test

import (
	"context"
	"crypto/rand"
	"encoding/binary"
	"sync"
	"testing"
	"time"

	"github.com/byway-chat/byway/crypto/identity/identitytest"
	"github.com/byway-chat/byway/crypto/session"
)

// loader puts load on something until its context ends.
type loader func(context.Context)

// spent is what a process did for messages that arrived, summed over turns.
type spent struct {
	messages      uint64
	wall, cpu     time.Duration
	reads, writes uint64
}

func (s spent) perSecond() float64     { return float64(s.messages) / s.wall.Seconds() }
func (s spent) cpuPerMessage() float64 { return inMicroseconds(s.cpu) / float64(max(s.messages, 1)) }
func (s spent) each(n uint64) float64  { return float64(n) / float64(max(s.messages, 1)) }

// once is for what needs long until it runs evenly: a single turn of the whole span.
func (s scale) once() scale {
	s.rounds = 1
	return s
}

// filled reports when a load runs evenly that keeps so many messages under way: when as many have arrived.
func filled(arrived func() uint64, underWay int) func() bool {
	first := arrived()
	return func() bool { return arrived()-first >= uint64(underWay) }
}

// gauge lets a load run for one turn after its warm-up, which lasts until steady says so where that is not nil, and adds what the process
// did for what arrived in that turn.
func (s scale) gauge(tb testing.TB, pid int, sum *spent, arrived func() uint64, load loader, steady func() bool) {
	tb.Helper()
	ctx, stop := context.WithCancel(background)
	var running sync.WaitGroup
	running.Go(func() { load(ctx) })
	<-time.After(s.warm)
	for end := time.Now().Add(patience); steady != nil && !steady() && time.Now().Before(end); {
		<-time.After(10 * time.Millisecond)
	}
	first, before := arrived(), look(tb, pid) // in this order at both ends: to ask all peers takes a while
	<-time.After(s.turn())
	last, after := arrived(), look(tb, pid)
	stop()
	running.Wait()
	sum.messages += last - first
	sum.wall += after.at.Sub(before.at)
	sum.cpu += after.cpu - before.cpu
	sum.reads += after.reads - before.reads
	sum.writes += after.writes - before.writes
}

// arrivals counts over all pairs.
func arrivals(pairs []*pair) func() uint64 {
	return func() (n uint64) {
		for _, p := range pairs {
			n += p.arrived.Load()
		}
		return n
	}
}

// separate returns a load of rate messages a second over all pairs, one pair after the other, whatever becomes of them: so few a pair that
// each travels alone.
func separate(pairs []*pair, rate float64, message []byte) loader {
	return func(ctx context.Context) {
		begun := time.Now()
		for i := 0; ctx.Err() == nil; i++ {
			due := begun.Add(time.Duration(float64(i) / rate * float64(time.Second)))
			if wait := time.Until(due); wait > 0 {
				time.Sleep(wait)
			}
			if pairs[i%len(pairs)].from.send(message) != nil {
				return // what has not arrived is missed by whoever counts
			}
		}
	}
}

// crowded returns a load that keeps as many messages of each pair under way as its open allows.
func crowded(pairs []*pair, message []byte) loader {
	return func(ctx context.Context) {
		var all sync.WaitGroup
		for _, p := range pairs {
			all.Go(func() {
				for ctx.Err() == nil {
					select {
					case <-p.room:
						if p.from.send(message) != nil {
							return
						}
					case <-ctx.Done():
					}
				}
			})
		}
		all.Wait()
	}
}

// open makes both ends count what arrives. inFlight is how many messages the sender may have under way when the load is crowded. With
// receipts, the recipient answers each message, and the answer makes room.
func (p *pair) open(inFlight int, receipts bool) {
	p.room = make(chan struct{}, inFlight)
	for range inFlight {
		p.room <- struct{}{}
	}
	release := func() {
		select {
		case p.room <- struct{}{}:
		default: // a load that is not crowded
		}
	}
	answer := []byte{1}
	p.to.take(func(message []byte) {
		p.arrived.Add(1)
		if receipts {
			_ = p.to.send(answer) // a wire that has failed shows in what has arrived
		} else {
			release()
		}
		if p.onArrival != nil {
			p.onArrival(message)
		}
	})
	p.from.take(func([]byte) { release() })
}

// sealed returns an envelope as a message of so many bytes has it, from the second of its session on.
func sealed(tb testing.TB, size int) []byte {
	tb.Helper()
	const besideText = 48 // id, numbers, time: about what peer/delivery writes beside a text
	from, to := identitytest.Keyring(0), identitytest.Keyring(1)
	sender, _, err := session.Begin(rand.Reader, session.Start{
		From: session.Party{Name: "a", Fingerprint: from.Identity.Public().Fingerprint()}, Signer: from.Identity,
		To: session.Party{Name: "b", Fingerprint: to.Identity.Public().Fingerprint()}, Key: to.Encryption[0].Public(),
		Time: time.Now(),
	}, nil)
	if err != nil {
		tb.Fatal(err)
	}
	envelope, err := sender.Seal(make([]byte, besideText+size))
	if err != nil {
		tb.Fatal(err)
	}
	return envelope
}

// stamp writes the time at which a message was to be sent to its end.
func stamp(message []byte, due time.Duration) {
	binary.BigEndian.PutUint64(message[len(message)-8:], uint64(due))
}

// age is the time since the one that is stamped on a message.
func age(message []byte) time.Duration {
	return now() - time.Duration(binary.BigEndian.Uint64(message[len(message)-8:]))
}
