package measure_test

import (
	"context"
	"encoding/binary"
	"fmt"
	"os"
	"time"

	"golang.org/x/sys/unix"
)

// now is the time on CLOCK_MONOTONIC, which is the same for all processes of a machine.
func now() time.Duration {
	var t unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_MONOTONIC, &t); err != nil {
		panic("measure: no monotonic clock: " + err.Error()) // the kernel always has it
	}
	return time.Duration(t.Nano())
}

// onTime calls f with first, first+interval and so on when each of them has come, and with those that are past at once, until ctx ends. It
// waits on a timer of the kernel: a process of Go's in which nothing else goes on wakes up from a sleep up to a millisecond late.
func onTime(ctx context.Context, first, interval time.Duration, f func(due time.Duration)) error {
	fd, err := unix.TimerfdCreate(unix.CLOCK_MONOTONIC, unix.TFD_NONBLOCK|unix.TFD_CLOEXEC)
	if err != nil {
		return fmt.Errorf("make a timer: %w", err)
	}
	timer := os.NewFile(uintptr(fd), "timer") // non-blocking, so the runtime waits for it as for a socket
	defer timer.Close()
	at := unix.ItimerSpec{Value: unix.NsecToTimespec(first.Nanoseconds()), Interval: unix.NsecToTimespec(interval.Nanoseconds())}
	if err := unix.TimerfdSettime(fd, unix.TFD_TIMER_ABSTIME, &at, nil); err != nil {
		return fmt.Errorf("set a timer: %w", err)
	}
	defer context.AfterFunc(ctx, func() { _ = timer.SetReadDeadline(time.Now()) })()
	due, expired := first, make([]byte, 8)
	for {
		_, err := timer.Read(expired)
		if ctx.Err() != nil {
			return nil
		}
		if err != nil {
			return fmt.Errorf("wait for a timer: %w", err)
		}
		for range binary.NativeEndian.Uint64(expired) {
			f(due)
			due += interval
		}
	}
}
