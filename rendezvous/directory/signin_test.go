package directory_test

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/byway-chat/byway/crypto/password"
	"github.com/byway-chat/byway/rendezvous"
	"github.com/byway-chat/byway/rendezvous/directory"
)

func TestLoginTellsNobodyWhatWasWrong(t *testing.T) {
	f := start(t)
	f.register("alice", 0)
	f.hasher.verified = nil
	var answers []string
	for _, tt := range []struct{ name, password string }{
		{"alice", "wrong password"},
		{"bob", secret},
		{"bob", "wrong password"},
		{"b\x1bob", secret},
		{"alice", strings.Repeat("x", 2000)},
		{"alice", ""},
	} {
		before := len(f.hasher.verified)
		_, err := f.login(tt.name, tt.password, 1)
		wantCode(t, fmt.Sprintf("%q", tt.name), err, rendezvous.CodeBadCredentials)
		answers = append(answers, rendezvous.FailureOf(err).String())
		if n := len(f.hasher.verified) - before; n != 1 {
			t.Errorf("%q took %d hashes, want 1", tt.name, n)
		}
	}
	if distinct := slices.Compact(answers); len(distinct) != 1 {
		t.Errorf("the answers differ: %q", distinct)
	}
	for _, record := range f.hasher.verified {
		if got, want := f.hasher.Describe(record), "argon2id m=8,t=1,p=1"; got != want {
			t.Errorf("a record of cost %q was checked, want %q", got, want)
		}
	}
}

func TestGuessesAreSlowedDown(t *testing.T) {
	for _, name := range []string{"alice", "nobody"} {
		t.Run(name, func(t *testing.T) {
			f := start(t)
			f.register("alice", 0)
			for range 5 {
				_, err := f.login(name, "wrong password", 1)
				wantCode(t, "a free guess", err, rendezvous.CodeBadCredentials)
			}
			for _, want := range []time.Duration{1, 2, 4, 8, 16, 32, 60, 60} {
				_, err := f.login(name, secret, 1)
				wantCode(t, "too early, even with the right password", err, rendezvous.CodeRateLimited)
				e, _ := errors.AsType[*rendezvous.Error](err)
				if e.RetryAfter != want*time.Second {
					t.Errorf("retry after %v, want %v", e.RetryAfter, want*time.Second)
				}
				f.now = f.now.Add(e.RetryAfter)
				_, err = f.login(name, "wrong password", 1)
				wantCode(t, "after the pause", err, rendezvous.CodeBadCredentials)
			}
			f.now = f.now.Add(-time.Hour) // a clock that is set back adds nothing
			_, err := f.login(name, "wrong password", 1)
			if e, _ := errors.AsType[*rendezvous.Error](err); e == nil || e.RetryAfter != time.Minute {
				t.Errorf("after a step of the clock: got %v", err)
			}
			f.now = f.now.Add(3 * time.Hour)
			_, err = f.login(name, "wrong password", 1)
			wantCode(t, "hours later", err, rendezvous.CodeBadCredentials)
			_, err = f.login(name, "wrong password", 1)
			wantCode(t, "the count began anew", err, rendezvous.CodeBadCredentials)
		})
	}
}

func TestGuesserHoldsUpNobodyElse(t *testing.T) {
	f := start(t)
	f.register("alice", 0)
	for range 8 {
		_, _ = f.login("alice", "wrong password", 1)
	}
	elsewhere := caller(2)
	elsewhere.Source = "198.51.100.1"
	if _, err := f.s.Login(t.Context(), elsewhere, &rendezvous.Login{Username: "alice", Password: secret}); err != nil {
		t.Errorf("alice from another address: %v", err)
	}
	if _, err := f.s.Resume(t.Context(), caller(0), &rendezvous.Resume{Username: "alice"}); err != nil {
		t.Errorf("alice's enrolled device: %v", err)
	}
	// Many sources together are slowed down too, however.
	refused := 0
	for i := range 200 {
		c := caller(3)
		c.Source = fmt.Sprint("source ", i)
		_, err := f.s.Login(t.Context(), c, &rendezvous.Login{Username: "alice", Password: "wrong password"})
		if rendezvous.CodeOf(err) == rendezvous.CodeRateLimited {
			refused++
		}
	}
	if refused < 150 {
		t.Errorf("only %d of 200 guesses from as many sources were refused", refused)
	}
}

