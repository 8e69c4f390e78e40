package route

import (
	"time"

	"github.com/byway-chat/byway/peer/delivery"
)

// Times between tries.
const (
	dialPause    = 2 * time.Second  // after the first failure, doubled each time
	maxDialPause = 25 * time.Second // a direct way that has come to be is found within 30 s
	// maxLostPause takes its place where such a way was open before: when it is there again it is found within 10 s.
	maxLostPause = 4 * time.Second
	// alonePause takes the place of both while messages wait and nothing else can carry them.
	alonePause = time.Second
	// A punch costs both sides and the rendezvous more than a dial.
	punchPause    = 4 * time.Second
	maxPunchPause = time.Minute
	vainPause     = 10 * time.Minute // where it is known why it cannot succeed
	// lostPause is the time after which a punched way that was lost is punched again, where that has not failed.
	lostPause = time.Second
	// A dial that may succeed has a start before a punch, and more of one where it is the other side that must dial us.
	dialStart    = 300 * time.Millisecond
	exposedStart = 1500 * time.Millisecond
)

// Surroundings is what holds for all contacts.
type Surroundings struct {
	Here       Network // Policy in it counts for nothing: each Table has its own
	Rendezvous bool    // connected
	Hidden     bool    // this device tells nobody its address and dials nobody
	Multicast  Multicast
	Exposed    bool // this device has a public address of its own
}

// attempt is what is known of trying a way.
type attempt struct {
	running  bool
	failures int       // in a row
	ended    time.Time // of the latest that has failed; zero: none has
	ever     bool      // one has failed, also before the last reset
}

func (a *attempt) begin()             { a.running = true }
func (a *attempt) fail(now time.Time) { a.running, a.ended, a.ever = false, now, true; a.failures++ }
func (a *attempt) reset()             { a.failures, a.ended = 0, time.Time{} }
func (a *attempt) tried() bool        { return a.failures > 0 }

// again is when the next may begin: immediately where none has failed.
func (a *attempt) again(first, most time.Duration) time.Time {
	if a.failures == 0 {
		return a.ended
	}
	return a.ended.Add(min(first<<min(a.failures-1, 12), most))
}

// Table is what is known of the ways to one device. It is not for several goroutines. The zero value knows nothing.
type Table struct {
	Addresses Addresses // of the device
	There     Network   // what the device has said
	Policy    Policy    // ours
	Online    bool      // at the rendezvous
	Near      bool      // it announces itself on this network
	Urgent    bool      // messages wait, and no other way is open
	Full      bool      // the rendezvous keeps no more for it

	dial  attempt
	punch attempt
	first time.Time // when a way was first wanted, since there was one or something else changed
	open  Open
	lost  delivery.Way // the way that was open last, until another is
}

// Open is the direct way that is open. The zero value is none.
type Open struct {
	Way  delivery.Way
	Addr string
}

// Want says that a better way is wanted. A dial is to be made first.
func (t *Table) Want(now time.Time) {
	if t.first.IsZero() {
		t.first = now
	}
}

// Start returns when a punch may be tried at the earliest, where a dial may make it needless.
func (t *Table) Start(s *Surroundings) time.Time {
	switch {
	case s.Exposed:
		return t.first.Add(exposedStart)
	case t.Addresses.Common || len(t.Addresses.Public) > 0:
		return t.first.Add(dialStart)
	}
	return t.first
}

// Dialling says that the addresses are being dialled.
func (t *Table) Dialling() { t.dial.begin() }

// DialFailed says that none has answered.
func (t *Table) DialFailed(now time.Time) { t.dial.fail(now) }

// Punching says that a punch has begun.
func (t *Table) Punching() { t.punch.begin() }

// PunchFailed says that it has not brought the two together.
func (t *Table) PunchFailed(now time.Time) { t.punch.fail(now) }

// Opened says that the device answers directly.
func (t *Table) Opened(o Open) {
	t.open, t.lost, t.Urgent, t.first = o, "", false, time.Time{}
	t.dial, t.punch = attempt{ever: t.dial.ever}, attempt{ever: t.punch.ever}
}

