package portmap

import (
	"context"
	"log/slog"
	"net/netip"
	"slices"
	"sync"
	"sync/atomic"
	"time"
)

// Times of a Mapper.
const (
	// lease is what is asked for, and half of what is granted is when it is renewed: a router that was switched off and on again has forgotten it, and what
	// a killed program leaves behind is gone soon. What is not renewed is good until its end all the same. One without an end is taken to be as long.
	lease = 10 * time.Minute
	// lookEvery is how often the default route is read: it costs no packet.
	lookEvery = 5 * time.Second
	askTime   = 8 * time.Second // for all questions at once
	// againAfter is the wait after nothing came of it, doubled up to maxAgain, and at most half of what is left of a lease; another gateway is asked at once.
	againAfter = 30 * time.Second
	maxAgain   = 15 * time.Minute
	closeTime  = 500 * time.Millisecond // for giving back
	minRenew   = 5 * time.Second        // a router may grant next to nothing
)

// Options says what to map and how. The zero value of each but Ports works.
type Options struct {
	Ports   []Port
	Logger  *slog.Logger // nil: discard
	Changed func(Status) // called by the Mapper's goroutine when Mappings are others; it must not call Close
	Gateway func() (gateway, own netip.Addr, err error)
	Finders []Finder // asked side by side; the first that answers is used
	Off     bool     // ask nothing until Switch says so
}

// Mapper keeps mappings.
type Mapper struct {
	o     Options
	stop  context.CancelFunc
	ended chan struct{}
	off   atomic.Bool
	stir  chan struct{} // one place: off has changed

	mu     sync.Mutex
	status Status // guarded by mu

	// owned by run
	router   Router
	own      netip.Addr
	failures int
	ends     map[Port]time.Time // of what is mapped
	due      time.Time          // of the next question
}

// Start begins to keep mappings, on a goroutine that Close ends.
func Start(o Options) *Mapper {
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	if o.Gateway == nil {
		o.Gateway = Gateway
	}
	if o.Finders == nil {
		o.Finders = []Finder{NATPMP, UPnP}
	}
	ctx, stop := context.WithCancel(context.Background())
	m := &Mapper{o: o, stop: stop, ended: make(chan struct{}), ends: map[Port]time.Time{}, stir: make(chan struct{}, 1), status: Status{State: StateSearching}}
	if o.Off {
		m.off.Store(true)
		m.status.State = StateOff
	}
	go m.run(ctx)
	return m
}

// Status says what is known now. A nil Mapper maps nothing.
func (m *Mapper) Status() Status {
	if m == nil {
		return Status{State: StateOff}
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	s := m.status
	s.Mappings = slices.Clone(s.Mappings)
	return s
}

// Switch says whether ports are to be mapped. What is mapped when they are not any more is given back, soon after Switch has returned: a question that is under way is
// waited for, or the router would keep what it answers. On nil it does nothing.
func (m *Mapper) Switch(on bool) {
	if m == nil || m.off.Swap(!on) == !on {
		return
	}
	select {
	case m.stir <- struct{}{}:
	default: // it has not looked since the last time
	}
}

// Close gives the mappings back and waits for that, at most half a second. It may be called more than once, and on nil.
func (m *Mapper) Close() {
	if m == nil {
		return
	}
	m.stop()
	<-m.ended
}

func (m *Mapper) run(ctx context.Context) {
	defer close(m.ended)
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		select {
		case <-ctx.Done():
			closing, cancel := context.WithTimeout(context.Background(), closeTime)
			defer cancel()
			m.giveBack(closing, m.Status().Mappings)
			return
		case <-timer.C:
		case <-m.stir:
		}
		m.look(ctx, time.Now())
		timer.Reset(min(lookEvery, max(time.Until(m.due), 0)))
	}
}

// look reads the default route, and asks where it is another one or the time has come.
func (m *Mapper) look(ctx context.Context, now time.Time) {
	if m.off.Load() {
		m.rest(ctx, now, m.Status().Mappings)
		return
	}
	gateway, own, err := m.o.Gateway()
	if err != nil {
		m.forget(Status{State: StateNoGateway})
		m.due = now.Add(lookEvery)
		return
	}
	if gateway != m.Status().Gateway || own != m.own {
		m.own = own // what the old gateway has granted ends by itself: it is out of reach
		m.forget(Status{State: StateSearching, Gateway: gateway})
		m.due = now
	}
	if now.Before(m.due) {
		return
	}
	asking, cancel := context.WithTimeout(ctx, askTime)
	defer cancel()
	s, whole := m.ask(asking, now, gateway)
	if ctx.Err() != nil && s.State != StateMapped {
		return // stopped: what there was is given back
	}
	if m.off.Load() {
		m.rest(ctx, now, slices.Concat(m.Status().Mappings, s.Mappings))
		return
	}
	m.set(s)
	if whole {
		m.failures = 0
		m.due = now.Add(max(m.left(now, s.Mappings)/2, minRenew))
		return
	}
	again := min(againAfter<<min(m.failures, 10), maxAgain)
	m.failures++
	if s.State == StateMapped {
		left := m.left(now, s.Mappings)
		again = min(again, max(left/2, minRenew), left)
		m.o.Logger.Debug("ports of the router are not renewed", slog.String("gateway", gateway.String()), slog.Duration("left", left))
	} else {
		m.router = nil
		m.o.Logger.Debug("no port is mapped", slog.String("gateway", gateway.String()), slog.String("why", string(s.State)))
	}
	m.due = now.Add(again)
}

