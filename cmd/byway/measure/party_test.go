package measure_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/byway-chat/byway/peer"
)

// party is a peer of a study: a puppet on a stage.
type party struct {
	name    string
	number  int // on its stage
	stage   *stage
	answers chan answer // closed when the stage's process has ended

	mu sync.Mutex // held from an order to its answer
}

// stage is a process with peers: one, as each person runs it, or all of a study, as a program has that embeds them.
type stage struct {
	*process
	parties []*party // immutable
	ended   error    // why there are no more answers; set before those of the parties are closed

	mu     sync.Mutex
	orders *json.Encoder // guarded by mu
}

// housing says which peers of a study share a process.
type housing int

const (
	apart    housing = iota // each has one of its own
	together                // all are in one
)

// arrivePeers starts the first n peers of the town on copies of their homes: each in a process of its own, or all in one.
func (r *rendezvousProcess) arrivePeers(tb testing.TB, n int, where housing) []*party {
	tb.Helper()
	dir, names, each := tb.TempDir(), people.peers(tb, n), 1
	if where == together {
		each = n
	}
	for _, name := range names {
		people.copyHome(tb, name, filepath.Join(dir, name))
	}
	var parties []*party
	var stages []*stage
	for some := range slices.Chunk(names, each) {
		if before := len(stages) - 8; before >= 0 { // more at once would only stand in each other's way
			stages[before].enter(tb)
		}
		s := r.arrive(tb, dir, some)
		stages, parties = append(stages, s), append(parties, s.parties...)
	}
	for _, s := range stages[max(0, len(stages)-8):] {
		s.enter(tb)
	}
	// Last, so that it comes first: what start has each of them do would stop one after the other.
	tb.Cleanup(func() {
		_ = inParallel(8, len(stages), func(i int) error {
			stages[i].stop(tb)
			return nil
		})
	})
	return parties
}

// arrive starts a process with these peers, whose homes are in dir.
func (r *rendezvousProcess) arrive(tb testing.TB, dir string, names []string) *stage {
	tb.Helper()
	env := append([]string{"GOGC=400"}, strings.Fields(*peerEnv)...) // as cmd/byway has it
	env = append(env, roleVariable+"=peers", "DIR="+dir, "NAMES="+strings.Join(names, " "), "RENDEZVOUS="+r.address.String())
	if *profile != "" {
		env = append(env, "PROFILE="+absolute(*profile+"-"+names[0]))
	}
	p := start(tb, env, os.Args[0])
	s := &stage{process: p, orders: json.NewEncoder(p.stdin)}
	for i, name := range names {
		s.parties = append(s.parties, &party{name: name, number: i, stage: s, answers: make(chan answer, 1)})
	}
	p.reading.Go(s.read)
	return s
}

// read hands each answer to the party whose it is, until the process ends.
func (s *stage) read() {
	answers := json.NewDecoder(s.stdout)
	for {
		var a answer
		if s.ended = answers.Decode(&a); s.ended != nil {
			break
		}
		if a.Number < 0 || a.Number >= len(s.parties) {
			s.ended = fmt.Errorf("nobody has the number %d", a.Number)
			break
		}
		s.parties[a.Number].answers <- a
	}
	for _, p := range s.parties {
		close(p.answers)
	}
}

// enter waits until all on the stage are ready, which each says by an answer.
func (s *stage) enter(tb testing.TB) {
	tb.Helper()
	for _, p := range s.parties {
		if _, err := p.answer(); err != nil {
			tb.Fatal(err)
		}
	}
}

// ask gives an order and waits for the answer.
func (p *party) ask(o order) (answer, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	o.Number = p.number
	p.stage.mu.Lock()
	err := p.stage.orders.Encode(o)
	p.stage.mu.Unlock()
	if err != nil {
		return answer{}, fmt.Errorf("%s: %w", p.name, err)
	}
	return p.answer()
}

func (p *party) answer() (answer, error) {
	a, ok := <-p.answers
	switch {
	case !ok:
		return a, fmt.Errorf("%s: its process answers no more: %w", p.name, p.stage.ended)
	case a.Error != "":
		return a, fmt.Errorf("%s: %s", p.name, a.Error)
	}
	return a, nil
}

// couple is two peers of which the first writes to the second.
type couple struct {
	from, to *party
	way      string // of SendOptions; immutable after meet
	want     peer.Way
}

// inFlight is how many messages a sender has under way at most in a crowded load, and in Send in any.
const inFlight = 256

