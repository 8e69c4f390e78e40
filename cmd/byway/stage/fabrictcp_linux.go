package stage

import (
	"encoding/binary"
	"net/netip"
	"time"

	"golang.org/x/sys/unix"
)

// flow is a TCP connection, by its two ends in the order of their addresses.
type flow struct{ a, b netip.AddrPort }

// Dial is an attempt to connect.
type Dial struct {
	At       time.Time
	From, To netip.Addr
	port     uint16 // of from; with the number tells attempts from repetitions
	number   uint32
}

// watch takes note of TCP and returns the reset that answers a packet of a doomed connection.
func (f *Fabric) watch(now time.Time, from, to netip.Addr, packet []byte) (reset []byte) {
	head := int(packet[0]&0xf) * 4
	if !from.Is4() || packet[9] != unix.IPPROTO_TCP || len(packet) < head+20 || binary.BigEndian.Uint16(packet[6:])&0x1fff != 0 {
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
			f.dialled(Dial{now, from, to, source, binary.BigEndian.Uint32(tcp[4:])})
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

func (f *Fabric) dialled(d Dial) {
	for i := len(f.dials) - 1; i >= 0 && d.At.Sub(f.dials[i].At) < time.Minute; i-- {
		if o := f.dials[i]; o.From == d.From && o.To == d.To && o.port == d.port && o.number == d.number {
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
