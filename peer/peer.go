// Package peer is a person's node: it signs in, sends and receives, keeps what must not be lost, and says by which way everything
// went. Every face (plain chat, bot, local API) is a client of [Peer].
//
// Use: [New] takes the home directory, [Peer.Up] opens it and signs in, [Peer.Send] accepts a message, [Peer.Subscribe] or
// [Peer.Events] tell what happens, [Peer.Close] stops. A Peer's methods may be called from any goroutine. Nothing that Send has
// accepted is lost while the home exists; an event of type message is told only after the message is on this disk.
package peer

import (
	"context"
	"errors"
	"iter"
	"log/slog"
	"net/netip"
	"sync"
	"sync/atomic"
	"time"

	"github.com/libp2p/go-libp2p"
	"github.com/libp2p/go-libp2p/core/host"

	"github.com/byway-chat/byway/crypto/identity"
	"github.com/byway-chat/byway/peer/history"
	"github.com/byway-chat/byway/peer/link"
	"github.com/byway-chat/byway/peer/portmap"
	"github.com/byway-chat/byway/peer/trace"
	"github.com/byway-chat/byway/rendezvous"
	"github.com/byway-chat/byway/rendezvous/client"
)

// ErrNoPassword is returned by Config.Password when there is nobody to ask.
var ErrNoPassword = errors.New("no password was given")

// PasswordUse says what a password is wanted for.
type PasswordUse int

// The uses of a password.
const (
	PasswordOpen   PasswordUse = iota // to open an existing key file
	PasswordSignIn                    // to register or to enrol this home; it opens the key file later
)

// SignIn says what a first sign-in on an empty home may do.
type SignIn int

// The kinds of first sign-in.
const (
	SignInAuto     SignIn = iota // register the name, or, where it is taken, enrol this home with the password
	SignInRegister               // only register
	SignInLogin                  // only enrol
)

// Config is what New needs. The zero value of each optional field works.
type Config struct {
	Home         string // directory of all state; required
	User         string // the wanted name on an empty home; else it must be the home's own or empty
	Rendezvous   string // multiaddr with /p2p/ or invitation link; empty: the remembered one, else mDNS
	Invite       string // token, where registration is by invitation and Rendezvous is no link that holds it
	Password     func(ctx context.Context, why PasswordUse, user string) ([]byte, error)
	NoPassphrase bool     // leave the key file of a new home unsealed
	SignIn       SignIn   // what an empty home may do
	Listen       []string // multiaddrs; default TCP and QUIC on all interfaces, any port; loopback if the rendezvous is there
	NoMDNS       bool
	NoPortMap    bool            // do not ask the router to lead connections from outside here
	Private      bool            // publish no address, listen nowhere, and dial nobody but the rendezvous
	Agent        string          // program and version, told to the rendezvous
	Version      string          // told by Status
	Logger       *slog.Logger    // nil: discard
	HostOptions  []libp2p.Option // replaces transports and limits, for simulated networks
	// NewKeys makes the keys of an empty home; default identity.GenerateKeyring. Tests give fixed ones: RSA keys take their time.
	NewKeys func(now time.Time) (*identity.Keyring, error)
}

// SendOptions says how a message may travel.
type SendOptions struct {
	Way string // "auto" (also empty), "lan", "direct" or "relay"; it never allows more than the policies do
	Ref string // echoed as "re" in the message's state events

	// Within is how long a message that may only go directly may take at most, from the search for a way to the acknowledgement, before it is given up. Each of the two
	// may take 10 s at most anyhow; 0: no less.
	Within time.Duration
}

// EventOptions says which events a subscriber gets.
type EventOptions struct {
	After   uint64 // resume after this seq, as far as the last 4,096 events reach; where they do not, it is as with Lost
	Lost    bool   // the reader resumes what it had of another process: it is told so, and then all that is there
	Unshown bool   // the reader is a face: begin with the messages that no face has shown, or go on after After where that is set
}

