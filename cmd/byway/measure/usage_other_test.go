//go:build !linux

package measure_test

import (
	"syscall"
	"testing"
	"time"
)

var bound *syscall.SysProcAttr

type usage struct {
	cpu           time.Duration
	reads, writes uint64
	at            time.Time
}

func look(tb testing.TB, _ int) usage {
	tb.Helper()
	tb.Skip("skipped: the use of another process is read from Linux's /proc")
	return usage{}
}

func resident(tb testing.TB, _ int) int64 {
	tb.Helper()
	tb.Skip("skipped: the use of another process is read from Linux's /proc")
	return 0
}

func machineSpare() time.Duration { return 0 }

func ownBusy(testing.TB) time.Duration { return 0 }
