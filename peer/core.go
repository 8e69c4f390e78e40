package peer

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"runtime"
	"sync"
	"time"

	lru "github.com/hashicorp/golang-lru/v2"
	"github.com/libp2p/go-libp2p/core/host"
	"github.com/libp2p/go-libp2p/core/peer"
	"golang.org/x/time/rate"

	"github.com/byway-chat/byway/crypto/identity"
	"github.com/byway-chat/byway/crypto/session"
	"github.com/byway-chat/byway/peer/delivery"
	"github.com/byway-chat/byway/peer/history"
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
	log        *slog.Logger
	store      *history.Store
	host       host.Host
	hub        *hub
	dials      *dials
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
	moved     []*receiver  // those whose chain has moved since the last commit
	conn      *client.Conn // nil while the rendezvous is away
	connNo    uint64       // counts connections: what was learnt before this one may be stale
	reason    string       // why conn is nil
	submits   map[uint64][]delivery.Send
	taken     []uint64 // deliveries to acknowledge to the rendezvous after the commit
	online    map[delivery.Account]map[delivery.Device]bool
	snapshot  map[delivery.Account]map[delivery.Device]bool // being received; nil: none is
	refs      *lru.Cache[delivery.MessageID, string]        // what the sender of a message wants echoed
	greetings *rate.Limiter                                 // of unknown devices that open a link
	strangers strangers
	early     *lobby[session.ID]                   // what has overtaken the opening of its session
	policies  map[delivery.Account]delivery.Policy // set by the person for this process
	pings     map[[8]byte]chan<- delivery.NoticePong
	readUpto  map[delivery.Account]uint64
	crowd     float64   // how many waited for a commit of late
	committed time.Time // when they last had one
	lazy      time.Time // when the batch must be committed, though nothing waits for it; zero: there is none such
	events    []Event   // made while the notices of a batch are told, and published together
	retry     bool      // something could not leave: look again soon
	broken    error     // the history does not take anything any more
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
		log:        p.log, store: store, host: p.host, hub: p.hub, dials: p.dials, keys: p.keys, typed: typed,
		inbox: make(chan func(), inboxSize), quit: make(chan struct{}), ended: make(chan struct{}),
		contacts: map[delivery.Account]*contact{}, devices: map[delivery.Device]*device{}, senders: map[delivery.Device]*sender{},
		sessions: sessions, refs: refs, submits: map[uint64][]delivery.Send{}, online: map[delivery.Account]map[delivery.Device]bool{},
		strangers: strangers{lobby: newLobby[delivery.Account](maxStrangers, maxStrangersBytes)}, early: newLobby[session.ID](maxEarly, maxEarlyBytes),
		greetings: rate.NewLimiter(greetingsPerSecond, greetingsBurst), policies: map[delivery.Account]delivery.Policy{},
		pings: map[[8]byte]chan<- delivery.NoticePong{}, readUpto: map[delivery.Account]uint64{}, reason: "connecting",
	}
	c.dialCtx, c.dialStop = context.WithCancel(context.Background())
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