// HomeInfo is what a home says without being opened.
type HomeInfo struct {
	Exists          bool // a sign-in has been completed
	User            string
	NeedsPassphrase bool
	Rendezvous      string
}

// Peer is a person's node.
type Peer struct {
	cfg     Config       // immutable
	log     *slog.Logger // immutable
	home    *home        // immutable
	hub     *hub         // immutable
	dials   *dials       // immutable
	trace   *trace.Log   // immutable
	weather *weather     // immutable

	gate *gate // immutable

	settings     sync.Mutex    // held while a setting changes
	secretReader atomic.Bool   // nobody is told what was read
	publishing   chan struct{} // has one while addresses are published, so that the newest word is the last
	announcing   atomic.Bool   // on the LAN
	unlisted     atomic.Bool   // the directory is told no address, because it cannot withhold them from those who are not to know
	rotating     sync.Mutex    // held while the encryption key is renewed
	moved        chan struct{} // has one when our addresses have changed
	untold       chan struct{} // one place: the directory may tell more of us than it should

	// written by Up before core is set, immutable after
	user       rendezvous.Username
	address    rendezvous.Address
	keys       *identity.Keyring // the encryption keys in it are owned by the core once that runs
	passphrase []byte
	host       host.Host
	fresh      freshPorts // of punches that host makes
	store      *history.Store
	core       *core
	mapper     *portmap.Mapper // nil: nothing is asked of the router
	started    time.Time
	standing   standing // as the home remembers it; the core's own counts

	mu      sync.Mutex
	state   lifeState          // guarded by mu
	stop    context.CancelFunc // guarded by mu: ends keepConnected
	running sync.WaitGroup

	remapped  chan struct{} // one place: the router maps other ports than before
	tried     chan struct{} // closed after the first attempt to connect
	triedOnce sync.Once
}

type lifeState int

const (
	stateNew lifeState = iota
	stateUp
	stateClosed
)

// New checks the configuration, makes the home directory and takes its lock. It opens nothing else and starts nothing; Close gives
// the lock back. Errors are *[Error]; CodeHomeInUse means that another process has the lock.
func New(cfg Config) (*Peer, error) {
	if cfg.Logger == nil {
		cfg.Logger = slog.New(slog.DiscardHandler)
	}
	if cfg.NewKeys == nil {
		cfg.NewKeys = identity.GenerateKeyring
	}
	if cfg.User != "" {
		if _, err := rendezvous.ParseUsername(cfg.User); err != nil {
			return nil, nameError(err)
		}
	}
	if cfg.Rendezvous != "" {
		if _, err := rendezvous.ParseAddress(cfg.Rendezvous); err != nil {
			return nil, addressError(err)
		}
	}
	h, err := openHome(cfg.Home)
	if err != nil {
		return nil, err
	}
	p := &Peer{
		cfg: cfg, log: cfg.Logger, home: h, hub: newHub(), tried: make(chan struct{}), remapped: make(chan struct{}, 1), moved: make(chan struct{}, 1),
		untold:     make(chan struct{}, 1),
		publishing: make(chan struct{}, 1),
		dials:      newDials(), weather: newWeather(), trace: trace.New(),
	}
	p.gate = newGate(func() []netip.Prefix { return networksOf(p.host) })
	return p, nil
}

// upWait is how long Up waits for the first attempt to reach the rendezvous.
const upWait = 6 * time.Second

// Up opens the home, or signs in for the first time, and returns when messages can be sent. For a home that is enrolled an unreachable
// rendezvous is no error: Status tells. It starts goroutines that Close stops, and may be called once.
func (p *Peer) Up(ctx context.Context) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.state != stateNew {
		return &Error{Code: CodeFailed, Message: "the peer was started before or is closed"}
	}
	conn, err := p.signIn(ctx)
	if err != nil {
		p.release()
		return err
	}
	if err := p.startCore(ctx, conn); err != nil {
		p.release()
		return err
	}
	p.state = stateUp
	select {
	case <-p.tried:
	case <-time.After(upWait):
	case <-ctx.Done():
	}
	return p.tellReady(ctx)
}

