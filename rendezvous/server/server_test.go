package server

import (
	"bytes"
	"context"
	"errors"
	"io"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/byway-chat/byway/crypto/identity"
	"github.com/byway-chat/byway/rendezvous"
	"github.com/byway-chat/byway/rendezvous/client"
	"github.com/byway-chat/byway/rendezvous/directory"
)

func TestRegisterChatAndReturn(t *testing.T) {
	w := start(t, Config{}, false)
	alice, bob := w.registered("alice", 0), w.registered("bob", 1)
	ctx := t.Context()

	records, err := alice.conn.Lookup(ctx, "bob", "nobody")
	if err != nil {
		t.Fatalf("lookup: %v", err)
	}
	if got := records[0].GetDevices()[0]; !got.GetOnline() || !bytes.Equal(got.GetFingerprint(), sum(bob.fingerprint())) {
		t.Errorf("got %v of bob", got)
	}
	if !records[1].GetUnknown() {
		t.Errorf("got %v of nobody", records[1])
	}
	listed, err := alice.conn.List(ctx, "", 1)
	if err != nil || len(listed.GetUsers()) != 1 || !listed.GetMore() || listed.GetUsers()[0].GetUsername() != "alice" {
		t.Errorf("list: got %v, %v", listed, err)
	}

	bob.settle()
	id := alice.submit(bob, "live")
	d := bob.delivery()
	if string(d.GetEnvelope()) != "live" || d.GetUsername() != "alice" || d.GetStored() {
		t.Errorf("got %v, want a live envelope of alice", d)
	}
	if err := bob.conn.Taken(d.GetId()); err != nil {
		t.Fatal(err)
	}
	if got := alice.outcome(id).GetState(); got != rendezvous.Outcome_TAKEN {
		t.Errorf("got outcome %v, want TAKEN", got)
	}

	if err := bob.conn.Close(); err != nil {
		t.Fatal(err)
	}
	waitFor(t, func() bool { return !w.server.tracker.DeviceOnline(bob.fingerprint()) })
	id = alice.submit(bob, "kept")
	if got := alice.outcome(id).GetState(); got != rendezvous.Outcome_STORED {
		t.Errorf("got outcome %v, want STORED", got)
	}
	if in := bob.resume(); in.GetMailboxMessages() != 1 || in.GetMailboxBytes() != 4 {
		t.Errorf("got %v, want one message of four bytes waiting", in)
	}
	d = bob.delivery()
	if string(d.GetEnvelope()) != "kept" || !d.GetStored() {
		t.Errorf("got %v, want the stored envelope", d)
	}
	if err := bob.conn.Publish(ctx, &rendezvous.Publish{Bundle: bob.bundle(2)}); err != nil {
		t.Errorf("publish: %v", err)
	}
}

func sum(f identity.Fingerprint) []byte { return f[:] }

// waitFor waits for what another goroutine of this process is about to do.
func waitFor(t *testing.T, done func() bool) {
	t.Helper()
	deadline := time.NewTimer(20 * time.Second)
	tick := time.NewTicker(time.Millisecond)
	defer deadline.Stop()
	defer tick.Stop()
	for !done() {
		select {
		case <-deadline.C:
			t.Fatal("it did not happen")
		case <-tick.C:
		}
	}
}

func TestSecondDevice(t *testing.T) {
	w := start(t, Config{}, false)
	alice, phone := w.registered("alice", 0), w.enrolled("alice", 1)
	records, err := alice.conn.Lookup(t.Context(), "alice")
	if err != nil || len(records[0].GetDevices()) != 2 {
		t.Fatalf("got %v, %v, want two devices", records, err)
	}
	alice.submit(phone, "to my other device")
	if got := string(phone.delivery().GetEnvelope()); got != "to my other device" {
		t.Errorf("got %q", got)
	}
}

