package measure_test

import (
	"context"
	"os"
	"path/filepath"
	"runtime"
	"sync"
	"testing"
	"time"

	"github.com/byway-chat/byway/peer"
)

// latencyStudies measure the time from Send to the event at the recipient, and beside it what the hub and the disk take of the same kind.
func latencyStudies() []study {
	return []study{
		{name: "load=one", body: oneInFlight},
		{name: "load=half/pairs=1", body: func(tb testing.TB, s scale) figures { return evenly(tb, s, 1, 0, apart) }},
		{name: "load=half/pairs=10", body: func(tb testing.TB, s scale) figures { return evenly(tb, s, 10, 0, apart) }},
		{name: "load=half/pairs=10/together", body: func(tb testing.TB, s scale) figures { return evenly(tb, s, 10, 0, together) }},
		{name: "load=500/pairs=10", body: func(tb testing.TB, s scale) figures { return evenly(tb, s, 10, 500, apart) }, more: true},
		{name: "load=5000/pairs=10", body: func(tb testing.TB, s scale) figures { return evenly(tb, s, 10, 5000, apart) }, more: true},
	}
}

func BenchmarkLatency(b *testing.B) { run(b, latencyStudies()) }

const latencyText = 64 // bytes

// latencies collects from any goroutine.
type latencies struct {
	mu  sync.Mutex
	all []time.Duration // guarded by mu
}

func (l *latencies) add(d ...time.Duration) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.all = append(l.all, d...)
}

func (l *latencies) quantile(q float64) time.Duration {
	l.mu.Lock()
	defer l.mu.Unlock()
	return quantile(l.all, q)
}

// oneInFlight sends the next message when the receipt of the last is back.
func oneInFlight(tb testing.TB, s scale) figures {
	hub, node := startHub(tb), serve(tb, 0, 2)
	var yard, ours, syncs, spaced latencies
	p := hubPairs(tb, hub, 1, false)[0]
	p.onArrival = func(message []byte) { yard.add(age(message)) }
	p.open(1, true)
	all := couples(tb, node, 1, peer.WayRelay, apart)
	var spent spent
	for range s.rounds {
		message := make([]byte, latencyText)
		s.during(func() {
			<-p.room
			stamp(message, now())
			_ = p.from.send(message) // what does not arrive leaves no room
		})
		s.gauge(tb, node.pid(), &spent, delivered(tb, all), s.busy(tb, all, 1, latencyText, &ours), nil)
		probeDisk(tb, &syncs, s.pick(100, 50, 3), 0)
		probeDisk(tb, &spaced, s.pick(100, 50, 3), betweenCommits)
	}
	var out figures
	out.add("p50-ms", inMilliseconds(ours.quantile(0.5)))
	out.add("p99-ms", inMilliseconds(ours.quantile(0.99)))
	out.add("hub-p50-ms", inMilliseconds(yard.quantile(0.5)))
	out.add("hub-p99-ms", inMilliseconds(yard.quantile(0.99)))
	out.add("fsync-p50-ms", inMilliseconds(syncs.quantile(0.5)))
	out.add("fsync-apart-p50-ms", inMilliseconds(spaced.quantile(0.5)))
	out.add("p50-over-2-fsyncs-ms", inMilliseconds(ours.quantile(0.5)-2*spaced.quantile(0.5)))
	out.add("p50-over-2-fsyncs-in-a-row-ms", inMilliseconds(ours.quantile(0.5)-2*syncs.quantile(0.5)))
	return out
}

// during repeats f for one turn.
func (s scale) during(f func()) {
	for end := time.Now().Add(s.turn()); time.Now().Before(end); {
		f()
	}
}

// betweenCommits is about how long a peer rests between two commits while one message at a time is in flight.
const betweenCommits = 500 * time.Microsecond

