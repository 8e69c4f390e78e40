package peer

import (
	"cmp"
	"context"
	"crypto/rand"
	"errors"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/byway-chat/byway/crypto/identity"
	"github.com/byway-chat/byway/peer/delivery"
	"github.com/byway-chat/byway/peer/history"
	"github.com/byway-chat/byway/rendezvous"
	"github.com/byway-chat/byway/rendezvous/client"
)

// maxWho is how many users who lists at most.
const maxWho = 10_000

// connected returns the connection to the rendezvous, waiting for it until ctx ends.
func (p *Peer) connected(ctx context.Context) (*client.Conn, error) {
	var conn *client.Conn
	var reason string
	look := func() { conn, reason = p.core.conn, p.core.reason }
	events := p.hub.subscribe(EventOptions{})
	defer events.Close()
	if err := p.core.do(ctx, look); err != nil || conn != nil {
		return conn, err
	}
	for e, err := range events.Events(ctx) {
		if err != nil {
			return nil, errors.New(reason)
		}
		if e.Type != EventRendezvous {
			continue
		}
		if err := p.core.do(ctx, look); err != nil || conn != nil {
			return conn, err
		}
	}
	return nil, errStopped
}

// Who lists the users of the rendezvous and the contacts, by name. Without a rendezvous it lists the contacts.
func (p *Peer) Who(ctx context.Context) ([]Contact, error) {
	if err := p.up(); err != nil {
		return nil, err
	}
	listed, err := p.list(ctx)
	if err != nil {
		return nil, err
	}
	c := p.core
	var out []Contact
	err = c.do(ctx, func() {
		for name := range c.contacts {
			listed[name] = listed[name] || len(c.online[name]) > 0
		}
		for name := range c.online {
			listed[name] = true
		}
		delete(listed, delivery.Account(c.self.Name))
		for _, name := range slices.Sorted(maps.Keys(listed)) {
			out = append(out, c.describe(name, listed[name]))
		}
	})
	return out, err
}

// list asks the rendezvous for all names, where there is one.
func (p *Peer) list(ctx context.Context) (map[delivery.Account]bool, error) {
	out := map[delivery.Account]bool{}
	var conn *client.Conn
	if err := p.core.do(ctx, func() { conn = p.core.conn }); err != nil || conn == nil {
		return out, err
	}
	after := ""
	for len(out) < maxWho {
		page, err := conn.List(ctx, after, rendezvous.MaxList)
		if err != nil {
			if ctx.Err() != nil {
				return nil, ctx.Err()
			}
			return out, nil // the connection has just gone: what is known must do
		}
		for _, u := range page.GetUsers() {
			if name, err := rendezvous.ParseUsername(u.GetUsername()); err == nil && string(name) == u.GetUsername() {
				out[delivery.Account(name)] = u.GetOnline()
				after = u.GetUsername()
			}
		}
		if !page.GetMore() || len(page.GetUsers()) == 0 {
			break
		}
	}
	return out, nil
}

func (c *core) describe(name delivery.Account, online bool) Contact {
	out := Contact{Name: string(name), Online: online, Key: KeyNew, Way: WayMailbox}
	switch {
	case c.conn == nil:
		out.Way = ""
	case online:
		out.Way = WayRelay
	}
	ct := c.contacts[name]
	if ct == nil {
		return out
	}
	out.Key = ct.keyState(c.self.Fingerprint)
	for _, fp := range ct.accepted(c.self.Fingerprint) {
		out.Devices++
		if d := ct.devices[fp]; d != nil && d.link != nil {
			out.Way, out.Online = d.linkWay, true
		}
	}
	if !ct.Active.IsZero() {
		seen := ct.Active
		out.LastSeen = &seen
	}
	return out
}