// couples makes pairs of peers, and brings them so far that a message goes by the way that is to be measured.
func couples(tb testing.TB, r *rendezvousProcess, n int, way peer.Way, where housing) []*couple {
	tb.Helper()
	parties := r.arrivePeers(tb, 2*n, where)
	all := make([]*couple, n)
	for i := range all {
		all[i] = &couple{from: parties[2*i], to: parties[2*i+1], way: "relay", want: way}
		if way == peer.WayLAN {
			all[i].way = "direct"
		}
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
		_, err := c.from.ask(c.sends("send", 16))
		if err == nil {
			break
		}
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

func (c *couple) sends(do string, size int) order {
	return order{Do: do, To: c.to.name, Way: c.way, Size: size}
}

// settle waits until everything sent has been shown and its receipt is back, as long as something moves.
func (c *couple) settle() error {
	moved, deadline := uint64(0), time.Now().Add(patience)
	for ; ; <-time.After(5 * time.Millisecond) {
		from, errFrom := c.from.ask(order{Do: "count"})
		to, errTo := c.to.ask(order{Do: "count"})
		if err := errors.Join(errFrom, errTo); err != nil {
			return err
		}
		for _, a := range []answer{from, to} {
			if a.Wrong > 0 {
				return fmt.Errorf("%s to %s: %d events that must not be, the first %s", c.from.name, c.to.name, a.Wrong, a.First)
			}
		}
		shown := to.shown()
		if shown+from.Delivered > moved {
			moved, deadline = shown+from.Delivered, time.Now().Add(patience)
		}
		if from.Sent == shown && from.Sent == from.Delivered {
			return nil
		}
		if time.Now().After(deadline) {
			return fmt.Errorf("%s sent %d to %s: %d shown, %d receipts", c.from.name, from.Sent, c.to.name, shown, from.Delivered)
		}
	}
}

// shown counts messages over all ways.
func (t tally) shown() (n uint64) {
	for _, some := range t.Shown {
		n += some
	}
	return n
}

// eachAtOnce calls f for all couples at a time.
func eachAtOnce(tb testing.TB, all []*couple, f func(i int, c *couple) error) {
	tb.Helper()
	if err := inParallel(len(all), len(all), func(i int) error { return f(i, all[i]) }); err != nil {
		tb.Error(err)
	}
}

// detours counts messages that came by another way: on a machine without rest even a live one may go to the mailbox.
func detours(tb testing.TB, all []*couple) (n uint64) {
	tb.Helper()
	for _, c := range all {
		a, err := c.to.ask(order{Do: "count"})
		if err != nil {
			tb.Error(err)
		}
		n += a.shown() - a.Shown[c.want]
	}
	return n
}

// delivered counts receipts over all couples.
func delivered(tb testing.TB, all []*couple) func() uint64 {
	return func() (n uint64) {
		counts := make([]uint64, len(all))
		eachAtOnce(tb, all, func(i int, c *couple) error {
			a, err := c.from.ask(order{Do: "count"})
			counts[i] = a.Delivered
			return err
		})
		for _, some := range counts {
			n += some
		}
		return n
	}
}

// peersBusy is the processor time that the peers have used.
func peersBusy(tb testing.TB, all []*couple) (sum time.Duration) {
	tb.Helper()
	seen := map[*stage]bool{}
	for _, c := range all {
		for _, p := range []*party{c.from, c.to} {
			if !seen[p.stage] {
				seen[p.stage] = true
				sum += look(tb, p.stage.pid()).cpu
			}
		}
	}
	return sum
}

// busy returns a load that keeps so many messages of each couple under way. See play.
func (s scale) busy(tb testing.TB, all []*couple, underWay, size int, to *latencies) loader {
	return s.play(tb, all, to, func(_ int, c *couple) order {
		o := c.sends("crowd", size)
		o.InFlight = underWay
		return o
	})
}

// steady returns an open load of rate messages a second over all couples. See play.
func (s scale) steady(tb testing.TB, all []*couple, rate float64, size int, to *latencies) loader {
	interval := time.Duration(float64(len(all)) / rate * float64(time.Second))
	return func(ctx context.Context) {
		begun := now() + s.warm/4 // by then all have their orders
		s.play(tb, all, to, func(i int, c *couple) order {
			o := c.sends("steady", size)
			o.First, o.Interval = begun+interval*time.Duration(i)/time.Duration(len(all)), interval
			return o
		})(ctx)
	}
}

// play returns a load in which the first of each couple sends as its order says and the second keeps the latency of each message, from when
// it was due; those in the warm-up are left out. It ends when nothing is missing, doubled or out of order.
func (s scale) play(tb testing.TB, all []*couple, to *latencies, sends func(i int, c *couple) order) loader {
	return func(ctx context.Context) {
		from := now() + s.warm
		eachAtOnce(tb, all, func(_ int, c *couple) error {
			_, err := c.to.ask(order{Do: "watch", From: from})
			return err
		})
		eachAtOnce(tb, all, func(i int, c *couple) error {
			_, err := c.from.ask(sends(i, c))
			return err
		})
		<-ctx.Done()
		eachAtOnce(tb, all, func(_ int, c *couple) error {
			_, err := c.from.ask(order{Do: "rest"})
			return err
		})
		eachAtOnce(tb, all, func(_ int, c *couple) error {
			err := c.settle()
			a, errRest := c.to.ask(order{Do: "rest"})
			to.add(a.Latencies...)
			return errors.Join(err, errRest)
		})
	}
}
