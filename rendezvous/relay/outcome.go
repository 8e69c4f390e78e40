package relay

import (
	"time"

	"github.com/byway-chat/byway/rendezvous"
)

// Outcome says what became of a submitted envelope.
type Outcome struct {
	State      rendezvous.Outcome_State // TAKEN, STORED or REFUSED
	Code       rendezvous.Code          // why it is REFUSED, else empty
	RetryAfter time.Duration            // 0: no sense in retrying soon
}

// Settled is the outcome as it travels to whoever has submitted.
func (o Outcome) Settled() rendezvous.Settled {
	return rendezvous.Settled{State: o.State, Code: o.Code, RetryAfterMs: uint64(o.RetryAfter.Milliseconds())}
}

func taken() Outcome  { return Outcome{State: rendezvous.Outcome_TAKEN} }
func stored() Outcome { return Outcome{State: rendezvous.Outcome_STORED} }

func refused(code rendezvous.Code, retry time.Duration) Outcome {
	return Outcome{State: rendezvous.Outcome_REFUSED, Code: code, RetryAfter: retry}
}
