package directory_test

import (
	"context"
	"errors"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/libp2p/go-libp2p/core/crypto"
	"github.com/libp2p/go-libp2p/core/peer"
	"github.com/libp2p/go-libp2p/core/record"
	"github.com/multiformats/go-multiaddr"
	"go.uber.org/goleak"

	"github.com/byway-chat/byway/crypto/identity"
	"github.com/byway-chat/byway/crypto/identity/identitytest"
	"github.com/byway-chat/byway/crypto/password"
	"github.com/byway-chat/byway/rendezvous"
	"github.com/byway-chat/byway/rendezvous/directory"
	"github.com/byway-chat/byway/rendezvous/sqlite"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

var (
	epoch = time.Date(2026, 11, 23, 12, 0, 0, 0, time.UTC)
	nonce = make([]byte, rendezvous.NonceSize)
	// here is the rendezvous; its key is the last device's, which is on no account.
	here = peerID(identitytest.Devices - 1)
	// cheap is a cost that tests can pay.
	cheap = password.Params{MemoryKiB: 8, Time: 1, Threads: 1}
)

const secret = "nine green lamps at noon"

func hostKey(i int) crypto.PrivKey {
	key, err := crypto.UnmarshalEd25519PrivateKey(identitytest.Keyring(i).Host)
	if err != nil {
		panic(err)
	}
	return key
}

func peerID(i int) peer.ID {
	id, err := peer.IDFromPrivateKey(hostKey(i))
	if err != nil {
		panic(err)
	}
	return id
}

func fingerprint(i int) identity.Fingerprint {
	return identitytest.Keyring(i).Identity.Public().Fingerprint()
}

// whoIsOnline is a Presence.
type whoIsOnline struct {
	mu      sync.Mutex
	users   map[rendezvous.Username]bool
	devices map[identity.Fingerprint]bool
	changed []identity.Fingerprint
}

func (w *whoIsOnline) Online(u rendezvous.Username) bool        { return w.users[u] }
func (w *whoIsOnline) DeviceOnline(d identity.Fingerprint) bool { return w.devices[d] }
func (w *whoIsOnline) KeysChanged(_ rendezvous.Username, d identity.Fingerprint) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.changed = append(w.changed, d)
}

// countingHasher notes what it is asked to verify, and may be held.
type countingHasher struct {
	directory.Hasher
	hold chan struct{}

	mu       sync.Mutex
	verified []string
	hashed   int
}

func (h *countingHasher) Verify(record string, prepared []byte) (ok, rehash bool, err error) {
	h.mu.Lock()
	h.verified = append(h.verified, record)
	h.mu.Unlock()
	if h.hold != nil {
		<-h.hold
	}
	return h.Hasher.Verify(record, prepared)
}

func (h *countingHasher) Hash(prepared []byte) (string, error) {
	h.mu.Lock()
	h.hashed++
	h.mu.Unlock()
	return h.Hasher.Hash(prepared)
}

type fixture struct {
	t      *testing.T
	s      *directory.Service
	db     *sqlite.DB
	hasher *countingHasher
	online *whoIsOnline
	now    time.Time
}

func start(t *testing.T, change ...func(*directory.Options)) *fixture {
	t.Helper()
	db, err := sqlite.Open(t.Context(), filepath.Join(t.TempDir(), "test.db"), nil)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := db.Close(); err != nil {
			t.Error(err)
		}
	})
	f := &fixture{
		t: t, db: db, now: epoch,
		hasher: &countingHasher{Hasher: directory.Argon2(cheap)},
		online: &whoIsOnline{users: make(map[rendezvous.Username]bool), devices: make(map[identity.Fingerprint]bool)},
	}
	o := directory.Options{
		Rendezvous: here, Hasher: f.hasher, Presence: f.online, Policy: directory.Open,
		Now: func() time.Time { return f.now },
	}
	for _, c := range change {
		c(&o)
	}
	f.s = directory.New(db, db, o)
	return f
}

func caller(i int) directory.Caller {
	return directory.Caller{PeerID: peerID(i), Nonce: nonce, Source: "192.0.2.1"}
}

