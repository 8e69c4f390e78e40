package lan

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"slices"
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
	carrying, own := ports()
	var conns []*net.UDPConn
	var failed error
	for i := range carrying {
		p := &carrying[i]
		if !slices.ContainsFunc(p.prefixes, func(a netip.Prefix) bool { return a.Addr().Is4() }) {
			continue
		}
		conn, err := net.ListenMulticastUDP("udp4", &p.Interface, group)
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

// count reads until ctx ends, closes the connections, and returns how many other devices were heard.
func count(ctx context.Context, conns []*net.UDPConn, own []netip.Addr) int {
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
				if a := from.Addr().Unmap(); !slices.Contains(own, a) && len(heard) < maxHeard {
					heard[a] = true
				}
				mu.Unlock()
			}
		})
	}
	reading.Wait()
	return len(heard)
}
