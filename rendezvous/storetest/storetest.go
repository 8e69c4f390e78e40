// Package storetest shows what every store of a rendezvous must do. A store's own test calls [Run]; it is for tests only.
package storetest

import (
	"context"
	"crypto/sha256"
	"fmt"
	"testing"
	"time"

	"github.com/libp2p/go-libp2p/core/peer"

	"github.com/byway-chat/byway/crypto/identity"
	"github.com/byway-chat/byway/rendezvous"
	"github.com/byway-chat/byway/rendezvous/directory"
	"github.com/byway-chat/byway/rendezvous/relay"
)

// Store is all that a database gives to a rendezvous.
type Store interface {
	directory.Store
	directory.InviteStore
	relay.Mailbox
	Close() error
}

// Factory opens stores for the suite.
type Factory struct {
	// Open opens the store that is kept in dir, which is empty the first time.
	Open func(t testing.TB, dir string) Store
	// Crash copies what a kill -9 at this moment would leave of the store in dir, which is open, to another directory. Nil: the
	// store cannot be tested so.
	Crash func(t testing.TB, dir, to string)
}

// Run runs the whole suite.
func Run(t *testing.T, f Factory) {
	t.Run("Accounts", func(t *testing.T) { runAccounts(t, f) })
	t.Run("Mailbox", func(t *testing.T) { runMailbox(t, f) })
	t.Run("Durability", func(t *testing.T) { runDurability(t, f) })
}

// start opens a fresh store and closes it at the test's end.
func (f Factory) start(t testing.TB) Store {
	t.Helper()
	return f.open(t, t.TempDir())
}

func (f Factory) open(t testing.TB, dir string) Store {
	t.Helper()
	s := f.Open(t, dir)
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Errorf("close the store: %v", err)
		}
	})
	return s
}

// epoch is the time of the tests: stores keep milliseconds.
var epoch = time.Date(2026, 11, 23, 12, 0, 0, 123e6, time.UTC)

func device(name string) directory.Device {
	return directory.Device{
		Fingerprint: fingerprint(name),
		PeerID:      peer.ID("peer of " + name),
		Added:       epoch,
		Bundle:      []byte("bundle of " + name),
		BundleSeq:   1,
	}
}

func fingerprint(name string) identity.Fingerprint { return sha256.Sum256([]byte(name)) }

// account makes an account whose devices are called "name/0", "name/1" and so on.
func account(name string, devices int) *directory.Account {
	a := &directory.Account{
		Name:     rendezvous.Username(name),
		Skeleton: "looks like " + name,
		Created:  epoch,
		Password: "$argon2id$of " + name,
		Entry:    []byte("entry of " + name),
		Seq:      uint64(devices),
	}
	for i := range devices {
		a.Devices = append(a.Devices, device(fmt.Sprint(name, "/", i)))
	}
	return a
}

func address(name string, i int) relay.Address {
	return relay.Address{User: rendezvous.Username(name), Device: fingerprint(fmt.Sprint(name, "/", i))}
}

// wide is a quota that nothing reaches.
var wide = relay.Quota{
	Account: relay.Usage{Messages: 1 << 30, Bytes: 1 << 40},
	Pair:    relay.Usage{Messages: 1 << 30, Bytes: 1 << 40},
}

func put(from, to relay.Address, body string) *relay.Put {
	return &relay.Put{Envelope: &relay.Envelope{From: from, To: to, Submitted: epoch, Data: []byte(body)}}
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func mustCreate(t testing.TB, s Store, accounts ...*directory.Account) {
	t.Helper()
	for _, a := range accounts {
		if err := s.Create(t.Context(), a, nil); err != nil {
			t.Fatalf("create %s: %v", a.Name, err)
		}
	}
}

func mustAccount(t testing.TB, s Store, name string) *directory.Account {
	t.Helper()
	a, err := s.Account(context.WithoutCancel(t.Context()), rendezvous.Username(name))
	if err != nil {
		t.Fatalf("account %s: %v", name, err)
	}
	return a
}
