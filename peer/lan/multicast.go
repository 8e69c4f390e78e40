package lan

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"sync"
	"time"
)

// group is where everybody who speaks mDNS over IPv4 listens.
var group = &net.UDPAddr{IP: net.IPv4(224, 0, 0, 251), Port: 5353}

// question asks everybody which services they announce: PTR _services._dns-sd._udp.local.
var question = []byte("\x00\x00\x00\x00\x00\x01\x00\x00\x00\x00\x00\x00\x09_services\x07_dns-sd\x04_udp\x05local\x00\x00\x0c\x00\x01")

// Multicast is what a question to everybody on the local networks has led to.
type Multicast struct {
	Interfaces int // over which it could be sent
	Heard      int // other devices that said something, this machine left out
}

// ErrNoMulticast means that there is no interface that carries multicast.
var ErrNoMulticast = errors.New("no interface carries multicast")

// maxHeard bounds the devices that are told apart.
const maxHeard = 256

// AskEverybody sends an mDNS question over each interface and counts who is heard until ctx ends. Where nobody is heard, the network may filter
// multicast, or nobody else may be there who speaks mDNS.
func AskEverybody(ctx context.Context) (Multicast, error) {
	own := map[netip.Addr]bool{}
	ifaces, err := net.Interfaces()
	if err != nil {
		return Multicast{}, err
	}
	var conns []*net.UDPConn
	var failed error
	for i := range ifaces {
		ifc := &ifaces[i]
		usable := addAddresses(own, ifc)
		if !usable || ifc.Flags&net.FlagUp == 0 || ifc.Flags&net.FlagMulticast == 0 || ifc.Flags&net.FlagLoopback != 0 {
			continue
		}
		conn, err := net.ListenMulticastUDP("udp4", ifc, group)
		if err == nil {
			if _, err = conn.WriteToUDP(question, group); err == nil {
				conns = append(conns, conn)
				continue
			}
			_ = conn.Close()
		}
		failed = errors.Join(failed, err)
	}
	if len(conns) == 0 {
		return Multicast{}, errors.Join(ErrNoMulticast, failed)
	}
	return Multicast{Interfaces: len(conns), Heard: count(ctx, conns, own)}, nil
}

// addAddresses notes the addresses of an interface, and reports whether one is of IPv4.
func addAddresses(own map[netip.Addr]bool, ifc *net.Interface) (usable bool) {
	addrs, err := ifc.Addrs()
	if err != nil {
		return false
	}
	for _, a := range addrs {
		if p, err := netip.ParsePrefix(a.String()); err == nil {
			own[p.Addr().Unmap()] = true
			usable = usable || p.Addr().Unmap().Is4()
		}
	}
	return usable
}

// count reads until ctx ends, closes the connections, and returns how many other devices were heard.
func count(ctx context.Context, conns []*net.UDPConn, own map[netip.Addr]bool) int {
	var mu sync.Mutex
	heard := map[netip.Addr]bool{}
	var reading sync.WaitGroup
	for _, conn := range conns {
		stop := context.AfterFunc(ctx, func() { _ = conn.SetReadDeadline(time.Unix(1, 0)) })
		reading.Go(func() {
			defer func() { _ = conn.Close() }()
			defer stop()
			packet := make([]byte, 512)
			for {
				_, from, err := conn.ReadFromUDPAddrPort(packet)
				if err != nil {
					return
				}
				mu.Lock()
				if a := from.Addr().Unmap(); !own[a] && len(heard) < maxHeard {
					heard[a] = true
				}
				mu.Unlock()
			}
		})
	}
	reading.Wait()
	return len(heard)
}
