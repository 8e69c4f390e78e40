package peer

import (
	"context"
	"crypto/ed25519"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"os/user"
	"slices"
	"sync"
	"time"

	libpeer "github.com/libp2p/go-libp2p/core/peer"

	"github.com/byway-chat/byway/crypto/identity"
	"github.com/byway-chat/byway/peer/lan"
	"github.com/byway-chat/byway/rendezvous"
	"github.com/byway-chat/byway/rendezvous/client"
)

// signIn opens the home's keys, and makes and enrols them first where the home is empty. The connection it returns is signed in, or nil
// where the home was enrolled before.
func (p *Peer) signIn(ctx context.Context) (*client.Conn, error) {
	f, err := p.home.file()
	if err != nil {
		return nil, err
	}
	if err := p.choose(f); err != nil {
		return nil, err
	}
	if f.Pending {
		if conn, err := p.resumePending(ctx, f); conn != nil || err != nil {
			return conn, err
		}
	}
	if f.User != "" && !f.Pending {
		return nil, p.openKeys(ctx)
	}
	return p.firstSignIn(ctx)
}

// choose decides name and rendezvous from the configuration and what the home remembers.
func (p *Peer) choose(f homeFile) error {
	wanted := p.cfg.User
	if f.User != "" && !f.Pending {
		if wanted != "" {
			if name, _ := rendezvous.ParseUsername(wanted); string(name) != f.User {
				return &Error{Code: CodeUsage, Message: fmt.Sprintf("this home belongs to %s", f.User), Hint: "leave --user out, or use another --home"}
			}
		}
		wanted = f.User
	}
	if wanted == "" {
		wanted = f.User // of a first sign-in that was cut off
	}
	if wanted == "" {
		if u, err := user.Current(); err == nil {
			wanted = u.Username
		}
	}
	name, err := rendezvous.ParseUsername(wanted)
	if err != nil {
		return nameError(err)
	}
	p.user = name
	text := p.cfg.Rendezvous
	if text == "" {
		text = f.Rendezvous
	}
	if text == "" {
		return nil // found by mDNS
	}
	address, err := rendezvous.ParseAddress(text)
	if err != nil {
		return addressError(err)
	}
	if f.User != "" && !f.Pending && f.Rendezvous != "" {
		if pinned, err := rendezvous.ParseAddress(f.Rendezvous); err == nil && pinned.ID != address.ID {
			return &Error{
				Code: CodeUsage, Message: "this home is enrolled at another rendezvous", Hint: "use another --home for another rendezvous",
			}
		}
	}
	p.address = address
	return nil
}

// askPassword gets a password, prepared for hashing and for the key file. While it waits for one the home is not locked.
func (p *Peer) askPassword(ctx context.Context, why PasswordUse) ([]byte, error) {
	missing := &Error{Code: CodeNotSignedIn, Message: "no password was given", Hint: "use --password-file F or BYWAY_PASSWORD_COMMAND"}
	if p.cfg.Password == nil {
		return nil, missing
	}
	var raw []byte
	err := p.home.aside(func() (err error) {
		raw, err = p.cfg.Password(ctx, why, string(p.user))
		return err
	})
	if errors.Is(err, ErrNoPassword) {
		return nil, missing
	}
	if err != nil {
		clear(raw)
		return nil, err
	}
	return preparePassword(raw)
}

// openKeys opens the key file and starts the network under the host key in it.
func (p *Peer) openKeys(ctx context.Context) error {
	path := p.home.path(keyFileName)
	sealed, err := identity.KeyFileNeedsPassphrase(path)
	if err != nil {
		return keyFileError(p.home.dir, err)
	}
	if sealed {
		if p.passphrase, err = p.askPassword(ctx, PasswordOpen); err != nil {
			return err
		}
	}
	if p.keys, err = identity.OpenKeyFile(path, p.passphrase); err != nil {
		return keyFileError(p.home.dir, err)
	}
	if f, err := p.home.file(); err == nil && p.cfg.Rendezvous != "" && f.Rendezvous != p.address.String() {
		f.Rendezvous = p.address.String()
		if err := p.home.save(f); err != nil {
			return err
		}
	}
	return p.startHost()
}