// commit runs f in the core and waits until what it did is on the disk. Where f fails nothing was done.
func (c *core) commit(ctx context.Context, f func() error) error {
	result := make(chan error, 1)
	run := func() {
		err := c.broken
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
			c.improve(time.Now())
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

// pace is the least time between two commits while many wait for them.
const pace = 3 * time.Millisecond

// pause returns how long to wait before the next commit. Where one at a time waits it is at once. Where many do, commits that follow each other as
// fast as they can would take all of the processor for a few messages each, and everybody would wait the longer for that.
func (c *core) pause(now time.Time) time.Duration {
	if c.crowd < 2 || len(c.after) == 0 || len(c.after) >= maxBatch/2 {
		return 0
	}
	return c.committed.Add(pace).Sub(now)
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

// settle carries out what the batch has led to: disk first, then the network, then the people.
func (c *core) settle(now time.Time) {
	if next := c.engine.NextTick(); !next.IsZero() && !now.Before(next) {
		c.engine.Tick(now)
	}
	c.retry = false
	effects := c.engine.Take(now)
	c.batch.Ops = append(c.batch.Ops, effects.Ops...)
	var batch history.Batch
	if c.hurry(now, effects.Ops) {
		c.movedSessions(now)
		batch, c.batch, c.lazy = c.batch, history.Batch{}, time.Time{}
		if !batch.Empty() {
			if err := c.store.Commit(context.Background(), &batch); err != nil { // a commit is never given up half way
				c.restart(err)
				return
			}
		}
		if waiting := len(c.after); waiting > 0 {
			c.crowd += (float64(waiting) - c.crowd) / 8
			c.committed = time.Now()
		}
		for _, done := range c.after {
			done <- nil
		}
		c.after = nil
		c.acknowledge()
	}
	if batch.Refused > 0 {
		c.log.Warn("envelopes of devices that are not accepted were not kept", slog.Int("count", batch.Refused))
	}
	c.dispatch(now, effects.Sends)
	c.tellAll(now, effects.Notices, batch.Orders)
}

// lazily is how long it may take until the disk knows what another device has on its own.
const lazily = 20 * time.Millisecond

// hurry reports whether the batch must be on the disk now. What acknowledgements have said can wait for the next commit: if it is lost, the
// messages are sent again and acknowledged again. So can the place of a session, where nothing else came with it.
func (c *core) hurry(now time.Time, fresh []delivery.Op) bool {
	relaxed := len(c.after) == 0 && len(c.batch.Contacts)+len(c.batch.Blocked)+len(c.batch.Released) == 0
	for _, op := range fresh {
		if !relaxed {
			break
		}
		switch op.(type) {
		case delivery.OpCopy, delivery.OpProgress, delivery.OpSettle, delivery.OpRead:
		default:
			relaxed = false
		}
	}
	if !relaxed {
		return true
	}
	if len(c.batch.Ops)+len(c.moved) == 0 {
		return true // there is nothing to put on the disk
	}
	if c.lazy.IsZero() {
		c.lazy = now.Add(lazily)
	}
	return !now.Before(c.lazy)
}

// acknowledge tells the rendezvous what it may forget. What a connection that has ended was not told is delivered again, and known as a
// duplicate.
func (c *core) acknowledge() {
	if len(c.taken) > 0 && c.conn != nil {
		_ = c.conn.Taken(c.taken...)
	}
	c.taken = c.taken[:0]
}

// restart begins again from the disk after a failed commit: memory is ahead of it, and nothing of what was to be acknowledged may
// be. The connections are given up, so that whatever was not acknowledged comes again.
func (c *core) restart(cause error) {
	cause = storeError(cause)
	c.log.Error("history does not commit", slog.Any("error", cause))
	for _, done := range c.after {
		done <- cause
	}
	c.after, c.taken, c.batch, c.lazy = nil, nil, history.Batch{}, time.Time{}
	c.sessions.Purge()
	c.moved = nil
	clear(c.senders)
	clear(c.submits)
	if c.conn != nil {
		go func(conn *client.Conn) { _ = conn.Close() }(c.conn) // its end comes back as an event
	}
	c.dropLinks()
	c.hub.publish(Event{Type: EventError, Code: string(CodeOf(cause)), Message: cause.Error(), Hint: hintOf(cause)})
	if err := c.load(context.Background()); err != nil {
		c.broken = storeError(err)
		c.log.Error("history does not load", slog.Any("error", err))
	}
}

// load makes contacts and engine from the disk.
func (c *core) load(ctx context.Context) error {
	contacts, err := c.store.Contacts(ctx)
	if err != nil {
		return err
	}
	snapshot, err := c.store.Snapshot(ctx)
	if err != nil {
		return err
	}
	clear(c.contacts)
	clear(c.devices)
	for _, record := range contacts {
		c.remember(record)
	}
	for i, d := range snapshot.Devices {
		if known := c.devices[d.Device]; known != nil {
			snapshot.Devices[i].Account = known.contact.Name
		}
	}
	snapshot.Past = past{c}
	c.engine = delivery.New(delivery.Account(c.self.Name), snapshot, delivery.Limits{})
	now := time.Now()
	for _, ct := range c.contacts {
		c.engine.SetDevices(now, ct.Name, ct.accepted(c.self.Fingerprint))
	}
	if c.conn != nil {
		c.engine.RelayUp(now)
	}
	return nil
}

// past answers the engine from the history. What cannot be read was not there: a message is then shown again rather than lost.
type past struct{ c *core }

func (p past) Has(d delivery.Device, id delivery.MessageID) bool {
	has, err := p.c.store.Has(context.Background(), d, id)
	if err != nil {
		p.c.log.Error("history does not read", slog.Any("error", err))
	}
	return has
}

// hintHistory does not say to begin a new history: the numbers of what was sent are in it, and contacts would take new messages for old ones.
const hintHistory = "restore " + historyFileName + " from a backup, or sign in from an empty --home, as a further device"

// storeError gives what the history says the code and the cure that a person needs.
func storeError(err error) error {
	switch {
	case errors.Is(err, history.ErrDiskFull):
		return &Error{Code: CodeDiskFull, Message: "the disk is full", Hint: "free some space; nothing that was accepted is lost", Err: err}
	case errors.Is(err, history.ErrOldFormat):
		return &Error{Code: CodeFailed, Message: err.Error(), Hint: "sign in from an empty --home, as a further device", Err: err}
	case errors.Is(err, history.ErrDamaged):
		return &Error{Code: CodeFailed, Message: "the history file is damaged", Hint: hintHistory, Err: err}
	}
	return &Error{Code: CodeFailed, Message: "the history cannot be written", Hint: "check the disk and who owns the home", Err: err}
}

func hintOf(err error) string {
	if e, ok := errors.AsType[*Error](err); ok {
		return e.Hint
	}
	return ""
}
