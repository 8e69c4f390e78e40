package directory

import (
	"sync"
	"time"

	"github.com/hashicorp/golang-lru/v2/simplelru"
	"golang.org/x/time/rate"

	"github.com/byway-chat/byway/rendezvous"
)

const (
	// freeGuesses is how many wrong passwords for one name one source has before it must wait.
	freeGuesses = 5
	// freeGuessesOfAll is the same for all sources together. It is higher, so that a guesser elsewhere delays a name's owner late, and never
	// for more than maxGuessDelay.
	freeGuessesOfAll = 50
	// While all sources must wait, those that have no wrong guess for the name share a few attempts of their own, one more each
	// cleanInterval: so whoever guesses from some addresses does not hold up the owner at another.
	cleanGuesses  = 5
	cleanInterval = 30 * time.Second
	// firstGuessDelay is the wait after the first guess that is not free; it doubles with each one, up to maxGuessDelay.
	firstGuessDelay = time.Second
	maxGuessDelay   = time.Minute
	// guessMemory is how long a wrong guess counts after the last one.
	guessMemory = time.Hour
	// guessedNames is how many names, and names with sources, are remembered; those that were quiet longest are forgotten first.
	guessedNames = 65536
)

// guessKey is a name as it was asked for, known or not, and a source; the empty source stands for all together.
type guessKey struct {
	name   rendezvous.Username
	source string
}

// guessCount is what is remembered of wrong passwords.
type guessCount struct {
	wrong int
	last  time.Time
}

// guesses slows down whoever tries passwords: by a growing pause and never by a lock, so nobody can be locked out. Known and unknown
// names are treated alike.
type guesses struct {
	now func() time.Time

	mu      sync.Mutex // guards the following
	counts  *simplelru.LRU[guessKey, guessCount]
	clean   *simplelru.LRU[rendezvous.Username, *rate.Limiter] // names whose sources must all wait
	running map[guessKey]struct{}                              // attempts in flight: a second one could not know how the first will end
}

func newGuesses(now func() time.Time) *guesses {
	counts, err := simplelru.NewLRU[guessKey, guessCount](guessedNames, nil)
	if err != nil {
		panic("directory: " + err.Error()) // the size is a positive constant
	}
	clean, err := simplelru.NewLRU[rendezvous.Username, *rate.Limiter](guessedNames, nil)
	if err != nil {
		panic("directory: " + err.Error()) // the same
	}
	return &guesses{now: now, counts: counts, clean: clean, running: make(map[guessKey]struct{})}
}

// begin admits an attempt, or returns rate-limited (too many wrong ones before) or busy (one is running). The caller calls end.
func (g *guesses) begin(name rendezvous.Username, source string) error {
	g.mu.Lock()
	defer g.mu.Unlock()
	_, running := g.running[guessKey{name, source}]
	wait := g.waitLocked(guessKey{name, source}, freeGuesses)
	if all := g.waitLocked(guessKey{name: name}, freeGuessesOfAll); all > wait && (running || !g.admitsCleanLocked(name, source)) {
		wait = all
	}
	if wait > 0 {
		return &rendezvous.Error{
			Code:       rendezvous.CodeRateLimited,
			Message:    "too many wrong passwords for this name; wait before the next",
			RetryAfter: wait,
		}
	}
	if running {
		return &rendezvous.Error{
			Code:       rendezvous.CodeBusy,
			Message:    "another sign-in with this name is being checked",
			RetryAfter: time.Second,
		}
	}
	g.running[guessKey{name, source}] = struct{}{}
	return nil
}

// admitsCleanLocked takes an attempt of those that are set aside for sources without a wrong guess for the name.
func (g *guesses) admitsCleanLocked(name rendezvous.Username, source string) bool {
	if source == "" {
		return false
	}
	if c, ok := g.counts.Peek(guessKey{name, source}); ok && g.now().Sub(c.last) <= guessMemory {
		return false
	}
	attempts, ok := g.clean.Get(name)
	if !ok {
		attempts = rate.NewLimiter(rate.Every(cleanInterval), cleanGuesses)
		g.clean.Add(name, attempts)
	}
	return attempts.AllowN(g.now(), 1)
}

// waitLocked is how long the key must wait until its next attempt.
func (g *guesses) waitLocked(k guessKey, free int) time.Duration {
	c, ok := g.counts.Get(k)
	if !ok || c.wrong < free {
		return 0
	}
	delay := maxGuessDelay
	if doublings := c.wrong - free; doublings < 6 {
		delay = firstGuessDelay << doublings
	}
	// A clock that was set back must not make the wait longer than it ever was meant to be.
	return min(c.last.Add(delay).Sub(g.now()), delay)
}

// guessResult is how an attempt ended.
type guessResult int

const (
	guessUnknown guessResult = iota // it was not checked
	guessWrong
	guessRight
)

// end finishes an attempt.
func (g *guesses) end(name rendezvous.Username, source string, r guessResult) {
	g.mu.Lock()
	defer g.mu.Unlock()
	delete(g.running, guessKey{name, source})
	switch r {
	case guessWrong:
		g.countLocked(guessKey{name, source})
		if source != "" {
			g.countLocked(guessKey{name: name})
		}
	case guessRight:
		// Only this source has shown that it knows the password; the count of all others stays.
		g.counts.Remove(guessKey{name, source})
	case guessUnknown:
	}
}

func (g *guesses) countLocked(k guessKey) {
	now := g.now()
	c, ok := g.counts.Peek(k)
	if ok && now.Sub(c.last) > guessMemory {
		c = guessCount{}
	}
	g.counts.Add(k, guessCount{wrong: c.wrong + 1, last: now})
}
