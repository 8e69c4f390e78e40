package measure_test

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/byway-chat/byway/peer"
)

// party is a peer that runs in this process, used as every face uses one.
type party struct {
	*peer.Peer
	name  string
	ended sync.WaitGroup // its reader of events
}

// arrivePeers starts the first n peers of the town on copies of their homes.
func (r *rendezvousProcess) arrivePeers(tb testing.TB, n int) []*party {
	tb.Helper()
	dir, names := tb.TempDir(), people.peers(tb, n)
	parties := make([]*party, n)
	tb.Cleanup(func() {
		_ = inParallel(8, n, func(i int) error {
			if parties[i] != nil {
				parties[i].leave(tb)
			}
			return nil
		})
	})
	for _, name := range names {
		people.copyHome(tb, name, filepath.Join(dir, name))
	}
	err := inParallel(8, n, func(i int) error {
		p, err := peer.New(peer.Config{
			Home: filepath.Join(dir, names[i]), Rendezvous: r.address.String(), NoMDNS: true, Listen: []string{"/ip4/127.0.0.1/tcp/0"},
		})
		if err != nil {
			return err
		}
		parties[i] = &party{Peer: p, name: names[i]}
		if err := p.Up(background); err != nil {
			return err
		}
		st, err := p.Status(background)
		if err == nil && !st.Rendezvous.Connected {
			err = fmt.Errorf("%s is not connected", names[i])
		}
		return err
	})
	if err != nil {
		tb.Fatal(err)
	}
	return parties
}

func (p *party) leave(tb testing.TB) {
	tb.Helper()
	if err := p.Close(); err != nil {
		tb.Error(err)
	}
	p.ended.Wait()
}

// read calls f with each event until the peer closes.
func (p *party) read(f func(peer.Event)) {
	events := p.Subscribe(peer.EventOptions{})
	p.ended.Go(func() {
		for e, err := range events.Events(background) {
			if err != nil {
				return
			}
			f(e)
		}
	})
}

// couple is two peers of which the first writes to the second. Every text begins with the time at which it was to be sent.
type couple struct {
	from, to *party
	way      string // of SendOptions; after meet, owned by the senders, who only read it
	want     peer.Way
	room     chan struct{} // one for each message that may be under way when the load is crowded

	sent, shown, delivered atomic.Uint64
	detours                atomic.Uint64              // messages that came by another way: on a machine without rest even a live one may go to the mailbox
	wrong                  atomic.Uint64              // events that must not be: out of order, a gap, an error, a failure
	first                  atomic.Pointer[peer.Event] // of those counted in wrong
	onShown                atomic.Pointer[func(time.Duration)]
	last                   uint64 // number of the message shown last; owned by the recipient's reader
}

// inFlight is how many messages a sender has under way at most: from before Send until the receipt is back.
const inFlight = 256

// couples makes pairs of peers, and brings them so far that a message goes by the way that is to be measured.
func couples(tb testing.TB, r *rendezvousProcess, n int, way peer.Way) []*couple {
	tb.Helper()
	parties := r.arrivePeers(tb, 2*n)
	all := make([]*couple, n)
	for i := range all {
		c := &couple{from: parties[2*i], to: parties[2*i+1], way: "relay", want: way, room: make(chan struct{}, inFlight)}
		if way == peer.WayLAN {
			c.way = "direct"
		}
		for range inFlight {
			c.room <- struct{}{}
		}
		c.from.read(c.receipt)
		c.to.read(c.arrival)
		all[i] = c
	}
	err := inParallel(8, n, func(i int) error { return all[i].meet() })
	if err != nil {
		tb.Fatal(err)
	}
	return all
}

// meet sends the first message, which opens what the others use.
func (c *couple) meet() error {
	deadline := time.Now().Add(patience)
	for {
		<-c.room
		err := c.send(16, time.Now())
		if err == nil {
			break
		}
		c.room <- struct{}{}
		if time.Now().After(deadline) {
			return fmt.Errorf("%s and %s do not meet: %w", c.from.name, c.to.name, err)
		}
		time.Sleep(50 * time.Millisecond)
	}
	if c.want == peer.WayLAN {
		c.way = "auto" // as people send: the link is there, and is preferred
	}
	return c.settle()
}