// Closed says that the way that was open is not any more.
func (t *Table) Closed(now time.Time) {
	t.lost, t.open, t.first = t.open.Way, Open{}, time.Time{}
	t.dial, t.punch = attempt{ever: t.dial.ever}, attempt{ever: t.punch.ever, ended: now.Add(lostPause)}
}

// Renewed says that the device has come back or has other addresses: what has failed may work now.
func (t *Table) Renewed() {
	t.dial.reset()
	t.punch.reset()
	t.first = time.Time{}
}

// Use returns the way that a message takes now, or none.
func (t *Table) Use(s *Surroundings) delivery.Way {
	for _, w := range ways {
		if t.stands(s, w) == "" {
			return w
		}
	}
	return ""
}

// MayDial reports whether the addresses are to be dialled now, were somebody to want that.
func (t *Table) MayDial(now time.Time, s *Surroundings) bool {
	if t.open.Way != "" || t.dial.running || t.Addresses.none() || s.Hidden {
		return false
	}
	switch agreed := t.Agreed(); {
	case !agreed.Has(delivery.WayLAN), !agreed.Has(delivery.WayDirect) && !t.Addresses.Common:
		return false // what is dialled elsewhere leaves the LAN
	}
	if t.Urgent && !s.Rendezvous && t.dial.tried() {
		return !now.Before(t.dial.ended.Add(alonePause))
	}
	most := maxDialPause
	if t.lost == delivery.WayLAN || t.lost == delivery.WayDirect {
		most = maxLostPause
	}
	return !now.Before(t.dial.again(dialPause, most))
}

// MayPunch reports whether a punch is to be tried now, were somebody to want that. Where a punch cannot come to anything it is tried seldom all the
// same: what is known of the networks may be wrong.
func (t *Table) MayPunch(now time.Time, s *Surroundings) bool {
	if !t.punchable(s) || t.punch.running || now.Before(t.Start(s)) {
		return false
	}
	first, most := punchPause, maxPunchPause
	switch {
	case t.lost == delivery.WayPunched:
		most = punchPause // it has worked: when it is there again it is found within 10 s
	case unpunched(s.Here, t.There) != PunchFailed && t.punch.tried():
		first, most = vainPause, vainPause
	}
	return !now.Before(t.punch.again(first, most))
}

// punchable reports whether a punch is possible, needed and allowed.
func (t *Table) punchable(s *Surroundings) bool {
	return t.open.Way == "" && !s.Hidden && s.Rendezvous && t.Online && !apart(s.Here, t.There) &&
		forbids(t.Policy, t.There.Policy, delivery.WayPunched) == ""
}

// MayMeet reports whether a punch that the device offers may be answered.
func (t *Table) MayMeet(s *Surroundings) bool {
	return !s.Hidden && s.Rendezvous && forbids(t.Policy, t.There.Policy, delivery.WayPunched) == ""
}

// Findings returns what this device has found out, as it tells the other one: with the policy for it.
func (t *Table) Findings(s *Surroundings) Network {
	here := s.Here
	if here.Policy = t.Policy; s.Hidden {
		here.Policy = Relay
	}
	return here
}

// Agreed returns the ways that the policies of both sides allow.
func (t *Table) Agreed() Ways { return t.Policy.Ways() & t.There.Policy.Ways() }

// Known reports whether there is an address to dial.
func (t *Table) Known() bool { return !t.Addresses.none() }

// DialFailing reports whether the latest dial has failed.
func (t *Table) DialFailing() bool { return t.dial.tried() }

// Busy reports whether a dial or a punch is under way, or a first punch will be when a dial has had its start.
func (t *Table) Busy(now time.Time, s *Surroundings) bool {
	return t.dial.running || t.punch.running ||
		t.punchable(s) && !t.first.IsZero() && !t.punch.tried() && now.Before(t.Start(s))
}

// Explored reports whether a direct way is open, or known not to be there for now.
func (t *Table) Explored() bool { return t.open.Way != "" || t.dial.tried() || t.lost != "" }