// left is how long all of these mappings are good.
func (m *Mapper) left(now time.Time, mappings []Mapping) time.Duration {
	left := lease
	for _, x := range mappings {
		left = min(left, m.ends[x.Port].Sub(now))
	}
	return left
}

// rest gives mappings back and asks nothing more.
func (m *Mapper) rest(ctx context.Context, now time.Time, mappings []Mapping) {
	closing, cancel := context.WithTimeout(context.WithoutCancel(ctx), closeTime) // also where Close comes in the middle
	defer cancel()
	m.giveBack(closing, mappings)
	m.forget(Status{State: StateOff})
	m.due = now.Add(lookEvery)
}

// ask makes or renews all mappings. It returns what there is then: of what was not renewed all that has not come to its end, and false then
// and where there is none.
func (m *Mapper) ask(ctx context.Context, now time.Time, gateway netip.Addr) (s Status, whole bool) {
	old := m.Status()
	if m.router == nil || m.failures > 0 { // the one that is known may be at another place
		if found := m.find(ctx, gateway); found != nil {
			m.router = found
		}
	}
	if m.router == nil {
		return Status{State: StateNoAnswer, Gateway: gateway}, false
	}
	s = Status{State: StateRefused, Gateway: gateway, Protocol: m.router.Protocol()}
	outer, err := m.router.External(ctx)
	if err != nil {
		if s.State, s.Mappings = StateMapped, m.lasting(now, old.Mappings); len(s.Mappings) == 0 {
			s.State, s.Protocol = StateNoAnswer, ""
		}
		return s, false
	}
	whole = true
	kept := slices.DeleteFunc(m.lasting(now, old.Mappings), func(x Mapping) bool { return x.External.Addr() != outer.Unmap() })
	for _, p := range m.o.Ports {
		external, granted, err := m.router.Map(ctx, p, wanted(old.Mappings, p), lease)
		if err != nil || external == 0 {
			m.o.Logger.Debug("the router maps no port", slog.String("port", p.String()), slog.Any("error", err))
			if i := slices.IndexFunc(kept, func(x Mapping) bool { return x.Port == p }); i >= 0 {
				s.Mappings, whole = append(s.Mappings, kept[i]), false
			}
			continue
		}
		if granted <= 0 || granted > lease {
			granted = lease
		}
		m.ends[p] = now.Add(granted)
		s.Mappings = append(s.Mappings, Mapping{Port: p, External: netip.AddrPortFrom(outer.Unmap(), external)})
	}
	switch {
	case len(s.Mappings) == 0:
	case !public(outer):
		m.giveBack(ctx, s.Mappings)
		s.State, s.Mappings = StateNotPublic, nil
	default:
		s.State = StateMapped
	}
	return s, whole && s.State == StateMapped
}

// lasting returns those of old mappings that have not come to their end.
func (m *Mapper) lasting(now time.Time, old []Mapping) []Mapping {
	return slices.DeleteFunc(slices.Clone(old), func(x Mapping) bool { return !now.Before(m.ends[x.Port]) })
}

// wanted is the outer port that a port has had, else its own number.
func wanted(old []Mapping, p Port) uint16 {
	for _, m := range old {
		if m.Port == p {
			return m.External.Port()
		}
	}
	return p.Number
}

// find asks by all protocols at once, and waits for none when one has answered.
func (m *Mapper) find(ctx context.Context, gateway netip.Addr) (found Router) {
	ctx, cancel := context.WithCancel(ctx)
	answers := make(chan Router, len(m.o.Finders))
	for _, f := range m.o.Finders {
		go func() {
			r, err := f(ctx, gateway, m.own)
			if err != nil {
				m.o.Logger.Debug("the router does not answer", slog.Any("error", err))
			}
			answers <- r
		}()
	}
	for range m.o.Finders { // all, so that none outlives the Mapper
		if r := <-answers; r != nil && found == nil {
			found = r
			cancel()
		}
	}
	cancel()
	return found
}

// forget drops what was mapped.
func (m *Mapper) forget(s Status) {
	m.router, m.failures = nil, 0
	m.set(s)
}

func (m *Mapper) set(s Status) {
	m.mu.Lock()
	changed := !slices.Equal(m.status.Mappings, s.Mappings)
	m.status = s
	m.mu.Unlock()
	if changed {
		m.o.Logger.Info("ports of the router", slog.String("state", string(s.State)), slog.String("protocol", s.Protocol), slog.Int("count", len(s.Mappings)))
		if m.o.Changed != nil {
			m.o.Changed(m.Status())
		}
	}
}

func (m *Mapper) giveBack(ctx context.Context, mappings []Mapping) {
	if m.router == nil {
		return
	}
	for _, x := range mappings {
		if err := m.router.Unmap(ctx, x.Port, x.External.Port()); err != nil {
			m.o.Logger.Debug("a port of the router was not given back", slog.Any("error", err))
		}
	}
}
