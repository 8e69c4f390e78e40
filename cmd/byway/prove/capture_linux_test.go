package prove_test

import (
	"encoding/binary"
	"sync"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/byway-chat/byway/cmd/byway/stage"
)

// capture is all that passes loopback in a namespace: TCP as the bytes of each direction of each connection, everything else packet after
// packet.
type capture struct {
	stop func() // ends it, and fails the test where something was missed

	mu    sync.Mutex // guards the following
	flows map[string][]byte
	bytes int
}

// listenTo starts capturing.
func listenTo(t testing.TB, netns string) *capture {
	t.Helper()
	c := &capture{flows: map[string][]byte{}}
	c.stop = stage.Packets(t, netns, unix.SOCK_RAW, func(packet []byte, outgoing bool) {
		if !outgoing { // loopback shows each packet twice
			c.add(packet)
		}
	})
	return c
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
