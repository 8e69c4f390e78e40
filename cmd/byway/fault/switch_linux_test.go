package fault

import (
	"container/heap"
	"encoding/binary"
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

	"github.com/byway-chat/byway/cmd/byway/stage"
)

// weather is what a fabric does to the packets from one port to another. The zero value passes them on at once.
type weather struct {
	delay   time.Duration
	loss    float64 // of 1
	twice   float64 // of 1: sent a second time
	reorder float64 // of 1: sent without the delay, and so before earlier ones
	down    bool
}

// fabric is a switch in this process: it joins network namespaces by a TUN device in each, and does to each packet what the weather is. It runs
// goroutines that end with the test. Only IPv4 passes.
type fabric struct {
	t     testing.TB
	ports map[netip.Addr]*port // immutable after the last plug

	mu     sync.Mutex // guards the following
	rules  func(from, to netip.Addr) weather
	doomed map[flow]bool // connections that are answered with a reset
	flows  map[flow]bool // connections seen
	dials  []dial
	done   harm
}

// harm counts what a fabric has done to packets.
type harm struct{ passed, lost, twice, overtook, resets int }

// harm returns the counts so far.
func (f *fabric) harm() harm {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.done
}

// port is one namespace's end.
type port struct {
	address netip.Addr
	tun     *os.File

	mu    sync.Mutex // guards the following
	queue schedule
	count uint64
	wake  chan struct{}
}

// flow is a TCP connection, by its two ends in the order of their addresses.
type flow struct{ a, b netip.AddrPort }

// dial is an attempt to connect.
type dial struct {
	at       time.Time
	from, to netip.Addr
	port     uint16 // of from; with the number tells attempts from repetitions
	number   uint32
}

// parcel is a packet that waits for its time.
type parcel struct {
	at     time.Time
	count  uint64
	packet []byte
}

// schedule is a heap of parcels by time.
type schedule []parcel

func (s schedule) Len() int { return len(s) }
func (s schedule) Less(i, j int) bool {
	return s[i].at.Before(s[j].at) || s[i].at.Equal(s[j].at) && s[i].count < s[j].count
}
func (s schedule) Swap(i, j int) { s[i], s[j] = s[j], s[i] }
func (s *schedule) Push(x any)   { *s = append(*s, x.(parcel)) }
func (s *schedule) Pop() any {
	last := (*s)[len(*s)-1]
	*s = (*s)[:len(*s)-1]
	return last
}

// newFabric has no port and fair weather.
func newFabric(t testing.TB) *fabric {
	return &fabric{
		t: t, ports: map[netip.Addr]*port{}, rules: func(_, _ netip.Addr) weather { return weather{} },
		doomed: map[flow]bool{}, flows: map[flow]bool{},
	}
}

// plug gives a namespace a device tun0 with this address in a network of 256.
func (f *fabric) plug(n *stage.Network, netns, address string) {
	f.t.Helper()
	p := &port{address: netip.MustParseAddr(address), wake: make(chan struct{}, 1)}
	stage.Inside(f.t, netns, func() (err error) {
		p.tun, err = openTUN("tun0")
		return err
	})
	n.IP("-n", netns, "addr", "add", address+"/24", "dev", "tun0")
	n.IP("-n", netns, "link", "set", "tun0", "mtu", "1400", "txqueuelen", "10000", "up")
	f.ports[p.address] = p
}

// openTUN makes a device in the namespace of this thread, which lasts until it is closed.
func openTUN(name string) (*os.File, error) {
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

// run carries packets until the test ends. Call it after the last plug.
func (f *fabric) run() {
	var all sync.WaitGroup
	over := make(chan struct{})
	for _, p := range f.ports {
		all.Go(func() { f.read(p) })
		all.Go(func() { p.deliver(over) })
	}
	f.t.Cleanup(func() {
		close(over)
		for _, p := range f.ports {
			_ = p.tun.Close()
		}
		all.Wait()
	})
}

// set changes the weather. rules is called with the fabric's lock held.
func (f *fabric) set(rules func(from, to netip.Addr) weather) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.rules = rules
}

// all sets the same weather everywhere.
func (f *fabric) all(w weather) { f.set(func(_, _ netip.Addr) weather { return w }) }

// reset answers every TCP connection that was seen so far with a reset to either end, as a router does that has lost its memory.
func (f *fabric) reset() int {
	f.mu.Lock()
	defer f.mu.Unlock()
	n := len(f.flows)
	for c := range f.flows {
		f.doomed[c] = true
	}
	clear(f.flows)
	return n
}

// since returns the attempts to connect since a moment: what was tried again by the kernel counts once.
func (f *fabric) since(began time.Time) (dials []dial) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, d := range f.dials {
		if d.at.After(began) {
			dials = append(dials, d)
		}
	}
	return dials
}

func (f *fabric) read(from *port) {
	buffer := make([]byte, 64<<10)
	for {
		n, err := from.tun.Read(buffer)
		if err != nil {
			return
		}
		f.pass(from, buffer[:n])
	}
}

