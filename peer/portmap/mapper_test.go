package portmap

import (
	"context"
	"errors"
	"log/slog"
	"net/netip"
	"net/url"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
)

var (
	quic, tcp  = Port{UDP: true, Number: 4001}, Port{Number: 4002}
	ports      = []Port{quic, tcp}
	home, cafe = netip.MustParseAddr("192.168.1.1"), netip.MustParseAddr("10.0.0.1")
	outside    = netip.MustParseAddr("45.0.0.7")
	errDown    = errors.New("nobody answers")
)

// world is a machine and the routers that it may meet.
type world struct {
	mu      sync.Mutex // guards the following
	gateway netip.Addr
	outer   netip.Addr
	silent  bool // the router answers nothing
	refuses bool
	deaf    map[Port]bool    // it answers nothing about these
	slow    time.Duration    // until it answers that a port is mapped
	taken   map[uint16]bool  // outer ports that others have
	granted time.Duration    // the longest lease that the router gives
	leases  map[Port]lasting // by our port
	asked   int              // how often somebody has looked for a router
	maps    int              // how often a port was mapped
	changes int              // how often the owner was told
}

type lasting struct {
	external uint16
	until    time.Time
}

func newWorld() *world {
	return &world{gateway: home, outer: outside, granted: time.Hour, taken: map[uint16]bool{}, leases: map[Port]lasting{}}
}

func (w *world) change(f func()) {
	w.mu.Lock()
	defer w.mu.Unlock()
	f()
}

func (w *world) start(change ...func(*Options)) *Mapper {
	o := Options{
		Ports:   ports,
		Changed: func(Status) { w.change(func() { w.changes++ }) },
		Gateway: func() (netip.Addr, netip.Addr, error) {
			w.mu.Lock()
			defer w.mu.Unlock()
			if !w.gateway.IsValid() {
				return netip.Addr{}, netip.Addr{}, errNoGateway
			}
			return w.gateway, w.gateway.Next(), nil
		},
		Finders: []Finder{w.find, w.never},
	}
	for _, f := range change {
		f(&o)
	}
	return Start(o)
}

// never is a protocol that the router does not understand.
func (w *world) never(ctx context.Context, _, _ netip.Addr) (Router, error) {
	select {
	case <-ctx.Done():
		return nil, ctx.Err()
	case <-time.After(2 * time.Second):
		return nil, errDown
	}
}

func (w *world) find(ctx context.Context, _, _ netip.Addr) (Router, error) {
	w.change(func() { w.asked++ })
	if _, err := w.External(ctx); err != nil {
		return nil, err
	}
	return w, nil
}

func (w *world) Protocol() string { return "test" }

func (w *world) External(context.Context) (netip.Addr, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.silent {
		return netip.Addr{}, errDown
	}
	return w.outer, nil
}

func (w *world) Map(_ context.Context, p Port, wanted uint16, lease time.Duration) (uint16, time.Duration, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.silent || w.refuses || w.deaf[p] {
		return 0, 0, errDown
	}
	if w.taken[wanted] {
		wanted += 1000
	}
	w.maps++
	lease = min(lease, w.granted)
	w.leases[p] = lasting{wanted, time.Now().Add(lease)}
	w.mu.Unlock()
	time.Sleep(w.slow)
	w.mu.Lock()
	return wanted, lease, nil
}

func (w *world) Unmap(_ context.Context, p Port, external uint16) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.leases[p].external == external {
		delete(w.leases, p)
	}
	return nil
}

// open reports whether the router leads all ports here now.
func (w *world) open() bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, p := range ports {
		if !time.Now().Before(w.leases[p].until) {
			return false
		}
	}
	return true
}

func mapped(externals ...uint16) []Mapping {
	var out []Mapping
	for i, e := range externals {
		out = append(out, Mapping{Port: ports[i], External: netip.AddrPortFrom(outside, e)})
	}
	return out
}

func wantStatus(t *testing.T, m *Mapper, want Status) {
	t.Helper()
	synctest.Wait()
	if diff := cmp.Diff(want, m.Status(), cmpopts.EquateComparable(netip.Addr{}, netip.AddrPort{}), cmpopts.EquateEmpty()); diff != "" {
		t.Errorf("status (-want +got):\n%s", diff)
	}
}

// TestKept: a mapping is there at once and at every moment, whatever lease is granted, and is given back at the end.
func TestKept(t *testing.T) {
	for _, granted := range []time.Duration{time.Hour, 10 * time.Minute, time.Minute, 11 * time.Second} {
		synctest.Test(t, func(t *testing.T) {
			w := newWorld()
			w.granted = granted
			w.taken[quic.Number] = true
			m := w.start()
			defer m.Close()
			wantStatus(t, m, Status{State: StateMapped, Gateway: home, Protocol: "test", Mappings: mapped(quic.Number+1000, tcp.Number)})
			for range 3000 {
				time.Sleep(time.Second)
				synctest.Wait()
				if !w.open() {
					t.Fatalf("lease %v: a port is shut at %v", granted, time.Now())
				}
			}
			m.Close()
			if w.asked != 1 || w.changes != 1 {
				t.Errorf("lease %v: looked for a router %d times, told %d times", granted, w.asked, w.changes)
			}
			if most := 2 * (3000/int(min(granted, lease).Seconds()/2) + 2); w.maps > most {
				t.Errorf("lease %v: mapped %d times, want %d at most", granted, w.maps, most)
			}
			if len(w.leases) != 0 {
				t.Errorf("not given back: %v", w.leases)
			}
		})
	}
}

