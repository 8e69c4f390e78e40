package measure_test

import (
	"context"
	"crypto/ed25519"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/binary"
	"encoding/pem"
	"errors"
	"fmt"
	"math/big"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/libp2p/go-libp2p"
	"github.com/libp2p/go-libp2p/core/connmgr"
	"github.com/libp2p/go-libp2p/core/crypto"
	"github.com/libp2p/go-libp2p/core/host"
	"github.com/libp2p/go-libp2p/core/network"
	libpeer "github.com/libp2p/go-libp2p/core/peer"
	"github.com/libp2p/go-libp2p/p2p/muxer/yamux"
	"github.com/libp2p/go-libp2p/p2p/security/noise"
	"github.com/libp2p/go-libp2p/p2p/transport/tcp"

	"github.com/byway-chat/byway/crypto/identity"
	"github.com/byway-chat/byway/crypto/identity/identitytest"
	"github.com/byway-chat/byway/crypto/password"
	"github.com/byway-chat/byway/peer"
	"github.com/byway-chat/byway/rendezvous"
	"github.com/byway-chat/byway/rendezvous/client"
	"github.com/byway-chat/byway/rendezvous/directory"
	"github.com/byway-chat/byway/rendezvous/server"
)

// passphrase is the password of every account.
const passphrase = "correct horse battery staple"

// cheap lets a thousand accounts be made in seconds. What is measured hashes as in production.
var cheap = directory.Argon2(password.Params{MemoryKiB: 64, Time: 1, Threads: 1})

// town is a rendezvous's data with accounts, and homes of peers, made once for all measurements. It is only ever copied and added to.
type town struct {
	dir string // immutable

	mu    sync.Mutex
	keys  keyMaker  // guarded by mu
	made  []account // guarded by mu: devices without a home
	homes []string  // guarded by mu: names of peers, which are those of their homes' directories
}

// account is a user with one device.
type account struct {
	name rendezvous.Username
	keys *identity.Keyring
}

func newTown(dir string) *town { return &town{dir: dir} }

func (t *town) data() string            { return filepath.Join(t.dir, "rendezvous") }
func (t *town) home(name string) string { return filepath.Join(t.dir, name) }

// accounts returns n accounts, making those that are missing.
func (t *town) accounts(tb testing.TB, n int) []account {
	tb.Helper()
	t.mu.Lock()
	defer t.mu.Unlock()
	var fresh []account
	for i := len(t.made); i < n; i++ {
		fresh = append(fresh, account{name: rendezvous.Username(fmt.Sprintf("device%d", i)), keys: t.keys.ring(tb)})
	}
	if len(fresh) > 0 {
		t.openLocked(tb, func(at rendezvous.Address) error {
			return inParallel(8, len(fresh), func(i int) error { return fresh[i].register(tb.Context(), at) })
		})
	}
	t.made = append(t.made, fresh...)
	return t.made[:n]
}

// peers returns the names of n users who have a home, making those that are missing.
func (t *town) peers(tb testing.TB, n int) []string {
	tb.Helper()
	t.mu.Lock()
	defer t.mu.Unlock()
	var fresh []account
	for i := len(t.homes); i < n; i++ {
		fresh = append(fresh, account{name: rendezvous.Username(fmt.Sprintf("peer%d", i)), keys: t.keys.ring(tb)})
	}
	if len(fresh) > 0 {
		t.openLocked(tb, func(at rendezvous.Address) error {
			return inParallel(8, len(fresh), func(i int) error { return t.moveIn(tb.Context(), fresh[i], at) })
		})
	}
	for _, a := range fresh {
		t.homes = append(t.homes, string(a.name))
	}
	return t.homes[:n]
}

// strangers returns n accounts with keys, of which no rendezvous knows anything yet.
func (t *town) strangers(tb testing.TB, n int) []account {
	tb.Helper()
	t.mu.Lock()
	defer t.mu.Unlock()
	var all []account
	for i := range n {
		all = append(all, account{name: rendezvous.Username(fmt.Sprintf("stranger%d", i)), keys: t.keys.ring(tb)})
	}
	return all
}

// moveIn makes a home by a peer's own first sign-in.
func (t *town) moveIn(ctx context.Context, a account, at rendezvous.Address) error {
	p, err := peer.New(peer.Config{
		Home: t.home(string(a.name)), User: string(a.name), Rendezvous: at.String(), NoMDNS: true, NoPassphrase: true,
		Listen:   []string{"/ip4/127.0.0.1/tcp/0"},
		Password: func(context.Context, peer.PasswordUse, string) ([]byte, error) { return []byte(passphrase), nil },
		NewKeys:  func(time.Time) (*identity.Keyring, error) { return a.keys, nil },
	})
	if err != nil {
		return err
	}
	return errors.Join(p.Up(ctx), p.Close())
}

