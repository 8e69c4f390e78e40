package peer

import (
	"bytes"
	"slices"
	"testing"
	"time"

	"github.com/byway-chat/byway/crypto/identity/identitytest"
	"github.com/byway-chat/byway/peer/history"
	"github.com/byway-chat/byway/rendezvous"
)

func TestCardEncoding(t *testing.T) {
	k := card{announces: true, entry: []byte{1, 2}, bundle: []byte{3}}
	want := []byte{1, 0, 0, 0, 2, 1, 2, 0, 0, 0, 1, 3, 0, 0, 0, 0}
	if got := k.append(nil); !bytes.Equal(got, want) {
		t.Errorf("got %x, want %x", got, want)
	}
	again, err := parseCard(append(want, 9, 9))
	if err != nil || !again.announces || !bytes.Equal(again.entry, k.entry) || !bytes.Equal(again.bundle, k.bundle) || len(again.record) != 0 {
		t.Errorf("got %+v, %v", again, err)
	}
	for n := range want {
		if _, err := parseCard(want[:n]); err == nil {
			t.Errorf("%d bytes of it parse", n)
		}
	}
	if _, err := parseCard([]byte{0, 255, 255, 255, 255}); err == nil {
		t.Error("a huge length parses")
	}
}

func FuzzParseCard(f *testing.F) {
	f.Add([]byte{})
	f.Add((&card{announces: true, entry: []byte("entry"), bundle: []byte("bundle"), record: []byte("record")}).append(nil))
	f.Fuzz(func(t *testing.T, b []byte) {
		k, err := parseCard(b)
		if err != nil {
			return
		}
		if len(k.entry) > rendezvous.MaxEntry || len(k.bundle) > rendezvous.MaxBundle || len(k.record) > rendezvous.MaxPeerRecord {
			t.Error("a field is over its bound")
		}
		if again := k.append(nil); !bytes.Equal(again[1:], b[1:len(again)]) {
			t.Errorf("%x became %x", b, again)
		}
	})
}

// newer is a bundle of device i of bob with a number.
func newer(t *testing.T, c *core, i int, seq uint64, of rendezvous.Username) []byte {
	t.Helper()
	k := identitytest.Keyring(i)
	e := k.Encryption[0]
	b := &rendezvous.Bundle{
		Rendezvous: c.rendezvous, Username: of, PeerID: peerID(t, k), Seq: seq, NotBefore: e.Created(), NotAfter: e.Created().Add(bundleLife), Key: e.Public(),
	}
	signed, err := b.Sign(k.Identity)
	if err != nil {
		t.Fatal(err)
	}
	return signed
}

// TestCards has a device of bob show what is true and what is not.
func TestCards(t *testing.T) {
	at := now(t)
	for _, tc := range []struct {
		name    string
		card    func(c *core) card
		refused bool
		seq     uint64 // of the bundle that is used afterwards
		trust   []history.Trust
	}{
		{"a newer key", func(c *core) card { return card{bundle: newer(t, c, 1, 5, "bob")} }, false, 5, []history.Trust{history.Accepted, history.Accepted}},
		{"an older key", func(c *core) card { return card{bundle: newer(t, c, 1, 0+1, "bob")} }, false, 1, []history.Trust{history.Accepted, history.Accepted}},
		{"somebody else's key", func(c *core) card { return card{bundle: newer(t, c, 2, 5, "bob")} }, false, 1, []history.Trust{history.Accepted, history.Accepted}},
		{"a key for another name", func(c *core) card { return card{bundle: newer(t, c, 1, 5, "carol")} }, false, 1, []history.Trust{history.Accepted, history.Accepted}},
		{"a newer list without the other device", func(c *core) card {
			return card{entry: records(t, c, 3, 1).Entry, bundle: newer(t, c, 1, 5, "bob")}
		}, false, 5, []history.Trust{history.Accepted, history.Gone}},
		{"an older list", func(c *core) card {
			return card{entry: records(t, c, 1, 1).Entry, bundle: newer(t, c, 1, 5, "bob")}
		}, false, 5, []history.Trust{history.Accepted, history.Accepted}},
		{"a list with a device that has proven nothing", func(c *core) card {
			return card{entry: records(t, c, 3, 1, 2, 3).Entry, bundle: newer(t, c, 1, 5, "bob")}
		}, false, 5, []history.Trust{history.Accepted, history.Accepted}},
		{"somebody else's list", func(c *core) card {
			return card{entry: recordsOf(t, c, "carol", 3, 1).Entry, bundle: newer(t, c, 1, 5, "bob")}
		}, true, 1, []history.Trust{history.Accepted, history.Accepted}},
		{"nonsense", func(*core) card { return card{entry: []byte("x"), bundle: []byte("y"), record: []byte("z")} }, true, 1, []history.Trust{history.Accepted, history.Accepted}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			c, _ := desk(t)
			if err := c.learn(at, records(t, c, 2, 1, 2)); err != nil {
				t.Fatal(err)
			}
			ct := c.contacts["bob"]
			asked := ct.asked
			c.connNo++
			k := tc.card(c)
			if err := c.learnCard(at, c.devices[fingerprint(1)], &k); (err != nil) != tc.refused {
				t.Errorf("refused: %v", err)
			}
			if got := c.devices[fingerprint(1)].bundle.Seq; got != tc.seq {
				t.Errorf("the key has number %d, want %d", got, tc.seq)
			}
			var trust []history.Trust
			for _, d := range ct.Devices {
				trust = append(trust, d.Trust)
			}
			if !slices.Equal(trust, tc.trust) {
				t.Errorf("devices are %v, want %v", trust, tc.trust)
			}
			if ct.asked != asked {
				t.Error("a card counts as the directory's answer")
			}
			if ct.Changed {
				t.Error("the keys count as changed")
			}
		})
	}
}

