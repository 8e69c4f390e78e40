package prove_test

import (
	"encoding/binary"
	"errors"
	"sync"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/byway-chat/byway/cmd/byway/stage"
)

// capture is all that passes loopback in a namespace: TCP as the bytes of each direction of each connection, everything else packet after
// packet.
type capture struct {
	t       testing.TB
	socket  int
	stopped chan struct{}
	ended   chan struct{}

	mu    sync.Mutex // guards the following
	flows map[string][]byte
	bytes int
}

// receiveBuffer holds what comes while the reader has no core.
const receiveBuffer = 128 << 20

// listenTo starts capturing.
func listenTo(t testing.TB, netns string) *capture {
	t.Helper()
	c := &capture{t: t, flows: map[string][]byte{}, stopped: make(chan struct{}), ended: make(chan struct{})}
	all := int(binary.NativeEndian.Uint16(binary.BigEndian.AppendUint16(nil, unix.ETH_P_ALL)))
	stage.Inside(t, netns, func() (err error) {
		c.socket, err = unix.Socket(unix.AF_PACKET, unix.SOCK_RAW|unix.SOCK_CLOEXEC, all)
		if err != nil {
			return err
		}
		return errors.Join(
			unix.SetsockoptInt(c.socket, unix.SOL_SOCKET, unix.SO_RCVBUFFORCE, receiveBuffer),
			unix.SetsockoptTimeval(c.socket, unix.SOL_SOCKET, unix.SO_RCVTIMEO, &unix.Timeval{Usec: 50_000}))
	})
	go c.receive()
	return c
}

func (c *capture) receive() {
	defer close(c.ended)
	packet := make([]byte, 256<<10) // loopback joins segments to 64 KiB at most
	for {
		n, from, err := unix.Recvfrom(c.socket, packet, 0)
		if errors.Is(err, unix.EAGAIN) {
			select {
			case <-c.stopped:
				return
			default:
			}
			continue
		}
		if errors.Is(err, unix.EINTR) {
			continue
		}
		if err != nil {
			c.t.Errorf("capture: %v", err)
			return
		}
		// Loopback shows each packet twice.
		if link, ok := from.(*unix.SockaddrLinklayer); ok && link.Pkttype != unix.PACKET_OUTGOING {
			c.add(packet[:n])
		}
	}
}

// add sorts one Ethernet frame.
func (c *capture) add(frame []byte) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.bytes += len(frame)
	const ethernet, tcp = 14, 6
	if len(frame) >= ethernet+20 && binary.BigEndian.Uint16(frame[12:]) == unix.ETH_P_IP && frame[ethernet+9] == tcp {
		ip := frame[ethernet:]
		header := int(ip[0]&15) * 4
		if total := int(binary.BigEndian.Uint16(ip[2:])); total > 0 && total <= len(ip) {
			ip = ip[:total]
		}
		if len(ip) >= header+20 {
			segment := ip[header:]
			if offset := int(segment[12]>>4) * 4; offset <= len(segment) {
				flow := string(ip[12:20]) + string(segment[:4])
				c.flows[flow] = append(c.flows[flow], segment[offset:]...)
				return
			}
		}
	}
	c.flows["other"] = append(c.flows["other"], frame...)
}

// stop ends capturing and fails the test where something was missed.
func (c *capture) stop() {
	c.t.Helper()
	close(c.stopped)
	<-c.ended
	defer unix.Close(c.socket)
	stats, err := unix.GetsockoptTpacketStats(c.socket, unix.SOL_PACKET, unix.PACKET_STATISTICS)
	if err != nil {
		c.t.Errorf("capture: %v", err)
	} else if stats.Drops > 0 {
		c.t.Errorf("capture: %d packets were missed", stats.Drops)
	}
}
