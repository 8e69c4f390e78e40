package relay

import (
	"log/slog"
	"time"

	"golang.org/x/time/rate"
)

// Options are the bounds of a Service. A zero field takes the default named with it.
type Options struct {
	// Lifetime is how long an envelope waits in the mailbox, by the mailbox's clock: see lifetime.go. Default 14 days: as long as old encryption
	// keys are kept.
	Lifetime time.Duration
	// Sweep is how often expired envelopes are deleted. Default 1 hour.
	Sweep time.Duration
	// TakeTimeout is how long a live envelope may stay untaken before it goes to the mailbox as well. Default 3 s.
	TakeTimeout time.Duration
	// Untaken bounds what one attachment has been given live and has not taken; more goes to the mailbox. Default 4,096 and 4 MiB: many
	// senders that are each a peer's whole window ahead, and a device that says Taken late and for many.
	Untaken Usage
	// Window bounds what one attachment has been given out of the mailbox and has not taken. Default 512 and 1 MiB.
	Window Usage
	// Unresolved bounds what one sending device has submitted and not been told the outcome of; more is refused as busy.
	// Default 4096 and 8 MiB.
	Unresolved Usage
	// Memory bounds all envelopes in memory together; more is refused as busy. Default 65,536 and 128 MiB.
	Memory Usage
	// Batch bounds one transaction of the mailbox. Default 1024 and 8 MiB.
	Batch Usage
	// Quota bounds the mailbox. Default 10,000 envelopes or 64 MiB an account, half of either for one sending account.
	Quota Quota
	// InitRate and InitBurst limit session openings of one sending account, because each costs its recipient milliseconds of RSA. The
	// default, 10 a second after a burst of 600, admits a hundred one-shot sends in a row to accounts with several devices.
	InitRate  rate.Limit
	InitBurst int
	// Readers is how many goroutines read the mailbox for devices that have come back. Default 4.
	Readers int
	// Now is the clock of submission times, and of the time between two runs. Default time.Now.
	Now func() time.Time
	// Logger gets failures of the mailbox; never names of both ends of an envelope. Default: discard.
	Logger *slog.Logger
}

func (o Options) withDefaults() Options {
	usage := func(u *Usage, messages, bytes uint64) {
		if *u == (Usage{}) {
			*u = Usage{Messages: messages, Bytes: bytes}
		}
	}
	duration := func(d *time.Duration, value time.Duration) {
		if *d == 0 {
			*d = value
		}
	}
	duration(&o.Lifetime, 14*24*time.Hour)
	duration(&o.Sweep, time.Hour)
	duration(&o.TakeTimeout, 3*time.Second)
	usage(&o.Untaken, 4096, 4<<20)
	usage(&o.Window, 512, 1<<20)
	usage(&o.Unresolved, 4096, 8<<20)
	usage(&o.Memory, 65536, 128<<20)
	usage(&o.Batch, 1024, 8<<20)
	usage(&o.Quota.Account, 10_000, 64<<20)
	usage(&o.Quota.Pair, o.Quota.Account.Messages/2, o.Quota.Account.Bytes/2)
	if o.InitRate == 0 {
		o.InitRate = 10
	}
	if o.InitBurst == 0 {
		o.InitBurst = 600
	}
	if o.Readers == 0 {
		o.Readers = 4
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	return o
}