// History returns messages of the local history, oldest first.
func (p *Peer) History(ctx context.Context, q HistoryQuery) ([]HistoryEntry, error) {
	if err := p.up(); err != nil {
		return nil, err
	}
	if q.Limit <= 0 {
		q.Limit = 100
	}
	query := history.Query{Search: q.Search, Limit: min(q.Limit, 10_000)}
	if q.User != "" {
		name, err := parseUser(q.User)
		if err != nil {
			return nil, err
		}
		query.Peer = delivery.Account(name)
	}
	entries, err := p.core.store.Find(ctx, query)
	if err != nil {
		return nil, storeError(err)
	}
	out := make([]HistoryEntry, len(entries))
	for i, e := range entries {
		out[i] = p.entry(e)
	}
	return out, nil
}

func (p *Peer) entry(e history.Entry) HistoryEntry {
	out := HistoryEntry{ID: e.ID.String(), N: e.N, Body: e.Body, Sent: e.Sent, Way: e.Progress.Way}
	if e.Own {
		r := receiptOf(e)
		out.From, out.To, out.Device = string(p.user), string(e.Peer), p.core.self.Fingerprint.Device()
		out.State, out.MS, out.Reason = r.State, &r.MS, r.Reason
		return out
	}
	out.From, out.To, out.Device = string(e.From), string(e.CopyOf), e.Device.Device()
	received := e.Received
	out.Received = &received
	return out
}

// Shown records that a face has shown messages to a person: they are not replayed to later faces.
func (p *Peer) Shown(ctx context.Context, ids ...string) error {
	if err := p.up(); err != nil {
		return err
	}
	keys := make([]delivery.MessageID, 0, len(ids))
	for _, id := range ids {
		key, err := delivery.ParseMessageID(id)
		if err != nil {
			return &Error{Code: CodeUsage, Message: "that is not the id of a message", Err: err}
		}
		keys = append(keys, key)
	}
	if err := p.core.store.MarkShown(ctx, keys); err != nil {
		return storeError(err)
	}
	return nil
}

// Read tells a user that everything received from them so far has been read.
func (p *Peer) Read(ctx context.Context, user string) error {
	if err := p.up(); err != nil {
		return err
	}
	name, err := parseUser(user)
	if err != nil {
		return err
	}
	if err := p.contact(ctx, name); err != nil {
		return err
	}
	return p.core.do(ctx, func() { p.core.engine.Seen(delivery.Account(name)) })
}

// Verify returns what two people compare. With accept it records that they have: pending devices are trusted from then on, keys
// that were replaced are not any more, and what waited unopened is opened.
func (p *Peer) Verify(ctx context.Context, user string, accept bool) (Verification, error) {
	if err := p.up(); err != nil {
		return Verification{}, err
	}
	name, err := parseUser(user)
	if err != nil {
		return Verification{}, err
	}
	if err := p.contact(ctx, name); err != nil {
		return Verification{}, err
	}
	if err := p.contact(ctx, p.user); err != nil {
		return Verification{}, err
	}
	c := p.core
	if accept {
		if err := c.commit(ctx, func() error { return c.acceptKeys(delivery.Account(name)) }); err != nil {
			return Verification{}, err
		}
	}
	var out Verification
	err = c.do(ctx, func() { out = c.verification(c.contacts[delivery.Account(name)]) })
	return out, err
}

func (c *core) verification(ct *contact) Verification {
	out := Verification{User: string(ct.Name), Key: ct.keyState(c.self.Fingerprint)}
	theirs := identity.Party{Name: string(ct.Name)}
	for _, d := range ct.Devices {
		switch d.Trust {
		case history.Accepted:
			theirs.Keys = append(theirs.Keys, d.Fingerprint)
			out.Fingerprints = append(out.Fingerprints, d.Fingerprint.String())
		case history.Pending:
			out.Pending = append(out.Pending, d.Fingerprint.String())
		case history.Gone:
		}
	}
	if len(theirs.Keys) == 0 { // a changed identity: the number is that of the new keys, to be compared before they are accepted
		for _, d := range ct.Devices {
			if d.Trust == history.Pending {
				theirs.Keys = append(theirs.Keys, d.Fingerprint)
			}
		}
	}
	ours := identity.Party{Name: c.self.Name, Keys: []delivery.Device{c.self.Fingerprint}}
	if self := c.contacts[delivery.Account(c.self.Name)]; self != nil {
		ours.Keys = append(ours.Keys, self.accepted(c.self.Fingerprint)...)
	}
	out.SafetyNumber = identity.SafetyNumber(ours, theirs)
	return out
}