// A guesser who keeps the shared delay at its longest does not hold up the owner at an address without a wrong guess.
func TestGuesserHoldsUpNoCleanAddress(t *testing.T) {
	f := start(t)
	f.register("alice", 0)
	login := func(source, password string) error {
		c := caller(3)
		c.Source = source
		_, err := f.s.Login(t.Context(), c, &rendezvous.Login{Username: "alice", Password: password})
		return err
	}
	for i := range 60 {
		_ = login(fmt.Sprint("source ", i%12), "wrong password")
	}
	wantCode(t, "a guesser", login("source 1", secret), rendezvous.CodeRateLimited)
	if err := login("home", secret); err != nil {
		t.Errorf("the owner at home: %v", err)
	}
	wantCode(t, "a slip", login("home", "wrong password"), rendezvous.CodeBadCredentials)
	wantCode(t, "after the slip", login("home", secret), rendezvous.CodeRateLimited)
	passed := 0
	for i := range 100 {
		if rendezvous.CodeOf(login(fmt.Sprint("fresh ", i), "wrong password")) == rendezvous.CodeBadCredentials {
			passed++
		}
	}
	if passed > 5 {
		t.Errorf("%d guesses from fresh addresses came through at once", passed)
	}
}

func TestRightPasswordClearsTheCount(t *testing.T) {
	f := start(t)
	f.register("alice", 0)
	for range 3 {
		for range 4 {
			_, _ = f.login("alice", "wrong password", 1)
		}
		if _, err := f.login("alice", secret, 1); err != nil {
			t.Fatal(err)
		}
	}
}

func TestRehash(t *testing.T) {
	f := start(t)
	f.register("alice", 0)
	newer := password.Params{MemoryKiB: 16, Time: 1, Threads: 1}
	s := directory.New(f.db, f.db, directory.Options{Rendezvous: here, Hasher: directory.Argon2(newer), Presence: f.online})
	for range 2 {
		if _, err := s.Login(t.Context(), caller(1), &rendezvous.Login{Username: "alice", Password: secret}); err != nil {
			t.Fatal(err)
		}
		u, err := s.User(t.Context(), "alice")
		if err != nil || u.Password != "argon2id m=16,t=1,p=1" {
			t.Errorf("record after a login: got %+v, %v", u, err)
		}
	}
}

func TestHashesAreBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := start(t, func(o *directory.Options) { o.Hashes, o.HashQueue = 1, 2 })
		f.hasher.hold = make(chan struct{})
		var mu sync.Mutex
		codes := make(map[rendezvous.Code]int)
		for i := range 10 {
			go func() {
				_, err := f.s.Login(t.Context(), caller(1), &rendezvous.Login{Username: fmt.Sprint("user", i), Password: secret})
				mu.Lock()
				defer mu.Unlock()
				codes[rendezvous.CodeOf(err)]++
				if e, ok := errors.AsType[*rendezvous.Error](err); ok && e.Code == rendezvous.CodeBusy && e.RetryAfter <= 0 {
					t.Error("busy without a time to come back")
				}
			}()
		}
		synctest.Wait()
		mu.Lock()
		if codes[rendezvous.CodeBusy] != 7 {
			t.Errorf("over the queue: got %v, want 7 busy", codes)
		}
		mu.Unlock()
		time.Sleep(5 * time.Second)
		synctest.Wait()
		mu.Lock()
		if codes[rendezvous.CodeBusy] != 9 {
			t.Errorf("waited too long: got %v, want 9 busy", codes)
		}
		mu.Unlock()
		close(f.hasher.hold)
		synctest.Wait()
	})
}