// TestFirstAnswer: a protocol that the router does not understand is not waited for, whichever it is.
func TestFirstAnswer(t *testing.T) {
	for _, first := range []bool{true, false} {
		synctest.Test(t, func(t *testing.T) {
			w := newWorld()
			finders := []Finder{w.never, w.find}
			if first {
				slices.Reverse(finders)
			}
			began := time.Now()
			found := (&Mapper{o: Options{Finders: finders, Logger: slog.New(slog.DiscardHandler)}}).find(t.Context(), home)
			if took := time.Since(began); found == nil || took > 0 {
				t.Errorf("found %v after %v", found, took)
			}
		})
	}
}

// TestRestartedRouter: one that has forgotten everything is asked again within half a lease.
func TestRestartedRouter(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld()
		m := w.start()
		defer m.Close()
		time.Sleep(time.Minute)
		w.change(func() { clear(w.leases) })
		time.Sleep(lease/2 + time.Second)
		if !w.open() {
			t.Error("not mapped again")
		}
		w.change(func() { w.silent = true; clear(w.leases) })
		time.Sleep(lease)
		wantStatus(t, m, Status{State: StateNoAnswer, Gateway: home})
		w.change(func() { w.silent = false })
		time.Sleep(maxAgain + time.Second)
		wantStatus(t, m, Status{State: StateMapped, Gateway: home, Protocol: "test", Mappings: mapped(quic.Number, tcp.Number)})
	})
}

// TestUnansweredRenewal: a router that does not answer for a while keeps what it has granted, so that is told until its end, and not a moment longer.
func TestUnansweredRenewal(t *testing.T) {
	both := Status{State: StateMapped, Gateway: home, Protocol: "test", Mappings: mapped(quic.Number, tcp.Number)}
	for _, granted := range []time.Duration{10 * time.Minute, time.Minute} {
		synctest.Test(t, func(t *testing.T) {
			w := newWorld()
			w.granted = granted
			m := w.start()
			defer m.Close()
			wantStatus(t, m, both)
			w.change(func() { w.silent = true })
			time.Sleep(granted - granted/10)
			wantStatus(t, m, both)
			w.change(func() { w.silent = false })
			for range 600 {
				time.Sleep(time.Second)
				wantStatus(t, m, both)
				if synctest.Wait(); !w.open() {
					t.Fatalf("a port is shut that was told to be open")
				}
			}
			w.change(func() { w.silent = true })
			began := time.Now()
			for w.open() {
				wantStatus(t, m, both)
				time.Sleep(time.Second)
			}
			time.Sleep(2 * time.Second)
			wantStatus(t, m, Status{State: StateNoAnswer, Gateway: home})
			if tries := w.asked; tries < 3 || tries > 30 {
				t.Errorf("looked for the router %d times in %v", tries, time.Since(began))
			}
			if m.Close(); w.changes != 2 {
				t.Errorf("the owner was told %d times", w.changes)
			}
		})
	}
}

// TestHalfRenewed: of two ports the one that is not renewed is told until its end too, unless the router has got another address meanwhile.
func TestHalfRenewed(t *testing.T) {
	other := netip.MustParseAddr("45.0.0.8")
	for _, moves := range []bool{false, true} {
		synctest.Test(t, func(t *testing.T) {
			w := newWorld()
			m := w.start()
			defer m.Close()
			synctest.Wait()
			w.change(func() { w.deaf = map[Port]bool{tcp: true} })
			want := mapped(quic.Number, tcp.Number)
			if moves {
				w.change(func() { w.outer = other })
				want = []Mapping{{Port: quic, External: netip.AddrPortFrom(other, quic.Number)}}
			}
			time.Sleep(lease - time.Second)
			wantStatus(t, m, Status{State: StateMapped, Gateway: home, Protocol: "test", Mappings: want})
			time.Sleep(minRenew)
			wantStatus(t, m, Status{State: StateMapped, Gateway: home, Protocol: "test", Mappings: want[:1]})
			w.change(func() { w.deaf = nil })
			time.Sleep(lease)
			if m.Close(); len(w.leases) != 0 {
				t.Errorf("not given back: %v", w.leases)
			}
		})
	}
}