// acceptKeys trusts what the directory shows of a contact.
func (c *core) acceptKeys(name delivery.Account) error {
	ct := c.contacts[name]
	if ct == nil {
		return noSuchUser(string(name))
	}
	ct.Verified = true
	var released []history.Blocked
	for fp, d := range ct.devices {
		if d.Trust != history.Pending {
			continue
		}
		d.Trust, d.blocked = history.Accepted, 0
		blocked, err := c.store.BlockedOf(context.Background(), name, fp)
		if err != nil {
			return storeError(err)
		}
		released = append(released, blocked...)
	}
	c.batch.Contacts = append(c.batch.Contacts, ct.Contact)
	c.engine.SetDevices(time.Now(), name, ct.accepted(c.self.Fingerprint))
	slices.SortFunc(released, func(a, b history.Blocked) int { return cmp.Compare(a.ID, b.ID) })
	for _, b := range released {
		c.receive(inbound{name: name, device: b.Device, way: b.Way, envelope: b.Envelope, taken: func() {
			c.batch.Released = append(c.batch.Released, b.ID)
		}})
	}
	return nil
}

// Status describes this peer.
func (p *Peer) Status(ctx context.Context) (Status, error) {
	if err := p.up(); err != nil {
		return Status{}, err
	}
	return p.status(ctx)
}

func (p *Peer) status(ctx context.Context) (Status, error) {
	c := p.core
	out := Status{
		User: string(p.user), Device: c.self.Fingerprint.Device(), PeerID: c.peerID.String(), Fingerprint: c.self.Fingerprint.String(),
		Rendezvous: Rendezvous{PeerID: p.address.ID.String()}, Version: p.cfg.Version, Started: p.started.UTC(), Addrs: []string{},
	}
	for _, a := range p.host.Addrs() {
		out.Addrs = append(out.Addrs, a.String()+"/p2p/"+out.PeerID)
	}
	err := c.do(ctx, func() {
		out.Rendezvous.Connected, out.Reason = c.conn != nil, c.reason
		out.Outbox, out.Contacts = c.engine.Pending(), len(c.contacts)
	})
	return out, err
}

// pingWait is how long a ping is waited for.
const pingWait = 5 * time.Second

// Ping measures one round trip to a user: sealed, opened and answered by the other peer. way is a way, "direct" for the best direct one,
// or empty for the best. A ping that is not answered is Lost.
func (p *Peer) Ping(ctx context.Context, user, way string) (Pong, error) {
	if err := p.up(); err != nil {
		return Pong{}, err
	}
	name, err := parseUser(user)
	if err != nil {
		return Pong{}, err
	}
	if err := p.contact(ctx, name); err != nil {
		return Pong{}, err
	}
	c := p.core
	account := delivery.Account(name)
	if way != string(WayRelay) {
		c.waitForDirect(ctx, account, headStart)
	}
	answered := make(chan delivery.NoticePong, 1)
	var token [8]byte
	_, _ = rand.Read(token[:])
	var via Way
	var started time.Time
	err = c.do(ctx, func() {
		started = time.Now()
		if via = c.ping(account, way, token); via != "" {
			c.pings[token] = answered
		}
	})
	if err != nil {
		return Pong{}, err
	}
	if via == "" {
		return Pong{}, &Error{
			Code: CodeUnreachable, Message: string(name) + " cannot be reached by " + cmp.Or(way, "any way"), Hint: "`byway route " + string(name) + "` says why",
		}
	}
	timer := time.NewTimer(pingWait)
	defer timer.Stop()
	select {
	case n := <-answered:
		return Pong{Way: n.Way, RTT: milliseconds(time.Since(started))}, nil
	case <-timer.C:
	case <-ctx.Done():
	}
	_ = c.do(context.WithoutCancel(ctx), func() { delete(c.pings, token) })
	return Pong{Way: via, Lost: true, Reason: "no-answer"}, nil
}

