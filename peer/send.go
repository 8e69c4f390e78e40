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

// parseWay reads what Send and SetWay are told.
func parseWay(way string) (route.Policy, error) {
	p, err := route.ParsePolicy(way)
	if err != nil {
		return 0, &Error{Code: CodeUsage, Message: fmt.Sprintf("%q is not a way to send by", way), Hint: "use auto, lan, direct or relay"}
	}
	return p, nil
}

// limits are the policies of messages, by those of ways.
var limits = map[route.Policy]delivery.Policy{
	route.Auto: delivery.Auto, route.LAN: delivery.LANOnly, route.Direct: delivery.DirectOnly, route.Relay: delivery.RelayOnly,
}

func parseUser(name string) (rendezvous.Username, error) {
	u, err := rendezvous.ParseUsername(name)
	if err != nil {
		return "", noSuchUser(name)
	}
	return u, nil
}

// notOneself refuses our own name where this is the only device that has it.
func (c *core) notOneself(ctx context.Context, name rendezvous.Username) error {
	return c.try(ctx, func() error {
		if ct := c.contacts[delivery.Account(name)]; string(name) == c.self.Name && (ct == nil || len(ct.accepted(c.self.Fingerprint)) == 0) {
			return errOwnName
		}
		return nil
	})
}

// errOwnName is the mistake of naming oneself.
var errOwnName = &Error{Code: CodeUnreachable, Message: "this is your own name, and you have no other device", Hint: "name somebody else: `byway who` lists the users"}

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
	wanted, err := parseWay(o.Way)
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
	m := delivery.Message{To: delivery.Account(name), Body: body, Sent: time.Now()}
	m.Expires = m.Sent.Add(messageLifetime)
	_, _ = rand.Read(m.ID[:]) // never fails (crypto/rand)
	err = p.core.commit(ctx, func() error { return p.core.acceptAtOnce(&m, wanted, o.Ref) })
	if errors.Is(err, errNotAtOnce) {
		err = p.sendLater(ctx, name, &m, wanted, o)
	}
	if err != nil {
		return Receipt{}, err
	}
	return Receipt{ID: m.ID.String(), To: string(m.To), N: m.N, State: StateAccepted, Sent: m.Sent}, nil
}

// errNotAtOnce means that there is something to find out before a message can be accepted.
var errNotAtOnce = errors.New("the account or the way to it is not known yet")

