package peer

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"syscall"
	"time"

	"github.com/byway-chat/byway/crypto/identity"
	"github.com/byway-chat/byway/peer/route"
	"github.com/byway-chat/byway/peer/trace"
)

// Of the contacts in a checkup.
const (
	checkupContacts = 10
	checkupRecent   = 30 * 24 * time.Hour
)

// Checkup is what a running peer knows of its own situation: what `byway doctor` asks it.
type Checkup struct {
	Rendezvous Rendezvous     `json:"rendezvous"`
	Reason     string         `json:"reason,omitempty"` // why the rendezvous is not connected
	Transport  string         `json:"transport,omitempty"`
	RTT        *float64       `json:"rtt_ms"` // to the rendezvous
	Network    *trace.Network `json:"network"`
	Seen       []string       `json:"seen"`      // where others may send to this device from outside, as far as the rendezvous says
	Listening  []string       `json:"listening"` // this device's own addresses
	Private    bool           `json:"private"`   // it tells nobody its address and dials nobody
	Outbox     int            `json:"outbox"`    // messages not yet delivered
	// Unlisted says that the rendezvous is told no address, because it cannot withhold them from those whom a policy keeps them from.
	Unlisted bool `json:"unlisted,omitempty"`
	// PortMapping says whether the router leads connections from outside to this device.
	PortMapping PortMapping `json:"port_mapping"`
	// Contacts are those who were talked to lately, the latest first.
	Contacts []ContactCheck `json:"contacts"`
}

// ContactCheck is how it stands with one contact.
type ContactCheck struct {
	User     string `json:"user"`
	Online   bool   `json:"online"`
	Way      Way    `json:"way"`
	Reason   string `json:"reason,omitempty"` // why no direct way is open
	Sentence string `json:"sentence,omitempty"`
	Remedy   string `json:"remedy,omitempty"`
	Evidence
}

// Checkup looks around: it asks the rendezvous from where it sees this device, where that is not known, for at most 2 s.
func (p *Peer) Checkup(ctx context.Context) (Checkup, error) {
	if err := p.up(); err != nil {
		return Checkup{}, err
	}
	p.lookAround(ctx)
	c := p.core
	out := Checkup{
		Rendezvous: Rendezvous{PeerID: p.address.ID.String()}, Private: p.cfg.Private, Seen: []string{}, Listening: []string{}, Contacts: []ContactCheck{},
		PortMapping: p.portMapping(), Unlisted: p.unlisted.Load(),
	}
	out.Listening = append(out.Listening, texts(p.host.Addrs())...)
	err := c.do(ctx, func() {
		c.networks(time.Now())
		out.Rendezvous.Connected, out.Reason, out.Outbox = c.conn != nil, c.reason, c.engine.Pending()
		out.Network = networkOf(c.surroundings().Here, false)
		if c.conn != nil {
			rtt := milliseconds(c.conn.RTT())
			out.RTT, out.Transport = &rtt, c.conn.Remote()
			if c.here.of == c.conn {
				out.Seen = append(out.Seen, texts(c.here.addrs)...)
			}
		}
		out.Contacts = append(out.Contacts, c.checkContacts(time.Now())...)
	})
	if err != nil {
		return Checkup{}, err // and not out, which the core may still be writing
	}
	return out, nil
}

// lookAround waits until it is known what the network does, where the rendezvous can say that in time.
func (p *Peer) lookAround(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, observeTime+500*time.Millisecond)
	defer cancel()
	known := make(chan struct{})
	err := p.core.do(ctx, func() {
		if p.core.conn == nil {
			close(known)
			return
		}
		p.core.observe(time.Now(), func() { close(known) })
	})
	if err != nil {
		return
	}
	select {
	case <-known:
	case <-ctx.Done():
	}
}

// checkContacts describes those who were talked to lately.
func (c *core) checkContacts(now time.Time) []ContactCheck {
	var recent []*contact
	for _, ct := range c.contacts {
		if string(ct.Name) != c.self.Name && now.Sub(ct.Active) < checkupRecent {
			recent = append(recent, ct)
		}
	}
	slices.SortFunc(recent, func(a, b *contact) int { return b.Active.Compare(a.Active) })
	s := c.surroundings()
	var out []ContactCheck
	for _, ct := range recent[:min(len(recent), checkupContacts)] {
		told := c.describe(ct.Name, len(c.online[ct.Name]) > 0)
		check := ContactCheck{User: told.Name, Online: told.Online, Way: told.Way, Evidence: told.Evidence}
		if !told.Way.IsDirect() {
			check.explain(c.whyNotDirect(ct, &s))
		}
		out = append(out, check)
	}
	return out
}

func (k *ContactCheck) explain(r route.Reason) {
	if r != "" {
		k.Reason, k.Sentence, k.Remedy = string(r), r.Sentence(), r.RemedyFor(k.User)
	}
}

// whyNotDirect returns why no direct way to a contact is open, for the device of which that tells most.
func (c *core) whyNotDirect(ct *contact, s *route.Surroundings) route.Reason {
	var why []route.Reason
	for _, d := range ct.sealedFor(c.self.Fingerprint) {
		why = append(why, c.look(d).Why(s, route.Direct))
	}
	return route.MostTelling(why)
}

// HomeInUse reports whether a process holds the lock of a home. A home that does not exist is not in use.
func HomeInUse(dir string) (bool, error) {
	lock, err := os.OpenFile(filepath.Join(dir, lockFileName), os.O_RDWR, 0)
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	if err != nil {
		return false, &Error{Code: CodeFailed, Message: "the lock of the home cannot be looked at", Hint: "check who owns the home", Err: err}
	}
	defer func() { _ = lock.Close() }() // gives back what was taken
	err = syscall.Flock(int(lock.Fd()), syscall.LOCK_EX|syscall.LOCK_NB)
	return errors.Is(err, syscall.EWOULDBLOCK), nil
}

// LookAtHome tells whose home a directory is, without a look at its keys. A home that does not exist is no error.
func LookAtHome(dir string) (HomeInfo, error) {
	f, err := readHomeFile(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return HomeInfo{}, nil
	}
	if _, told := errors.AsType[*Error](err); err != nil && !told {
		err = &Error{Code: CodeFailed, Message: "the home cannot be read", Hint: "check who owns the files in " + dir, Err: err}
	}
	return HomeInfo{Exists: f.User != "" && !f.Pending, User: f.User, Rendezvous: f.Rendezvous}, err
}

// LookAtKeys reports whether the key file of a home is sealed. It opens no key. Errors are *[Error].
func LookAtKeys(dir string) (sealed bool, err error) {
	sealed, err = identity.KeyFileNeedsPassphrase(filepath.Join(dir, keyFileName))
	if err != nil {
		return false, keyFileError(dir, err)
	}
	return sealed, nil
}
