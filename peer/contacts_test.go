package peer

import (
	"context"
	"errors"
	"log/slog"
	"net/netip"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/libp2p/go-libp2p"
	libpeer "github.com/libp2p/go-libp2p/core/peer"

	"github.com/byway-chat/byway/crypto/identity"
	"github.com/byway-chat/byway/crypto/identity/identitytest"
	"github.com/byway-chat/byway/peer/delivery"
	"github.com/byway-chat/byway/peer/history"
	"github.com/byway-chat/byway/rendezvous"
)

// now is after the fixed keys were made and within the life of their bundles.
func now(t *testing.T) time.Time {
	t.Helper()
	latest := time.Time{}
	for i := range identitytest.Devices {
		if c := identitytest.Keyring(i).Encryption[0].Created(); c.After(latest) {
			latest = c
		}
	}
	return latest.Add(time.Hour)
}

func peerID(t testing.TB, k *identity.Keyring) libpeer.ID {
	t.Helper()
	key, err := hostKey(k.Host)
	if err != nil {
		t.Fatal(err)
	}
	id, err := libpeer.IDFromPrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	return id
}

// desk is a core that does not run: the test calls it as its goroutine would. Alice has the keys of device 0; the rendezvous that of device 7.
func desk(t testing.TB) (*core, *Subscription) {
	return deskAt(t, filepath.Join(t.TempDir(), historyFileName))
}

// deskAt makes a desk with its history in a file.
func deskAt(t testing.TB, path string) (*core, *Subscription) {
	t.Helper()
	keys := identitytest.Keyring(0)
	key, err := hostKey(keys.Host)
	if err != nil {
		t.Fatal(err)
	}
	h, err := libp2p.New(libp2p.Identity(key), libp2p.NoListenAddrs)
	if err != nil {
		t.Fatal(err)
	}
	store, err := history.Open(context.Background(), path, keys.Storage)
	if err != nil {
		t.Fatal(err)
	}
	p := &Peer{user: "alice", keys: keys, host: h, log: slog.New(slog.DiscardHandler), hub: newHub(), gate: newGate(func() []netip.Prefix { return nil })}
	p.address.ID = peerID(t, identitytest.Keyring(7))
	c, err := newCore(p, store)
	if err != nil {
		t.Fatal(err)
	}
	p.core = c
	if err := c.load(context.Background()); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		c.dialStop()
		_ = h.Close()
		if err := store.Close(); err != nil {
			t.Error(err)
		}
	})
	s := p.hub.subscribe(EventOptions{})
	s.told = true // this core is never ready
	return c, s
}

// records makes what a rendezvous shows of bob: an entry of the given devices, signed by the first of them, and their bundles.
func records(t *testing.T, c *core, seq uint64, devices ...int) *rendezvous.Record {
	t.Helper()
	return recordsOf(t, c, "bob", seq, devices...)
}

func recordsOf(t *testing.T, c *core, name rendezvous.Username, seq uint64, devices ...int) *rendezvous.Record {
	t.Helper()
	at := now(t)
	entry := &rendezvous.Entry{Rendezvous: c.rendezvous, Username: name, Seq: seq, Issued: at}
	rec := &rendezvous.Record{Username: string(name)}
	for _, i := range devices {
		k := identitytest.Keyring(i)
		entry.Devices = append(entry.Devices, rendezvous.EntryDevice{Key: k.Identity.Public(), PeerID: peerID(t, k), Added: at})
		e := k.Encryption[0]
		b := &rendezvous.Bundle{
			Rendezvous: c.rendezvous, Username: name, PeerID: peerID(t, k), Seq: 1, NotBefore: e.Created(), NotAfter: e.Created().Add(bundleLife), Key: e.Public(),
		}
		signed, err := b.Sign(k.Identity)
		if err != nil {
			t.Fatal(err)
		}
		fp := k.Identity.Public().Fingerprint()
		rec.Devices = append(rec.Devices, &rendezvous.DeviceRecord{Fingerprint: fp[:], Bundle: signed})
	}
	signed, err := entry.Sign(identitytest.Keyring(devices[0]).Identity)
	if err != nil {
		t.Fatal(err)
	}
	rec.Entry = signed
	return rec
}

func told(t *testing.T, s *Subscription) []Event {
	t.Helper()
	var out []Event
	for {
		e, ok, _, err := s.take(context.Background())
		if err != nil {
			t.Fatal(err)
		}
		if !ok {
			return out
		}
		out = append(out, e)
	}
}

func changes(events []Event) []KeyChange {
	var out []KeyChange
	for _, e := range events {
		if e.Type == EventKey {
			out = append(out, e.Change)
		}
	}
	return out
}