func TestOneAttemptAtATime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := start(t)
		f.hasher.hold = make(chan struct{})
		go func() { _, _ = f.login("alice", "wrong password", 1) }()
		synctest.Wait()
		_, err := f.login("alice", "wrong password", 1)
		wantCode(t, "a second attempt beside the first", err, rendezvous.CodeBusy)
		close(f.hasher.hold)
		synctest.Wait()
		_, err = f.login("alice", "wrong password", 1)
		wantCode(t, "after it", err, rendezvous.CodeBadCredentials)
	})
}

func TestEnrol(t *testing.T) {
	f := start(t)
	f.register("alice", 0)
	who := f.enrol("alice", 1, 2, 0)
	if who.User != "alice" || who.Device != fingerprint(1) {
		t.Errorf("signed in: got %+v", who)
	}
	if !slices.Contains(f.online.changed, fingerprint(1)) {
		t.Error("watchers were not told of the new device")
	}
	for i := range 2 {
		again, err := f.s.Resume(t.Context(), caller(i), &rendezvous.Resume{Username: "alice"})
		if err != nil || again.Device != fingerprint(i) {
			t.Errorf("device %d: got %+v, %v", i, again, err)
		}
	}
}

func TestEnrolRefuses(t *testing.T) {
	f := start(t)
	f.register("alice", 0)
	f.register("bob", 5)
	changed := func(change func(e *rendezvous.Entry)) func(r *rendezvous.Enrol) {
		return func(r *rendezvous.Enrol) {
			e := &rendezvous.Entry{Rendezvous: here, Username: "alice", Seq: 2, Issued: epoch, Devices: []rendezvous.EntryDevice{device(0), device(1)}}
			change(e)
			r.Entry = signEntry(t, e, 1)
		}
	}
	tests := []struct {
		name   string
		change func(r *rendezvous.Enrol)
		want   rendezvous.Code
	}{
		{"the old number", changed(func(e *rendezvous.Entry) { e.Seq = 1 }), rendezvous.CodeStale},
		{"a number too far", changed(func(e *rendezvous.Entry) { e.Seq = 3 }), rendezvous.CodeStale},
		{"without the old device", changed(func(e *rendezvous.Entry) { e.Devices = e.Devices[1:] }), rendezvous.CodeBadRequest},
		{"another in place of the old one", changed(func(e *rendezvous.Entry) { e.Devices[0] = device(2) }), rendezvous.CodeBadRequest},
		{"the old one changed", changed(func(e *rendezvous.Entry) { e.Devices[0].PeerID = peerID(2) }), rendezvous.CodeBadRequest},
		{"the old one's time changed", changed(func(e *rendezvous.Entry) { e.Devices[0].Added = epoch.Add(1e9) }), rendezvous.CodeBadRequest},
		{"two more", changed(func(e *rendezvous.Entry) { e.Devices = append(e.Devices, device(2)) }), rendezvous.CodeBadRequest},
		{"another name", changed(func(e *rendezvous.Entry) { e.Username = "bob" }), rendezvous.CodeBadRequest},
		{"signed by the old device", func(r *rendezvous.Enrol) { r.Entry = entry(t, "alice", 2, 0, 0, 1) }, rendezvous.CodeBadRequest},
		{"another's host key", changed(func(e *rendezvous.Entry) { e.Devices[1].PeerID = peerID(2) }), rendezvous.CodeBadRequest},
		{"no proof", func(r *rendezvous.Enrol) { r.Possession = nil }, rendezvous.CodeKeyRefused},
		{"no bundle", func(r *rendezvous.Enrol) { r.Bundle = nil }, rendezvous.CodeKeyRefused},
	}
	for _, tt := range tests {
		e, err := f.login("alice", secret, 1)
		if err != nil {
			t.Fatal(err)
		}
		r := enrolment(t, "alice", 1, 2, 0)
		tt.change(r)
		_, err = f.s.Enrol(t.Context(), caller(1), e, r)
		wantCode(t, tt.name, err, tt.want)
	}

	_, err := f.s.Enrol(t.Context(), caller(1), nil, enrolment(t, "alice", 1, 2, 0))
	wantCode(t, "without a login", err, rendezvous.CodeNotSignedIn)
	e, err := f.login("alice", secret, 1)
	if err != nil {
		t.Fatal(err)
	}
	f.now = f.now.Add(61 * time.Second)
	_, err = f.s.Enrol(t.Context(), caller(1), e, enrolment(t, "alice", 1, 2, 0))
	wantCode(t, "too late", err, rendezvous.CodeNotSignedIn)

	e, err = f.login("alice", secret, 5)
	if err != nil {
		t.Fatal(err)
	}
	_, err = f.s.Enrol(t.Context(), caller(5), e, enrolment(t, "alice", 5, 2, 0))
	wantCode(t, "bob's device", err, rendezvous.CodeKeyRefused)
}

