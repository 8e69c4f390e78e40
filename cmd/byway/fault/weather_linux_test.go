package fault

import (
	"fmt"
	"net/netip"
	"testing"
	"time"

	"github.com/byway-chat/byway/cmd/byway/stage"
)

// hub is the address of the rendezvous in every town.
var hub = netip.MustParseAddr("10.78.0.1")

// town gives the rendezvous and everybody a network namespace of their own, joined by a fabric. The address of the nth person ends in n+1.
func town(t testing.TB) (*stage.Fabric, setting) {
	t.Helper()
	n := stage.NewNetwork(t)
	f := stage.NewFabric(t)
	spaces := map[string]string{}
	for i, name := range append([]string{"rendezvous"}, names...) {
		spaces[name] = n.Space(name)
		f.Plug(n, spaces[name], fmt.Sprintf("10.78.0.%d", i+1))
	}
	f.Run()
	return f, setting{
		netns: func(name string) string { return spaces[name] }, address: hub.String(),
		flags: []string{"--listen", "/ip4/0.0.0.0/tcp/0"},
	}
}

// storm is a bad link; where relayed, packets between people are lost and all must go by the rendezvous.
func storm(relayed bool) func(from, to netip.Addr) stage.Weather {
	bad := stage.Weather{Delay: 2 * time.Millisecond, Loss: 0.20, Twice: 0.05, Reorder: 0.25}
	return func(from, to netip.Addr) stage.Weather {
		if relayed && from != hub && to != hub {
			return stage.Weather{Down: true}
		}
		return bad
	}
}

// TestStorm has three people write to each other over a link that loses a fifth of all packets, doubles some and reorders a quarter, on which
// every connection is reset every two seconds, and where the direct way opens and closes every five.
func TestStorm(t *testing.T) {
	roll.Begin(t, stage.Linking)
	const pause = 60 * time.Millisecond
	total := size(500, 10_000)
	f, s := town(t)
	c := newCast(t, s)
	c.everybody()
	f.Set(storm(false))
	resets, switches := 0, 0
	over, ended := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(ended)
		reset, turn := time.NewTicker(2*time.Second), time.NewTicker(5*time.Second)
		defer reset.Stop()
		defer turn.Stop()
		for {
			select {
			case <-reset.C:
				f.Reset()
				resets++
			case <-turn.C:
				switches++
				f.Set(storm(switches%2 == 1))
			case <-over:
				return
			}
		}
	}()
	for c.ledger.numbers().accepted < total {
		c.chatter(1)()
		c.ledger.await(patience, func() bool { return c.ledger.sum.accepted-c.ledger.sum.shown < 200 })
		<-time.After(pause) // they are to be spread over many resets
	}
	c.ledger.settle(c.running(), 10*patience)
	close(over)
	<-ended
	f.All(stage.Weather{})
	// The control: what did not happen to the packets was not survived either.
	harm := f.Harm()
	t.Logf("%+v", harm)
	if harm.Lost == 0 || harm.Twice == 0 || harm.Overtook == 0 || harm.Resets == 0 || switches == 0 {
		t.Error("there was no storm")
	}
	sum := c.verdict("connection resets in a storm", resets)
	t.Logf("%d messages, %d resets of all connections, %d turns of the way", sum.accepted, resets, switches)
}

// TestPartition has nobody reach anybody for a while. What was written meanwhile is shown within five seconds after the network is back, and
// nobody has dialled anybody more than twice a second. Its control is that packets were lost meanwhile, and attempts to connect seen.
func TestPartition(t *testing.T) {
	roll.Begin(t, stage.Linking)
	outage, rounds := time.Duration(size(15, 20))*time.Second, size(1, 6)
	f, s := town(t)
	c := newCast(t, s)
	c.everybody()
	c.chatter(2)()
	c.ledger.settle(c.running(), patience)
	for range rounds {
		f.All(stage.Weather{Down: true})
		began, before := time.Now(), f.Harm()
		wait := c.chatter(5)
		<-time.After(outage)
		wait()
		dials, harm := f.Since(began), f.Harm()
		c.checkDials(dials, outage)
		if harm.Lost == before.Lost || harm.Passed > before.Passed || len(dials) == 0 {
			t.Errorf("there was no partition: before %+v, after it %+v, %d attempts to connect", before, harm, len(dials))
		}
		f.All(stage.Weather{})
		healed := time.Now()
		if !c.ledger.await(patience, func() bool { return c.ledger.sum.shown >= c.ledger.sum.accepted && c.ledger.owedLocked() == 0 }) {
			t.Fatal("nothing comes after the network is back")
		}
		within(t, "everything shown after the network is back", 5*time.Second, healed)
	}
	c.verdict("partitions", rounds)
}

// checkDials fails the test where somebody has dialled somebody more often than twice a second.
func (c *cast) checkDials(dials []stage.Dial, outage time.Duration) {
	c.t.Helper()
	type pair struct{ from, to netip.Addr }
	count := map[pair]int{}
	for _, d := range dials {
		count[pair{d.From, d.To}]++
	}
	for p, n := range count {
		c.t.Logf("%v dialled %v %d times in %v", p.from, p.to, n, outage)
		if limit := 2 * int(outage.Seconds()+1); n > limit {
			c.t.Errorf("%v dialled %v %d times in %v, at most %d are allowed", p.from, p.to, n, outage, limit)
		}
	}
}