func TestSameDeviceReplaces(t *testing.T) {
	w := start(t, Config{}, false)
	alice, bob := w.registered("alice", 0), w.registered("bob", 1)
	first := alice.conn
	alice.resume()
	defer first.Close()
	<-first.Done()
	if got := rendezvous.CodeOf(first.Err()); got != rendezvous.CodeReplaced {
		t.Errorf("the first stream ended with %v, want %v", first.Err(), rendezvous.CodeReplaced)
	}
	bob.submit(alice, "to the second")
	if got := string(alice.delivery().GetEnvelope()); got != "to the second" {
		t.Errorf("got %q", got)
	}
	if !w.server.tracker.DeviceOnline(alice.fingerprint()) {
		t.Error("the device is not online any more")
	}
}

func TestPresence(t *testing.T) {
	w := start(t, Config{}, false)
	alice := w.registered("alice", 0)
	if err := alice.conn.Watch(t.Context()); err != nil {
		t.Fatalf("watch: %v", err)
	}
	change := func(kind rendezvous.Change_Kind, name string) {
		t.Helper()
		alice.next(func(f *rendezvous.Frame) bool {
			for _, c := range f.GetPresence().GetChanges() {
				if c.GetKind() == kind && c.GetUsername() == name {
					return true
				}
			}
			return false
		})
	}
	change(rendezvous.Change_JOIN, "alice")
	bob := w.registered("bob", 1)
	change(rendezvous.Change_JOIN, "bob")
	if err := bob.conn.Publish(t.Context(), &rendezvous.Publish{Bundle: bob.bundle(2)}); err != nil {
		t.Fatalf("publish: %v", err)
	}
	change(rendezvous.Change_KEYS, "bob")
	if err := bob.conn.Close(); err != nil {
		t.Fatal(err)
	}
	change(rendezvous.Change_LEAVE, "bob")
}

func TestRefusals(t *testing.T) {
	w := start(t, Config{}, false)
	w.registered("alice", 0)
	stranger := w.device("eve", 1)
	stranger.dial()
	ctx := t.Context()
	code := func(want rendezvous.Code, err error) {
		t.Helper()
		if err == nil || rendezvous.CodeOf(err) != want {
			t.Errorf("got %v, want %v", err, want)
		}
	}
	_, err := stranger.conn.Lookup(ctx, "alice")
	code(rendezvous.CodeNotSignedIn, err)
	_, err = stranger.conn.List(ctx, "", 0)
	code(rendezvous.CodeNotSignedIn, err)
	code(rendezvous.CodeNotSignedIn, stranger.conn.Watch(ctx))
	code(rendezvous.CodeNotSignedIn, stranger.conn.Publish(ctx, new(rendezvous.Publish)))
	id := stranger.submit(stranger, "x")
	if o := stranger.outcome(id); o.GetState() != rendezvous.Outcome_REFUSED || o.GetCode() != string(rendezvous.CodeNotSignedIn) {
		t.Errorf("got %v for a submit before signing in", o)
	}
	_, err = stranger.conn.Resume(ctx, "alice")
	code(rendezvous.CodeNotEnrolled, err)
	_, err = stranger.conn.Enrol(ctx, new(rendezvous.Enrol))
	code(rendezvous.CodeNotSignedIn, err)
	_, err = stranger.conn.Login(ctx, "alice", "not the password")
	code(rendezvous.CodeBadCredentials, err)
	_, err = stranger.conn.Login(ctx, "unheard-of", "not the password")
	code(rendezvous.CodeBadCredentials, err)
	r := stranger.registration()
	r.Possession[0] ^= 1
	_, err = stranger.conn.Register(ctx, r)
	code(rendezvous.CodeKeyRefused, err)
	r = stranger.registration()
	r.Password = "short"
	_, err = stranger.conn.Register(ctx, r)
	code(rendezvous.CodePasswordTooWeak, err)
	if _, err := stranger.conn.Register(ctx, stranger.registration()); err != nil {
		t.Fatalf("register: %v", err)
	}
	_, err = stranger.conn.Resume(ctx, "eve")
	code(rendezvous.CodeBadRequest, err)
	tooMany := make([]string, rendezvous.MaxLookup+1)
	for i := range tooMany {
		tooMany[i] = "alice"
	}
	if got, err := stranger.conn.Lookup(ctx, tooMany...); err != nil || len(got) != len(tooMany) {
		t.Errorf("a long lookup: got %d records, %v", len(got), err)
	}
	id, err = stranger.conn.Submit(identity.Fingerprint{1}, []byte("x"), false)
	if o := stranger.outcome(id); err != nil || o.GetCode() != string(rendezvous.CodeNoSuchDevice) {
		t.Errorf("got %v for an unknown device", o)
	}
}

