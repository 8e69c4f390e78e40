// Package server is one rendezvous node: a libp2p host, the services behind it, and its life from the opening of the data
// directory to the last goodbye. [New] opens everything, [Server.Run] serves.
//
// Each message of the protocol has one handler; the files session.go, directory.go, presence.go and relay.go hold a family each.
package server

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"sync"
	"sync/atomic"
	"time"

	"github.com/libp2p/go-libp2p"
	"github.com/libp2p/go-libp2p/core/host"
	"github.com/libp2p/go-libp2p/core/network"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/byway-chat/byway/crypto/password"
	"github.com/byway-chat/byway/rendezvous"
	"github.com/byway-chat/byway/rendezvous/admin"
	"github.com/byway-chat/byway/rendezvous/directory"
	"github.com/byway-chat/byway/rendezvous/presence"
	"github.com/byway-chat/byway/rendezvous/relay"
	"github.com/byway-chat/byway/rendezvous/sqlite"
)

// DefaultMaxPeers is how many peers may be signed in at once where nothing else is set.
const DefaultMaxPeers = 10_000

// The parts of the five seconds in which a rendezvous that is told to stop has stopped.
const (
	drainTimeout    = 2500 * time.Millisecond // envelopes in memory go to the mailbox
	farewellTimeout = time.Second             // peers hear Goodbye
)

// Config is what a rendezvous needs. Only Data is required; a zero field takes the default named with it.
type Config struct {
	Data         string           // directory of everything durable
	Listen       []string         // multiaddrs; default DefaultListen
	Registration directory.Policy // default Open
	MaxPeers     int              // signed in at once; default DefaultMaxPeers
	NoMDNS       bool             // do not announce on the LAN; a rendezvous on loopback alone never does
	Metrics      string           // HOST:PORT for Prometheus; default: none
	ReadyFile    string           // written when serving, removed at the end; default: none
	Version      string           // of the program, shown to peers and operators
	Hasher       directory.Hasher // default: Argon2id with the default parameters
	// HostOptions replace TCP and QUIC for a simulated network in virtual time. With them neither the operator's socket nor metrics nor mDNS
	// are served: a goroutine that waits for real input would hold virtual time.
	HostOptions []libp2p.Option
	Logger      *slog.Logger // default: discard
}

// Server is one rendezvous. Its methods may be called from any goroutine.
type Server struct {
	cfg       Config // immutable, with defaults filled in
	log       *slog.Logger
	data      *data
	db        *sqlite.DB
	host      host.Host
	tracker   *presence.Tracker
	directory *directory.Service
	relay     *relay.Service
	rates     *rates
	conns     *registry
	pusher    *pusher
	started   time.Time
	ready     chan struct{} // closed by Run when it accepts
	maxPeers  atomic.Int64

	socket    net.Listener         // the operator's; nil in a simulated network
	metrics   net.Listener         // nil: none
	collected *prometheus.Registry // nil without metrics

	closing sync.Once
	closed  error // set in closing
}

// New opens the data directory, the database and all sockets, so that whatever is wrong with them shows before anything is served. It
// starts the goroutines of the host and of the relay. Run or Close ends them. Errors that the operator can mend are *[SetupError].
func New(ctx context.Context, cfg Config) (*Server, error) {
	if cfg.Logger == nil {
		cfg.Logger = slog.New(slog.DiscardHandler)
	}
	if cfg.Registration == "" {
		cfg.Registration = directory.Open
	}
	if cfg.MaxPeers <= 0 {
		cfg.MaxPeers = DefaultMaxPeers
	}
	if cfg.Hasher == nil {
		cfg.Hasher = directory.Argon2(password.Default)
	}
	s := &Server{
		cfg: cfg, log: cfg.Logger, rates: newRates(), conns: newRegistry(),
		tracker: presence.New(), started: time.Now(), ready: make(chan struct{}),
	}
	s.pusher = newPusher(s.tracker, s.log)
	s.maxPeers.Store(int64(cfg.MaxPeers))
	if err := s.open(ctx); err != nil {
		return nil, errors.Join(err, s.Close())
	}
	return s, nil
}