// send sends a text of so many bytes that was due at a time.
func (c *couple) send(size int, due time.Time) error {
	text := fmt.Sprintf("%016x", due.Sub(clock).Nanoseconds())
	_, err := c.from.Send(background, c.to.name, text+strings.Repeat(".", size-len(text)), peer.SendOptions{Way: c.way})
	if err == nil {
		c.sent.Add(1)
	}
	return err
}

// arrival is told each event of the recipient. An event comes out of the API after the message is on the disk.
func (c *couple) arrival(e peer.Event) {
	switch e.Type {
	case peer.EventMessage:
		if e.Way != c.want {
			c.detours.Add(1)
		}
		if e.N != c.last+1 {
			c.fault(e)
		}
		c.last = e.N
		c.shown.Add(1)
		if f := c.onShown.Load(); f != nil {
			now := time.Since(clock)
			var due time.Duration
			_, _ = fmt.Sscanf(*e.Body, "%016x", &due)
			(*f)(now - due)
		}
	case peer.EventGap, peer.EventError:
		c.fault(e)
	}
}

// receipt is told each event of the sender.
func (c *couple) receipt(e peer.Event) {
	switch {
	case e.Type == peer.EventState && e.State == peer.StateDelivered:
		c.delivered.Add(1)
		select {
		case c.room <- struct{}{}:
		default: // it was sent by a load that is not crowded
		}
	case e.Type == peer.EventState && e.State == peer.StateFailed, e.Type == peer.EventError:
		c.fault(e)
	}
}

// fault counts an event that must not be, and keeps the first.
func (c *couple) fault(e peer.Event) {
	c.wrong.Add(1)
	c.first.CompareAndSwap(nil, &e)
}

// settle waits until everything sent has been shown and its receipt is back, as long as something moves.
func (c *couple) settle() error {
	moved, deadline := uint64(0), time.Now().Add(patience)
	for ; ; <-time.After(time.Millisecond) {
		sent, shown, delivered := c.sent.Load(), c.shown.Load(), c.delivered.Load()
		if shown+delivered > moved {
			moved, deadline = shown+delivered, time.Now().Add(patience)
		}
		if sent == shown && sent == delivered {
			return nil
		}
		if time.Now().After(deadline) {
			return fmt.Errorf("%s sent %d to %s: %d shown, %d receipts", c.from.name, sent, c.to.name, shown, delivered)
		}
	}
}

// settled ends a measurement: nothing is missing, doubled or out of order.
func settled(tb testing.TB, all []*couple) {
	tb.Helper()
	var errs []error
	for _, c := range all {
		errs = append(errs, c.settle())
		if n := c.wrong.Load(); n > 0 {
			errs = append(errs, fmt.Errorf("%s to %s: %d events that must not be, the first %+v", c.from.name, c.to.name, n, *c.first.Load()))
		}
	}
	if err := errors.Join(errs...); err != nil {
		tb.Error(err)
	}
}

// detours counts over all couples.
func detours(all []*couple) (n uint64) {
	for _, c := range all {
		n += c.detours.Load()
	}
	return n
}

// delivered counts receipts over all couples.
func delivered(all []*couple) func() uint64 {
	return func() (n uint64) {
		for _, c := range all {
			n += c.delivered.Load()
		}
		return n
	}
}

// busy returns a load that keeps up to inFlight messages of each couple under way.
func busy(tb testing.TB, all []*couple, size int) loader {
	return func(ctx context.Context) {
		var senders sync.WaitGroup
		for _, c := range all {
			for range inFlight { // each waits in Send until its message is on the disk
				senders.Go(func() {
					for ctx.Err() == nil {
						select {
						case <-c.room:
							if err := c.send(size, time.Now()); err != nil {
								tb.Errorf("send: %v", err)
								return
							}
						case <-ctx.Done():
						}
					}
				})
			}
		}
		senders.Wait()
	}
}
