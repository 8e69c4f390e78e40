package stage

import (
	"encoding/binary"
	"errors"
	"testing"

	"golang.org/x/sys/unix"
)

// receiveBuffer holds what comes while the reader has no core.
const receiveBuffer = 128 << 20

// Packets shows each packet that passes a device of a namespace: whole frames with kind SOCK_RAW, what is in them with SOCK_DGRAM. outgoing tells those that
// leave; loopback shows each packet twice, once so. It runs a goroutine, from which each is called, until stop, which fails the test where a packet was missed.
func Packets(t testing.TB, netns string, kind int, each func(packet []byte, outgoing bool)) (stop func()) {
	t.Helper()
	var socket int
	all := int(binary.NativeEndian.Uint16(binary.BigEndian.AppendUint16(nil, unix.ETH_P_ALL)))
	Inside(t, netns, func() (err error) {
		if socket, err = unix.Socket(unix.AF_PACKET, kind|unix.SOCK_CLOEXEC, all); err != nil {
			return err
		}
		return errors.Join(
			unix.SetsockoptInt(socket, unix.SOL_SOCKET, unix.SO_RCVBUFFORCE, receiveBuffer),
			unix.SetsockoptTimeval(socket, unix.SOL_SOCKET, unix.SO_RCVTIMEO, &unix.Timeval{Usec: 50_000}))
	})
	over, ended := make(chan struct{}), make(chan error, 1)
	go func() { ended <- readPackets(socket, over, each) }()
	return func() {
		t.Helper()
		close(over)
		err := <-ended
		stats, statsErr := unix.GetsockoptTpacketStats(socket, unix.SOL_PACKET, unix.PACKET_STATISTICS)
		if err = errors.Join(err, statsErr, unix.Close(socket)); err != nil {
			t.Errorf("capture: %v", err)
		} else if stats.Drops > 0 {
			t.Errorf("capture: %d packets were missed", stats.Drops)
		}
	}
}

// readPackets reads until over is closed and nothing has come for a moment.
func readPackets(socket int, over <-chan struct{}, each func(packet []byte, outgoing bool)) error {
	packet := make([]byte, 256<<10) // loopback joins segments to 64 KiB at most
	for {
		n, from, err := unix.Recvfrom(socket, packet, 0)
		switch {
		case errors.Is(err, unix.EINTR):
		case errors.Is(err, unix.EAGAIN):
			select {
			case <-over:
				return nil
			default:
			}
		case err != nil:
			return err
		default:
			if link, ok := from.(*unix.SockaddrLinklayer); ok {
				each(packet[:n], link.Pkttype == unix.PACKET_OUTGOING)
			}
		}
	}
}