// open fills in what Close closes, in the reverse order.
func (s *Server) open(ctx context.Context) (err error) {
	if s.data, err = openData(s.cfg.Data); err != nil {
		return err
	}
	key, err := s.data.hostKey()
	if err != nil {
		return err
	}
	if s.db, err = sqlite.Open(ctx, s.data.path(databaseFile), s.log); err != nil {
		s.db = nil
		return databaseError(s.data.path(databaseFile), err)
	}
	if s.cfg.Metrics != "" && s.cfg.HostOptions == nil {
		s.collected = prometheus.NewRegistry()
	}
	if s.host, err = s.newHost(key); err != nil {
		return err
	}
	s.directory = directory.New(s.db, s.db, directory.Options{
		Rendezvous: s.host.ID(), Hasher: s.cfg.Hasher, Presence: s.tracker, Policy: s.cfg.Registration, Logger: s.log,
	})
	s.relay = relay.New(s.db, s.directory, relay.Options{Logger: s.log})
	if s.cfg.HostOptions != nil {
		return nil
	}
	if s.socket, err = listenAdmin(s.data.path(SocketFile)); err != nil {
		return err
	}
	if s.collected == nil {
		return nil
	}
	if s.metrics, err = net.Listen("tcp", s.cfg.Metrics); err != nil {
		return &SetupError{Problem: "cannot serve metrics on " + s.cfg.Metrics, Hint: "choose another place with --metrics HOST:PORT", Err: err}
	}
	return nil
}

func databaseError(path string, err error) error {
	switch {
	case errors.Is(err, sqlite.ErrDamaged):
		return &SetupError{Problem: "the database " + path + " is damaged", Hint: "restore it from a backup; docs/operating.md says how", Err: err}
	case errors.Is(err, sqlite.ErrNewer):
		return &SetupError{Problem: "the database is newer than this program", Hint: "install the newer version again", Err: err}
	case errors.Is(err, sqlite.ErrDiskFull):
		return &SetupError{Problem: "the disk is full", Hint: "make room on the file system of " + path, Err: err}
	case errors.Is(err, sqlite.ErrInUse):
		return &SetupError{Problem: "the database is in use", Hint: "stop the program that has " + path + " open", Err: err}
	}
	return &SetupError{Problem: "cannot open the database " + path, Hint: "check its owner and the free space", Err: err}
}

// Run serves until ctx ends, then puts what is in memory into the mailbox, says goodbye and closes everything, within five seconds. Call
// it once.
func (s *Server) Run(ctx context.Context) error {
	// What serves outlives ctx, so that draining still answers; what only watches ends with it.
	serving, stop := context.WithCancel(context.WithoutCancel(ctx))
	defer stop()
	var wg sync.WaitGroup
	var servers []*http.Server
	serve := func(l net.Listener, h http.Handler) {
		server := httpServer(ctx, h)
		servers = append(servers, server)
		wg.Go(func() { s.serveHTTP(server, l) })
	}
	if s.socket != nil {
		serve(s.socket, admin.Handler(s, s.cfg.Version))
	}
	if s.metrics != nil {
		serve(s.metrics, admin.MetricsHandler(s, s.collected))
	}
	if !s.cfg.NoMDNS && s.cfg.HostOptions == nil {
		wg.Go(func() { (&announcer{host: s.host, log: s.log}).run(ctx) })
	}
	wg.Go(func() { s.pusher.run(serving) })
	watch := &network.NotifyBundle{ConnectedF: func(_ network.Network, c network.Conn) { s.expectSignIn(c) }}
	s.host.Network().Notify(watch)
	s.host.SetStreamHandler(rendezvous.ProtocolID, func(stream network.Stream) { s.handle(serving, stream) })
	s.host.SetStreamHandler(rendezvous.ObservedProtocolID, s.observed)
	err := s.becomeReady()
	if err == nil {
		<-ctx.Done()
	}
	s.log.Info("stopping")
	s.host.RemoveStreamHandler(rendezvous.ObservedProtocolID)
	s.host.RemoveStreamHandler(rendezvous.ProtocolID)
	s.drain(serving)
	stop()
	s.host.Network().StopNotify(watch)
	shutdown(servers...)
	wg.Wait()
	err = errors.Join(err, s.Close())
	s.log.Info("stopped")
	return err
}

