package server

import (
	"context"
	"time"

	ma "github.com/multiformats/go-multiaddr"

	"github.com/byway-chat/byway/crypto/session"
	"github.com/byway-chat/byway/rendezvous"
	"github.com/byway-chat/byway/rendezvous/admin"
	"github.com/byway-chat/byway/rendezvous/directory"
	"github.com/byway-chat/byway/rendezvous/relay"
)

// tapBuffer is how many envelopes a slow watcher of the operator may be behind; with 80 KiB each that is 20 MiB at the very most.
const tapBuffer = 256

var _ admin.Operator = (*Server)(nil)

// Users returns at most limit accounts after a name.
func (s *Server) Users(ctx context.Context, after string, limit int) ([]admin.User, error) {
	accounts, err := s.directory.Users(ctx, rendezvous.Username(after), limit)
	if err != nil {
		return nil, err
	}
	users := make([]admin.User, 0, len(accounts))
	for i := range accounts {
		usage, err := s.relay.Usage(ctx, accounts[i].Name)
		if err != nil {
			return nil, err
		}
		users = append(users, describe(&accounts[i], usage))
	}
	return users, nil
}

func describe(u *directory.User, mail relay.Usage) admin.User {
	user := admin.User{
		V: 1, Name: string(u.Name), Online: u.Online, Created: u.Created.UTC(), LastSeen: moment(u.LastSeen),
		Mailbox: admin.Traffic(mail), Password: u.Password, Devices: []admin.Device{},
	}
	if u.Ban != nil {
		user.Banned = &admin.Ban{Since: u.Ban.Since.UTC(), Reason: u.Ban.Reason}
	}
	for _, d := range u.Devices {
		user.Devices = append(user.Devices, admin.Device{
			ID: d.Fingerprint.Device(), Fingerprint: d.Fingerprint.String(), PeerID: d.PeerID.String(),
			Added: d.Added.UTC(), LastSeen: moment(d.LastSeen), Online: d.Online,
		})
	}
	return user
}

// moment is t in UTC, or nil for never.
func moment(t time.Time) *time.Time {
	if t.IsZero() {
		return nil
	}
	t = t.UTC()
	return &t
}

// Active returns the signed-in connections.
func (s *Server) Active() []admin.Active {
	list := []admin.Active{}
	for _, c := range s.tracker.Active() {
		list = append(list, admin.Active{
			V: 1, Name: string(c.User), Device: c.Device.Device(), PeerID: c.PeerID.String(), Since: c.Since.UTC(),
			Transport: c.Transport, Address: c.Address, Agent: c.Agent,
		})
	}
	return list
}

// Status returns the state of the whole.
func (s *Server) Status(ctx context.Context) admin.Status {
	counters := s.relay.Counters()
	devices, online := s.tracker.Count()
	status := admin.Status{
		V: 1, Version: s.cfg.Version, PeerID: s.host.ID().String(), Started: s.started.UTC(),
		UptimeMS:     float64(time.Since(s.started).Microseconds()) / 1000,
		Registration: string(s.directory.Policy()), MaxPeers: int(s.maxPeers.Load()),
		Online: online, Connections: devices,
		Relayed: admin.Traffic(counters.Relayed), Stored: admin.Traffic(counters.Stored),
		Delivered: admin.Traffic(counters.Delivered), Expired: counters.Expired,
		Refused: make(map[string]uint64), Health: "ok",
	}
	for code, n := range counters.Refused {
		status.Refused[string(code)] = n
	}
	users, err := s.countUsers(ctx)
	if err != nil {
		status.Health = "the database does not answer: " + err.Error()
	}
	status.Users = users
	if status.Damage, status.Damaged, err = s.db.Damage(); err != nil {
		status.Health = err.Error()
	}
	return status
}

// countUsers goes through the names, which also shows that the database answers.
func (s *Server) countUsers(ctx context.Context) (int, error) {
	n, after := 0, rendezvous.Username("")
	for {
		names, err := s.db.Names(ctx, after, rendezvous.MaxList)
		if err != nil {
			return n, err
		}
		n += len(names)
		if len(names) < rendezvous.MaxList {
			return n, nil
		}
		after = names[len(names)-1]
	}
}