func TestRegistrationPolicies(t *testing.T) {
	w := start(t, Config{Registration: directory.Closed}, false)
	alice := w.device("alice", 0)
	alice.dial()
	if got := alice.conn.Welcome().GetRegistration(); got != "closed" {
		t.Errorf("got registration %q, want closed", got)
	}
	_, err := alice.conn.Register(t.Context(), alice.registration())
	if rendezvous.CodeOf(err) != rendezvous.CodeRegistrationClosed {
		t.Errorf("got %v, want %v", err, rendezvous.CodeRegistrationClosed)
	}
	w.server.SetRegistration(directory.ByInvite)
	if _, err = alice.conn.Register(t.Context(), alice.registration()); rendezvous.CodeOf(err) != rendezvous.CodeInviteRequired {
		t.Errorf("got %v, want %v", err, rendezvous.CodeInviteRequired)
	}
	invite, err := w.server.Invite(t.Context(), 1, time.Hour)
	if err != nil {
		t.Fatalf("invite: %v", err)
	}
	if a, err := rendezvous.ParseAddress(invite.Link); err != nil || a.Invite != invite.Token {
		t.Errorf("the link %q reads as %v, %v", invite.Link, a, err)
	}
	r := alice.registration()
	r.Invite = invite.Token
	if _, err := alice.conn.Register(t.Context(), r); err != nil {
		t.Errorf("register with an invitation: %v", err)
	}
	bob := w.device("bob", 1)
	bob.dial()
	r = bob.registration()
	r.Invite = invite.Token
	if _, err := bob.conn.Register(t.Context(), r); rendezvous.CodeOf(err) != rendezvous.CodeInviteRequired {
		t.Errorf("with a used invitation: got %v, want %v", err, rendezvous.CodeInviteRequired)
	}
}

func TestMaxPeers(t *testing.T) {
	w := start(t, Config{MaxPeers: 1}, false)
	alice := w.registered("alice", 0)
	bob := w.device("bob", 1)
	bob.dial()
	if _, err := bob.conn.Register(t.Context(), bob.registration()); rendezvous.CodeOf(err) != rendezvous.CodeBusy {
		t.Errorf("got %v, want %v", err, rendezvous.CodeBusy)
	}
	alice.resume() // its own place is free
	w.server.SetMaxPeers(2)
	if _, err := bob.conn.Resume(t.Context(), "bob"); err != nil {
		t.Errorf("resume with room: %v", err)
	}
}

func TestTwelveAtOnce(t *testing.T) {
	w := start(t, Config{}, false)
	devices := make([]*device, 12)
	for i := range devices {
		devices[i] = w.deviceOf("user"+string(rune('a'+i)), freshKeys(t))
	}
	var wg sync.WaitGroup
	for _, d := range devices {
		wg.Go(func() {
			conn, err := client.Dial(t.Context(), client.Options{Host: d.host, Rendezvous: w.info()})
			if err != nil {
				t.Errorf("%s: %v", d.name, err)
				return
			}
			d.conn = conn
			if _, err := conn.Register(t.Context(), d.registration()); err != nil {
				t.Errorf("%s: %v", d.name, err)
			}
		})
	}
	wg.Wait()
	if got := len(w.server.Active()); got != len(devices) {
		t.Errorf("got %d active, want %d", got, len(devices))
	}
}