// acceptAtOnce accepts a message where all is known that it needs: the account, and whether there is a direct way.
func (c *core) acceptAtOnce(m *delivery.Message, wanted route.Policy, ref string) error {
	ct := c.known(m.To)
	if ct == nil {
		return errNotAtOnce
	}
	allowed, err := c.limit(ct, wanted)
	if err != nil {
		return err
	}
	if allowed == route.Direct || allowed == route.LAN {
		return errNotAtOnce
	}
	m.Policy = limits[allowed]
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
func (p *Peer) sendLater(ctx context.Context, name rendezvous.Username, m *delivery.Message, wanted route.Policy, o SendOptions) error {
	begun := time.Now()
	if err := p.contact(ctx, name); err != nil {
		return err
	}
	c := p.core
	var allowed route.Policy
	limit := func() (err error) {
		allowed, err = c.limit(c.contacts[m.To], wanted)
		return err
	}
	if err := c.try(ctx, limit); err != nil {
		return err
	}
	switch allowed {
	case route.Relay: // nothing to wait for
	case route.Direct, route.LAN:
		var end time.Time
		if o.Within > 0 {
			end = begun.Add(o.Within)
			m.Expires = end
		}
		if err := c.needDirect(ctx, m.To, allowed, end); err != nil {
			return err
		}
	default:
		c.waitForDirect(ctx, m.To, headStart)
	}
	return c.commit(ctx, func() error {
		if err := limit(); err != nil { // a policy may have changed meanwhile
			return err
		}
		m.Policy = limits[allowed]
		return c.accept(m, o.Ref)
	})
}

// limit returns what is left of the ways that are wanted for a message when the policies of both sides are obeyed. Where nothing is, the error says whose policy it
// is. A contact whose devices have said different things is reached on those that allow it.
func (c *core) limit(ct *contact, wanted route.Policy) (route.Policy, error) {
	if ct == nil {
		return wanted, nil // as accept says
	}
	here, left, why := c.policy(ct.Name), route.Ways(0), []route.Reason(nil)
	devices := ct.accepted(c.self.Fingerprint)
	for _, fp := range devices {
		there := route.Auto
		if d := ct.devices[fp]; d != nil {
			there = d.ways.There.Policy
		}
		left |= wanted.Ways() & here.Ways() & there.Ways()
		why = append(why, route.Excludes(wanted, here, there))
	}
	if len(devices) == 0 { // the engine says what that means
		return wanted, nil
	}
	allowed, none := left.Policy()
	if none {
		return 0, noWay(fmt.Sprintf("there is no way to %s that may be used", ct.Name), ct.Name, route.MostTelling(why))
	}
	return allowed, nil
}

// remedy is what a person who looks for a contact can do: where it does not answer, look for it elsewhere, too.
func remedy(why route.Reason, name string) string {
	text := why.RemedyFor(name)
	if why == route.SameLANUnreachable {
		text += fmt.Sprintf(" Where its address is another by now: `byway find %s --sweep`, or `byway address` there and `byway connect %s ADDRESS` here.", name, name)
	}
	return text
}

// noWay is the error of a message or a ping for which no way is there.
func noWay(message string, name delivery.Account, why route.Reason) *Error {
	return &Error{
		Code: CodeUnreachable, Reason: string(why), Message: fmt.Sprintf("%s: %s: %s", message, why, why.Sentence()),
		Hint: cmp.Or(remedy(why, string(name)), fmt.Sprintf("`byway route %s` says more", name)),
	}
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
	c.active(now, ct, m.Policy != delivery.RelayOnly)
	if string(m.To) == c.self.Name {
		return nil
	}
	twin := *m
	twin.To, twin.CopyOf = delivery.Account(c.self.Name), m.To // and what may not be relayed to them is not relayed to us either
	if _, err := c.engine.Accept(now, twin); err != nil && !errors.Is(err, delivery.ErrNoDevice) {
		c.log.Warn("no copy for our other devices", slog.Any("error", err))
	}
	return nil
}

func keyChanged(ct *contact) error {
	e := &Error{
		Code: CodeKeyChanged, Message: "the keys of " + string(ct.Name) + " have changed; nothing is sent until you accept them",
		Hint: fmt.Sprintf("compare `byway verify %s` with them by another way, then `byway verify %s --accept`", ct.Name, ct.Name),
	}
	if ct.Lost() {
		e.Message = "the keys of " + string(ct.Name) + " were lost with a damaged part of the history; nothing is sent until you accept those of the directory"
		e.Hint += "; a policy that you had set for them is lost too"
	}
	return e
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

// needDirect refuses a message that must go directly, or over the LAN, while no such way opens, or none has opened at end where that is set: it is then not accepted at
// all, rather than kept.
func (c *core) needDirect(ctx context.Context, name delivery.Account, wanted route.Policy, end time.Time) error {
	left := func() time.Duration {
		if end.IsZero() {
			return directTime
		}
		return min(directTime, time.Until(end))
	}
	var open, gone bool
	var why []route.Reason
	var refused error
	look := func() {
		s := c.surroundings()
		refused = c.refusal("no direct way to " + string(name) + " is open")
		open, gone, why = false, c.contacts[name] == nil, nil
		for _, d := range c.contacts[name].sealedFor(c.self.Fingerprint) {
			open = open || d.link != nil && wanted.Allows(d.linkWay)
			why = append(why, c.look(d).Why(&s, wanted))
		}
	}
	again := func() {
		for _, d := range c.devicesOf(name) {
			d.ways.Renewed()
		}
	}
	err := c.do(ctx, look)
	for try := 0; err == nil && !open && try < directTries && left() > 0; try++ {
		if err = c.do(ctx, again); err == nil {
			c.waitForDirect(ctx, name, left())
			err = c.do(ctx, look)
		}
	}
	switch {
	case err != nil || open:
		return err
	case gone:
		return noSuchUser(string(name))
	case refused != nil:
		return refused
	case len(why) == 0:
		return acceptError(c.self.Name, name, delivery.ErrNoDevice)
	case wanted == route.LAN:
		return noWay(fmt.Sprintf("no way to %s over the local network is open", name), name, route.MostTelling(why))
	}
	return noWay(fmt.Sprintf("no direct way to %s is open", name), name, route.MostTelling(why))
}

// sealedFor returns the devices that messages are sealed for, in the order of the directory; none of a contact that has gone.
func (ct *contact) sealedFor(self delivery.Device) []*device {
	if ct == nil {
		return nil
	}
	var out []*device
	for _, fp := range ct.accepted(self) {
		if d := ct.devices[fp]; d != nil {
			out = append(out, d)
		}
	}
	return out
}

// active records that there is a message, and where a direct way is wanted for such looks for one at the beginning, which shows our address to the contact. It is stored now and
// then, for who and for the choice of whom to look for.
func (c *core) active(now time.Time, ct *contact, direct bool) {
	begins := direct && now.Sub(ct.Direct) > time.Minute
	if begins || now.Sub(ct.Active) > time.Minute {
		c.batch.Contacts = append(c.batch.Contacts, ct.Contact)
	}
	if ct.Active = now; direct {
		ct.Direct = now
	}
	if begins {
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
			if d.link == nil && !d.ways.DialFailing() && (c.online[name][d.Fingerprint] || c.conn == nil || d.heard(time.Now())) {
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
			r := receiptOf(e)
			if r.State != StateAccepted {
				return r, nil
			}
			var why string // no disk knows it
			if err := p.core.do(ctx, func() { why = p.core.engine.Waits(e.Peer, e.N) }); err != nil {
				return Receipt{}, err // and no look at why, which the core may still be writing
			}
			r.Reason = why
			return r, nil
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

// ReasonMailboxFull is the Reason of a message that is only accepted while the rendezvous keeps no more for its recipient, and ReasonRateLimited while
// this account sends it too much at a time.
const (
	ReasonMailboxFull = delivery.MailboxFull
	ReasonRateLimited = delivery.RateLimited
)

// Wait waits until a message has come at least as far as the given state, or has failed. When ctx ends first it returns the latest Receipt with ctx's error.
func (p *Peer) Wait(ctx context.Context, id string, until State) (Receipt, error) {
	return p.WaitUnless(ctx, id, until, "")
}

// WaitUnless is Wait that returns too when the message is only accepted and waits for this reason; empty: it is Wait.
func (p *Peer) WaitUnless(ctx context.Context, id string, until State, reason string) (Receipt, error) {
	if err := p.up(); err != nil {
		return Receipt{}, err
	}
	events := p.hub.subscribe(EventOptions{})
	defer events.Close()
	r, err := p.Receipt(ctx, id)
	enough := func() bool {
		return rank[r.State] >= rank[until] || reason != "" && r.State == StateAccepted && r.Reason == reason
	}
	if err != nil || enough() {
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
		if enough() {
			return r, nil
		}
	}
	return r, errStopped
}
