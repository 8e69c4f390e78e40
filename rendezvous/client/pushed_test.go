package client

import (
	"bytes"
	"fmt"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/libp2p/go-libp2p/core/network"

	"github.com/byway-chat/byway/crypto/identity"
	"github.com/byway-chat/byway/rendezvous"
	"github.com/byway-chat/byway/rendezvous/framing"
)

// What is taken goes out together: with the next Submit, when it is many, or after 25 ms.
func TestTakenGathers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newPair(t)
		type told struct {
			at     time.Duration
			ids    []uint64
			mark   uint64
			submit bool
		}
		got := make(chan told, 10)
		var begun time.Time
		p.serve(t, answering(t, func(in *rendezvous.Frame) []*rendezvous.Frame {
			ids, _ := rendezvous.Numbers(nil, in.GetTaken().GetDeliveries())
			got <- told{time.Since(begun), ids, in.GetTaken().GetRefusals(), in.GetSubmit() != nil}
			return nil
		}))
		c := p.dial(t)
		take := func(ids ...uint64) {
			t.Helper()
			if err := c.Taken(ids...); err != nil {
				t.Fatal(err)
			}
		}
		begun = time.Now()
		take(3)
		take(1, 2)
		if err := c.Told(9); err != nil {
			t.Fatal(err)
		}
		if g := <-got; g.at != takenLag+5*time.Millisecond || !slices.Equal(g.ids, []uint64{1, 2, 3}) || g.mark != 9 {
			t.Errorf("after a pause: got %+v", g)
		}
		begun = time.Now()
		take(4)
		if _, err := c.Submit(identity.Fingerprint{1}, []byte("x"), false); err != nil {
			t.Fatal(err)
		}
		if g := <-got; g.at != 5*time.Millisecond || !slices.Equal(g.ids, []uint64{4}) {
			t.Errorf("with a Submit: got %+v", g)
		}
		if g := <-got; !g.submit {
			t.Errorf("got %+v, want the Submit", g)
		}
		begun = time.Now()
		var many []uint64
		for i := range takenMany {
			many = append(many, uint64(10+i))
		}
		take(many...)
		if g := <-got; g.at != 5*time.Millisecond || !slices.Equal(g.ids, many) {
			t.Errorf("many: got %+v", g)
		}
		time.Sleep(time.Second)
		if len(got) > 0 {
			t.Errorf("told twice: %+v", <-got)
		}
		if err := c.Close(); err != nil {
			t.Fatal(err)
		}
		if err := c.Taken(5); err == nil {
			t.Error("taken after the end")
		}
	})
}

// What one read brings comes together, in order, and stays what it was.
func TestPushesAreTheReceivers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newPair(t)
		const rounds, each = 20, 50
		envelope := func(n int) []byte { return bytes.Repeat([]byte{byte(n)}, 100+n%7) }
		p.serve(t, func(s network.Stream, r *framing.Reader) {
			for round := range rounds {
				var wire []byte
				for i := range each {
					n := round*each + i
					name := fmt.Sprint("user", n/10)
					if n%20 == 0 { // in a form that the generated code parses
						write(t, s, &rendezvous.Frame{Id: 5, Body: &rendezvous.Frame_Deliver{Deliver: &rendezvous.Deliver{
							Id: uint64(n + 1), Username: name, Device: []byte{1}, Envelope: envelope(n),
						}}})
						continue
					}
					wire = rendezvous.AppendDeliver(wire[:0], &rendezvous.Delivery{ID: uint64(n + 1), Username: name, Device: []byte{1}, Envelope: envelope(n)})
					_, _ = s.Write(wire)
				}
				_, _ = s.Write(rendezvous.AppendOutcome(nil, rendezvous.Settled{State: rendezvous.Outcome_TAKEN}, []uint64{uint64(2 * round), uint64(2*round + 1)}))
			}
			write(t, s, &rendezvous.Frame{Body: &rendezvous.Frame_Refusals{Refusals: &rendezvous.Refusals{Mark: 3, Messages: 4}}})
			answering(t, func(*rendezvous.Frame) []*rendezvous.Frame { return nil })(s, r)
		})
		c := p.dial(t)
		var all []rendezvous.Delivery
		var outcomes []Outcome
		for {
			pushed := <-c.Pushes()
			all, outcomes = append(all, pushed.Deliveries...), append(outcomes, pushed.Outcomes...)
			if pushed.Refusals != nil {
				if pushed.Refusals.GetMark() != 3 {
					t.Errorf("got %v", pushed.Refusals)
				}
				break
			}
		}
		if len(all) != rounds*each || len(outcomes) != 2*rounds {
			t.Fatalf("got %d deliveries and %d outcomes", len(all), len(outcomes))
		}
		for n, d := range all {
			if d.ID != uint64(n+1) || d.Username != fmt.Sprint("user", n/10) || !bytes.Equal(d.Envelope, envelope(n)) || !bytes.Equal(d.Device, []byte{1}) {
				t.Fatalf("delivery %d: got %+v", n, d)
			}
		}
		for i, o := range outcomes {
			if o.ID != uint64(i) || o.State != rendezvous.Outcome_TAKEN {
				t.Errorf("outcome %d: got %+v", i, o)
			}
		}
	})
}
