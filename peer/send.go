package peer

import (
	"cmp"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"log/slog"
	"time"
	"unicode/utf8"

	"github.com/byway-chat/byway/peer/delivery"
	"github.com/byway-chat/byway/peer/history"
	"github.com/byway-chat/byway/peer/route"
	"github.com/byway-chat/byway/rendezvous"
)

// messageLifetime is how long an undelivered message is kept; the mailbox keeps it as long.
const messageLifetime = 14 * 24 * time.Hour

func parsePolicy(way string) (delivery.Policy, error) {
	switch way {
	case "", "auto":
		return delivery.Auto, nil
	case "direct":
		return delivery.DirectOnly, nil
	case "relay":
		return delivery.RelayOnly, nil
	}
	return 0, &Error{Code: CodeUsage, Message: fmt.Sprintf("%q is not a way to send by", way), Hint: "use auto, direct or relay"}
}

func parseUser(name string) (rendezvous.Username, error) {
	u, err := rendezvous.ParseUsername(name)
	if err != nil {
		return "", &Error{Code: CodeNoSuchUser, Message: "there is no such user: " + err.Error(), Hint: "`byway who` lists the users"}
	}
	return u, nil
}

// recipients is how many names that messages were sent to are remembered as they were typed: each message would map its name anew.
const recipients = 256

func (c *core) recipient(typed string) (rendezvous.Username, error) {
	if name, ok := c.typed.Get(typed); ok {
		return name, nil
	}
	name, err := parseUser(typed)
	if err == nil {
		c.typed.Add(typed, name)
	}
	return name, err
}

func checkBody(body string) error {
	switch {
	case body == "":
		return &Error{Code: CodeUsage, Message: "the message is empty", Hint: "give a text, or - to read it from standard input"}
	case !utf8.ValidString(body):
		return &Error{Code: CodeUsage, Message: "the message is not valid UTF-8", Hint: "convert it, for example with iconv -t utf-8"}
	case len(body) > delivery.MaxBody:
		return &Error{
			Code: CodeTooLarge, Message: fmt.Sprintf("the message has %d bytes; at most %d fit", len(body), delivery.MaxBody),
			Hint: "split it into several messages",
		}
	}
	return nil
}

// Send accepts a message for a user and returns when it is on this disk; it is delivered from then on, by this process or a later
// one. Wait tells how far it has come. It asks the directory about a user that is not known or not fresh.
func (p *Peer) Send(ctx context.Context, to, body string, o SendOptions) (Receipt, error) {
	if err := p.up(); err != nil {
		return Receipt{}, err
	}
	policy, err := parsePolicy(o.Way)
	if err != nil {
		return Receipt{}, err
	}
	if err := checkBody(body); err != nil {
		return Receipt{}, err
	}
	name, err := p.core.recipient(to)
	if err != nil {
		return Receipt{}, err
	}
	m := delivery.Message{To: delivery.Account(name), Body: body, Policy: policy, Sent: time.Now()}
	m.Expires = m.Sent.Add(messageLifetime)
	_, _ = rand.Read(m.ID[:]) // never fails (crypto/rand)
	err = p.core.commit(ctx, func() error { return p.core.acceptAtOnce(&m, o.Ref) })
	if errors.Is(err, errNotAtOnce) {
		err = p.sendLater(ctx, name, &m, o.Ref)
	}
	if err != nil {
		return Receipt{}, err
	}
	return Receipt{ID: m.ID.String(), To: string(m.To), N: m.N, State: StateAccepted, Sent: m.Sent}, nil
}

// errNotAtOnce means that there is something to find out before a message can be accepted.
var errNotAtOnce = errors.New("the account or the way to it is not known yet")

// acceptAtOnce accepts a message where all is known that it needs: the account, and whether there is a direct way.
func (c *core) acceptAtOnce(m *delivery.Message, ref string) error {
	ct := c.known(m.To)
	if ct == nil || m.Policy == delivery.DirectOnly {
		return errNotAtOnce
	}
	if m.Policy == delivery.Auto {
		if policy := c.policies[m.To]; policy == delivery.DirectOnly {
			return errNotAtOnce
		} else if policy == delivery.RelayOnly {
			m.Policy = policy
		}
	}
	for _, d := range ct.devices {
		if m.Policy == delivery.Auto && c.unexplored(d) {
			return errNotAtOnce
		}
	}
	return c.accept(m, ref)
}