func TestDraining(t *testing.T) {
	w := start(t, Config{}, false)
	alice, bob := w.registered("alice", 0), w.registered("bob", 1)
	id := alice.submit(bob, "never taken")
	bob.delivery()
	w.close()
	if got := alice.outcome(id).GetState(); got != rendezvous.Outcome_STORED {
		t.Errorf("got outcome %v, want STORED", got)
	}
	<-alice.conn.Done()
	if got := rendezvous.CodeOf(alice.conn.Err()); got != rendezvous.CodeDraining {
		t.Errorf("got %v, want %v", alice.conn.Err(), rendezvous.CodeDraining)
	}
	if err := w.server.Close(); err != nil {
		t.Errorf("close after run: %v", err)
	}
}

func TestLogsHoldNoSecrets(t *testing.T) {
	var log syncBuffer
	w := start(t, Config{Logger: slog.New(slog.NewJSONHandler(&log, &slog.HandlerOptions{Level: slog.LevelDebug}))}, false)
	alice, bob := w.registered("alice", 0), w.registered("bob", 1)
	alice.submit(bob, "the body of a message")
	bob.delivery()
	_, _ = bob.conn.Login(t.Context(), "alice", "a wrong password")
	w.close()
	text := log.String()
	for _, secret := range []string{secret, "the body of a message", "a wrong password"} {
		if strings.Contains(text, secret) {
			t.Errorf("the log holds %q:\n%s", secret, text)
		}
	}
	if !strings.Contains(text, "registered") {
		t.Errorf("the log misses the registration:\n%s", text)
	}
}

type syncBuffer struct {
	mu sync.Mutex // guards b
	b  bytes.Buffer
}

func (s *syncBuffer) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.Write(p)
}

func (s *syncBuffer) String() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.String()
}

func TestOperator(t *testing.T) {
	w := start(t, Config{}, false)
	alice, bob := w.registered("alice", 0), w.registered("bob", 1)
	bob.settle()
	before := w.server.Status(t.Context()).Relayed
	ctx, cancel := context.WithCancel(t.Context())
	passing := w.server.Watch(ctx, true)
	alice.submit(bob, "sealed")
	d := bob.delivery()
	if err := bob.conn.Taken(d.GetId()); err != nil {
		t.Fatal(err)
	}
	e := <-passing
	if e.From != "alice" || e.To != "bob" || e.Size != 6 || e.Delivery != "live" || e.Kind != "unknown" || string(e.Bytes) != "sealed" {
		t.Errorf("watched %+v", e)
	}
	cancel()
	for range passing {
	}
	users, err := w.server.Users(t.Context(), "", 10)
	if err != nil || len(users) != 2 || !users[1].Online || users[1].Password != "argon2id m=64,t=1,p=1" || len(users[1].Devices) != 1 {
		t.Errorf("users: got %+v, %v", users, err)
	}
	active := w.server.Active()
	if len(active) != 2 || active[0].Transport != "tcp" || active[0].Agent != "test [31m1" || active[0].PeerID != alice.host.ID().String() {
		t.Errorf("active: got %+v", active)
	}
	waitFor(t, func() bool { return w.server.Status(t.Context()).Relayed.Messages == before.Messages+1 })
	if s := w.server.Status(t.Context()); s.Users != 2 || s.Online != 2 || s.Health != "ok" || s.Relayed.Bytes != before.Bytes+6 {
		t.Errorf("status: got %+v", s)
	}
	if n, err := w.server.Kick(t.Context(), "Bob"); n != 1 || err != nil {
		t.Errorf("kick: got %d, %v", n, err)
	}
	<-bob.conn.Done()
	if got := rendezvous.CodeOf(bob.conn.Err()); got != rendezvous.CodeKicked {
		t.Errorf("got %v, want %v", bob.conn.Err(), rendezvous.CodeKicked)
	}
	if _, err := w.server.Kick(t.Context(), "zoe"); rendezvous.CodeOf(err) != rendezvous.CodeNoSuchUser {
		t.Errorf("kick of zoe: got %v", err)
	}
	bob.resume()
	if n, err := w.server.Ban(t.Context(), "bob", "enough"); n != 1 || err != nil {
		t.Errorf("ban: got %d, %v", n, err)
	}
	<-bob.conn.Done()
	bob.dial()
	if _, err := bob.conn.Resume(t.Context(), "bob"); rendezvous.CodeOf(err) != rendezvous.CodeBanned {
		t.Errorf("a banned user's resume: got %v", err)
	}
	if err := w.server.Unban(t.Context(), "bob"); err != nil {
		t.Errorf("unban: %v", err)
	}
	if _, err := bob.conn.Resume(t.Context(), "bob"); err != nil {
		t.Errorf("resume after the ban: %v", err)
	}
}

