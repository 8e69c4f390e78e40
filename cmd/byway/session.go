package main

import (
	"context"
	"errors"
	"log/slog"
	"sync"
	"time"

	"github.com/byway-chat/byway/cmd/internal/version"
	"github.com/byway-chat/byway/peer"
	"github.com/byway-chat/byway/peer/api"
)

// How a command waits for the home while another process comes up or leaves.
const (
	homeWait = 10 * time.Second
	homePoll = 50 * time.Millisecond
	homeTell = time.Second // when it is told that another process runs the home: it may just be leaving
)

// need says what a command asks of its peer.
type need struct {
	enrol   bool        // on an empty home it signs in
	signIn  peer.SignIn // how
	private bool        // a peer of our own publishes no address and dials nobody
	own     bool        // another process's peer will not do
	held    func()      // tells that another process runs the home, which is waited for however long that lasts. nil: only homeWait
	ended   func()      // tells that another process's peer has ended: a watcher waits for the next one. nil: the command starts one itself
}

// session is a command's way to its peer. When the process that owned the peer leaves, the session starts one itself. It may be
// used by several goroutines.
type session struct {
	p    *program // immutable
	need need     // immutable

	mu     sync.Mutex // guards the following
	client *api.Client
	own    *ownPeer // nil while another process owns the peer
}

// open connects to the running peer, or starts one.
func (p *program) open(ctx context.Context, n need) (*session, error) {
	if _, err := p.flags.rendezvousAddress(); err != nil {
		return nil, err
	}
	s := &session{p: p, need: n}
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := s.openLocked(ctx); err != nil {
		return nil, err
	}
	if p.flags.receipts != "" {
		if err := s.client.SetReadReceipts(ctx, p.flags.receipts == "on"); err != nil {
			return nil, errors.Join(err, s.closeLocked())
		}
	}
	return s, nil
}

func (s *session) openLocked(ctx context.Context) error {
	told := s.need.held == nil
	for waited := time.Duration(0); ; waited += homePoll { // without the time at a prompt
		err := s.tryLocked(ctx)
		switch {
		case peer.CodeOf(err) != peer.CodeHomeInUse, waited >= homeWait && s.need.held == nil:
			return err
		case !told && waited >= homeTell:
			told = true
			if err := s.fitsOwner(ctx); err != nil {
				return err
			}
			s.need.held()
		}
		// Its owner is just coming up or leaving: soon it answers on the socket, or the lock is free.
		select {
		case <-time.After(homePoll):
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
}

// fitsOwner returns an error where the process that runs the home is somebody else's than the flags say: there is nothing to wait for.
func (s *session) fitsOwner(ctx context.Context) error {
	limited, cancel := context.WithTimeout(ctx, homeTell)
	defer cancel()
	client, err := s.p.dial(limited)
	if err == nil {
		client.Close()
	}
	switch {
	case ctx.Err() != nil:
		return context.Cause(ctx)
	case errors.Is(err, api.ErrGone), limited.Err() != nil:
		return nil // it does not answer yet, or any more
	}
	return err
}

func (s *session) tryLocked(ctx context.Context) error {
	if !s.need.own {
		client, err := s.p.dial(ctx)
		if err == nil {
			s.client = client
			return nil
		}
		if !errors.Is(err, api.ErrGone) {
			return err
		}
	}
	own, err := s.p.startPeer(ctx, s.need)
	if err != nil {
		return err
	}
	s.own, s.client = own, own.client
	return nil
}

// dial connects to the running peer and checks that it is the one that the flags mean. ErrGone is in the error's chain where none runs.
func (p *program) dial(ctx context.Context) (*api.Client, error) {
	client, err := api.Dial(ctx, p.flags.home)
	if err != nil || p.flags.user == "" && p.flags.rendezvous == "" {
		return client, err
	}
	st, err := client.Status(ctx)
	if err == nil {
		err = p.flags.fit(&st)
	}
	if err != nil {
		client.Close()
		return nil, err
	}
	return client, nil
}

// current is the client to use now.
func (s *session) current() *api.Client {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.client
}

// replace opens the session anew, unless another goroutine has done so since gone was current.
func (s *session) replace(ctx context.Context, gone *api.Client) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.client != gone {
		return nil
	}
	if s.own != nil {
		return errors.New("this process's own peer does not answer")
	}
	gone.Close()
	if s.need.ended != nil {
		return s.awaitLocked(ctx)
	}
	return s.openLocked(ctx)
}

// awaitLocked waits until another process has a peer for the home again. It leaves the home's lock alone.
func (s *session) awaitLocked(ctx context.Context) error {
	for told := false; ; {
		client, err := s.p.dial(ctx)
		switch {
		case ctx.Err() != nil:
			return context.Cause(ctx)
		case err == nil:
			s.client = client
			return nil
		case !errors.Is(err, api.ErrGone):
			return err
		case !told:
			told = true
			s.need.ended()
		}
		pauseFor(ctx, homePoll)
	}
}

// do carries out one request, again with a new peer where the one that was asked has left before it acted.
func do[O any](ctx context.Context, s *session, request func(c *api.Client) (O, error)) (O, error) {
	for {
		c := s.current()
		out, err := request(c)
		if !errors.Is(err, api.ErrGone) || ctx.Err() != nil {
			return out, err
		}
		if err := s.replace(ctx, c); err != nil {
			return out, err
		}
	}
}

// Close stops a peer of our own and waits for it.
func (s *session) Close() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.closeLocked()
}

