package directory

import (
	"log/slog"
	"runtime"
	"sync"
	"sync/atomic"
	"time"

	lru "github.com/hashicorp/golang-lru/v2"
	"github.com/libp2p/go-libp2p/core/peer"

	"github.com/byway-chat/byway/crypto/identity"
	"github.com/byway-chat/byway/rendezvous"
)

// Policy says who may register.
type Policy string

// The policies, as Welcome spells them.
const (
	Open     Policy = "open"
	ByInvite Policy = "invite"
	Closed   Policy = "closed"
)

// Presence is what the Service needs of presence.Tracker.
type Presence interface {
	Online(user rendezvous.Username) bool
	DeviceOnline(device identity.Fingerprint) bool
	KeysChanged(user rendezvous.Username, device identity.Fingerprint)
}

// Options configure a Service. Rendezvous, Hasher and Presence are required; another zero field takes the default named with it.
type Options struct {
	Rendezvous peer.ID // whose PeerID entries, bundles and proofs must name
	Hasher     Hasher
	Presence   Presence
	Policy     Policy        // default Closed: a forgotten setting admits nobody
	Hashes     int           // password checks at once; default max(1, cores/2)
	HashQueue  int           // that may wait for their turn; default 64
	HashWait   time.Duration // longest wait, then "busy"; default 5 s
	Now        func() time.Time
	Logger     *slog.Logger // default: discard; gets user names, never passwords or tokens
}

// Service is the directory of one rendezvous. Its methods may be called from any goroutine.
type Service struct {
	store   Store       // immutable
	invites InviteStore // immutable
	o       Options     // immutable, with defaults
	hashing *hashing    // has its own lock
	guesses *guesses    // has its own lock
	seen    *seenNotes  // has its own lock
	owners  *lru.Cache[identity.Fingerprint, rendezvous.Username]
	bans    atomic.Uint64 // how many have been made or lifted

	mu     sync.Mutex // guards the following
	policy Policy
}

// cachedOwners is how many devices' accounts are remembered for the relay. A device changes its account never, and leaves it
// only through RemoveDevices.
const cachedOwners = 65536

// New makes a Service. It starts no goroutine. It panics where a required option is missing.
func New(store Store, invites InviteStore, o Options) *Service {
	o = o.withDefaults()
	owners, err := lru.New[identity.Fingerprint, rendezvous.Username](cachedOwners)
	if err != nil {
		panic("directory: " + err.Error()) // the size is a positive constant
	}
	return &Service{
		store:   store,
		invites: invites,
		o:       o,
		hashing: newHashing(o),
		guesses: newGuesses(o.Now),
		seen:    &seenNotes{times: make(map[identity.Fingerprint]time.Time)},
		owners:  owners,
		policy:  o.Policy,
	}
}

func (o Options) withDefaults() Options {
	if o.Rendezvous == "" || o.Hasher == nil || o.Presence == nil {
		panic("directory: a required option is missing")
	}
	if o.Policy == "" {
		o.Policy = Closed
	}
	if o.Hashes == 0 {
		o.Hashes = max(1, runtime.GOMAXPROCS(0)/2)
	}
	if o.HashQueue == 0 {
		o.HashQueue = 64
	}
	if o.HashWait == 0 {
		o.HashWait = 5 * time.Second
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	return o
}

// Policy returns who may register now.
func (s *Service) Policy() Policy {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.policy
}

// SetPolicy changes who may register.
func (s *Service) SetPolicy(p Policy) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.policy = p
}
