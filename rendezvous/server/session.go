package server

import (
	"context"
	"log/slog"
	"slices"
	"strings"
	"time"

	"github.com/libp2p/go-libp2p/core/network"

	"github.com/byway-chat/byway/rendezvous"
	"github.com/byway-chat/byway/rendezvous/directory"
	"github.com/byway-chat/byway/rendezvous/presence"
	"github.com/byway-chat/byway/rendezvous/relay"
)

// maxAgent is how much of a peer's name for its program is kept, in bytes.
const maxAgent = 64

// hello answers the first frame.
func (c *conn) hello(h *rendezvous.Hello) (*rendezvous.Frame, error) {
	if c.greeted {
		return nil, rendezvous.Errorf(rendezvous.CodeBadRequest, "Hello was said already")
	}
	if h.GetVersion() < rendezvous.Version {
		return nil, rendezvous.Errorf(rendezvous.CodeUnsupportedVersion, "this rendezvous speaks protocol version %d", rendezvous.Version)
	}
	c.greeted, c.agent = true, printable(h.GetAgent(), maxAgent)
	return &rendezvous.Frame{Body: &rendezvous.Frame_Welcome{Welcome: &rendezvous.Welcome{
		Version: rendezvous.Version, Nonce: c.nonce, Registration: string(c.server.directory.Policy()),
		Agent: "rendezvous " + c.server.cfg.Version, TimeMs: uint64(time.Now().UnixMilli()), MaxWithheld: rendezvous.MaxWithheld,
	}}}, nil
}

// dispatchSession does the requests that sign in; it reports false for any other frame. One at a time is done, and none once one
// has succeeded.
func (c *conn) dispatchSession(ctx context.Context, f *rendezvous.Frame) bool {
	var handler func(context.Context) (*rendezvous.Frame, error)
	switch body := f.GetBody().(type) {
	case *rendezvous.Frame_Register:
		handler = func(ctx context.Context) (*rendezvous.Frame, error) { return c.register(ctx, f.GetId(), body.Register) }
	case *rendezvous.Frame_Login:
		handler = func(ctx context.Context) (*rendezvous.Frame, error) { return c.login(ctx, body.Login) }
	case *rendezvous.Frame_Enrol:
		handler = func(ctx context.Context) (*rendezvous.Frame, error) { return c.enrol(ctx, f.GetId(), body.Enrol) }
	case *rendezvous.Frame_Resume:
		handler = func(ctx context.Context) (*rendezvous.Frame, error) { return c.resume(ctx, f.GetId(), body.Resume) }
	default:
		return false
	}
	if c.signed.Load() != nil || c.signing.Swap(true) {
		c.reply(f.GetId(), nil, rendezvous.Errorf(rendezvous.CodeBadRequest, "this stream is signed in, or signing in"))
		return true
	}
	runs := c.request(ctx, f.GetId(), func(ctx context.Context) (*rendezvous.Frame, error) {
		defer c.signing.Store(false)
		return handler(ctx)
	})
	if !runs {
		c.signing.Store(false)
	}
	return true
}

func (c *conn) caller() directory.Caller {
	return directory.Caller{PeerID: c.peer, Nonce: c.nonce, Source: source(c.ip)}
}

// register makes an account with this peer as its first device.
func (c *conn) register(ctx context.Context, id uint64, r *rendezvous.Register) (*rendezvous.Frame, error) {
	if err := c.server.rates.password(c.ip); err != nil {
		return nil, err
	}
	bans := c.server.directory.Bans()
	who, err := c.server.directory.Register(ctx, c.caller(), r)
	if err != nil {
		return nil, err
	}
	return nil, c.admit(ctx, id, who, bans)
}

// login checks a password, which lets Enrol follow.
func (c *conn) login(ctx context.Context, r *rendezvous.Login) (*rendezvous.Frame, error) {
	if err := c.server.rates.password(c.ip); err != nil {
		return nil, err
	}
	enrolment, err := c.server.directory.Login(ctx, c.caller(), r)
	if err != nil {
		return nil, err
	}
	c.mu.Lock()
	c.enrolment, c.deadline = enrolment, time.Now().Add(enrolTimeout)
	c.mu.Unlock()
	return &rendezvous.Frame{Body: &rendezvous.Frame_Enrolling{
		Enrolling: &rendezvous.Enrolling{Entry: enrolment.Entry()},
	}}, nil
}

// enrol adds this peer as a device of the account that login has opened.
func (c *conn) enrol(ctx context.Context, id uint64, r *rendezvous.Enrol) (*rendezvous.Frame, error) {
	c.mu.Lock()
	enrolment := c.enrolment
	c.enrolment = nil
	c.mu.Unlock()
	bans := c.server.directory.Bans()
	who, err := c.server.directory.Enrol(ctx, c.caller(), enrolment, r)
	if err != nil {
		return nil, err
	}
	return nil, c.admit(ctx, id, who, bans)
}

