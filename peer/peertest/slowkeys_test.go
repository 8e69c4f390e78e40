package peertest_test

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/byway-chat/byway/crypto/identity"
	"github.com/byway-chat/byway/crypto/identity/identitytest"
	"github.com/byway-chat/byway/peer"
	"github.com/byway-chat/byway/peer/peertest"
	"github.com/byway-chat/byway/rendezvous"
)

// TestSlowKeys: a machine that takes longer for its RSA keys than a rendezvous waits for a sign-in registers all the same.
func TestSlowKeys(t *testing.T) {
	for _, signIn := range []peer.SignIn{peer.SignInAuto, peer.SignInRegister} {
		synctest.Test(t, func(t *testing.T) {
			w := peertest.New(t, 1)
			alice := w.Peer("alice")
			bob := w.Peer("bob")
			bob.Stop()
			err := bob.Start(func(cfg *peer.Config) {
				cfg.Home, cfg.User, cfg.SignIn = t.TempDir(), "slow", signIn
				cfg.NewKeys = func(time.Time) (*identity.Keyring, error) {
					time.Sleep(3 * rendezvous.SignInTimeout)
					return identitytest.Keyring(7), nil
				}
			})
			if err != nil {
				t.Fatalf("registering with slow keys: %v", err)
			}
			alice.MustReach(alice.MustSend("slow", "hello").ID, peer.StateDelivered)
			bob.Stop()
		})
	}
}