// TestOtherGateway: whoever goes from one network to another has mappings there within seconds, and none in between.
func TestOtherGateway(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld()
		m := w.start()
		defer m.Close()
		time.Sleep(time.Minute)
		w.change(func() { w.gateway = netip.Addr{} })
		time.Sleep(lookEvery + time.Second)
		wantStatus(t, m, Status{State: StateNoGateway})
		w.change(func() { w.gateway = cafe })
		time.Sleep(lookEvery + time.Second)
		wantStatus(t, m, Status{State: StateMapped, Gateway: cafe, Protocol: "test", Mappings: mapped(quic.Number, tcp.Number)})
		w.change(func() { w.gateway, w.silent = home, true })
		time.Sleep(lookEvery + 3*time.Second)
		wantStatus(t, m, Status{State: StateNoAnswer, Gateway: home})
		m.Close()
		if w.changes != 4 {
			t.Errorf("the owner was told %d times", w.changes)
		}
	})
}

// TestSwitch: nothing is asked while it is off, and nothing is left with the router when it has been switched off, whatever it was doing.
func TestSwitch(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld()
		m := w.start(func(o *Options) { o.Off = true })
		defer m.Close()
		time.Sleep(time.Hour)
		wantStatus(t, m, Status{State: StateOff})
		if w.asked != 0 {
			t.Errorf("asked %d times while it was off", w.asked)
		}
		for range 3 {
			m.Switch(true)
			m.Switch(true)
			wantStatus(t, m, Status{State: StateMapped, Gateway: home, Protocol: "test", Mappings: mapped(quic.Number, tcp.Number)})
			m.Switch(false)
			wantStatus(t, m, Status{State: StateOff})
			if len(w.leases) != 0 {
				t.Errorf("not given back: %v", w.leases)
			}
		}
		w.change(func() { w.slow = 3 * time.Second })
		m.Switch(true)
		synctest.Wait()
		m.Switch(false) // in the middle of the question
		time.Sleep(askTime)
		wantStatus(t, m, Status{State: StateOff})
		if len(w.leases) != 0 {
			t.Errorf("not given back: %v", w.leases)
		}
	})
}

// TestNoMapping: what a router does instead is told, it is not asked often, and nothing is left with it.
func TestNoMapping(t *testing.T) {
	for _, tt := range []struct {
		name string
		set  func(*world)
		want Status
	}{
		{"silent", func(w *world) { w.silent = true }, Status{State: StateNoAnswer, Gateway: home}},
		{"refuses", func(w *world) { w.refuses = true }, Status{State: StateRefused, Gateway: home, Protocol: "test"}},
		{"behind another router", func(w *world) { w.outer = netip.MustParseAddr("100.64.0.9") }, Status{State: StateNotPublic, Gateway: home, Protocol: "test"}},
		{"says nothing of itself", func(w *world) { w.outer = netip.Addr{} }, Status{State: StateNotPublic, Gateway: home, Protocol: "test"}},
		{"no route", func(w *world) { w.gateway = netip.Addr{} }, Status{State: StateNoGateway}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newWorld()
				tt.set(w)
				m := w.start()
				defer m.Close()
				time.Sleep(10 * time.Second)
				wantStatus(t, m, tt.want)
				time.Sleep(time.Hour)
				m.Close()
				if w.asked > 12 || len(w.leases) != 0 || w.changes != 0 {
					t.Errorf("asked %d times in an hour, left %v, told %d times", w.asked, w.leases, w.changes)
				}
			})
		})
	}
}

// TestCloseAtOnce: nothing waits for a router that does not answer.
func TestCloseAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld()
		w.silent = true
		m := w.start()
		time.Sleep(time.Second)
		began := time.Now()
		m.Close()
		m.Close()
		if took := time.Since(began); took > closeTime {
			t.Errorf("Close took %v", took)
		}
		var none *Mapper
		none.Close()
		wantStatus(t, none, Status{State: StateOff})
	})
}

func TestMultiaddr(t *testing.T) {
	for want, m := range map[string]Mapping{
		"/ip4/45.0.0.7/udp/5000/quic-v1": {Port: quic, External: netip.AddrPortFrom(outside, 5000)},
		"/ip4/45.0.0.7/tcp/5001":         {Port: tcp, External: netip.AddrPortFrom(outside, 5001)},
	} {
		if got := m.Multiaddr(); got == nil || got.String() != want {
			t.Errorf("got %v, want %s", got, want)
		}
	}
	if got := (Mapping{}).Multiaddr(); got != nil {
		t.Errorf("got %v of none", got)
	}
}

// TestOnGateway: nothing but the gateway is asked, whatever a stranger's answer names.
func TestOnGateway(t *testing.T) {
	for raw, want := range map[string]bool{
		"http://192.168.1.1:5000/root.xml": true, "http://192.168.1.1/": true, "http://192.168.1.2/": false, "https://192.168.1.1/": false,
		"http://127.0.0.1:8080/": false, "http://192.168.1.1.example.org/": false, "http://[::ffff:192.168.1.1]/": true, "file:///etc/passwd": false,
		"http://user@192.168.1.9/192.168.1.1": false,
	} {
		u, err := url.Parse(raw)
		if err != nil {
			t.Fatal(err)
		}
		if got := on(u, home); got != want {
			t.Errorf("%s: %v", raw, got)
		}
	}
}