// TestStaleCards has a device of bob's show the list that it knows, while the directory has shown a newer one: nothing is taken back.
func TestStaleCards(t *testing.T) {
	accepted, pending, gone := history.Accepted, history.Pending, history.Gone
	for _, tc := range []struct {
		name    string
		newer   []int // that the directory shows, signed by the first
		accept  bool  // alice compares the keys and accepts
		shown   uint64
		trust   []history.Trust // of the devices 1 and 2
		changed bool
	}{
		{name: "before another device signed in", newer: []int{2, 1}, shown: 2, trust: []history.Trust{accepted, pending}},
		{name: "one that alice has never seen", newer: []int{2, 1}, shown: 3, trust: []history.Trust{accepted, pending}},
		{name: "before alice accepted it", newer: []int{2, 1}, accept: true, shown: 2, trust: []history.Trust{accepted, accepted}},
		{name: "before all was replaced", newer: []int{2}, shown: 2, trust: []history.Trust{accepted, pending}, changed: true},
		{name: "of a device that was replaced", newer: []int{2}, accept: true, shown: 2, trust: []history.Trust{gone, accepted}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			c, s := desk(t)
			for _, rec := range []*rendezvous.Record{records(t, c, 2, 1), records(t, c, 4, tc.newer...)} {
				if err := c.learn(now(t), rec); err != nil {
					t.Fatal(err)
				}
			}
			ct := c.contacts["bob"]
			if tc.accept {
				if err := c.acceptKeys(ct, false, now(t)); err != nil {
					t.Fatal(err)
				}
			}
			told(t, s)
			if err := c.learnCard(now(t), c.devices[fingerprint(1)], &card{entry: records(t, c, tc.shown, 1).Entry}); err != nil {
				t.Error(err)
			}
			var trust []history.Trust
			for _, d := range ct.Devices {
				trust = append(trust, d.Trust)
			}
			if !slices.Equal(trust, tc.trust) || ct.Changed != tc.changed {
				t.Errorf("devices are %v, changed: %v; want %v, %v", trust, ct.Changed, tc.trust, tc.changed)
			}
			if got := changes(told(t, s)); len(got) > 0 {
				t.Errorf("told %v", got)
			}
		})
	}
}

// TestEarlyCard has a device show a card before its link is in use here, and somebody who has proven another PeerID show one in its name.
func TestEarlyCard(t *testing.T) {
	c, _ := desk(t)
	if err := c.learn(now(t), records(t, c, 2, 1)); err != nil {
		t.Fatal(err)
	}
	d := c.devices[fingerprint(1)]
	body := (&card{announces: true, bundle: newer(t, c, 1, 5, "bob")}).append(nil)
	c.shownCard(now(t), d.Fingerprint, peerID(t, identitytest.Keyring(2)), body)
	if d.announces || d.bundle.Seq != 1 {
		t.Error("a card of somebody else is believed")
	}
	if c.shownCard(now(t), d.Fingerprint, d.id, body); !d.announces || d.bundle.Seq != 5 {
		t.Error("a card that came before the link was in use is lost")
	}
}

// TestSightings bounds what is dialled because somebody says that a contact is there.
func TestSightings(t *testing.T) {
	c, _ := desk(t)
	at := time.Now()
	if err := c.learn(now(t), records(t, c, 1, 1)); err != nil {
		t.Fatal(err)
	}
	d := c.devices[fingerprint(1)]
	for i := range 3 * maxNearby {
		c.sighted(at, d, foundByMDNS, parseAddrs([]string{"/ip4/192.168.1.5/tcp/" + string(rune('1'+i%9)) + string(rune('0'+i/9))})...)
	}
	c.sighted(at, d, foundByMDNS, parseAddrs([]string{"/ip4/0.0.0.0/tcp/1", "/ip4/224.0.0.1/tcp/1", "/dns4/example.org/tcp/1"})...)
	if len(d.nearby) != maxNearby {
		t.Errorf("%d addresses are kept, want %d", len(d.nearby), maxNearby)
	}
	d.Reached = []string{"/ip4/192.168.1.9/tcp/1"}
	got := c.candidates(d)
	if len(got) != maxNearby+1 || got[0].String() != d.Reached[0] {
		t.Errorf("dialled are %v", got)
	}
	if !d.heard(at) || d.heard(at.Add(nearFor)) {
		t.Error("what was heard is believed for another time than meant")
	}
}
