package peertest_test

import (
	"context"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/byway-chat/byway/crypto/identity"
	"github.com/byway-chat/byway/crypto/identity/identitytest"
	"github.com/byway-chat/byway/peer"
	"github.com/byway-chat/byway/peer/peertest"
)

// cutOff makes a stopped node's home what a crash between enrolling and noting it leaves.
func cutOff(t *testing.T, home string) {
	t.Helper()
	path := filepath.Join(home, "home.json")
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	b = regexp.MustCompile(`,\s*"sum": "[0-9a-f]*"`).ReplaceAll(b, nil) // as one that was written by hand
	text := strings.Replace(strings.Replace(string(b), `"v": 1`, `"v": 1, "pending": true`, 1), `"history": true`, `"history": false`, 1)
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"history.db", "history.db-wal", "history.db-shm"} {
		_ = os.Remove(filepath.Join(home, name))
	}
}

// keys gives a new home keys that no other has.
func keys(i int) func(*peer.Config) {
	return func(cfg *peer.Config) {
		cfg.NewKeys = func(time.Time) (*identity.Keyring, error) { return identitytest.Keyring(i), nil }
	}
}

func password(s string) func(*peer.Config) {
	return func(cfg *peer.Config) {
		cfg.NoPassphrase = false
		cfg.Password = func(context.Context, peer.PasswordUse, string) ([]byte, error) { return []byte(s), nil }
	}
}

// TestCutOffSignIn: neither a wrong password nor another name or rendezvous loses the keys of a device that may be enrolled.
func TestCutOffSignIn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w, other := peertest.New(t, 1), peertest.New(t, 2)
		alice := w.Peer("alice")
		alice.Stop()
		home := t.TempDir()
		here := func(cfg *peer.Config) { cfg.Home = home }
		if err := alice.Start(here, keys(7), password(peertest.Password), func(cfg *peer.Config) { cfg.User = "anna" }); err != nil {
			t.Fatal(err)
		}
		device, err := alice.Status(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		alice.Stop()
		cutOff(t, home)
		user := func(name string) func(*peer.Config) { return func(cfg *peer.Config) { cfg.User = name } }
		refused := func(what string, want peer.Code, change ...func(*peer.Config)) {
			t.Helper()
			if err := alice.Start(append([]func(*peer.Config){here}, change...)...); peer.CodeOf(err) != want {
				t.Errorf("%s: got %v, want %s", what, err, want)
				alice.Stop()
			}
			if _, err := os.Stat(filepath.Join(home, "keystore.age")); err != nil {
				t.Errorf("%s: %v", what, err)
			}
		}
		refused("wrong password", peer.CodeBadCredentials, user("anna"), password("a wrong password, mistyped"))
		w.CutRendezvous(true)
		refused("no rendezvous", peer.CodeRendezvousUnreachable, user("anna"), password(peertest.Password))
		elsewhere := func(cfg *peer.Config) { cfg.Rendezvous = other.Address() }
		refused("another rendezvous", peer.CodeRendezvousUnreachable, user("anna"), password(peertest.Password), elsewhere)
		w.CutRendezvous(false)
		time.Sleep(time.Minute)
		refused("another name", peer.CodeUsage, user("berta"), password(peertest.Password))
		if err := alice.Start(here, user(""), password(peertest.Password)); err != nil {
			t.Fatal(err)
		}
		if got, err := alice.Status(t.Context()); err != nil || got.Fingerprint != device.Fingerprint || got.User != "anna" {
			t.Errorf("got %+v and %v, want the same device of anna", got, err)
		}
	})
}

// TestCutOffBeforeEnrolling: where the rendezvous says that the device is not enrolled, the sign-in begins again, as whoever is wanted now.
func TestCutOffBeforeEnrolling(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := peertest.New(t, 1)
		alice, bob := w.Peer("alice"), w.Peer("bob")
		alice.Stop()
		home := t.TempDir()
		here := func(cfg *peer.Config) { cfg.Home = home }
		err := alice.Start(here, keys(7), func(cfg *peer.Config) {
			cfg.User, cfg.Rendezvous = "anna", strings.Replace(w.Address(), "1.0.0.1", "1.0.0.9", 1)
		})
		if peer.CodeOf(err) != peer.CodeRendezvousUnreachable {
			t.Fatalf("got %v, want an unreachable rendezvous", err)
		}
		if err := alice.Start(here, keys(7), func(cfg *peer.Config) { cfg.User = "anna" }); err != nil {
			t.Fatal(err)
		}
		alice.Stop()
		cutOff(t, home)
		path := filepath.Join(home, "home.json")
		b, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		text := strings.Replace(string(b), `"user": "anna"`, `"user": "zoe"`, 1) // of which the rendezvous knows nothing
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		if err := alice.Start(here, keys(6), func(cfg *peer.Config) { cfg.User = "carla" }); err != nil {
			t.Fatal(err)
		}
		bob.MustReach(bob.MustSend("carla", "hello").ID, peer.StateDelivered)
	})
}
