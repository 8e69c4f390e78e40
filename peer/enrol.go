package peer

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"time"

	"github.com/byway-chat/byway/crypto/identity"
	"github.com/byway-chat/byway/crypto/password"
	"github.com/byway-chat/byway/rendezvous"
	"github.com/byway-chat/byway/rendezvous/client"
)

// Lives of an encryption key (design: rotated weekly, kept until nothing sealed to it can still arrive).
const (
	keyRotation  = 7 * 24 * time.Hour
	bundleLife   = 21 * 24 * time.Hour
	keyRetention = bundleLife + 24*time.Hour
)

// signInTime bounds one exchange of a first sign-in, the wait for a free hashing slot included. The making of the keys is not bounded: it
// takes as long as the machine needs.
const signInTime = 30 * time.Second

// enrolFirst does the first sign-in, as the configuration allows.
func (p *Peer) enrolFirst(ctx context.Context, first *firstStream, secret []byte, m *making) error {
	if p.cfg.SignIn != SignInLogin {
		err := p.register(ctx, first, secret, m)
		if err == nil || p.cfg.SignIn == SignInRegister {
			return p.signInError(err)
		}
		switch rendezvous.CodeOf(err) {
		case rendezvous.CodeNameTaken, rendezvous.CodeRegistrationClosed, rendezvous.CodeInviteRequired:
		default:
			return p.signInError(err)
		}
		loginErr := p.login(ctx, first.conn, secret, m)
		if loginErr != nil && rendezvous.CodeOf(loginErr) == rendezvous.CodeBadCredentials && rendezvous.CodeOf(err) != rendezvous.CodeNameTaken {
			return p.signInError(err) // the name may not exist at all: the better advice is how to register
		}
		return p.signInError(loginErr)
	}
	return p.signInError(p.login(ctx, first.conn, secret, m))
}

func (p *Peer) checkStrength(secret []byte) error {
	if _, err := password.Prepare(string(p.user), string(secret)); err != nil {
		return &Error{Code: CodePasswordTooWeak, Message: err.Error(), Hint: "use a longer one: several words are easy to remember"}
	}
	return nil
}

// register asks for the name. A weak password is refused here where the name may be free; for one that is taken it may be an old one.
func (p *Peer) register(ctx context.Context, first *firstStream, secret []byte, m *making) error {
	weak := p.checkStrength(secret)
	if weak != nil && p.cfg.SignIn == SignInAuto {
		ctx, cancel := context.WithTimeout(ctx, signInTime)
		defer cancel()
		if _, err := first.conn.Login(ctx, string(p.user), string(secret)); err != nil {
			// Whether the name is taken is not said to whom has the wrong password: both cures are named.
			return &Error{
				Code: CodeBadCredentials, Message: fmt.Sprintf("the password does not sign %s in, and could not register it: %s", p.user, weak.Error()),
				Hint: "if the account is yours, check the password; for a new one use a longer password",
			}
		}
		return rendezvous.Errorf(rendezvous.CodeNameTaken, "the name is taken")
	}
	if weak != nil {
		return weak
	}
	if err := p.persist(secret, m); err != nil {
		return err
	}
	if err := p.refresh(ctx, first); err != nil {
		p.home.clear()
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, signInTime)
	defer cancel()
	entry := &rendezvous.Entry{Rendezvous: p.address.ID, Username: p.user, Seq: 1, Issued: time.Now(), Devices: []rendezvous.EntryDevice{p.ownDevice()}}
	signed, bundle, possession, err := p.sign(first.conn, entry)
	if err != nil {
		return err
	}
	invite := p.cfg.Invite
	if invite == "" {
		invite = p.address.Invite
	}
	request := &rendezvous.Register{
		Username: string(p.user), Password: string(secret), Entry: signed, Bundle: bundle, Possession: possession, Invite: invite,
	}
	err = patiently(ctx, func() error {
		_, err := first.conn.Register(ctx, request)
		return err
	})
	if err != nil {
		p.giveUp(first.conn, err)
		return err
	}
	return p.confirm()
}

// refusals are the answers to Register and Enrol after which nothing of this device is in the directory.
var refusals = map[rendezvous.Code]bool{
	rendezvous.CodeNameTaken: true, rendezvous.CodeNameNotAllowed: true, rendezvous.CodeRegistrationClosed: true,
	rendezvous.CodeInviteRequired: true, rendezvous.CodePasswordTooWeak: true, rendezvous.CodeKeyRefused: true, rendezvous.CodeStale: true,
	rendezvous.CodeBadCredentials: true, rendezvous.CodeRateLimited: true, rendezvous.CodeBusy: true, rendezvous.CodeBanned: true,
	rendezvous.CodeTooLarge: true, rendezvous.CodeNotSignedIn: true,
}

// giveUp empties the home again after a definite no. After anything else we may be enrolled and must not lose the keys: the next start asks.
func (p *Peer) giveUp(conn *client.Conn, err error) {
	if refused(conn, err) {
		p.home.clear()
	}
}

// refused reports whether err is an answer of the rendezvous to Register or Enrol that says no. The Goodbye of a connection has a code as well,
// but it may come after the account was made.
func refused(conn *client.Conn, err error) bool {
	answer, ok := errors.AsType[*rendezvous.Error](err)
	if !ok {
		return false
	}
	goodbye, ok := errors.AsType[*rendezvous.Error](conn.Err())
	return refusals[answer.Code] && !(ok && goodbye == answer)
}