func (s *session) closeLocked() error {
	if s.own != nil {
		return s.own.Close()
	}
	s.client.Close()
	return nil
}

// ownPeer is a peer that lives in this process, with its socket.
type ownPeer struct {
	peer   *peer.Peer
	server *api.Server
	client *api.Client
	closed chan struct{}
	idle   chan struct{} // closed when the goroutine that listens for stop has ended
}

// startPeer starts a peer on the home. It starts a goroutine that Close ends: a client's stop ends the program as SIGTERM does.
func (p *program) startPeer(ctx context.Context, n need) (*ownPeer, error) {
	cfg, first, err := p.peerConfig(ctx, n)
	if err != nil {
		return nil, err
	}
	node, err := peer.New(cfg)
	if err != nil {
		return nil, err
	}
	own, err := p.serve(ctx, node, cfg.Logger)
	if err != nil {
		if first && n.signIn == peer.SignInAuto {
			err = newcomer(err)
		}
		return nil, errors.Join(err, node.Close())
	}
	go func() {
		defer close(own.idle)
		select {
		case <-own.server.StopRequested():
			p.leave(leave{drained: true})
		case <-own.closed:
		}
	}()
	return own, nil
}

// wrongPassword is the peer's message where a taken name was not signed in to. The same code with another message has a hint of its own.
const wrongPassword = "wrong name or password"

// newcomer adds to a wrong password what it means to somebody who has just chosen a name: that it is somebody else's.
func newcomer(err error) error {
	told, ok := errors.AsType[*peer.Error](err)
	if !ok || told.Code != peer.CodeBadCredentials || told.Message != wrongPassword {
		return err
	}
	e := *told
	e.Hint = "if you are new here, the name is taken: choose another with --user"
	return &e
}

func (p *program) serve(ctx context.Context, node *peer.Peer, log *slog.Logger) (*ownPeer, error) {
	if err := node.Up(ctx); err != nil {
		return nil, err
	}
	p.afterUnlocking()
	server, err := api.Serve(node, p.flags.home, log)
	if err != nil {
		return nil, err
	}
	client, err := api.Dial(ctx, p.flags.home)
	if err != nil {
		return nil, errors.Join(err, server.Close())
	}
	return &ownPeer{peer: node, server: server, client: client, closed: make(chan struct{}), idle: make(chan struct{})}, nil
}

// Close stops the socket before the peer, so that nobody is answered by half a peer. It is called once.
func (o *ownPeer) Close() error {
	close(o.closed)
	<-o.idle
	o.client.Close()
	return errors.Join(o.server.Close(), o.peer.Close())
}

// peerConfig is the peer that the flags describe, and whether it is the first on its home.
func (p *program) peerConfig(ctx context.Context, n need) (cfg peer.Config, first bool, err error) {
	log, err := p.logger()
	if err != nil {
		return cfg, false, err
	}
	home, err := peer.Inspect(p.flags.home)
	if err != nil {
		return cfg, false, err
	}
	cfg = peer.Config{
		Home: p.flags.home, User: p.flags.user, Rendezvous: p.flags.rendezvous, Invite: p.flags.invite,
		Password: p.password(n.signIn != peer.SignInLogin), NoPassphrase: p.flags.noPassphrase, SignIn: n.signIn,
		Listen: p.flags.listen, NoMDNS: p.flags.noMDNS, NoPortMap: p.flags.noPortMap, Private: n.private,
		Agent: "byway/" + version.String(), Version: version.String(), Logger: log,
	}
	if home.Exists {
		return cfg, false, nil
	}
	if !n.enrol {
		return cfg, true, &peer.Error{
			Code: peer.CodeNotSignedIn, Message: "nobody is signed in on this home",
			Hint: "byway register --user NAME, or byway login --user NAME; --home names another home",
		}
	}
	cfg.User, err = p.newName(ctx)
	return cfg, true, err
}
