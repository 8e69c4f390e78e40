package peer

import (
	"context"
	"crypto/ed25519"
	"errors"
	"fmt"
	"log/slog"
	"os/user"
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

// askPassword gets a password, prepared for hashing and for the key file.
func (p *Peer) askPassword(ctx context.Context, why PasswordUse) ([]byte, error) {
	missing := &Error{Code: CodeNotSignedIn, Message: "no password was given", Hint: "use --password-file F or BYWAY_PASSWORD_COMMAND"}
	if p.cfg.Password == nil {
		return nil, missing
	}
	raw, err := p.cfg.Password(ctx, why, string(p.user))
	if errors.Is(err, ErrNoPassword) {
		return nil, missing
	}
	if err != nil {
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

// resumePending asks whether a first sign-in that was cut off had reached the rendezvous. It returns nothing where it had not: then
// the sign-in begins again with new keys.
func (p *Peer) resumePending(ctx context.Context, f homeFile) (*client.Conn, error) {
	if f.User != string(p.user) || f.Rendezvous == "" {
		p.home.clear()
		return nil, nil
	}
	if err := p.openKeys(ctx); err != nil {
		if CodeOf(err) == CodeBadCredentials {
			p.home.clear()
			return nil, nil
		}
		return nil, err
	}
	conn, err := p.connect(ctx)
	if rendezvous.CodeOf(err) == rendezvous.CodeNotEnrolled {
		_ = p.host.Close()
		p.host = nil
		p.home.clear()
		return nil, nil
	}
	if err != nil {
		return nil, p.rendezvousError(err)
	}
	f.Pending = false
	if err := p.home.save(f); err != nil {
		return nil, errors.Join(err, conn.Close())
	}
	return conn, nil
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
	var found []libpeer.AddrInfo
	var settle <-chan time.Time
	for {
		select {
		case info, ok := <-candidates:
			if !ok {
				return p.only(found, none)
			}
			if known(found, info.ID) || !p.speaks(ctx, info) {
				continue
			}
			found = append(found, info)
			if settle == nil {
				settle = time.After(300 * time.Millisecond) // others on a LAN answer within 20 ms
			}
		case <-settle:
			return p.only(found, none)
		}
	}
}

func known(found []libpeer.AddrInfo, id libpeer.ID) bool {
	for _, f := range found {
		if f.ID == id {
			return true
		}
	}
	return false
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
