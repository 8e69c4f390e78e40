//go:build !linux

package measure_test

import (
	"context"
	"time"
)

func now() time.Duration { return time.Duration(time.Now().UnixNano()) }

func onTime(ctx context.Context, first, interval time.Duration, f func(due time.Duration)) error {
	for due := first; ctx.Err() == nil; due += interval {
		time.Sleep(due - now())
		f(due)
	}
	return nil
}