func fingerprint(i int) delivery.Device {
	return identitytest.Keyring(i).Identity.Public().Fingerprint()
}

func TestPins(t *testing.T) {
	c, s := desk(t)
	at := now(t)
	if err := c.learn(at, records(t, c, 1, 1)); err != nil {
		t.Fatal(err)
	}
	ct := c.contacts["bob"]
	if got := changes(told(t, s)); !slices.Equal(got, []KeyChange{KeyFirstSeen}) {
		t.Errorf("at first contact: told %v", got)
	}
	if got := ct.accepted(c.self.Fingerprint); !slices.Equal(got, []delivery.Device{fingerprint(1)}) {
		t.Errorf("at first contact: accepted %v", got)
	}

	if err := c.learn(at, records(t, c, 2, 1, 2)); err != nil {
		t.Fatal(err)
	}
	if got := changes(told(t, s)); !slices.Equal(got, []KeyChange{KeyDeviceAdded}) {
		t.Errorf("with a second device: told %v", got)
	}
	if got := ct.accepted(c.self.Fingerprint); !slices.Equal(got, []delivery.Device{fingerprint(1)}) {
		t.Errorf("with a second device: accepted %v, want the first only", got)
	}
	if err := c.acceptKeys(ct, false, time.Time{}); err != nil {
		t.Fatal(err)
	}
	if got := ct.accepted(c.self.Fingerprint); len(got) != 2 || ct.keyState() != KeyVerified {
		t.Errorf("after accepting: accepted %v, key %v", got, ct.keyState())
	}
}

// TestChangedIdentityIsRefused: a rendezvous that shows other keys for a known contact gets no message sealed to them.
func TestChangedIdentityIsRefused(t *testing.T) {
	c, s := desk(t)
	at := now(t)
	if err := c.learn(at, records(t, c, 1, 1)); err != nil {
		t.Fatal(err)
	}
	ct := c.contacts["bob"]
	if err := c.learn(at, records(t, c, 2, 3)); err != nil {
		t.Fatal(err)
	}
	events := told(t, s)
	if got := changes(events); !slices.Equal(got, []KeyChange{KeyFirstSeen, KeyIdentityChanged}) {
		t.Errorf("told %v", got)
	}
	if last := events[len(events)-1]; !*last.Blocked {
		t.Errorf("the change is told as %+v, want blocked", last)
	}
	if got := ct.keyState(); got != KeyChanged {
		t.Errorf("key state is %v, want changed", got)
	}
	m := delivery.Message{To: "bob", Body: "secret"}
	if err := c.accept(&m, ""); CodeOf(err) != CodeKeyChanged {
		t.Errorf("send: got %v, want key-changed", err)
	}
	if err := c.acceptKeys(ct, false, time.Time{}); err != nil {
		t.Fatal(err)
	}
	if err := c.accept(&m, ""); err != nil {
		t.Errorf("send after accepting: %v", err)
	}
}

func TestDirectoryLies(t *testing.T) {
	c, _ := desk(t)
	at := now(t)
	if err := c.learn(at, records(t, c, 5, 1)); err != nil {
		t.Fatal(err)
	}
	lies := map[string]func() *rendezvous.Record{
		"older list of devices": func() *rendezvous.Record { return records(t, c, 4, 1, 2) },
		"entry of another name": func() *rendezvous.Record { r := records(t, c, 6, 1); r.Username = "carol"; return r },
		"flipped bit":           func() *rendezvous.Record { r := records(t, c, 6, 1); r.Entry[40] ^= 1; return r },
		"no entry":              func() *rendezvous.Record { return &rendezvous.Record{Username: "bob"} },
		"another rendezvous": func() *rendezvous.Record {
			real := c.rendezvous
			c.rendezvous = peerID(t, identitytest.Keyring(6))
			defer func() { c.rendezvous = real }()
			return records(t, c, 6, 1)
		},
	}
	for name, lie := range lies {
		t.Run(name, func(t *testing.T) {
			if err := c.learn(at, lie()); err == nil {
				t.Error("it was believed")
			}
			if got := c.contacts["bob"]; got.entrySeq != 5 || len(got.Devices) != 1 {
				t.Errorf("it has changed what is pinned: %+v", got.Contact)
			}
		})
	}
	if err := c.learn(at, records(t, c, 4, 1)); !errors.Is(err, errRollback) {
		t.Errorf("an older entry: got %v, want rollback", err)
	}
}