// unexplored reports whether a direct way to a device may exist that nobody has looked for.
func (c *core) unexplored(d *device) bool {
	there := c.conn == nil || c.online[d.contact.Name][d.Fingerprint]
	return there && !c.private && d.Trust == history.Accepted && d.Fingerprint != c.self.Fingerprint && !d.ways.Explored() && c.look(d).Known()
}

// sendLater looks the account up and gives a direct way a moment to open before it has the message accepted.
func (p *Peer) sendLater(ctx context.Context, name rendezvous.Username, m *delivery.Message, ref string) error {
	if err := p.contact(ctx, name); err != nil {
		return err
	}
	c := p.core
	if m.Policy == delivery.Auto {
		if err := c.do(ctx, func() { m.Policy = c.policies[m.To] }); err != nil {
			return err
		}
	}
	switch m.Policy {
	case delivery.Auto:
		c.waitForDirect(ctx, m.To, headStart)
	case delivery.RelayOnly: // nothing to wait for
	case delivery.DirectOnly:
		if err := c.needDirect(ctx, m.To); err != nil {
			return err
		}
	}
	return c.commit(ctx, func() error { return c.accept(m, ref) })
}

// accept hands a message to the engine, with copies for our own other devices.
func (c *core) accept(m *delivery.Message, ref string) error {
	ct := c.contacts[m.To]
	if ct == nil {
		return noSuchUser(string(m.To))
	}
	if ct.keyState() == KeyChanged {
		return keyChanged(ct)
	}
	if ref != "" {
		c.refs.Add(m.ID, ref)
	}
	now := time.Now()
	m.Sent = now
	accepted, err := c.engine.Accept(now, *m)
	if err != nil {
		return acceptError(c.self.Name, m.To, err)
	}
	*m = accepted
	if m.Policy != delivery.RelayOnly {
		c.active(now, ct) // which looks for a direct way, and so tells them our address
	}
	if string(m.To) == c.self.Name {
		return nil
	}
	twin := *m
	twin.To, twin.CopyOf, twin.Policy = delivery.Account(c.self.Name), m.To, delivery.Auto
	if m.Policy == delivery.RelayOnly {
		twin.Policy = delivery.RelayOnly
	}
	if _, err := c.engine.Accept(now, twin); err != nil && !errors.Is(err, delivery.ErrNoDevice) {
		c.log.Warn("no copy for our other devices", slog.Any("error", err))
	}
	return nil
}

func keyChanged(ct *contact) error {
	return &Error{
		Code: CodeKeyChanged, Message: "the keys of " + string(ct.Name) + " have changed; nothing is sent until you accept them",
		Hint: fmt.Sprintf("compare `byway verify %s` with them by another way, then `byway verify %s --accept`", ct.Name, ct.Name),
	}
}

func acceptError(self string, to delivery.Account, err error) error {
	switch {
	case errors.Is(err, delivery.ErrNoDevice) && string(to) == self:
		return &Error{Code: CodeUsage, Message: "this is your own name, and you have no other device", Err: err}
	case errors.Is(err, delivery.ErrNoDevice):
		return &Error{Code: CodeUnreachable, Message: string(to) + " has no device to write to", Err: err}
	case errors.Is(err, delivery.ErrOutboxFull):
		return &Error{Code: CodeOverQuota, Message: "too many messages wait for " + string(to), Hint: "wait until some are delivered", Err: err}
	}
	return &Error{Code: CodeTooLarge, Message: "the message is too large", Err: err}
}

// directTries is how often a direct way is looked for before a message that must go directly is refused, and directTime how long each time.
const (
	directTries = 2
	directTime  = observeTime + punchTime
)

// needDirect refuses a message that must go directly while no direct way opens: it is then not accepted at all, rather than kept.
func (c *core) needDirect(ctx context.Context, name delivery.Account) error {
	var open bool
	var reason route.Reason
	look := func() {
		s := c.surroundings()
		for _, d := range c.contacts[name].devices {
			if d.Fingerprint == c.self.Fingerprint {
				continue
			}
			open = open || d.link != nil
			reason = c.look(d).Why(&s)
		}
	}
	again := func() {
		for _, d := range c.contacts[name].devices {
			d.ways.Renewed()
		}
	}
	err := c.do(ctx, look)
	for try := 0; err == nil && !open && try < directTries; try++ {
		if err = c.do(ctx, again); err == nil {
			c.waitForDirect(ctx, name, directTime)
			err = c.do(ctx, look)
		}
	}
	if err != nil || open {
		return err
	}
	return &Error{
		Code: CodeUnreachable, Message: fmt.Sprintf("no direct way to %s is open: %s: %s", name, reason, reason.Sentence()),
		Hint: cmp.Or(reason.Remedy(), fmt.Sprintf("`byway route %s` says more; without --way direct the message goes through the rendezvous", name)),
	}
}