// openLocked runs a rendezvous on the town's data while f registers people at it.
func (t *town) openLocked(tb testing.TB, f func(rendezvous.Address) error) {
	tb.Helper()
	ctx, stop := context.WithCancel(background)
	defer stop()
	s, err := server.New(ctx, server.Config{Data: t.data(), Listen: []string{"/ip4/127.0.0.1/tcp/0"}, NoMDNS: true, Hasher: cheap})
	if err != nil {
		tb.Fatal(err)
	}
	ended := make(chan error, 1)
	go func() { ended <- s.Run(ctx) }()
	<-s.Ready()
	at, err := rendezvous.ParseAddress(s.Address().Addrs[0])
	if err == nil {
		err = f(at)
	}
	stop()
	if err := errors.Join(err, <-ended); err != nil {
		tb.Fatal(err)
	}
}

// copyData copies the rendezvous's data to a directory that does not exist yet.
func (t *town) copyData(tb testing.TB, to string) {
	tb.Helper()
	t.mu.Lock()
	defer t.mu.Unlock()
	copyFiles(tb, t.data(), to)
}

// copyHome copies the home of a user to a directory that does not exist yet.
func (t *town) copyHome(tb testing.TB, name, to string) {
	tb.Helper()
	t.mu.Lock()
	defer t.mu.Unlock()
	copyFiles(tb, t.home(name), to)
}

func copyFiles(tb testing.TB, from, to string) {
	tb.Helper()
	entries, err := os.ReadDir(from)
	if err == nil {
		err = os.Mkdir(to, 0o700)
	}
	for _, e := range entries {
		if err != nil || !e.Type().IsRegular() {
			continue
		}
		var content []byte
		if content, err = os.ReadFile(filepath.Join(from, e.Name())); err == nil {
			err = os.WriteFile(filepath.Join(to, e.Name()), content, 0o600)
		}
	}
	if err != nil {
		tb.Fatal(err)
	}
}

func (a account) fingerprint() identity.Fingerprint { return a.keys.Identity.Public().Fingerprint() }

// host makes a network host as peers have one: TCP, Noise, yamux.
func (a account) host() (host.Host, error) {
	key, err := crypto.UnmarshalEd25519PrivateKey(a.keys.Host)
	if err != nil {
		return nil, err
	}
	return libp2p.New(libp2p.Identity(key), libp2p.NoListenAddrs, libp2p.DisableRelay(), libp2p.DisableMetrics(), libp2p.Ping(false),
		libp2p.ResourceManager(&network.NullResourceManager{}), libp2p.ConnectionManager(connmgr.NullConnMgr{}),
		libp2p.Muxer(yamux.ID, yamux.DefaultTransport), libp2p.Security(noise.ID, noise.New), libp2p.Transport(tcp.NewTCPTransport))
}

// connect opens a control stream. The device's close ends it and the host.
func (a account) connect(ctx context.Context, at rendezvous.Address) (*device, error) {
	h, err := a.host()
	if err != nil {
		return nil, err
	}
	conn, err := client.Dial(ctx, client.Options{Host: h, Rendezvous: at.AddrInfo(), Agent: "measure"})
	if err != nil {
		return nil, errors.Join(err, h.Close())
	}
	return &device{account: a, conn: conn, leave: func() { _ = h.Close() }}, nil
}

// arrive connects and signs in as an enrolled device.
func (a account) arrive(ctx context.Context, at rendezvous.Address) (*device, error) {
	d, err := a.connect(ctx, at)
	if err != nil {
		return nil, err
	}
	if _, err := d.conn.Resume(ctx, string(a.name)); err != nil {
		d.close()
		return nil, err
	}
	return d, nil
}

// register makes the account.
func (a account) register(ctx context.Context, at rendezvous.Address) error {
	d, err := a.connect(ctx, at)
	if err != nil {
		return err
	}
	defer d.close()
	entry := &rendezvous.Entry{Rendezvous: at.ID, Username: a.name, Seq: 1, Issued: time.Now(), Devices: []rendezvous.EntryDevice{a.device()}}
	signed, bundle, possession, err := a.sign(at, entry, d.conn.Welcome().GetNonce())
	if err != nil {
		return err
	}
	_, err = d.conn.Register(ctx, &rendezvous.Register{
		Username: string(a.name), Password: passphrase, Entry: signed, Bundle: bundle, Possession: possession,
	})
	return err
}

// enrol signs in with the password, as a further device.
func (a account) enrol(ctx context.Context, at rendezvous.Address) error {
	d, err := a.connect(ctx, at)
	if err != nil {
		return err
	}
	defer d.close()
	enrolling, err := d.conn.Login(ctx, string(a.name), passphrase)
	if err != nil {
		return err
	}
	entry, err := rendezvous.ParseEntry(enrolling.GetEntry())
	if err != nil {
		return err
	}
	entry.Seq, entry.Issued, entry.Devices = entry.Seq+1, time.Now(), append(entry.Devices, a.device())
	signed, bundle, possession, err := a.sign(at, entry, d.conn.Welcome().GetNonce())
	if err != nil {
		return err
	}
	_, err = d.conn.Enrol(ctx, &rendezvous.Enrol{Entry: signed, Bundle: bundle, Possession: possession})
	return err
}