// TestKeyThatProvesNothing: a listed key counts only with a bundle that it has signed for this name.
func TestKeyThatProvesNothing(t *testing.T) {
	c, _ := desk(t)
	rec := records(t, c, 1, 1)
	rec.Devices[0].Bundle = records(t, c, 1, 2).Devices[0].Bundle
	if err := c.learn(now(t), rec); err != nil {
		t.Fatal(err)
	}
	if got := c.contacts["bob"].accepted(c.self.Fingerprint); len(got) != 0 {
		t.Errorf("accepted %v", got)
	}
	if err := c.learn(now(t), records(t, c, 1, 1)); err != nil {
		t.Fatal(err)
	}
	if got := c.contacts["bob"].accepted(c.self.Fingerprint); !slices.Equal(got, []delivery.Device{fingerprint(1)}) {
		t.Errorf("with the real bundle: accepted %v", got)
	}
}

// TestForeignKey: a key that is pinned for one name is not believed under another.
func TestForeignKey(t *testing.T) {
	c, _ := desk(t)
	if err := c.learn(now(t), records(t, c, 1, 1)); err != nil {
		t.Fatal(err)
	}
	if err := c.learn(now(t), recordsOf(t, c, "mallory", 1, 3, 1)); err == nil {
		t.Error("bob's key was believed to be mallory's")
	}
	if got := c.devices[fingerprint(1)].contact.Name; got != "bob" {
		t.Errorf("bob's device now belongs to %s", got)
	}
}

// TestStrangerCannotRemove: an entry signed by a device that nobody has accepted takes no device away and rolls nothing forward.
func TestStrangerCannotRemove(t *testing.T) {
	c, _ := desk(t)
	at := now(t)
	if err := c.learn(at, records(t, c, 1, 1)); err != nil {
		t.Fatal(err)
	}
	ct := c.contacts["bob"]
	if err := c.accept(&delivery.Message{To: "bob", Body: "queued"}, ""); err != nil {
		t.Fatal(err)
	}
	if err := c.learn(at, records(t, c, 1<<40, 3)); err != nil {
		t.Fatal(err)
	}
	if got := ct.accepted(c.self.Fingerprint); !slices.Equal(got, []delivery.Device{fingerprint(1)}) {
		t.Errorf("accepted %v, want the pinned device", got)
	}
	if c.engine.Pending() != 1 {
		t.Error("what was queued for the pinned device is gone")
	}
	if err := c.learn(at, records(t, c, 2, 1)); err != nil {
		t.Errorf("the honest entry after the lie: %v", err)
	}
	if got := ct.keyState(); got != KeyPinned {
		t.Errorf("after the lie has ended the key is %v, want pinned", got)
	}
	if err := c.accept(&delivery.Message{To: "bob", Body: "again"}, ""); err != nil {
		t.Errorf("send after the lie has ended: %v", err)
	}
}

// TestNumberCoversWhatIsAccepted: the safety number changes with a pending device, and one command does not accept a device that it was not shown for.
func TestNumberCoversWhatIsAccepted(t *testing.T) {
	c, _ := desk(t)
	at := now(t)
	if err := c.learn(at, records(t, c, 1, 1)); err != nil {
		t.Fatal(err)
	}
	ct := c.contacts["bob"]
	before := c.verification(ct).SafetyNumber
	if err := c.learn(at, records(t, c, 2, 3, 1)); err != nil {
		t.Fatal(err)
	}
	if err := c.acceptKeys(ct, true, at.Add(-time.Second)); CodeOf(err) != CodeKeyChanged {
		t.Errorf("accepting unseen: got %v, want key-changed", err)
	}
	if after := c.verification(ct).SafetyNumber; after == before {
		t.Error("the number does not cover the device that accepting would trust")
	}
	if err := c.acceptKeys(ct, true, at.Add(-time.Second)); err != nil {
		t.Errorf("accepting what was shown: %v", err)
	}
}

func TestDialable(t *testing.T) {
	for text, want := range map[string]bool{
		"/ip4/192.168.1.2/tcp/1": true, "/ip4/127.0.0.1/tcp/1": true, "/ip4/8.8.8.8/udp/1/quic-v1": true, "/ip6/fd00::1/tcp/1": true,
		"/ip4/0.0.0.0/tcp/1": false, "/ip4/169.254.169.254/tcp/80": false, "/ip6/fe80::1/tcp/1": false, "/ip4/224.0.0.1/udp/1": false,
		"/dns4/example.org/tcp/1": false,
	} {
		if got := dialable(parseAddrs([]string{text})[0]); got != want {
			t.Errorf("%s: got %v, want %v", text, got, want)
		}
	}
}