// startCore opens the history and starts the goroutines: the core and the one that keeps the connection.
func (p *Peer) startCore(ctx context.Context, conn *client.Conn) error {
	fail := func(err error) error {
		if conn != nil {
			_ = conn.Close()
		}
		return err
	}
	if err := p.home.checkHistory(); err != nil {
		return fail(err)
	}
	store, err := history.Open(ctx, p.home.path(historyFileName), p.keys.Storage)
	if err != nil {
		return fail(storeError(err))
	}
	p.store = store
	if err := errors.Join(p.home.markHistory(), p.remembered()); err != nil {
		return fail(err)
	}
	if err := store.Sweep(ctx, time.Now()); err != nil {
		return fail(storeError(err))
	}
	p.mapPorts()
	c, err := newCore(p, store)
	if err != nil {
		return fail(err)
	}
	if err := c.load(ctx); err != nil {
		return fail(storeError(err))
	}
	p.core, p.started = c, time.Now()
	p.hub.open(c.unseenEvents)
	p.running.Go(c.run)
	p.host.SetStreamHandler(link.ProtocolID, c.answer)
	connCtx, stop := context.WithCancel(context.Background())
	p.stop = stop
	p.running.Go(func() { p.keepConnected(connCtx, conn) })
	p.running.Go(func() { p.joinNeighbours(connCtx) })
	p.running.Go(func() { p.keepCards(connCtx) })
	return nil
}

// attempted marks that the first attempt to reach the rendezvous has ended.
func (p *Peer) attempted() { p.triedOnce.Do(func() { close(p.tried) }) }

func (p *Peer) tellReady(ctx context.Context) error {
	status, err := p.status(ctx)
	if err != nil {
		return err
	}
	p.hub.publish(Event{
		Type: EventReady, User: status.User, Device: status.Device, PeerID: status.PeerID, Addrs: status.Addrs, Rendezvous: &status.Rendezvous,
	})
	if found, aside := p.store.Damage(); found != "" {
		p.log.Error("the history file was damaged and has been rescued", slog.String("found", found), slog.String("kept_aside", aside))
		p.hub.publish(Event{
			Type: EventError, Code: string(CodeHistoryDamaged), Message: "the history file was damaged: " + found, Hint: "the damaged file is kept as " + aside + "; look at the disk",
		})
	}
	return nil
}

// up reports whether the peer can be used.
func (p *Peer) up() error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.state != stateUp {
		return &Error{Code: CodeFailed, Message: "the peer is not up"}
	}
	return nil
}

// Subscribe registers a reader at once; what happens from now on reaches it, also what Up brings. The caller closes it.
func (p *Peer) Subscribe(o EventOptions) *Subscription { return p.hub.subscribe(o) }

// Events is Subscribe for the life of one loop: the reader is registered when the sequence is ranged over.
func (p *Peer) Events(ctx context.Context, o EventOptions) iter.Seq2[Event, error] {
	return func(yield func(Event, error) bool) {
		s := p.hub.subscribe(o)
		defer s.Close()
		s.Events(ctx)(yield)
	}
}

// Close stops the peer, waits for its goroutines, and gives the home back. What was accepted is on the disk. It may be called twice.
func (p *Peer) Close() error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.state == stateClosed {
		return nil
	}
	p.release()
	p.state = stateClosed
	p.hub.close()
	p.trace.Close()
	return p.home.close()
}

// release stops and closes what Up has opened, in the reverse order.
func (p *Peer) release() {
	if p.stop != nil {
		p.stop()
	}
	if p.host != nil && p.core != nil {
		p.host.RemoveStreamHandler(link.ProtocolID)
	}
	if p.core != nil {
		p.core.stop()
	}
	p.running.Wait()
	p.mapper.Close()
	if p.host != nil {
		_ = p.host.Close() // sockets are gone either way
	}
	if p.store != nil {
		if err := p.store.Close(); err != nil {
			p.log.Error("history does not close", slog.Any("error", err))
		}
	}
	clear(p.passphrase)
}