// device is device i as it stands in an entry.
func device(i int) rendezvous.EntryDevice {
	return rendezvous.EntryDevice{Key: identitytest.Keyring(i).Identity.Public(), PeerID: peerID(i), Added: epoch}
}

func entry(t testing.TB, name string, seq uint64, signer int, devices ...int) []byte {
	t.Helper()
	e := &rendezvous.Entry{Rendezvous: here, Username: rendezvous.Username(name), Seq: seq, Issued: epoch}
	for _, i := range devices {
		e.Devices = append(e.Devices, device(i))
	}
	return signEntry(t, e, signer)
}

func signEntry(t testing.TB, e *rendezvous.Entry, signer int) []byte {
	t.Helper()
	b, err := e.Sign(identitytest.Keyring(signer).Identity)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func bundle(t testing.TB, name string, i int, seq uint64) []byte {
	t.Helper()
	k := identitytest.Keyring(i)
	b := &rendezvous.Bundle{
		Rendezvous: here, Username: rendezvous.Username(name), PeerID: peerID(i), Seq: seq,
		NotBefore: epoch, NotAfter: epoch.Add(21 * 24 * time.Hour), Key: k.Encryption[0].Public(),
	}
	signed, err := b.Sign(k.Identity)
	if err != nil {
		t.Fatal(err)
	}
	return signed
}

func possession(t testing.TB, name string, i int) []byte {
	t.Helper()
	p, err := rendezvous.SignPossession(identitytest.Keyring(i).Identity, here, rendezvous.Username(name), peerID(i), nonce)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func registration(t testing.TB, name string, i int) *rendezvous.Register {
	t.Helper()
	return &rendezvous.Register{
		Username: name, Password: secret, Entry: entry(t, name, 1, i, i),
		Bundle: bundle(t, name, i, 1), Possession: possession(t, name, i),
	}
}

func peerRecord(t testing.TB, signer, about int, seq uint64, addresses int) []byte {
	t.Helper()
	r := &peer.PeerRecord{PeerID: peerID(about), Seq: seq}
	for range addresses {
		r.Addrs = append(r.Addrs, multiaddr.StringCast("/ip4/192.0.2.7/tcp/4001"))
	}
	e, err := record.Seal(r, hostKey(signer))
	if err != nil {
		t.Fatal(err)
	}
	b, err := e.Marshal()
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// register registers name with device i.
func (f *fixture) register(name string, i int) *directory.SignedIn {
	f.t.Helper()
	who, err := f.s.Register(f.t.Context(), caller(i), registration(f.t, name, i))
	if err != nil {
		f.t.Fatalf("register %s: %v", name, err)
	}
	return who
}

func (f *fixture) login(name, password string, i int) (*directory.Enrolment, error) {
	return f.s.Login(context.Background(), caller(i), &rendezvous.Login{Username: name, Password: password})
}

// enrol adds device i to a name whose devices are given.
func (f *fixture) enrol(name string, i int, seq uint64, devices ...int) *directory.SignedIn {
	f.t.Helper()
	e, err := f.login(name, secret, i)
	if err != nil {
		f.t.Fatalf("log in as %s: %v", name, err)
	}
	who, err := f.s.Enrol(f.t.Context(), caller(i), e, enrolment(f.t, name, i, seq, devices...))
	if err != nil {
		f.t.Fatalf("enrol %s: %v", name, err)
	}
	return who
}

func enrolment(t testing.TB, name string, i int, seq uint64, devices ...int) *rendezvous.Enrol {
	t.Helper()
	return &rendezvous.Enrol{
		Entry:  entry(t, name, seq, i, append(devices, i)...),
		Bundle: bundle(t, name, i, 1), Possession: possession(t, name, i),
	}
}

func wantCode(t testing.TB, doing string, err error, want rendezvous.Code) {
	t.Helper()
	e, ok := errors.AsType[*rendezvous.Error](err)
	if !ok || e.Code != want {
		t.Errorf("%s: got %v, want code %s", doing, err, want)
	}
}
