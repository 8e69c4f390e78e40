package peer

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"runtime"
	"slices"
	"sync"
	"time"

	lru "github.com/hashicorp/golang-lru/v2"
	"github.com/libp2p/go-libp2p/core/host"
	"github.com/libp2p/go-libp2p/core/peer"
	ma "github.com/multiformats/go-multiaddr"
	manet "github.com/multiformats/go-multiaddr/net"
	"golang.org/x/time/rate"

	"github.com/byway-chat/byway/crypto/identity"
	"github.com/byway-chat/byway/crypto/session"
	"github.com/byway-chat/byway/peer/delivery"
	"github.com/byway-chat/byway/peer/history"
	"github.com/byway-chat/byway/peer/portmap"
	"github.com/byway-chat/byway/peer/route"
	"github.com/byway-chat/byway/peer/trace"
	"github.com/byway-chat/byway/rendezvous"
	"github.com/byway-chat/byway/rendezvous/client"
)

// Bounds of the core's own queues and caches.
const (
	inboxSize     = 1024
	maxBatch      = 256  // events handled between two commits
	openReceivers = 1024 // receiving sessions kept in memory
)

// core is the one goroutine that owns everything that changes: who the contacts are, what was sent, what has arrived. All others
// hand it closures. After each batch of them it commits once and only then acknowledges, sends and tells (package delivery).
type core struct {
	// immutable after newCore
	self       session.Party
	peerID     peer.ID
	rendezvous peer.ID
	private    bool
	local      bool                                     // the rendezvous is on this machine, by its address
	makeCard   func(allowed route.Ways) ([]byte, error) // called by run
	log        *slog.Logger
	store      *history.Store
	host       host.Host
	hub        *hub
	trace      *trace.Log
	dials      *dials
	gate       *gate
	fresh      *freshPorts
	mapper     *portmap.Mapper
	weather    *weather
	typed      *lru.Cache[string, rendezvous.Username] // by what was typed
	inbox      chan func()
	quit       chan struct{}   // closed by stop
	ended      chan struct{}   // closed when run has returned
	dialCtx    context.Context // of the dials to contacts, which outlive the call that starts them; ends with the core
	dialStop   context.CancelFunc
	spawned    sync.WaitGroup

	// owned by run
	keys      *identity.Keyring
	engine    *delivery.Engine
	batch     history.Batch
	after     []chan<- error // told how the commit went; each has room
	contacts  map[delivery.Account]*contact
	devices   map[delivery.Device]*device
	senders   map[delivery.Device]*sender
	sessions  *lru.Cache[session.ID, *receiver]
	moved     []*receiver     // those whose chain has moved since the last commit
	conn      *client.Conn    // nil while the rendezvous is away
	near      bool            // conn leads to this machine
	connNo    uint64          // counts connections: what was learnt before this one may be stale
	reason    string          // why conn is nil
	sought    time.Time       // when that was last found out, either way
	refused   rendezvous.Code // what the rendezvous said when it refused this device; empty once it has signed it in again
	submits   map[uint64][]delivery.Send
	taken     []uint64 // deliveries to acknowledge to the rendezvous after the commit
	online    map[delivery.Account]map[delivery.Device]bool
	snapshot  map[delivery.Account]map[delivery.Device]bool // being received; nil: none is
	refs      *lru.Cache[delivery.MessageID, string]        // what the sender of a message wants echoed
	here      here
	greetings *rate.Limiter // of unknown devices that open a link
	strangers strangers
	early     *lobby[session.ID]       // what has overtaken the opening of its session
	standing  standing                 // the policy of those who have none of their own
	owed      map[delivery.Device]bool // those who have not heard our policy
	telling   *rate.Limiter            // of telling it
	pings     map[[8]byte]chan<- delivery.NoticePong
	readUpto  map[delivery.Account]uint64
	crowd     float64   // how many waited for a commit of late
	committed time.Time // when they last had one
	lazy      time.Time // when the batch must be committed, though nothing waits for it; zero: there is none such
	events    []Event   // made while the notices of a batch are told, and published together
	retry     bool      // something could not leave: look again soon
	stall     stall

	ears        ears // owned by run
	unpublished unpublished
}

func newCore(p *Peer, store *history.Store) (*core, error) {
	sessions, err := lru.New[session.ID, *receiver](openReceivers)
	if err != nil {
		return nil, fmt.Errorf("make session cache: %w", err)
	}
	refs, err := lru.New[delivery.MessageID, string](4096)
	if err != nil {
		return nil, fmt.Errorf("make reference cache: %w", err)
	}
	typed, err := lru.New[string, rendezvous.Username](recipients)
	if err != nil {
		return nil, fmt.Errorf("make name cache: %w", err)
	}
	c := &core{
		self:       session.Party{Name: string(p.user), Fingerprint: p.keys.Identity.Public().Fingerprint()},
		peerID:     p.host.ID(),
		rendezvous: p.address.ID,
		private:    p.cfg.Private,
		local:      len(p.address.Addrs) > 0 && !slices.ContainsFunc(p.address.Addrs, func(a ma.Multiaddr) bool { return !manet.IsIPLoopback(a) }),
		makeCard:   p.card,
		log:        p.log, store: store, host: p.host, hub: p.hub, trace: p.trace, dials: p.dials, mapper: p.mapper, weather: p.weather, keys: p.keys, typed: typed,
		inbox: make(chan func(), inboxSize), quit: make(chan struct{}), ended: make(chan struct{}),
		contacts: map[delivery.Account]*contact{}, devices: map[delivery.Device]*device{}, senders: map[delivery.Device]*sender{},
		sessions: sessions, refs: refs, submits: map[uint64][]delivery.Send{}, online: map[delivery.Account]map[delivery.Device]bool{},
		strangers: strangers{lobby: newLobby[delivery.Account](maxStrangers, maxStrangersBytes)}, early: newLobby[session.ID](maxEarly, maxEarlyBytes),
		greetings: rate.NewLimiter(greetingsPerSecond, greetingsBurst), telling: rate.NewLimiter(tellsPerSecond, tellsBurst),
		standing: p.standing, owed: map[delivery.Device]bool{}, gate: p.gate, fresh: &p.fresh,
		pings: map[[8]byte]chan<- delivery.NoticePong{}, readUpto: map[delivery.Account]uint64{}, reason: "connecting",
	}
	c.dialCtx, c.dialStop = context.WithCancel(context.Background())
	c.gate.begin(c.rendezvous, c.cameInVain)
	return c, nil
}

