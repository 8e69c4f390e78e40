package main

import (
	"context"
	"errors"
	"os"
	"os/signal"
	"syscall"
)

// leave is the cause of a context that ended because the program was asked to leave.
type leave struct {
	drained bool // by the operator or a client: what runs for long ends well; otherwise by the person at the keyboard
}

func (leave) Error() string { return "interrupted" }

// interruptible ends the context at the first SIGINT, SIGTERM or SIGHUP, with a leave as its cause, and the process at the second. It
// starts a goroutine, which stop ends.
func interruptible(parent context.Context) (ctx context.Context, stop func()) {
	ctx, cancel := context.WithCancelCause(parent)
	signals := make(chan os.Signal, 2)
	signal.Notify(signals, os.Interrupt, syscall.SIGTERM, syscall.SIGHUP)
	done := make(chan struct{})
	go func() {
		select {
		case s := <-signals:
			cancel(leave{drained: s != os.Interrupt})
		case <-done:
			return
		}
		select {
		case <-signals:
			os.Exit(exitInterrupted)
		case <-done:
		}
	}()
	return ctx, func() {
		signal.Stop(signals)
		close(done)
		cancel(nil)
	}
}

// drained turns the end of a command that runs until it is stopped into success, where it was asked to by SIGTERM or over
// the local API. Ended by Ctrl-C it stays interrupted.
func drained(ctx context.Context, err error) error {
	if l, ok := errors.AsType[leave](context.Cause(ctx)); ok && l.drained {
		return nil
	}
	return err
}
