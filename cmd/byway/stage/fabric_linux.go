package stage

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"os"
	"sync"
	"testing"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

// Weather is what a fabric does to the packets from one port to another. The zero value passes them on at once.
type Weather struct {
	Delay   time.Duration
	Loss    float64 // of 1
	Twice   float64 // of 1: sent a second time
	Reorder float64 // of 1: sent without the delay, and so before earlier ones
	Down    bool
}

// Fabric is a switch in this process: it joins network namespaces by a TUN device in each, and does to each packet what the weather is. It runs
// goroutines that end with the test. Only what is for an address of a port passes, and resets are for IPv4 alone.
type Fabric struct {
	t     testing.TB
	all   []*port              // immutable after the last Plug, as is the next
	ports map[netip.Addr]*port // by each of their addresses

	mu     sync.Mutex // guards the following
	rules  func(from, to netip.Addr) Weather
	doomed map[flow]bool // connections that are answered with a reset
	flows  map[flow]bool // connections seen
	dials  []Dial
	done   Harm
	passed map[[2]netip.Addr]int // packets, by the addresses in them
}

// Harm counts what a fabric has done to packets.
type Harm struct{ Passed, Lost, Twice, Overtook, Resets int }

// Harm returns the counts so far.
func (f *Fabric) Harm() Harm {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.done
}

// Passed returns how many packets have gone from one address to another.
func (f *Fabric) Passed(from, to netip.Addr) int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.passed[[2]netip.Addr{from, to}]
}

// NewFabric has no port and fair weather.
func NewFabric(t testing.TB) *Fabric {
	return &Fabric{
		t: t, ports: map[netip.Addr]*port{}, rules: func(_, _ netip.Addr) Weather { return Weather{} },
		doomed: map[flow]bool{}, flows: map[flow]bool{}, passed: map[[2]netip.Addr]int{},
	}
}

// Plug gives a namespace a device tun0 with these addresses, of IPv4 in a network of 256 and of IPv6 in a /64.
func (f *Fabric) Plug(n *Network, netns string, addresses ...string) {
	f.t.Helper()
	p := &port{wake: make(chan struct{}, 1)}
	Inside(f.t, netns, func() (err error) {
		p.tun, err = OpenTUN("tun0")
		return err
	})
	for _, a := range addresses {
		address := netip.MustParseAddr(a)
		bits := "/24"
		if address.Is6() {
			bits = "/64"
		}
		n.IP("-n", netns, "addr", "add", a+bits, "dev", "tun0")
		f.ports[address] = p
	}
	n.IP("-n", netns, "link", "set", "tun0", "mtu", "1400", "txqueuelen", "10000", "up")
	f.all = append(f.all, p)
}

// OpenTUN makes a device in the namespace of this thread, which lasts until it is closed.
func OpenTUN(name string) (*os.File, error) {
	request, err := unix.NewIfreq(name)
	if err != nil {
		return nil, err
	}
	request.SetUint16(unix.IFF_TUN | unix.IFF_NO_PI)
	fd, err := unix.Open("/dev/net/tun", unix.O_RDWR|unix.O_CLOEXEC|unix.O_NONBLOCK, 0)
	if err != nil {
		return nil, fmt.Errorf("open /dev/net/tun: %w", err)
	}
	if _, _, errno := unix.Syscall(unix.SYS_IOCTL, uintptr(fd), unix.TUNSETIFF, uintptr(unsafe.Pointer(request))); errno != 0 {
		return nil, errors.Join(fmt.Errorf("make a TUN device: %w", errno), unix.Close(fd))
	}
	return os.NewFile(uintptr(fd), name), nil // not before: until it is a device, waiting for it is an error
}

// Run carries packets until the test ends. Call it after the last Plug.
func (f *Fabric) Run() {
	var all sync.WaitGroup
	over := make(chan struct{})
	for _, p := range f.all {
		all.Go(func() { f.read(p) })
		all.Go(func() { p.deliver(over) })
	}
	f.t.Cleanup(func() {
		close(over)
		for _, p := range f.all {
			_ = p.tun.Close()
		}
		all.Wait()
	})
}

// Set changes the weather. rules is called with the fabric's lock held.
func (f *Fabric) Set(rules func(from, to netip.Addr) Weather) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.rules = rules
}

// All sets the same weather everywhere.
func (f *Fabric) All(w Weather) { f.Set(func(_, _ netip.Addr) Weather { return w }) }

// Reset answers every TCP connection that was seen so far with a reset to either end, as a router does that has lost its memory.
func (f *Fabric) Reset() int {
	f.mu.Lock()
	defer f.mu.Unlock()
	n := len(f.flows)
	for c := range f.flows {
		f.doomed[c] = true
	}
	clear(f.flows)
	return n
}

// Since returns the attempts to connect since a moment: what was tried again by the kernel counts once.
func (f *Fabric) Since(began time.Time) (dials []Dial) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, d := range f.dials {
		if d.At.After(began) {
			dials = append(dials, d)
		}
	}
	return dials
}

func (f *Fabric) read(from *port) {
	buffer := make([]byte, 64<<10)
	for {
		n, err := from.tun.Read(buffer)
		if err != nil {
			return
		}
		f.pass(from, buffer[:n])
	}
}

// EndsOf returns where a packet comes from and where it goes, and whether it is one of IPv4 or IPv6 at all.
func EndsOf(packet []byte) (from, to netip.Addr, ok bool) {
	switch {
	case len(packet) >= 20 && packet[0]>>4 == 4:
		return netip.AddrFrom4([4]byte(packet[12:16])), netip.AddrFrom4([4]byte(packet[16:20])), true
	case len(packet) >= 40 && packet[0]>>4 == 6:
		return netip.AddrFrom16([16]byte(packet[8:24])), netip.AddrFrom16([16]byte(packet[24:40])), true
	}
	return from, to, false
}

// pass does to a packet what the weather is.
func (f *Fabric) pass(port *port, packet []byte) {
	from, to, ok := EndsOf(packet)
	target := f.ports[to]
	if !ok || target == nil || f.ports[from] != port {
		return
	}
	now := time.Now()
	f.mu.Lock()
	answer := f.watch(now, from, to, packet)
	w := f.rules(from, to)
	var times []time.Time
	if answer == nil {
		times = f.fate(now, w)
		f.passed[[2]netip.Addr{from, to}] += len(times)
	} else {
		f.done.Resets++
	}
	f.mu.Unlock()
	if answer != nil {
		port.put(now, answer)
	}
	for _, at := range times {
		target.put(at, append([]byte(nil), packet...))
	}
}

// fate returns when a packet arrives, as often as it does. f.mu is held.
func (f *Fabric) fate(now time.Time, w Weather) (times []time.Time) {
	if w.Down || rand.Float64() < w.Loss {
		f.done.Lost++
		return nil
	}
	copies := 1
	if rand.Float64() < w.Twice {
		copies++
		f.done.Twice++
	}
	f.done.Passed++
	for range copies {
		at := now.Add(w.Delay)
		if rand.Float64() < w.Reorder {
			at = now
			f.done.Overtook++
		}
		times = append(times, at)
	}
	return times
}