// active records that there is traffic with a contact, and looks for a direct way at its beginning. It is stored now and then, for who and for the choice of whom to look for.
func (c *core) active(now time.Time, ct *contact) {
	begins := now.Sub(ct.Active) > time.Minute
	ct.Active = now
	if begins {
		c.batch.Contacts = append(c.batch.Contacts, ct.Contact)
		c.seek(now, ct)
	}
}

// waitForDirect waits a while for a direct way to an account that is not known to have none, looking for it where that has not begun.
func (c *core) waitForDirect(ctx context.Context, name delivery.Account, patience time.Duration) {
	var trying <-chan struct{}
	_ = c.do(ctx, func() {
		ct := c.contacts[name]
		if ct == nil {
			return
		}
		for _, d := range ct.devices {
			if d.link == nil && !d.ways.DialFailing() && (c.online[name][d.Fingerprint] || c.conn == nil) {
				if t := c.dial(time.Now(), d); t != nil {
					trying = t
				}
			}
		}
	})
	if trying == nil {
		return
	}
	t := time.NewTimer(patience)
	defer t.Stop()
	select {
	case <-trying:
	case <-t.C:
	case <-ctx.Done():
	}
}

// SetWay sets by which ways later messages to a user may go when Send says auto. It lasts for the life of the process.
func (p *Peer) SetWay(ctx context.Context, user, way string) error {
	if err := p.up(); err != nil {
		return err
	}
	policy, err := parsePolicy(way)
	if err != nil {
		return err
	}
	name, err := parseUser(user)
	if err != nil {
		return err
	}
	if err := p.contact(ctx, name); err != nil {
		return err
	}
	return p.core.do(ctx, func() {
		c, account := p.core, delivery.Account(name)
		c.tracePolicy(account, c.policies[account], policy)
		c.policies[account] = policy
		if ct := c.contacts[account]; ct != nil && policy == delivery.RelayOnly {
			for _, d := range ct.devices {
				c.unlink(d)
			}
		}
	})
}

// Receipt tells how far one of our own messages has come.
func (p *Peer) Receipt(ctx context.Context, id string) (Receipt, error) {
	if err := p.up(); err != nil {
		return Receipt{}, err
	}
	key, err := delivery.ParseMessageID(id)
	if err != nil {
		return Receipt{}, &Error{Code: CodeUsage, Message: "that is not the id of a message", Err: err}
	}
	if err := p.core.caughtUp(ctx); err != nil {
		return Receipt{}, err
	}
	entries, err := p.core.store.Find(ctx, history.Query{ID: &key, Limit: 4})
	if err != nil {
		return Receipt{}, storeError(err)
	}
	for _, e := range entries {
		if e.Own {
			return receiptOf(e), nil
		}
	}
	return Receipt{}, &Error{Code: CodeFailed, Message: "no message of ours has that id"}
}

func receiptOf(e history.Entry) Receipt {
	r := Receipt{
		ID: e.ID.String(), To: string(e.Peer), N: e.N, State: states[e.Progress.Stage], Way: e.Progress.Way,
		MS: milliseconds(e.Progress.Took), Reason: e.Progress.Reason, Sent: e.Sent,
	}
	if e.Read {
		r.State = StateRead
	}
	return r
}

// rank orders the states for Wait.
var rank = map[State]int{StateAccepted: 0, StateStored: 1, StateDelivered: 2, StateRead: 3, StateFailed: 4}

// Wait waits until a message has come at least as far as the given state, or has failed. When ctx ends first it returns the latest Receipt with
// ctx's error.
func (p *Peer) Wait(ctx context.Context, id string, until State) (Receipt, error) {
	if err := p.up(); err != nil {
		return Receipt{}, err
	}
	events := p.hub.subscribe(EventOptions{})
	defer events.Close()
	r, err := p.Receipt(ctx, id)
	if err != nil || rank[r.State] >= rank[until] {
		return r, err
	}
	for e, err := range events.Events(ctx) {
		if err != nil {
			return r, err
		}
		switch {
		case e.Type == EventState && e.ID == id:
			r.State, r.Way, r.Reason = e.State, e.Way, e.Reason
			if e.MS != nil {
				r.MS = *e.MS
			}
		case e.Code == "events-lost":
			if r, err = p.Receipt(ctx, id); err != nil {
				return r, err
			}
		}
		if rank[r.State] >= rank[until] {
			return r, nil
		}
	}
	return r, errStopped
}