// login shows the password first, so that a wrong one costs nothing, and then adds this device to the account's list.
func (p *Peer) login(ctx context.Context, conn *client.Conn, secret []byte, m *making) error {
	exchange, cancel := context.WithTimeout(ctx, signInTime)
	defer cancel()
	var enrolling *rendezvous.Enrolling
	err := patiently(exchange, func() (err error) {
		enrolling, err = conn.Login(exchange, string(p.user), string(secret))
		return err
	})
	if err != nil {
		return err
	}
	old, err := rendezvous.ParseEntry(enrolling.GetEntry())
	if err != nil {
		return fmt.Errorf("check directory entry: %w", err)
	}
	if old.Rendezvous != p.address.ID || old.Username != p.user {
		return errors.New("check directory entry: it is for another name or another rendezvous")
	}
	if err := p.persist(secret, m); err != nil {
		return err
	}
	entry := &rendezvous.Entry{
		Rendezvous: p.address.ID, Username: p.user, Seq: old.Seq + 1, Issued: time.Now(), Devices: append(old.Devices, p.ownDevice()),
	}
	signed, bundle, possession, err := p.sign(conn, entry)
	if err != nil {
		return err
	}
	ctx, done := context.WithTimeout(ctx, signInTime)
	defer done()
	if _, err := conn.Enrol(ctx, &rendezvous.Enrol{Entry: signed, Bundle: bundle, Possession: possession}); err != nil {
		p.giveUp(conn, err)
		return err
	}
	return p.confirm()
}

// patiently asks again, until ctx ends, while the rendezvous says that it is busy: it hashes few passwords at a time.
func patiently(ctx context.Context, ask func() error) error {
	for {
		err := ask()
		busy, ok := errors.AsType[*rendezvous.Error](err)
		if !ok || busy.Code != rendezvous.CodeBusy || ctx.Err() != nil {
			return err
		}
		wait := max(busy.RetryAfter, minReconnect)
		pause(ctx, wait+rand.N(wait))
	}
}

// persist waits for the keys and puts them on the disk, with a home file that says that the rendezvous has not confirmed them yet.
func (p *Peer) persist(secret []byte, m *making) error {
	m.wait()
	if m.err != nil {
		return m.err
	}
	if p.keys.Identity != nil {
		p.home.clear() // a first try of this sign-in has left them
	}
	p.keys = m.keys
	f := p.homeFile()
	f.Pending = true
	if err := p.home.save(f); err != nil {
		return err
	}
	if !p.cfg.NoPassphrase {
		p.passphrase = append([]byte(nil), secret...)
	}
	p.home.removeKeys()
	if err := identity.CreateKeyFile(p.home.path(keyFileName), p.keys, p.passphrase); err != nil {
		p.home.clear()
		return keyFileError(p.home.dir, err)
	}
	return nil
}

func (p *Peer) confirm() error { return p.home.save(p.homeFile()) }

func (p *Peer) homeFile() homeFile {
	address := p.address
	address.Invite = ""
	return homeFile{
		User: string(p.user), Device: p.keys.Identity.Public().Fingerprint().Device(), PeerID: p.host.ID().String(), Rendezvous: address.String(),
	}
}

func (p *Peer) ownDevice() rendezvous.EntryDevice {
	return rendezvous.EntryDevice{Key: p.keys.Identity.Public(), PeerID: p.host.ID(), Added: time.Now()}
}

// sign makes the three things that prove to everybody which keys are ours.
func (p *Peer) sign(conn *client.Conn, e *rendezvous.Entry) (entry, bundle, possession []byte, err error) {
	if entry, err = e.Sign(p.keys.Identity); err != nil {
		return nil, nil, nil, fmt.Errorf("sign directory entry: %w", err)
	}
	if bundle, err = p.bundle(); err != nil {
		return nil, nil, nil, err
	}
	possession, err = rendezvous.SignPossession(p.keys.Identity, p.address.ID, p.user, p.host.ID(), conn.Welcome().GetNonce())
	if err != nil {
		return nil, nil, nil, fmt.Errorf("sign proof of possession: %w", err)
	}
	return entry, bundle, possession, nil
}

// bundle signs the newest encryption key for publication. Its number is the time at which the key was made, so it never falls.
func (p *Peer) bundle() ([]byte, error) {
	key := p.keys.Encryption[0]
	b := &rendezvous.Bundle{
		Rendezvous: p.address.ID, Username: p.user, PeerID: p.host.ID(), Seq: uint64(key.Created().UnixMilli()),
		NotBefore: key.Created(), NotAfter: key.Created().Add(bundleLife), Key: key.Public(),
	}
	signed, err := b.Sign(p.keys.Identity)
	if err != nil {
		return nil, fmt.Errorf("sign prekey bundle: %w", err)
	}
	return signed, nil
}

// rotate makes a new encryption key once a week and destroys those for which nothing can still be under way. The key file has it before anybody else.
func (p *Peer) rotate(ctx context.Context) error {
	p.rotating.Lock()
	defer p.rotating.Unlock()
	now := time.Now()
	var keys identity.Keyring
	if err := p.core.do(ctx, func() { keys = *p.keys }); err != nil {
		return err
	}
	if now.Sub(keys.Encryption[0].Created()) < keyRotation {
		return nil
	}
	fresh, err := identity.GenerateEncryptionKey(now)
	if err != nil {
		return err
	}
	kept := []*identity.EncryptionPrivateKey{fresh}
	for _, k := range keys.Encryption {
		if now.Sub(k.Created()) < keyRetention && len(kept) < identity.MaxEncryptionKeys {
			kept = append(kept, k)
		}
	}
	keys.Encryption = kept
	if err := identity.ReplaceKeyFile(p.home.path(keyFileName), &keys, p.passphrase); err != nil {
		return err
	}
	return p.core.do(ctx, func() { p.keys.Encryption = kept })
}