// pass does to a packet what the weather is.
func (f *fabric) pass(from *port, packet []byte) {
	if len(packet) < 20 || packet[0]>>4 != 4 {
		return
	}
	to := f.ports[netip.AddrFrom4([4]byte(packet[16:20]))]
	if to == nil {
		return
	}
	now := time.Now()
	f.mu.Lock()
	answer := f.watch(now, from.address, to.address, packet)
	w := f.rules(from.address, to.address)
	var times []time.Time
	if answer == nil {
		times = f.fate(now, w)
	} else {
		f.done.resets++
	}
	f.mu.Unlock()
	if answer != nil {
		from.put(now, answer)
	}
	for _, at := range times {
		to.put(at, append([]byte(nil), packet...))
	}
}

// fate returns when a packet arrives, as often as it does. f.mu is held.
func (f *fabric) fate(now time.Time, w weather) (times []time.Time) {
	if w.down || rand.Float64() < w.loss {
		f.done.lost++
		return nil
	}
	copies := 1
	if rand.Float64() < w.twice {
		copies++
		f.done.twice++
	}
	f.done.passed++
	for range copies {
		at := now.Add(w.delay)
		if rand.Float64() < w.reorder {
			at = now
			f.done.overtook++
		}
		times = append(times, at)
	}
	return times
}

// watch takes note of TCP and returns the reset that answers a packet of a doomed connection.
func (f *fabric) watch(now time.Time, from, to netip.Addr, packet []byte) (reset []byte) {
	head := int(packet[0]&0xf) * 4
	if packet[9] != unix.IPPROTO_TCP || len(packet) < head+20 || binary.BigEndian.Uint16(packet[6:])&0x1fff != 0 {
		return nil
	}
	tcp := packet[head:]
	const syn, rst, ack = 0x02, 0x04, 0x10
	flags := tcp[13]
	source, target := binary.BigEndian.Uint16(tcp[0:]), binary.BigEndian.Uint16(tcp[2:])
	c := flow{netip.AddrPortFrom(from, source), netip.AddrPortFrom(to, target)}
	if c.b.Compare(c.a) < 0 {
		c.a, c.b = c.b, c.a
	}
	if flags&syn != 0 {
		if flags&ack == 0 {
			f.dialled(dial{now, from, to, source, binary.BigEndian.Uint32(tcp[4:])})
		}
		delete(f.doomed, c)
		return nil
	}
	if f.doomed[c] && flags&ack != 0 && flags&rst == 0 {
		return resetFor(packet[:head], tcp)
	}
	f.flows[c] = true
	return nil
}

func (f *fabric) dialled(d dial) {
	for i := len(f.dials) - 1; i >= 0 && d.at.Sub(f.dials[i].at) < time.Minute; i-- {
		if o := f.dials[i]; o.from == d.from && o.to == d.to && o.port == d.port && o.number == d.number {
			return
		}
	}
	f.dials = append(f.dials, d)
}

// resetFor is the packet that ends the connection for the sender of a TCP packet. Its number is the one that the sender has just said it waits for.
func resetFor(ip, tcp []byte) []byte {
	p := make([]byte, 40)
	copy(p, ip[:20])
	p[0] = 0x45
	binary.BigEndian.PutUint16(p[2:], 40)
	p[8] = 64
	copy(p[12:16], ip[16:20])
	copy(p[16:20], ip[12:16])
	binary.BigEndian.PutUint16(p[10:], 0)
	binary.BigEndian.PutUint16(p[10:], checksum(0, p[:20]))
	copy(p[20:22], tcp[2:4])
	copy(p[22:24], tcp[0:2])
	copy(p[24:28], tcp[8:12])
	p[32], p[33] = 5<<4, 0x04
	binary.BigEndian.PutUint16(p[36:], checksum(checkPseudo(p), p[20:]))
	return p
}

// checkPseudo sums what TCP's checksum covers of the IP header.
func checkPseudo(p []byte) (sum uint32) {
	for i := 12; i < 20; i += 2 {
		sum += uint32(binary.BigEndian.Uint16(p[i:]))
	}
	return sum + unix.IPPROTO_TCP + uint32(len(p)-20)
}

// checksum is that of RFC 1071, of an even number of bytes.
func checksum(sum uint32, b []byte) uint16 {
	for i := 0; i < len(b); i += 2 {
		sum += uint32(binary.BigEndian.Uint16(b[i:]))
	}
	for sum>>16 != 0 {
		sum = sum&0xffff + sum>>16
	}
	return ^uint16(sum)
}

// put schedules a packet.
func (p *port) put(at time.Time, packet []byte) {
	p.mu.Lock()
	p.count++
	heap.Push(&p.queue, parcel{at, p.count, packet})
	p.mu.Unlock()
	select {
	case p.wake <- struct{}{}:
	default:
	}
}

// deliver writes packets at their time.
func (p *port) deliver(over <-chan struct{}) {
	for {
		next := time.Hour
		p.mu.Lock()
		for len(p.queue) > 0 {
			if next = time.Until(p.queue[0].at); next > 0 {
				break
			}
			packet := heap.Pop(&p.queue).(parcel).packet
			p.mu.Unlock()
			_, _ = p.tun.Write(packet) // a full queue loses it, as a network may
			p.mu.Lock()
			next = time.Hour
		}
		p.mu.Unlock()
		timer := time.NewTimer(next)
		select {
		case <-p.wake:
		case <-timer.C:
		case <-over:
			timer.Stop()
			return
		}
		timer.Stop()
	}
}