func TestEnrolRace(t *testing.T) {
	f := start(t)
	f.register("alice", 0)
	first, err1 := f.login("alice", secret, 1)
	second, err2 := f.login("alice", secret, 2)
	if err1 != nil || err2 != nil {
		t.Fatal(err1, err2)
	}
	if _, err := f.s.Enrol(t.Context(), caller(1), first, enrolment(t, "alice", 1, 2, 0)); err != nil {
		t.Fatal(err)
	}
	_, err := f.s.Enrol(t.Context(), caller(1), first, enrolment(t, "alice", 1, 2, 0))
	wantCode(t, "used twice", err, rendezvous.CodeNotSignedIn)
	_, err = f.s.Enrol(t.Context(), caller(2), second, enrolment(t, "alice", 2, 2, 0))
	wantCode(t, "the slower one", err, rendezvous.CodeStale)
	f.enrol("alice", 2, 3, 0, 1)
}

func TestResumeRefuses(t *testing.T) {
	f := start(t)
	f.register("alice", 0)
	f.register("bob", 1)
	for _, tt := range []struct {
		what, name string
		device     int
	}{
		{"another's device", "alice", 1},
		{"a device on no account", "alice", 2},
		{"an unknown name", "carol", 0},
		{"no name", "", 0},
	} {
		_, err := f.s.Resume(t.Context(), caller(tt.device), &rendezvous.Resume{Username: tt.name})
		wantCode(t, tt.what, err, rendezvous.CodeNotEnrolled)
	}
}

func TestBan(t *testing.T) {
	f := start(t)
	f.register("alice", 0)
	e, err := f.login("alice", secret, 1)
	if err != nil {
		t.Fatal(err)
	}
	if err := f.s.Ban(t.Context(), "alice", "spam"); err != nil {
		t.Fatal(err)
	}
	_, err = f.s.Resume(t.Context(), caller(0), &rendezvous.Resume{Username: "alice"})
	wantCode(t, "resume", err, rendezvous.CodeBanned)
	if err == nil || !strings.Contains(err.Error(), "spam") {
		t.Errorf("the reason is missing: %v", err)
	}
	_, err = f.login("alice", secret, 1)
	wantCode(t, "login", err, rendezvous.CodeBanned)
	_, err = f.login("alice", "wrong password", 1)
	wantCode(t, "a ban is no oracle", err, rendezvous.CodeBadCredentials)
	_, err = f.s.Enrol(t.Context(), caller(1), e, enrolment(t, "alice", 1, 2, 0))
	wantCode(t, "enrol with an earlier login", err, rendezvous.CodeBanned)
	if err := f.s.Unban(t.Context(), "alice"); err != nil {
		t.Fatal(err)
	}
	if _, err = f.s.Resume(t.Context(), caller(0), &rendezvous.Resume{Username: "alice"}); err != nil {
		t.Error(err)
	}
	wantCode(t, "unknown user", f.s.Ban(t.Context(), "carol", ""), rendezvous.CodeNoSuchUser)
}
