package relay

import (
	"context"
	"time"

	"github.com/byway-chat/byway/crypto/identity"
	"github.com/byway-chat/byway/rendezvous"
)

// Address names a device together with its account, as the rendezvous has authenticated or looked it up.
type Address struct {
	User   rendezvous.Username
	Device identity.Fingerprint
}

// Envelope is one sealed envelope on its way. The relay never changes Data and cannot open it.
type Envelope struct {
	From      Address
	To        Address
	Submitted time.Time // when the rendezvous got it; stored with millisecond precision
	Data      []byte    // at most rendezvous.MaxEnvelope bytes
}

// Held is an envelope in the mailbox.
type Held struct {
	Envelope
	ID uint64 // rises with each put for its address; never 0, never used twice for that address while a Mailbox is open
}

// Usage is a number of envelopes and the sum of their Data.
type Usage struct {
	Messages uint64
	Bytes    uint64
}

// Quota bounds what is kept for one account, over all its devices.
type Quota struct {
	Account Usage // all senders together
	Pair    Usage // one sending account
}

// Put asks for one envelope to be kept. Apply sets ID, or Refused where the quota does not admit it.
type Put struct {
	Envelope *Envelope
	ID       uint64
	Refused  bool
}

// Deletion asks for one envelope to be forgotten. It has no effect on an ID that is not held for this address. Otherwise From and Size are those
// of the envelope.
type Deletion struct {
	To   Address
	ID   uint64
	From rendezvous.Username // who sent it
	Size uint64              // of its Data
}

// Moment is a time of the mailbox's own clock, in milliseconds since the mailbox was made. It never falls and never jumps: see lifetime.go.
type Moment uint64

// Clock ties the mailbox's clock to the wall clock. The zero Clock is that of a new mailbox.
type Clock struct {
	Mailbox Moment
	Wall    time.Time // with millisecond precision
}

// Refusals is what was refused for one device because the mailbox of its account was full, since the device was last told.
type Refusals struct {
	Mark     uint64 // names this answer; rises with each refusal; 0: nothing was refused
	Messages uint64
	Accounts uint64 // that sent them, as far as the Mailbox keeps them apart
	Since    time.Time
}

// Told says that a device has told its person of its Refusals up to a mark.
type Told struct {
	To   Address
	Mark uint64
}

// Batch is what one transaction of the mailbox does: first the deletions, then the puts in their order. It counts the puts that it refuses for
// Refusals, and forgets the counts that have been told; an account that is refused again after Mark stays in it.
type Batch struct {
	Deletions []Deletion
	Puts      []*Put
	Told      []Told
	Quota     Quota
	Kept      Moment // when the puts are kept, by the mailbox's clock
}

// Mailbox keeps envelopes durably. A store implements it; the relay is its only user. Methods may be called from several goroutines.
type Mailbox interface {
	// Apply does the batch in one transaction. When it returns nil, the batch is on the disk and every Put has its ID or is
	// Refused; on an error nothing of it may be counted on. It keeps nothing that the batch points to.
	Apply(ctx context.Context, b *Batch) error
	// Page returns envelopes for one device with an ID over after, in the order of their IDs: at most limit, and no more than maxBytes
	// of Data together, but at least one where there is one.
	Page(ctx context.Context, to Address, after uint64, limit, maxBytes int) ([]Held, error)
	// Waiting says what is held for one device.
	Waiting(ctx context.Context, to Address) (Usage, error)
	// Usage says what is held for all devices of an account.
	Usage(ctx context.Context, account rendezvous.Username) (Usage, error)
	// Clock returns what Expire has recorded last.
	Clock(ctx context.Context) (Clock, error)
	// Expire records the clock, deletes at most limit envelopes kept before a moment, and says how many.
	Expire(ctx context.Context, now Clock, before Moment, limit int) (int, error)
	// Refusals says what was refused for one device and not yet told.
	Refusals(ctx context.Context, to Address) (Refusals, error)
	// Purge deletes all that is held for one device.
	Purge(ctx context.Context, to Address) error
}

// Directory tells which account a device belongs to.
type Directory interface {
	// Owner returns an *rendezvous.Error with CodeNoSuchDevice for a device that is on no account.
	Owner(ctx context.Context, device identity.Fingerprint) (rendezvous.Username, error)
}

func (u *Usage) add(size uint64) {
	u.Messages++
	u.Bytes += size
}

func (u *Usage) remove(size uint64) {
	u.Messages--
	u.Bytes -= size
}

// admits says whether one more envelope fits into a bound. Where there is none, one always does.
func (u Usage) admits(size uint64, bound Usage) bool {
	return u.Messages == 0 || u.Messages < bound.Messages && u.Bytes+size <= bound.Bytes
}
