package peer

import (
	"testing"
	"time"

	"github.com/byway-chat/byway/crypto/identity"
	"github.com/byway-chat/byway/crypto/identity/identitytest"
	"github.com/byway-chat/byway/crypto/session"
)

// TestSessionPrepared fills a session. The next was prepared before its end, which the time shows that it tells of; where that does not fit any more, another is
// made, and what is told of the session before is true in any case.
func TestSessionPrepared(t *testing.T) {
	const pause = 10 * time.Second
	for _, row := range []struct {
		name     string
		rest     time.Duration // before the last envelope
		together int           // envelopes that leave at once at the end
		renewed  bool          // bob has published another key meanwhile
		prepared bool
		count    uint64
	}{
		{"in time", pause, 1, false, true, sessionMessages},
		{"too long ago", preparedFor, 1, false, false, sessionMessages},
		{"in the future", -pause, 1, false, false, sessionMessages},
		{"replaced sooner", pause, 3, false, false, sessionMessages - 1},
		{"for another key", pause, 1, true, false, sessionMessages},
	} {
		t.Run(row.name, func(t *testing.T) {
			c, _ := desk(t)
			at := now(t)
			if err := c.learn(at, records(t, c, 1, 1)); err != nil {
				t.Fatal(err)
			}
			d := c.devices[fingerprint(1)]
			seal := func(at time.Time, envelopes int) []byte {
				t.Helper()
				envelope, err := c.seal(at, d, nil, envelopes, []byte("hello"))
				if err != nil {
					t.Fatal(err)
				}
				return envelope
			}
			for range row.count {
				seal(at, 1)
			}
			c.spawned.Wait()
			if len(c.inbox) != 1 {
				t.Fatalf("%d sessions are prepared, want one", len(c.inbox))
			}
			(<-c.inbox)()
			first := c.senders[d.Fingerprint].chain.ID()
			key := identitytest.Keyring(1).Encryption[0]
			if row.renewed {
				key = identitytest.Keyring(2).Encryption[0]
				bundle := *d.bundle
				bundle.Seq, bundle.Key = bundle.Seq+1, key.Public()
				d.bundle = &bundle
			}
			opened := acceptAsBob(t, c, key, seal(at.Add(row.rest), row.together))
			if opened.Prev != first || opened.PrevCount != row.count || string(opened.Payload) != "hello" {
				t.Errorf("it follows %v after %d with %q, want %v after %d", opened.Prev, opened.PrevCount, opened.Payload, first, row.count)
			}
			if prepared := opened.Time.Equal(at); prepared != row.prepared {
				t.Errorf("it was begun at %v, prepared at %v", opened.Time, at)
			}
		})
	}
}

// acceptAsBob opens an Init of the core's, wrapped to key, at the device that records gives bob first.
func acceptAsBob(t *testing.T, c *core, key *identity.EncryptionPrivateKey, envelope []byte) *session.Opened {
	t.Helper()
	opened, err := session.Accept(envelope, key, session.Party{Name: "bob", Fingerprint: fingerprint(1)}, func(session.Party) (*identity.PublicKey, error) {
		return c.keys.Identity.Public(), nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return opened
}
