package measure_test

import (
	"fmt"
	"os"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// bound has the kernel kill a program when the thread ends that started it, as all do when this process is killed. Go ends a thread before that only
// under a goroutine that has locked it, and none here does.
var bound = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}

// usage is what a process has used since its start.
type usage struct {
	cpu           time.Duration // user and system, all threads
	reads, writes uint64        // system calls, of sockets and files alike
	at            time.Time
}

// look reads the CPU clock of a process (clock_getcpuclockid(3)): the same time as utime and stime in /proc/PID/stat, without rounding to
// hundredths of a second.
func look(tb testing.TB, pid int) usage {
	tb.Helper()
	var t unix.Timespec
	const scheduled = 2 // CPUCLOCK_SCHED of the kernel
	if err := unix.ClockGettime(int32(^pid<<3|scheduled), &t); err != nil {
		tb.Fatal(err)
	}
	u := usage{cpu: time.Duration(t.Nano()), at: time.Now()}
	content, err := os.ReadFile(fmt.Sprintf("/proc/%d/io", pid))
	if err != nil {
		return u // where the kernel does not count them
	}
	for line := range strings.Lines(string(content)) {
		_, _ = fmt.Sscanf(line, "syscr: %d", &u.reads)
		_, _ = fmt.Sscanf(line, "syscw: %d", &u.writes)
	}
	return u
}

// resident is the memory of a process that is in RAM, in bytes.
func resident(tb testing.TB, pid int) int64 {
	tb.Helper()
	content, err := os.ReadFile(fmt.Sprintf("/proc/%d/statm", pid))
	if err != nil {
		tb.Fatal(err)
	}
	var size, pages int64
	if _, err := fmt.Sscan(string(content), &size, &pages); err != nil {
		tb.Fatal(err)
	}
	return pages * int64(os.Getpagesize())
}

// machineSpare is the time since the start of the machine for which its processors were idle or in interrupts. Unlike that of processes, which is guessed at each
// tick, it is exact where idle processors have no ticks; 0: not known. What is neither spare nor ours had somebody else, on this machine or beside it.
func machineSpare() time.Duration {
	content, err := os.ReadFile("/proc/stat")
	if err != nil {
		return 0
	}
	var user, nice, system, idle, disk, irq, softirq uint64 // in hundredths of a second (USER_HZ)
	_, _ = fmt.Sscanf(string(content), "cpu %d %d %d %d %d %d %d", &user, &nice, &system, &idle, &disk, &irq, &softirq)
	return time.Duration(idle+disk+irq+softirq) * 10 * time.Millisecond
}

// ownBusy is the processor time that this process and those that it has started have used.
func ownBusy(tb testing.TB) time.Duration {
	tb.Helper()
	sum := look(tb, os.Getpid()).cpu
	started.mu.Lock()
	defer started.mu.Unlock()
	for _, p := range started.all {
		if p.cmd.ProcessState != nil {
			sum += p.cmd.ProcessState.UserTime() + p.cmd.ProcessState.SystemTime()
		} else {
			sum += look(tb, p.pid()).cpu
		}
	}
	return sum
}
