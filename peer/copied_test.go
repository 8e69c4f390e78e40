package peer_test

import (
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/libp2p/go-libp2p/core/network"
	libpeer "github.com/libp2p/go-libp2p/core/peer"

	"github.com/byway-chat/byway/crypto/identity"
	"github.com/byway-chat/byway/peer"
	"github.com/byway-chat/byway/peer/lan"
	"github.com/byway-chat/byway/peer/link"
	"github.com/byway-chat/byway/peer/peertest"
)

// TestCopiedAnnouncement has a stranger copy what bob announces, with the own address, and greet alice as bob, while bob and the rendezvous are away: no
// link opens either way, alice does not take bob for present, and what she writes to him stays with her.
func TestCopiedAnnouncement(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := peertest.New(t, 1)
		alice, bob := w.Peer("alice"), w.Peer("bob")
		alice.MustReach(alice.MustSend("bob", "we have met").ID, peer.StateDelivered)
		ctx := t.Context()
		status, err := bob.Status(ctx)
		if err != nil {
			t.Fatal(err)
		}
		id, err := libpeer.Decode(status.PeerID)
		if err != nil {
			t.Fatal(err)
		}
		shown, err := alice.Verify(ctx, "bob", false)
		if err != nil {
			t.Fatal(err)
		}
		fp, err := identity.ParseFingerprint(shown.Fingerprints[0])
		if err != nil {
			t.Fatal(err)
		}
		w.KillRendezvous()
		bob.Stop()
		time.Sleep(30 * time.Second)

		mallory := w.Stranger()
		claim := link.Hello{Name: "bob", Fingerprint: fp}
		greeted := 0
		mallory.SetStreamHandler(link.ProtocolID, func(s network.Stream) { greeted++; _ = s.Reset() })
		before := len(alice.Events(peer.EventRoute))
		waiting := alice.MustSend("bob", "for bob alone")
		for range 20 {
			alice.Announced(lan.Announcement{Tag: lan.NewTag([16]byte{7}, id), Addrs: mallory.Addrs()})
			time.Sleep(3 * time.Second)
		}
		at := mallory.Addrs()[0].String()
		if list, err := alice.Route(ctx, "bob"); err != nil || !slices.Contains(list[0].Addrs, at) {
			t.Errorf("alice has not tried the stranger: %+v, %v", list, err)
		}
		if f, err := alice.Connect(ctx, "bob", at); peer.CodeOf(err) != peer.CodeUnreachable || !strings.Contains(err.Error(), "is not a device of bob") {
			t.Errorf("alice takes the stranger for bob: %+v, %v", f, err)
		}
		if greeted > 0 {
			t.Errorf("alice greeted the stranger %d times", greeted)
		}

		there, err := alice.Status(ctx)
		if err != nil {
			t.Fatal(err)
		}
		address, err := libpeer.AddrInfoFromString(there.Addrs[0])
		if err != nil {
			t.Fatal(err)
		}
		if err := mallory.Connect(ctx, *address); err != nil {
			t.Fatalf("the stranger does not reach alice: %v", err)
		}
		stream, err := mallory.NewStream(ctx, address.ID, link.ProtocolID)
		if err != nil {
			t.Fatal(err)
		}
		if l, err := link.Dial(ctx, stream, claim, link.Handler{Receive: func(*link.Link, []byte) {}}); err == nil {
			t.Error("alice takes the stranger for bob")
			l.Close()
		}
		time.Sleep(10 * time.Second)
		if got := alice.Events(peer.EventRoute)[before:]; len(got) > 0 {
			t.Errorf("ways to bob: %+v", got)
		}
		if r, err := alice.Receipt(ctx, waiting.ID); err != nil || r.State != peer.StateAccepted {
			t.Errorf("the message is %+v, %v", r, err)
		}
		if list, err := alice.Who(ctx); err != nil || list[0].Name != "bob" || list[0].Online {
			t.Errorf("who says %+v, %v", list, err)
		}
	})
}