func (a account) peerID() libpeer.ID {
	key, err := crypto.UnmarshalEd25519PrivateKey(a.keys.Host)
	if err != nil {
		panic(err) // it was made by the standard library
	}
	id, err := libpeer.IDFromPrivateKey(key)
	if err != nil {
		panic(err) // the same
	}
	return id
}

func (a account) device() rendezvous.EntryDevice {
	return rendezvous.EntryDevice{Key: a.keys.Identity.Public(), PeerID: a.peerID(), Added: time.Now()}
}

func (a account) sign(at rendezvous.Address, e *rendezvous.Entry, nonce []byte) (entry, bundle, possession []byte, err error) {
	key := a.keys.Encryption[0]
	b := &rendezvous.Bundle{
		Rendezvous: at.ID, Username: a.name, PeerID: a.peerID(), Seq: 1,
		NotBefore: time.Now(), NotAfter: time.Now().Add(14 * 24 * time.Hour), Key: key.Public(),
	}
	entry, err = e.Sign(a.keys.Identity)
	if err == nil {
		bundle, err = b.Sign(a.keys.Identity)
	}
	if err == nil {
		possession, err = rendezvous.SignPossession(a.keys.Identity, at.ID, a.name, a.peerID(), nonce)
	}
	return entry, bundle, possession, err
}

// keyMaker makes keyrings fast: RSA keys of any two of a few primes. They are as long as real ones and cost as much to use, and
// whoever has two of them could break both.
type keyMaker struct {
	primes   []*big.Int
	from, to int // the two primes of the next key
}

// ring returns a keyring with an identity key of its own. The encryption key is one of a few: nothing asks for more.
func (m *keyMaker) ring(tb testing.TB) *identity.Keyring {
	tb.Helper()
	if m.from == m.to {
		m.from, m.to = 0, m.to+1
	}
	for len(m.primes) <= m.to {
		m.grow(tb)
	}
	der, err := rsaPKCS8(m.primes[m.from], m.primes[m.to])
	if err != nil {
		tb.Fatal(err)
	}
	m.from++
	blocks := pemBlocks(tb, identitytest.Keyring(m.from%identitytest.Devices))
	// The encryption key's age: a peer makes a new one when it is a week old.
	binary.BigEndian.PutUint64(blocks[0].Bytes[2:], uint64(time.Now().UnixMilli()))
	blocks[1].Bytes = der
	var text []byte
	for _, b := range blocks {
		text = append(text, pem.EncodeToMemory(b)...)
	}
	k, err := identity.ImportPEM(text)
	if err != nil {
		tb.Fatal(err)
	}
	if _, k.Host, err = ed25519.GenerateKey(rand.Reader); err != nil {
		tb.Fatal(err)
	}
	_, _ = rand.Read(k.Storage[:]) // never fails (crypto/rand)
	return k
}

// grow adds primes: those of the fixed test keys first.
func (m *keyMaker) grow(tb testing.TB) {
	tb.Helper()
	if i := len(m.primes) / 4; len(m.primes)%4 == 0 && i < identitytest.Devices {
		for _, b := range pemBlocks(tb, identitytest.Keyring(i)) {
			if key, err := x509.ParsePKCS8PrivateKey(b.Bytes); err == nil {
				if key, ok := key.(*rsa.PrivateKey); ok {
					m.primes = append(m.primes, key.Primes...)
				}
			}
		}
		return
	}
	for {
		p, err := rand.Prime(rand.Reader, 1536)
		if err != nil {
			tb.Fatal(err)
		}
		// The public exponent must have an inverse.
		if new(big.Int).Mod(new(big.Int).Sub(p, big.NewInt(1)), big.NewInt(65537)).Sign() != 0 {
			m.primes = append(m.primes, p)
			return
		}
	}
}

func pemBlocks(tb testing.TB, k *identity.Keyring) []*pem.Block {
	tb.Helper()
	text, err := k.ExportPEM()
	if err != nil {
		tb.Fatal(err)
	}
	var blocks []*pem.Block
	for b, rest := pem.Decode(text); b != nil; b, rest = pem.Decode(rest) {
		blocks = append(blocks, b)
	}
	return blocks
}

func rsaPKCS8(p, q *big.Int) ([]byte, error) {
	one := big.NewInt(1)
	phi := new(big.Int).Mul(new(big.Int).Sub(p, one), new(big.Int).Sub(q, one))
	key := &rsa.PrivateKey{
		PublicKey: rsa.PublicKey{N: new(big.Int).Mul(p, q), E: 65537},
		D:         new(big.Int).ModInverse(big.NewInt(65537), phi), Primes: []*big.Int{p, q},
	}
	key.Precompute()
	return x509.MarshalPKCS8PrivateKey(key)
}