// resume admits a device that is enrolled.
func (c *conn) resume(ctx context.Context, id uint64, r *rendezvous.Resume) (*rendezvous.Frame, error) {
	bans := c.server.directory.Bans()
	who, err := c.server.directory.Resume(ctx, c.caller(), r)
	if err != nil {
		return nil, err
	}
	return nil, c.admit(ctx, id, who, bans)
}

// admit makes this the stream of its device, answers SignedIn, and after that opens the flow of envelopes. The account was looked up after
// bans was taken.
func (c *conn) admit(ctx context.Context, id uint64, who *directory.SignedIn, bans uint64) error {
	waiting, err := c.server.relay.Waiting(ctx, relay.Address{User: who.User, Device: who.Device})
	if err != nil {
		return err
	}
	admitted := &rendezvous.Frame{Id: id, Body: &rendezvous.Frame_SignedIn{SignedIn: &rendezvous.SignedIn{
		Username: string(who.User), Entry: who.Entry, MailboxMessages: waiting.Messages, MailboxBytes: waiting.Bytes,
	}}}
	err = c.join(ctx, who, admitted, bans)
	c.writer.Flush()
	if err != nil {
		return err
	}
	c.server.directory.Seen(who.Device) // may write to the disk, so it comes after the lock and the answer
	c.server.log.Debug("peer signed in", slog.String("user", string(who.User)), slog.String("device", who.Device.Device()))
	return nil
}

// join takes the place of the device's former stream in the registry, in presence and at the relay, as one step for that device.
func (c *conn) join(ctx context.Context, who *directory.SignedIn, admitted *rendezvous.Frame, bans uint64) error {
	s := c.server
	remote := c.stream.Conn().RemoteMultiaddr()
	admission := s.conns.admission(who.Device)
	admission.Lock()
	defer admission.Unlock()
	replaced, err := s.conns.signIn(c, who, int(s.maxPeers.Load()))
	if err != nil {
		return err
	}
	if replaced != nil {
		replaced.end(&rendezvous.Goodbye{Code: string(rendezvous.CodeReplaced), Reason: "this device has connected anew"})
	}
	// Ban looks for streams after it has written the ban: whoever comes too late for it sees it here.
	if err := s.directory.Admissible(ctx, who.User, bans); err != nil {
		c.reply(admitted.GetId(), nil, err)
		c.end(&rendezvous.Goodbye{Code: string(rendezvous.CodeOf(err))})
		return errEnded
	}
	// First in the queue, so that nothing is delivered before it, and written last, so that the peer can be reached once it knows.
	_ = c.writer.Hold(admitted)
	c.mu.Lock()
	defer c.mu.Unlock()
	c.leave = s.tracker.Join(presence.Connection{
		User: who.User, Device: who.Device, PeerID: c.peer, Since: c.since, Agent: c.agent,
		Transport: transportName(remote), Address: remote.String(),
	})
	at := relay.Address{User: who.User, Device: who.Device}
	l := &carrier{conn: c}
	l.sender = s.relay.Sender(at, l)
	l.attachment, err = s.relay.Attach(at, l)
	c.link.Store(l)
	if err != nil {
		s.log.Error("a signed-in device could not be attached", slog.String("error", err.Error()))
		c.drop("could not be attached to the relay")
	}
	return nil
}

// signOut undoes admit. No request is running any more.
func (c *conn) signOut() {
	c.mu.Lock()
	leave := c.leave
	c.mu.Unlock()
	if l := c.link.Load(); l != nil {
		l.close()
	}
	if leave != nil {
		leave()
	}
	if who := c.signed.Load(); who != nil {
		c.server.directory.Seen(who.Device)
	}
}

// expectSignIn closes a connection on which, after a while, nobody speaks to the rendezvous.
func (s *Server) expectSignIn(c network.Conn) {
	time.AfterFunc(rendezvous.SignInTimeout, func() {
		if !c.IsClosed() && !s.conns.present(c.RemotePeer()) {
			_ = c.Close()
		}
	})
}

// expectStream does the same for one that a control stream has left, or any other of its peer's: that the peer is there by a newer
// connection does not mean that this one lives.
func (s *Server) expectStream(c network.Conn) {
	control := func(stream network.Stream) bool { return stream.Protocol() == rendezvous.ProtocolID }
	time.AfterFunc(rendezvous.SignInTimeout, func() {
		switch {
		case !s.conns.present(c.RemotePeer()):
			_ = s.host.Network().ClosePeer(c.RemotePeer())
		case !slices.ContainsFunc(c.GetStreams(), control):
			_ = c.Close()
		}
	})
}

// printable keeps the printable ASCII of a stranger's string.
func printable(s string, limit int) string {
	return strings.Map(func(r rune) rune {
		if r < ' ' || r > '~' {
			return -1
		}
		return r
	}, s[:min(len(s), limit)])
}