// Address returns where the rendezvous can be reached.
func (s *Server) Address() admin.Address {
	a := s.address()
	addrs := make([]string, len(a.Addrs))
	for i, m := range a.Addrs {
		addrs[i] = m.String() + "/p2p/" + a.ID.String()
	}
	return admin.Address{V: 1, PeerID: a.ID.String(), Addrs: addrs, Link: a.Link()}
}

func (s *Server) address() rendezvous.Address {
	return rendezvous.Address{ID: s.host.ID(), Addrs: append([]ma.Multiaddr(nil), reachable(s.host)...)}
}

// Watch yields envelopes as they pass until ctx or the relay ends.
func (s *Server) Watch(ctx context.Context, withBytes bool) <-chan admin.Envelope {
	tap := s.relay.Tap(tapBuffer)
	out := make(chan admin.Envelope)
	go func() { // ends with ctx
		defer close(out)
		defer tap.Close()
		for {
			select {
			case <-ctx.Done():
				return
			case p, ok := <-tap.C():
				if !ok {
					return
				}
				select {
				case out <- passed(p, withBytes, tap.Dropped()):
				case <-ctx.Done():
					return
				}
			}
		}
	}()
	return out
}

func passed(p relay.Passed, withBytes bool, dropped uint64) admin.Envelope {
	e := admin.Envelope{
		V: 1, Time: p.At.UTC(), From: string(p.From.User), FromDevice: p.From.Device.Device(),
		To: string(p.To.User), ToDevice: p.To.Device.Device(), Size: len(p.Envelope),
		Delivery: "live", Kind: "unknown", Dropped: dropped,
	}
	if p.Stored {
		e.Delivery = "stored"
	}
	if header, err := session.Peek(p.Envelope); err == nil {
		e.Kind = header.Kind.String()
	}
	if withBytes {
		e.Bytes = p.Envelope
	}
	return e
}

// Kick ends the connections of an account.
func (s *Server) Kick(ctx context.Context, name string) (int, error) {
	user, err := s.user(ctx, name)
	if err != nil {
		return 0, err
	}
	return s.endUser(user, rendezvous.CodeKicked, "the operator has ended this connection"), nil
}

// Ban keeps an account from signing in and ends its connections.
func (s *Server) Ban(ctx context.Context, name, reason string) (int, error) {
	user, err := s.user(ctx, name)
	if err != nil {
		return 0, err
	}
	if err := s.directory.Ban(ctx, user, reason); err != nil {
		return 0, err
	}
	return s.endUser(user, rendezvous.CodeBanned, reason), nil
}

// Unban lifts a ban.
func (s *Server) Unban(ctx context.Context, name string) error {
	user, err := s.user(ctx, name)
	if err != nil {
		return err
	}
	return s.directory.Unban(ctx, user)
}

func (s *Server) endUser(user rendezvous.Username, code rendezvous.Code, reason string) int {
	conns := s.conns.of(user)
	for _, c := range conns {
		c.end(&rendezvous.Goodbye{Code: string(code), Reason: reason, ReconnectAfterMs: 5000})
	}
	return len(conns)
}

// user checks a name that an operator has typed.
func (s *Server) user(ctx context.Context, name string) (rendezvous.Username, error) {
	user, err := rendezvous.ParseUsername(name)
	if err == nil {
		_, err = s.directory.User(ctx, user)
	}
	switch rendezvous.CodeOf(err) {
	case rendezvous.CodeNoSuchUser, rendezvous.CodeNameNotAllowed: // the latter is reserved or not a name at all, so nobody has it
		return "", rendezvous.Errorf(rendezvous.CodeNoSuchUser, "there is no user %.64q", name)
	}
	return user, err
}

// Invite makes an invitation.
func (s *Server) Invite(ctx context.Context, uses int, lifetime time.Duration) (admin.Invite, error) {
	token, made, err := s.directory.Invite(ctx, uses, lifetime, "")
	if err != nil {
		return admin.Invite{}, err
	}
	a := s.address()
	a.Invite = token
	return admin.Invite{V: 1, Link: a.Link(), Token: token, Uses: made.Uses, Expires: moment(made.Expires)}, nil
}
