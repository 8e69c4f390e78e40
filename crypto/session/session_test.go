package session_test

import (
	"bytes"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/byway-chat/byway/crypto/identity"
	"github.com/byway-chat/byway/crypto/identity/identitytest"
	"github.com/byway-chat/byway/crypto/session"
)

var now = time.Date(2026, 5, 4, 3, 2, 1, 6e6, time.UTC)

func party(name string, device int) session.Party {
	return session.Party{Name: name, Fingerprint: identitytest.Keyring(device).Identity.Public().Fingerprint()}
}

var alice, bob = party("alice", 0), party("bob", 1)

// start is an opening from alice, device 0, to bob, device 1.
func start() session.Start {
	return session.Start{
		From: alice, Signer: identitytest.Keyring(0).Identity,
		To: bob, Key: identitytest.Keyring(1).Encryption[0].Public(), Time: now,
	}
}

// lookup finds the test devices, whatever name they claim.
func lookup(p session.Party) (*identity.PublicKey, error) {
	for i := range identitytest.Devices {
		if k := identitytest.Keyring(i).Identity.Public(); k.Fingerprint() == p.Fingerprint {
			return k, nil
		}
	}
	return nil, errUnknown
}

var errUnknown = errors.New("nobody knows them")

func begin(t testing.TB, s session.Start, payload string) (*session.Sender, []byte) {
	t.Helper()
	sender, envelope, err := session.Begin(rand.Reader, s, []byte(payload))
	if err != nil {
		t.Fatal(err)
	}
	return sender, envelope
}

func accept(t testing.TB, envelope []byte) *session.Opened {
	t.Helper()
	opened, err := session.Accept(envelope, identitytest.Keyring(1).Encryption[0], bob, lookup)
	if err != nil {
		t.Fatal(err)
	}
	return opened
}

func TestInit(t *testing.T) {
	s := start()
	s.Prev, s.PrevCount, s.Checkpoint = session.ID{1, 2, 3}, 77, []byte("checkpoint")
	s.Time = s.Time.Add(123 * time.Microsecond)
	sender, envelope := begin(t, s, "hello")
	opened := accept(t, envelope)
	want := &session.Opened{
		From: alice, Time: now, Prev: s.Prev, PrevCount: 77, Checkpoint: s.Checkpoint, Payload: []byte("hello"),
	}
	receiver := opened.Receiver
	opened.Receiver = nil
	if diff := cmp.Diff(want, opened); diff != "" {
		t.Errorf("opened (-want +got):\n%s", diff)
	}
	header, err := session.Peek(envelope)
	if err != nil {
		t.Fatal(err)
	}
	wantHeader := session.Header{Kind: session.KindInit, Session: sender.ID(), Key: s.Key.ID()}
	if diff := cmp.Diff(wantHeader, header); diff != "" {
		t.Errorf("header (-want +got):\n%s", diff)
	}
	if receiver.ID() != sender.ID() || receiver.From() != alice || sender.Count() != 1 {
		t.Errorf("receiver %s from %v, sender %s with %d", receiver.ID(), receiver.From(), sender.ID(), sender.Count())
	}
}

func TestMsg(t *testing.T) {
	sender, envelope := begin(t, start(), "0")
	receiver := accept(t, envelope).Receiver
	for _, payload := range []string{"1", "", "three", strings.Repeat("x", session.MaxPayload), "\x80\x00\x00"} {
		envelope, err := sender.Seal([]byte(payload))
		if err != nil {
			t.Fatal(err)
		}
		header, err := session.Peek(envelope)
		if err != nil || header.Kind != session.KindMsg || header.Session != sender.ID() {
			t.Errorf("peek: %+v, %v", header, err)
		}
		got, err := receiver.Open(envelope)
		if err != nil || string(got) != payload {
			t.Fatalf("got %.20q and %v, want %.20q", got, err, payload)
		}
		if _, err := receiver.Open(envelope); !errors.Is(err, session.ErrReplayed) {
			t.Errorf("replay: %v", err)
		}
	}
}

func TestBeginRefuses(t *testing.T) {
	tests := []struct {
		name    string
		change  func(*session.Start)
		payload int
		want    error
	}{
		{"payload", func(*session.Start) {}, session.MaxPayload + 1, session.ErrTooLarge},
		{"from", func(s *session.Start) { s.From.Name = strings.Repeat("a", 129) }, 0, session.ErrTooLarge},
		{"to", func(s *session.Start) { s.To.Name = strings.Repeat("a", 129) }, 0, session.ErrTooLarge},
		{"checkpoint", func(s *session.Start) { s.Checkpoint = make([]byte, session.MaxCheckpoint+1) }, 0, session.ErrTooLarge},
		{"signer", func(s *session.Start) { s.From.Fingerprint = bob.Fingerprint }, 0, nil},
		{"name", func(s *session.Start) { s.From.Name = "\xff" }, 0, nil},
		{"time", func(s *session.Start) { s.Time = time.Unix(-1, 0) }, 0, nil},
	}
	for _, tc := range tests {
		s := start()
		tc.change(&s)
		_, _, err := session.Begin(rand.Reader, s, make([]byte, tc.payload))
		if err == nil || tc.want != nil && !errors.Is(err, tc.want) {
			t.Errorf("%s: got %v, want %v", tc.name, err, tc.want)
		}
	}
	if _, _, err := session.Begin(strings.NewReader("short"), start(), nil); err == nil {
		t.Error("a short read of randomness was taken")
	}
}

