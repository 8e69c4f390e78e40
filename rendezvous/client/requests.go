package client

import (
	"context"
	"fmt"

	"github.com/byway-chat/byway/crypto/identity"
	"github.com/byway-chat/byway/rendezvous"
)

// Register makes an account with this device as its first, and signs in. Refusals are [*rendezvous.Error].
func (c *Conn) Register(ctx context.Context, r *rendezvous.Register) (*rendezvous.SignedIn, error) {
	return c.signedIn(ctx, "register", &rendezvous.Frame{Body: &rendezvous.Frame_Register{Register: r}})
}

// Login shows the password of an account, to enrol this device; Enrol must follow on this connection within a minute.
func (c *Conn) Login(ctx context.Context, name, password string) (*rendezvous.Enrolling, error) {
	got, err := c.call(ctx, &rendezvous.Frame{Body: &rendezvous.Frame_Login{
		Login: &rendezvous.Login{Username: name, Password: password},
	}})
	if err != nil {
		return nil, fmt.Errorf("log in: %w", err)
	}
	if got.GetEnrolling() == nil {
		return nil, unexpected("log in")
	}
	return got.GetEnrolling(), nil
}

// Enrol finishes what Login began, and signs in.
func (c *Conn) Enrol(ctx context.Context, e *rendezvous.Enrol) (*rendezvous.SignedIn, error) {
	return c.signedIn(ctx, "enrol", &rendezvous.Frame{Body: &rendezvous.Frame_Enrol{Enrol: e}})
}

// Resume signs in a device that is enrolled already, without a password: the handshake has proven its PeerID.
func (c *Conn) Resume(ctx context.Context, name string) (*rendezvous.SignedIn, error) {
	return c.signedIn(ctx, "resume", &rendezvous.Frame{Body: &rendezvous.Frame_Resume{
		Resume: &rendezvous.Resume{Username: name},
	}})
}

func (c *Conn) signedIn(ctx context.Context, what string, f *rendezvous.Frame) (*rendezvous.SignedIn, error) {
	got, err := c.call(ctx, f)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", what, err)
	}
	if got.GetSignedIn() == nil {
		return nil, unexpected(what)
	}
	return got.GetSignedIn(), nil
}

// Publish replaces this device's bundle, its peer record, and from whom that is withheld, as far as they are given. MaxWithheld of Welcome says whether the
// rendezvous can withhold.
func (c *Conn) Publish(ctx context.Context, p *rendezvous.Publish) error {
	return c.acknowledged(ctx, "publish", &rendezvous.Frame{Body: &rendezvous.Frame_Publish{Publish: p}})
}

// Watch asks for presence from now on; it arrives on Pushes, a snapshot first.
func (c *Conn) Watch(ctx context.Context) error {
	return c.acknowledged(ctx, "watch", &rendezvous.Frame{Body: &rendezvous.Frame_Watch{Watch: &rendezvous.Watch{On: true}}})
}

func (c *Conn) acknowledged(ctx context.Context, what string, f *rendezvous.Frame) error {
	got, err := c.call(ctx, f)
	if err != nil {
		return fmt.Errorf("%s: %w", what, err)
	}
	if got.GetDone() == nil {
		return unexpected(what)
	}
	return nil
}

// Lookup returns the records of the given names, in their order; a name that nobody has yields a record marked unknown. It asks
// again for what did not fit into one answer. Nothing in the records has been verified.
func (c *Conn) Lookup(ctx context.Context, names ...string) ([]*rendezvous.Record, error) {
	records := make([]*rendezvous.Record, 0, len(names))
	for len(records) < len(names) {
		ask := names[len(records):min(len(names), len(records)+rendezvous.MaxLookup)]
		got, err := c.call(ctx, &rendezvous.Frame{Body: &rendezvous.Frame_Lookup{Lookup: &rendezvous.Lookup{Usernames: ask}}})
		if err != nil {
			return nil, fmt.Errorf("look up: %w", err)
		}
		found := got.GetFound().GetRecords()
		if len(found) == 0 || len(found) > len(ask) {
			return nil, unexpected("look up")
		}
		records = append(records, found...)
	}
	return records, nil
}

// List returns a page of all names after the given one, in order, at most limit (0: as many as the rendezvous gives, 500).
func (c *Conn) List(ctx context.Context, after string, limit int) (*rendezvous.Listed, error) {
	if limit <= 0 || limit > rendezvous.MaxList {
		limit = rendezvous.MaxList
	}
	got, err := c.call(ctx, &rendezvous.Frame{Body: &rendezvous.Frame_List{
		List: &rendezvous.List{After: after, Limit: uint32(limit)},
	}})
	if err != nil {
		return nil, fmt.Errorf("list: %w", err)
	}
	if got.GetListed() == nil {
		return nil, unexpected("list")
	}
	return got.GetListed(), nil
}

// Submit queues one envelope for one device and returns the number that its Outcome will carry on Pushes. It never waits for the
// network: ErrQueueFull when 1,024 frames or 8 MiB wait already. The envelope may be reused after it returns.
func (c *Conn) Submit(device identity.Fingerprint, envelope []byte, liveOnly bool) (id uint64, err error) {
	if len(envelope) > rendezvous.MaxEnvelope {
		return 0, fmt.Errorf("submit an envelope: %w", rendezvous.ErrFrameTooLarge)
	}
	id = c.nextID.Add(1)
	c.taken.flush(c.writer) // it rides along
	return id, c.added(c.writer.AddAppended(func(buf []byte) []byte {
		return rendezvous.AppendSubmit(buf, id, device[:], envelope, liveOnly)
	}))
}

// Taken tells the rendezvous that it may forget these deliveries: they are on this device's disk, or will never be wanted. It goes out with the
// next Submit, and otherwise soon. An error says that the connection has ended.
func (c *Conn) Taken(ids ...uint64) error { return c.take(ids, 0) }

// Told tells the rendezvous that a person has been told of the Refusals with this mark.
func (c *Conn) Told(refusals uint64) error { return c.take(nil, refusals) }

func unexpected(what string) error {
	return fmt.Errorf("%s: %w", what, rendezvous.Errorf(rendezvous.CodeBadRequest, "the rendezvous sent an unexpected answer"))
}