func TestRawFrames(t *testing.T) {
	w := start(t, Config{}, false)
	d := w.device("eve", 0)
	failure := func(r *raw, id uint64, want rendezvous.Code) {
		t.Helper()
		f := r.read()
		if f.GetId() != id || f.GetFailure().GetCode() != string(want) {
			t.Errorf("got %v, want %v for request %d", f, want, id)
		}
	}
	r := d.raw(t)
	r.send(&rendezvous.Frame{Id: 7, Body: &rendezvous.Frame_Login{Login: new(rendezvous.Login)}})
	failure(r, 7, rendezvous.CodeBadRequest)
	r.send(&rendezvous.Frame{Id: 8, Body: &rendezvous.Frame_Hello{Hello: new(rendezvous.Hello)}})
	failure(r, 8, rendezvous.CodeUnsupportedVersion)
	r.send(hello())
	if welcome := r.read().GetWelcome(); len(welcome.GetNonce()) != 32 || welcome.GetVersion() != 1 {
		t.Errorf("got %v", welcome)
	}
	r.send(hello())
	failure(r, 1, rendezvous.CodeBadRequest)
	r.send(&rendezvous.Frame{Id: 9})
	failure(r, 9, rendezvous.CodeUnknownMessage)
	r.send(&rendezvous.Frame{Id: 10, Body: &rendezvous.Frame_Welcome{Welcome: new(rendezvous.Welcome)}})
	failure(r, 10, rendezvous.CodeUnknownMessage)
	r.send(&rendezvous.Frame{Body: &rendezvous.Frame_Resume{Resume: new(rendezvous.Resume)}})
	failure(r, 0, rendezvous.CodeBadRequest)
	r.send(&rendezvous.Frame{Id: 11, Body: &rendezvous.Frame_Ping{Ping: &rendezvous.Ping{Token: 3}}})
	if f := r.read(); f.GetId() != 11 || f.GetPong().GetToken() != 3 {
		t.Errorf("got %v, want a pong", f)
	}
	r.send(&rendezvous.Frame{Body: &rendezvous.Frame_Taken{Taken: &rendezvous.Taken{Deliveries: []*rendezvous.Run{{First: 1, More: 1}}}}}) // ignored

	for name, garbage := range map[string][]byte{
		"a length over the limit": {0xff, 0xff, 0xff, 0x7f},
		"no frame":                {3, 0xff, 0xff, 0xff},
	} {
		r := d.raw(t)
		r.send(hello())
		r.read()
		if _, err := r.s.Write(garbage); err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		if _, err := r.r.Next(); err == nil {
			t.Errorf("%s: the stream goes on", name)
		}
	}
}