// resumePending asks whether a first sign-in that was cut off had reached the rendezvous, the one that it was for. It returns nothing where
// it had not: then the keys are removed and the sign-in begins again, with the name and the rendezvous that are wanted now. As long as that is
// not known the keys stay: they may be those of an enrolled device.
func (p *Peer) resumePending(ctx context.Context, f homeFile) (*client.Conn, error) {
	if _, err := os.Stat(p.home.path(keyFileName)); errors.Is(err, fs.ErrNotExist) {
		p.home.clear() // it was cut off before it had keys to show
		return nil, nil
	}
	pinned, err := rendezvous.ParseAddress(f.Rendezvous)
	if err != nil {
		return nil, addressError(err)
	}
	name, err := rendezvous.ParseUsername(f.User)
	if err != nil {
		return nil, nameError(err)
	}
	user, address := p.user, p.address
	p.user = name
	if p.address.ID != pinned.ID {
		p.address = pinned
	}
	conn, err := p.connectPending(ctx)
	if rendezvous.CodeOf(err) == rendezvous.CodeNotEnrolled {
		_ = p.host.Close()
		clear(p.passphrase)
		p.host, p.keys, p.passphrase = nil, nil, nil
		p.home.clear()
		p.user, p.address = user, address
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	f.Pending, f.Rendezvous = false, p.homeFile().Rendezvous
	if err := p.home.save(f); err != nil {
		return nil, errors.Join(err, conn.Close())
	}
	if err := p.choose(f); err != nil { // now that it is enrolled, another name or rendezvous is refused
		return nil, errors.Join(err, conn.Close())
	}
	return conn, nil
}

// connectPending opens the keys of a first sign-in that was cut off and signs in with them.
func (p *Peer) connectPending(ctx context.Context) (*client.Conn, error) {
	if err := p.openKeys(ctx); err != nil {
		if CodeOf(err) == CodeBadCredentials {
			return nil, &Error{
				Code: CodeBadCredentials, Message: fmt.Sprintf("the password is not the one with which the sign-in of %s began that was cut off", p.user),
				Hint: "use that password to go on with it, or another --home", Err: err,
			}
		}
		return nil, err
	}
	conn, err := p.connect(ctx, firstTry)
	if err != nil && rendezvous.CodeOf(err) != rendezvous.CodeNotEnrolled {
		return nil, p.rendezvousError(err)
	}
	return conn, err
}

// firstSignIn registers the name or enrols this device with the password. The RSA keys are made beside the connection. Keys and a
// pending home file are on the disk before the rendezvous learns of them; when it refuses, both are removed again.
func (p *Peer) firstSignIn(ctx context.Context) (*client.Conn, error) {
	secret, err := p.askPassword(ctx, PasswordSignIn)
	if err != nil {
		return nil, err
	}
	defer clear(secret)
	if p.cfg.SignIn == SignInRegister {
		if err := p.checkStrength(secret); err != nil {
			return nil, err
		}
	}
	_, host, err := ed25519.GenerateKey(nil)
	if err != nil {
		return nil, fmt.Errorf("generate host key: %w", err)
	}
	making := makeKeys(host, p.cfg.NewKeys)
	defer making.wait()
	p.keys = &identity.Keyring{Host: host} // enough for the network; the rest follows
	if err := p.startHost(); err != nil {
		return nil, err
	}
	conn, err := p.reach(ctx)
	if err != nil {
		return nil, err
	}
	first := &firstStream{conn: conn, opened: time.Now()}
	if err := p.enrolFirst(ctx, first, secret, making); err != nil {
		return nil, errors.Join(err, first.conn.Close())
	}
	return first.conn, nil
}

// making is a keyring that is being made on another goroutine.
type making struct {
	done chan struct{}
	keys *identity.Keyring // after done
	err  error             // after done
}

func makeKeys(host ed25519.PrivateKey, generate func(time.Time) (*identity.Keyring, error)) *making {
	m := &making{done: make(chan struct{})}
	go func() {
		defer close(m.done)
		if m.keys, m.err = generate(time.Now()); m.err == nil {
			m.keys.Host = host
		}
	}()
	return m
}

func (m *making) wait() { <-m.done }

// firstStream is the stream of a first sign-in. It is opened beside the making of the keys, to learn early what is wrong with the address.
type firstStream struct {
	conn   *client.Conn
	opened time.Time
}

// refresh opens another stream where a slow or busy machine has taken long to make and seal its keys: a rendezvous soon gives up a stream that
// does not sign in.
func (p *Peer) refresh(ctx context.Context, first *firstStream) error {
	if time.Since(first.opened) < rendezvous.SignInTimeout/4 {
		return nil
	}
	next, err := p.reach(ctx) // before the old one is closed: its connection may still serve
	if err != nil {
		return err
	}
	_ = first.conn.Close()
	first.conn, first.opened = next, time.Now()
	return nil
}

// reach finds the rendezvous, by its address or on the LAN, and dials it.
func (p *Peer) reach(ctx context.Context) (*client.Conn, error) {
	ctx, cancel := context.WithTimeout(ctx, connectTime)
	defer cancel()
	if p.address.ID == "" {
		found, err := p.discover(ctx)
		if err != nil {
			return nil, err
		}
		p.address = rendezvous.Address{ID: found.ID, Addrs: found.Addrs, Invite: p.cfg.Invite}
	}
	conn, err := client.Dial(ctx, client.Options{Host: p.host, Rendezvous: p.address.AddrInfo(), Agent: p.cfg.Agent, Logger: p.log})
	if err != nil {
		return nil, p.rendezvousError(err)
	}
	return conn, nil
}

// discover listens on the LAN for a rendezvous. It takes the one there is, and refuses to choose among several: whoever runs one
// sees who signs in, so that is the person's choice.
func (p *Peer) discover(ctx context.Context) (libpeer.AddrInfo, error) {
	none := &Error{
		Code: CodeNoRendezvousFound, Message: "no rendezvous was found on this network",
		Hint: "ask for its address and use --rendezvous ADDR, or start one with `rendezvous serve`",
	}
	if p.cfg.NoMDNS {
		none.Message = "no rendezvous is given, and looking on the network is switched off"
		return libpeer.AddrInfo{}, none
	}
	browse, cancel := context.WithTimeout(ctx, browseTime)
	defer cancel()
	candidates, stop := lan.Browse(browse, p.host.ID(), p.log)
	defer stop()
	return p.only(prove(ctx, candidates, p.speaks), none)
}

// maxProving is how many candidates are dialled at a time: one that swallows packets must not hide the others.
const maxProving = 8

// prove returns the candidates that speak, each once. It ends when the search has ended and all are proven, or soon after the first is.
func prove(ctx context.Context, candidates <-chan libpeer.AddrInfo, speaks func(context.Context, libpeer.AddrInfo) bool) []libpeer.AddrInfo {
	ctx, cancel := context.WithCancel(ctx)
	var dials sync.WaitGroup
	defer dials.Wait()
	defer cancel()
	type verdict struct {
		info libpeer.AddrInfo
		ok   bool
	}
	verdicts := make(chan verdict, maxProving)
	var found []libpeer.AddrInfo
	var settle <-chan time.Time
	searching := candidates
	for running := 0; searching != nil || running > 0; {
		next := searching
		if running == maxProving {
			next = nil
		}
		select {
		case info, ok := <-next:
			if !ok {
				searching = nil
				continue
			}
			if known(found, info.ID) {
				continue
			}
			running++
			dials.Go(func() { verdicts <- verdict{info, speaks(ctx, info)} })
		case v := <-verdicts:
			running--
			if !v.ok || known(found, v.info.ID) {
				continue
			}
			found = append(found, v.info)
			if settle == nil {
				settle = time.After(300 * time.Millisecond) // others on a LAN answer within 20 ms
			}
		case <-settle:
			return found
		}
	}
	return found
}

func known(found []libpeer.AddrInfo, id libpeer.ID) bool {
	return slices.ContainsFunc(found, func(f libpeer.AddrInfo) bool { return f.ID == id })
}

func (p *Peer) only(found []libpeer.AddrInfo, none error) (libpeer.AddrInfo, error) {
	switch len(found) {
	case 0:
		return libpeer.AddrInfo{}, none
	case 1:
		return found[0], nil
	}
	hint := "choose one with --rendezvous:"
	for _, f := range found {
		hint += " " + rendezvous.Address{ID: f.ID, Addrs: f.Addrs[:1]}.String()
	}
	return libpeer.AddrInfo{}, &Error{Code: CodeUsage, Message: fmt.Sprintf("%d rendezvous answer on this network", len(found)), Hint: hint}
}

// speaks proves that a candidate is a rendezvous: anybody on the LAN can announce anything.
func (p *Peer) speaks(ctx context.Context, info libpeer.AddrInfo) bool {
	ctx, cancel := context.WithTimeout(ctx, dialTime)
	defer cancel()
	conn, err := client.Dial(ctx, client.Options{Host: p.host, Rendezvous: info, Agent: p.cfg.Agent, Logger: p.log})
	if err != nil {
		p.log.Info("a candidate on the network is no rendezvous", slog.Any("error", err))
		return false
	}
	return conn.Close() == nil
}