func TestSealRefuses(t *testing.T) {
	sender, envelope := begin(t, start(), "")
	receiver := accept(t, envelope).Receiver
	if _, err := sender.Seal(make([]byte, session.MaxPayload+1)); !errors.Is(err, session.ErrTooLarge) {
		t.Errorf("payload: %v", err)
	}
	for sender.Count() < session.MaxMessages {
		envelope, err := sender.Seal(nil)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := receiver.Open(envelope); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := sender.Seal(nil); !errors.Is(err, session.ErrSpent) {
		t.Errorf("message %d: %v", sender.Count(), err)
	}
	if got := receiver.Missing(session.MaxMessages); got != 0 {
		t.Errorf("%d missing", got)
	}
}

func TestLargestEnvelopesFit(t *testing.T) {
	s := start()
	s.From.Name, s.Checkpoint = strings.Repeat("a", session.MaxName), make([]byte, session.MaxCheckpoint)
	_, envelope := begin(t, s, strings.Repeat("x", session.MaxPayload))
	if len(envelope) > session.MaxEnvelope {
		t.Errorf("%d bytes", len(envelope))
	}
	if got := accept(t, envelope); len(got.Payload) != session.MaxPayload || len(got.Checkpoint) != session.MaxCheckpoint {
		t.Error("cut")
	}
}

// TestLengths is the histogram of what lengths show: few of them, none below the floor, and the same for a short name as for a
// long one.
func TestLengths(t *testing.T) {
	sender, _ := begin(t, start(), "")
	seen := make(map[int]bool)
	last := 0
	for size := 0; size <= 1000; size++ {
		envelope, err := sender.Seal(make([]byte, size))
		if err != nil {
			t.Fatal(err)
		}
		padded := len(envelope) - len(envelope)%16
		if padded < last {
			t.Errorf("%d bytes take less than %d", size, size-1)
		}
		last = padded
		seen[padded] = true
	}
	if len(seen) > 41 {
		t.Errorf("payloads of 0 to 1000 bytes show %d lengths", len(seen))
	}
	_, short := begin(t, start(), "hello")
	s := start()
	s.From.Name = "a-name-of-thirty-two-characters-"
	if _, long := begin(t, s, "hi"); len(long) != len(short) {
		t.Errorf("names show: %d and %d bytes", len(short), len(long))
	}
}

func TestSkippedKeysAreBounded(t *testing.T) {
	sender, envelope := begin(t, start(), "")
	receiver := accept(t, envelope).Receiver
	envelopes := make([][]byte, session.MaxMessages)
	for n := 1; n < session.MaxMessages; n++ {
		var err error
		if envelopes[n], err = sender.Seal(fmt.Append(nil, n)); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := receiver.Open(envelopes[session.MaxSkipped+2]); !errors.Is(err, session.ErrOpen) {
		t.Errorf("%d skipped: %v", session.MaxSkipped+1, err)
	}
	if _, err := receiver.Open(envelopes[session.MaxSkipped+1]); err != nil {
		t.Errorf("%d skipped: %v", session.MaxSkipped, err)
	}
	if _, err := receiver.Open(envelopes[session.MaxSkipped+2]); err != nil {
		t.Errorf("next in order, with no room for a skipped key: %v", err)
	}
	if _, err := receiver.Open(envelopes[session.MaxSkipped+4]); !errors.Is(err, session.ErrOpen) {
		t.Errorf("one more skipped: %v", err)
	}
	state, err := receiver.MarshalBinary()
	if err != nil || len(state) > 53<<10 {
		t.Errorf("state of %d bytes, %v", len(state), err)
	}
	if got, err := receiver.Open(envelopes[7]); err != nil || string(got) != "7" {
		t.Errorf("skipped: %q, %v", got, err)
	}
	if got := receiver.Missing(session.MaxSkipped + 5); got != session.MaxSkipped-1+2 {
		t.Errorf("%d missing", got)
	}
}

// TestSchedules delivers the messages of a session in any order, some never and some often, with damaged ones and restarts between: each
// comes out once, or is reported missing.
func TestSchedules(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		sender, first, err := session.Begin(rand.Reader, start(), []byte("0"))
		if err != nil {
			t.Fatal(err)
		}
		opened, err := session.Accept(first, identitytest.Keyring(1).Encryption[0], bob, lookup)
		if err != nil {
			t.Fatal(err)
		}
		receiver := opened.Receiver
		count := rapid.IntRange(1, 40).Draw(t, "count")
		envelopes := [][]byte{first}
		for n := 1; n <= count; n++ {
			envelope, err := sender.Seal(fmt.Append(nil, n))
			if err != nil {
				t.Fatal(err)
			}
			envelopes = append(envelopes, envelope)
		}
		came := map[int]int{0: 1}
		for range rapid.IntRange(0, 80).Draw(t, "steps") {
			n := rapid.IntRange(1, count).Draw(t, "n")
			switch rapid.SampledFrom([]string{"deliver", "deliver", "deliver", "damage", "restart"}).Draw(t, "step") {
			case "restart":
				receiver = reload(t, receiver)
			case "damage":
				damaged := bytes.Clone(envelopes[n])
				damaged[rapid.IntRange(0, len(damaged)-1).Draw(t, "at")] ^= byte(rapid.IntRange(1, 255).Draw(t, "bits"))
				if payload, err := receiver.Open(damaged); err == nil {
					t.Fatalf("damaged %d opened as %q", n, payload)
				}
			case "deliver":
				payload, err := receiver.Open(envelopes[n])
				switch {
				case came[n] > 0 && !errors.Is(err, session.ErrReplayed):
					t.Fatalf("%d again: %q, %v", n, payload, err)
				case came[n] == 0 && (err != nil || string(payload) != fmt.Sprint(n)):
					t.Fatalf("%d: %q, %v", n, payload, err)
				}
				came[n]++
			}
		}
		if got, want := receiver.Missing(sender.Count()), uint64(count+1-len(came)); got != want {
			t.Fatalf("%d reported missing, want %d", got, want)
		}
	})
}