func (s *Server) becomeReady() error {
	if s.cfg.ReadyFile != "" {
		if err := s.writeReadyFile(); err != nil {
			return &SetupError{Problem: "cannot write the ready file", Hint: "check --ready-file", Err: err}
		}
	}
	s.log.Info("serving", slog.String("peer_id", s.host.ID().String()), slog.Any("addrs", s.Address().Addrs),
		slog.String("registration", string(s.directory.Policy())), slog.Int64("max_peers", s.maxPeers.Load()))
	close(s.ready)
	return nil
}

// drain moves what is in memory to the disk and ends every control stream. It bounds itself.
func (s *Server) drain(serving context.Context) {
	ctx, cancel := context.WithTimeout(serving, drainTimeout)
	defer cancel()
	if err := s.relay.Drain(ctx); err != nil {
		s.log.Error("envelopes in memory could not all be stored", slog.String("error", err.Error()))
	}
	s.conns.endAll(&rendezvous.Goodbye{
		Code: string(rendezvous.CodeDraining), Reason: "the rendezvous is stopping", ReconnectAfterMs: 5000,
	})
	select {
	case <-s.conns.empty():
	case <-time.After(farewellTimeout):
		s.conns.abortAll()
		<-s.conns.empty()
	}
}

// Close ends a Server that Run was never called on, or has returned from; it may be called again. Run calls it.
func (s *Server) Close() error {
	s.closing.Do(func() { s.closed = s.close() })
	return s.closed
}

func (s *Server) close() error {
	var errs []error
	if s.cfg.ReadyFile != "" && s.host != nil {
		removeReadyFile(s.cfg.ReadyFile, s.host.ID())
	}
	if s.metrics != nil {
		_ = s.metrics.Close()
	}
	if s.socket != nil {
		_ = s.socket.Close() // removes the file
	}
	if s.host != nil {
		errs = append(errs, s.host.Close())
	}
	if s.relay != nil {
		errs = append(errs, s.relay.Close())
	}
	if s.directory != nil {
		ctx, cancel := context.WithTimeout(context.Background(), time.Second)
		errs = append(errs, s.directory.Close(ctx))
		cancel()
	}
	if s.db != nil {
		errs = append(errs, s.db.Close())
	}
	if s.data != nil {
		errs = append(errs, s.data.Close())
	}
	if err := errors.Join(errs...); err != nil {
		return fmt.Errorf("stop the rendezvous: %w", err)
	}
	return nil
}

// releaseTimeout bounds the wait of Release for the database.
const releaseTimeout = 2 * time.Second

// Release gives back memory that is only a cache. It does nothing where the database is too busy: then it is of use.
func (s *Server) Release(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, releaseTimeout)
	defer cancel()
	if err := s.db.Release(ctx); err != nil && ctx.Err() == nil {
		s.log.Warn("the cache could not be released", slog.String("error", err.Error()))
	}
}

// Ready is closed when the server accepts connections and the ready file is written.
func (s *Server) Ready() <-chan struct{} { return s.ready }

// Host returns the libp2p host. It is the server's: the caller must not close it.
func (s *Server) Host() host.Host { return s.host }

// SetRegistration changes who may register, for the next who tries.
func (s *Server) SetRegistration(p directory.Policy) { s.directory.SetPolicy(p) }

// SetMaxPeers changes how many may be signed in; those who are stay. libp2p's own limits, three times the number at the start,
// stay as they are until the next start.
func (s *Server) SetMaxPeers(n int) { s.maxPeers.Store(int64(n)) }