// errStopped is returned to callers of a core that has ended.
var errStopped = &Error{Code: CodeFailed, Message: "the peer is closed"}

// post hands f to the core. It waits for room, and drops f once the core has ended.
func (c *core) post(f func()) {
	select {
	case c.inbox <- f:
	case <-c.quit:
	}
}

// do runs f in the core and waits until it has run.
func (c *core) do(ctx context.Context, f func()) error {
	done := make(chan struct{})
	select {
	case c.inbox <- func() { defer close(done); f() }:
	case <-ctx.Done():
		return ctx.Err()
	case <-c.quit:
		return errStopped
	}
	select {
	case <-done:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	case <-c.ended:
		return errStopped
	}
}

// try runs f in the core and returns its error. What f writes elsewhere may be read only where there is none: else f may still run.
func (c *core) try(ctx context.Context, f func() error) error {
	result := make(chan error, 1)
	if err := c.do(ctx, func() { result <- f() }); err != nil {
		return err
	}
	return <-result
}

// commit runs f in the core and waits until what it did is on the disk. Where f fails nothing was done.
func (c *core) commit(ctx context.Context, f func() error) error {
	result := make(chan error, 1)
	run := func() {
		err := c.writable(time.Now())
		if err == nil {
			err = f()
		}
		if err != nil {
			result <- err
			return
		}
		c.after = append(c.after, result)
	}
	select {
	case c.inbox <- run:
	case <-ctx.Done():
		return ctx.Err()
	case <-c.quit:
		return errStopped
	}
	select {
	case err := <-result:
		return err
	case <-ctx.Done():
		return ctx.Err()
	case <-c.ended:
		select {
		case err := <-result: // it was the last that the core did
			return err
		default:
			return errStopped
		}
	}
}

// caughtUp waits until the disk knows all that was told: what acknowledgements have said may be told before. A disk that takes no more can
// still be read.
func (c *core) caughtUp(ctx context.Context) error {
	err := c.commit(ctx, func() error { return nil })
	if ctx.Err() != nil || errors.Is(err, errStopped) {
		return err
	}
	return nil
}

// run is the core's goroutine. It ends after stop, with everything committed that was handed in before.
func (c *core) run() {
	defer close(c.ended)
	timer := time.NewTimer(time.Hour)
	defer timer.Stop()
	housekeeping := time.NewTicker(time.Second)
	defer housekeeping.Stop()
	for {
		select {
		case f := <-c.inbox:
			f()
			c.gather()
		case <-timer.C:
		case <-housekeeping.C:
			now := time.Now()
			c.improve(now)
			c.settleDebts(now)
		case <-c.quit:
			c.drain()
			c.lazy = time.Now()
			c.settle(c.lazy)
			for _, l := range c.dropLinks() {
				l.Close()
			}
			return
		}
		now := time.Now()
		if wait := c.pause(now); wait > 0 {
			timer.Reset(wait)
			continue
		}
		c.settle(now)
		timer.Reset(c.nextWake())
	}
}

// gather takes what else is there, and lets those run who are about to hand something in: what comes together costs one commit. It takes
// no time where nobody is.
func (c *core) gather() {
	for range 3 {
		if c.drain() == 0 {
			return
		}
		runtime.Gosched()
	}
}

// drain handles what waits in the inbox, up to a batch, and returns how much that was.
func (c *core) drain() int {
	for n := range maxBatch {
		select {
		case f := <-c.inbox:
			f()
		default:
			return n
		}
	}
	return maxBatch
}

func (c *core) nextWake() time.Duration {
	if c.stall.cause != nil {
		return max(time.Until(c.stall.retry), time.Millisecond)
	}
	wait := time.Hour
	if c.retry {
		wait = 50 * time.Millisecond
	}
	if next := c.engine.NextTick(); !next.IsZero() {
		wait = min(wait, time.Until(next))
	}
	if !c.lazy.IsZero() {
		wait = min(wait, time.Until(c.lazy))
	}
	return max(wait, time.Millisecond)
}

func (c *core) stop() {
	close(c.quit)
	c.dialStop()
	<-c.ended
	c.spawned.Wait()
}

// spawn runs f on a goroutine that stop waits for. f must end with dialCtx or with what the core gives up when it ends.
func (c *core) spawn(f func()) { c.spawned.Go(f) }