func reload(t *rapid.T, r *session.Receiver) *session.Receiver {
	state, err := r.MarshalBinary()
	if err != nil {
		t.Fatal(err)
	}
	again, err := session.UnmarshalReceiver(state)
	if err != nil {
		t.Fatal(err)
	}
	if state2, _ := again.MarshalBinary(); !bytes.Equal(state, state2) {
		t.Fatal("the state changed on its way")
	}
	if again.ID() != r.ID() || again.From() != r.From() {
		t.Fatal("the session changed on its way")
	}
	return again
}

// TestForwardSecrecy shows that the state after a message does not open it: the chain cannot run backwards.
func TestForwardSecrecy(t *testing.T) {
	sender, envelope := begin(t, start(), "")
	receiver := accept(t, envelope).Receiver
	secret, err := sender.Seal([]byte("secret"))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := receiver.Open(secret); err != nil {
		t.Fatal(err)
	}
	stolen, err := receiver.MarshalBinary()
	if err != nil {
		t.Fatal(err)
	}
	thief, err := session.UnmarshalReceiver(stolen)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := thief.Open(secret); !errors.Is(err, session.ErrReplayed) {
		t.Errorf("the past: %v", err)
	}
	// What it does open, as the threat model says, is the rest of this session.
	next, err := sender.Seal([]byte("next"))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := thief.Open(next); err != nil {
		t.Errorf("the rest of the session: %v", err)
	}
}

func TestIdentityOf(t *testing.T) {
	_, envelope := begin(t, start(), "hello")
	key := identitytest.Keyring(1).Encryption[0]
	_, err := session.Accept(envelope, key, bob, func(p session.Party) (*identity.PublicKey, error) {
		if p != alice {
			t.Errorf("asked for %v", p)
		}
		return nil, errUnknown
	})
	if !errors.Is(err, errUnknown) || errors.Is(err, session.ErrOpen) {
		t.Errorf("unknown sender: %v", err)
	}
	_, err = session.Accept(envelope, key, bob, func(session.Party) (*identity.PublicKey, error) {
		return identitytest.Keyring(2).Identity.Public(), nil
	})
	if !errors.Is(err, session.ErrOpen) {
		t.Errorf("another key than the claimed: %v", err)
	}
}

func TestSecretsDoNotPrint(t *testing.T) {
	sender, envelope := begin(t, start(), "")
	receiver := accept(t, envelope).Receiver
	for _, v := range []any{sender, *sender, receiver, *receiver} {
		for _, verb := range []string{"%v", "%+v", "%#v", "%x"} {
			if got := fmt.Sprintf(verb, v); got != "[secret]" {
				t.Errorf("prints as %q with %s", got, verb)
			}
		}
		if b, err := json.Marshal(v); !errors.Is(err, identity.ErrSecret) {
			t.Errorf("marshals to %s and %v", b, err)
		}
	}
}