func TestTimeouts(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := start(t, Config{}, true)
		began := time.Now()
		r := w.device("eve", 0).raw(t)
		r.send(hello())
		r.read()
		_, err := r.r.Next()
		if got := time.Since(began); err == nil || got < rendezvous.SignInTimeout || got > rendezvous.SignInTimeout+time.Second {
			t.Errorf("a stream that does not sign in ended after %v with %v", got, err)
		}
	})
}

func TestConnectionWithoutStreamIsClosed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := start(t, Config{}, true)
		d := w.device("eve", 0)
		if err := d.host.Connect(t.Context(), w.info()); err != nil {
			t.Fatal(err)
		}
		time.Sleep(rendezvous.SignInTimeout + time.Second)
		if n := len(d.host.Network().Conns()); n != 0 {
			t.Errorf("%d connections are open still", n)
		}
	})
}

func TestSilentPeerLeaves(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := start(t, Config{}, true)
		alice := w.registered("alice", 0)
		time.Sleep(time.Minute)
		if !w.server.tracker.Online("alice") {
			t.Fatal("an idle peer with heartbeats has left")
		}
		w.mu.Lock()
		w.cut[alice.ip] = true
		w.mu.Unlock()
		cut := time.Now()
		for w.server.tracker.Online("alice") {
			time.Sleep(100 * time.Millisecond)
		}
		if got := time.Since(cut); got > rendezvous.IdleTimeout+time.Second {
			t.Errorf("the cut was noticed after %v", got)
		}
		time.Sleep(time.Second)
		if n := len(w.server.host.Network().ConnsToPeer(alice.host.ID())); n != 0 {
			t.Errorf("%d connections of a peer that is gone are open still", n)
		}
		<-alice.conn.Done()
		if !errors.Is(alice.conn.Err(), client.ErrSilent) {
			t.Errorf("the peer's end: got %v, want %v", alice.conn.Err(), client.ErrSilent)
		}
	})
}

func TestPeerThatDoesNotRead(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := start(t, Config{}, true)
		r := w.device("eve", 0).raw(t)
		r.send(hello())
		// Each ping is answered; nobody reads the answers.
		pings := make([]*rendezvous.Frame, 4000)
		for i := range pings {
			pings[i] = &rendezvous.Frame{Body: &rendezvous.Frame_Ping{Ping: &rendezvous.Ping{Token: 1 << 60}}}
		}
		var buf []byte
		for _, f := range pings {
			buf, _ = rendezvous.AppendFrame(buf, f)
		}
		began := time.Now()
		for {
			if _, err := r.s.Write(buf); err != nil {
				break
			}
			if time.Since(began) > time.Minute {
				t.Fatal("a peer that never reads is kept")
			}
		}
	})
}

func TestSlowLoginKeepsHeartbeats(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := start(t, Config{}, true)
		r := w.device("eve", 0).raw(t)
		r.send(hello())
		r.read()
		frames := make([]*rendezvous.Frame, 0, 200)
		for i := range 200 { // more than are done at once, or wait
			frames = append(frames, &rendezvous.Frame{Id: uint64(i) + 10, Body: &rendezvous.Frame_Login{
				Login: &rendezvous.Login{Username: "alice", Password: "not the password"},
			}})
		}
		r.send(append(frames, &rendezvous.Frame{Body: &rendezvous.Frame_Ping{Ping: &rendezvous.Ping{Token: 1}}})...)
		answers, pongs := 0, 0
		for answers < 200 || pongs < 1 {
			f := r.read()
			if f.GetPong() != nil {
				pongs++
			} else if f.GetFailure() != nil {
				answers++
			}
		}
	})
}

func TestClosedStreamEndsQuietly(t *testing.T) {
	w := start(t, Config{}, false)
	d := w.device("eve", 0)
	r := d.raw(t)
	r.send(hello())
	r.read()
	if err := r.s.Close(); err != nil && !errors.Is(err, io.EOF) {
		t.Fatal(err)
	}
	waitFor(t, func() bool { return len(w.server.conns.snapshot()) == 0 })
}