// ping sends a ping to the device that is best reached, and returns the way, or none where no wanted way is open.
func (c *core) ping(name delivery.Account, way string, token [8]byte) Way {
	ct := c.contacts[name]
	for _, fp := range ct.accepted(c.self.Fingerprint) {
		d := ct.devices[fp]
		if d == nil {
			continue
		}
		var via Way
		switch {
		case d.link != nil && (way == "" || way == "auto" || way == "direct" || way == string(d.linkWay)):
			via = d.linkWay
		case c.online[name][fp] && (way == "" || way == "auto" || way == string(WayRelay)):
			via = WayRelay
		}
		if via != "" && c.engine.Ping(name, fp, via, token) {
			return via
		}
	}
	return ""
}

// Route tells every way to each device of a user, and why it is or is not in use.
func (p *Peer) Route(ctx context.Context, user string) ([]RouteEntry, error) {
	if err := p.up(); err != nil {
		return nil, err
	}
	name, err := parseUser(user)
	if err != nil {
		return nil, err
	}
	if err := p.contact(ctx, name); err != nil {
		return nil, err
	}
	c := p.core
	c.waitForDirect(ctx, delivery.Account(name), headStart)
	var out []RouteEntry
	err = c.do(ctx, func() {
		ct := c.contacts[delivery.Account(name)]
		for _, fp := range ct.accepted(c.self.Fingerprint) {
			if d := ct.devices[fp]; d != nil {
				out = append(out, c.routes(d)...)
			}
		}
	})
	return out, err
}

func (c *core) routes(d *device) []RouteEntry {
	used := c.wayTo(d)
	direct := RouteEntry{Way: WayLAN, State: "closed", Reason: cmp.Or(d.dial.reason, "not-tried-yet"), Addr: strings.Join(d.Addrs, " ")}
	switch {
	case d.link != nil:
		direct.Way, direct.State, direct.Reason = d.linkWay, "open", ""
		direct.Addr = d.link.Stream().Conn().RemoteMultiaddr().String()
		if rtt := milliseconds(d.link.RTT()); rtt > 0 {
			direct.RTT = &rtt
		}
	case d.dial.trying != nil:
		direct.State = "trying"
	case c.private:
		direct.Reason = "policy-here"
	case c.conn != nil && !c.online[d.contact.Name][d.Fingerprint]:
		direct.Reason = "peer-offline"
	}
	relay := RouteEntry{Way: WayRelay, State: "closed"}
	mailbox := RouteEntry{Way: WayMailbox, State: "open"}
	switch {
	case c.conn == nil:
		relay.Reason, mailbox.State, mailbox.Reason = "rendezvous-unreachable", "closed", "rendezvous-unreachable"
	case !c.online[d.contact.Name][d.Fingerprint]:
		relay.Reason = "peer-offline"
	default:
		relay.State = "open"
		if rtt := milliseconds(c.conn.RTT()); rtt > 0 {
			relay.RTT = &rtt
		}
	}
	out := []RouteEntry{direct, relay, mailbox}
	for i := range out {
		out[i].Device = d.Fingerprint.Device()
		out[i].InUse = out[i].Way == used && out[i].State == "open"
		if out[i].State == "open" && !out[i].InUse {
			out[i].Reason = "better-way-open"
		}
	}
	return out
}