// probeDisk measures what the disk needs to make a page durable where the homes are: it writes 4 KiB over what was written before, as
// the journal of a peer does, and waits for the disk. pause is the rest before each write: a processor that has slept takes longer.
func probeDisk(tb testing.TB, to *latencies, times int, pause time.Duration) {
	tb.Helper()
	f, err := os.Create(filepath.Join(tb.TempDir(), "probe"))
	if err != nil {
		tb.Fatal(err)
	}
	defer f.Close()
	page := make([]byte, 4096)
	if _, err := f.Write(make([]byte, times*len(page))); err != nil {
		tb.Fatal(err)
	}
	if err := f.Sync(); err != nil {
		tb.Fatal(err)
	}
	for i := range times {
		time.Sleep(pause)
		if _, err := f.WriteAt(page, int64(i*len(page))); err != nil {
			tb.Fatal(err)
		}
		begun := time.Now()
		if err := f.Sync(); err != nil {
			tb.Fatal(err)
		}
		to.add(time.Since(begun))
	}
}

// evenly measures the latency at rate messages a second over all pairs, or, where that is 0, at half of what they can do, which it measures first.
// Messages become due at even intervals whatever becomes of those before, and their time counts from when they were due. The hub gets the same
// load.
func evenly(tb testing.TB, s scale, pairs int, rate float64, where housing) figures {
	n := s.pick(pairs, pairs, min(pairs, 2))
	hub, node := startHub(tb), serve(tb, 0, 2*n)
	var yard, ours, syncs latencies
	yardPairs := hubPairs(tb, hub, n, true)
	for _, p := range yardPairs {
		p.onArrival = func(message []byte) { yard.add(age(message)) }
		p.open(1, false)
	}
	all := couples(tb, node, n, peer.WayRelay, where)
	var highest spent
	count := delivered(tb, all)
	if rate == 0 {
		s.once().gauge(tb, node.pid(), &highest, count, s.busy(tb, all, inFlight, latencyText, &latencies{}), filled(count, n*inFlight))
		rate = max(highest.perSecond()/2, 100)
	}
	var ourSpent, yardSpent spent
	var cpu, wall time.Duration
	for range s.rounds {
		s.gauge(tb, hub.pid(), &yardSpent, arrivals(yardPairs), stamped(yardPairs, rate), nil)
		begun, own := time.Now(), ownBusy(tb)
		s.gauge(tb, node.pid(), &ourSpent, count, s.steady(tb, all, rate, latencyText, &ours), nil)
		cpu, wall = cpu+ownBusy(tb)-own, wall+time.Since(begun)
		probeDisk(tb, &syncs, s.pick(100, 50, 3), 0)
	}
	var out figures
	out.add("p50-ms", inMilliseconds(ours.quantile(0.5)))
	out.add("p99-ms", inMilliseconds(ours.quantile(0.99)))
	out.add("hub-p50-ms", inMilliseconds(yard.quantile(0.5)))
	out.add("hub-p99-ms", inMilliseconds(yard.quantile(0.99)))
	out.add("msg/s", ourSpent.perSecond())
	out.add("cpu-%", 100*cpu.Seconds()/wall.Seconds()/float64(runtime.NumCPU()))
	if highest.messages > 0 {
		out.add("highest-msg/s", highest.perSecond())
	}
	out.add("fsync-p50-ms", inMilliseconds(syncs.quantile(0.5)))
	out.add("fsync-p99-ms", inMilliseconds(syncs.quantile(0.99)))
	return out
}

// stamped is separate with messages that carry the time at which they were due.
func stamped(pairs []*pair, rate float64) loader {
	return func(ctx context.Context) {
		message, i := make([]byte, latencyText), 0
		_ = onTime(ctx, now(), time.Duration(float64(time.Second)/rate), func(due time.Duration) {
			stamp(message, due)
			_ = pairs[i%len(pairs)].from.send(message) // what has not arrived is missed by whoever counts
			i++
		})
	}
}
