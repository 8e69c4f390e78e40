package prove_test

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/byway-chat/byway/cmd/byway/stage"
)

// distribution is a list of times in words.
func distribution(took []time.Duration) string {
	sorted := slices.Sorted(slices.Values(took))
	at := func(p int) time.Duration { return sorted[(len(sorted)-1)*p/100].Round(time.Millisecond) }
	return fmt.Sprintf("%d runs: fastest %v, p50 %v, p90 %v, p99 %v, slowest %v", len(sorted), at(0), at(50), at(90), at(99), at(100))
}

// sendMany runs `byway send` one after the other. Each must be delivered.
func sendMany(t *testing.T, p *stage.Person, to, text string, n int) []time.Duration {
	t.Helper()
	var took []time.Duration
	for i := range n {
		r := p.Must(0, "send", to, fmt.Sprintf("%s %d", text, i), "--wait", "delivered")
		took = append(took, r.Took)
	}
	return took
}

// inOrder awaits the messages of sendMany: each once, in order, nothing between them.
func inOrder(s *stage.Stream, from, text string, n int) {
	s.T.Helper()
	var last uint64
	for i := range n {
		e := s.Await("a message", func(e stage.Event) bool { return e.Type == "message" || e.Type == "gap" })
		if e.Type == "gap" || e.From != from || e.Body == nil || *e.Body != fmt.Sprintf("%s %d", text, i) || e.N <= last {
			s.T.Fatalf("instead of %s %d came %+v after number %d", text, i, e, last)
		}
		last = e.N
	}
}

// TestOneShots sends from programs that live for one message, which is how scripts send: first with nobody else at home, then through a peer that
// runs. Nothing may count a hundred of them as an attack.
func TestOneShots(t *testing.T) {
	t.Parallel()
	o := stage.Serve(t, "", stage.Loopback...)
	bob := stage.NewPerson(t, "bob", o)
	b := bob.Bot()
	script := stage.NewPerson(t, "script", o, "--no-passphrase")
	script.Must(0, "register", "--user", "script")
	sealed := stage.NewPerson(t, "sealed", o)
	sealed.Must(0, "register", "--user", "sealed")

	took := sendMany(t, script, "bob", "alone", 100)
	inOrder(b, "script", "alone", 100)
	t.Logf("no peer running, key file unsealed: %s", distribution(took))
	took = sendMany(t, sealed, "bob", "with a password", 20)
	inOrder(b, "sealed", "with a password", 20)
	t.Logf("no peer running, key file sealed with a password: %s", distribution(took))

	up := sealed.Open("up")
	stage.Eventually(t, "the peer is up", func() bool { return sealed.Run("status").Code == 0 })
	took = sendMany(t, sealed, "bob", "through the peer", 100)
	inOrder(b, "sealed", "through the peer", 100)
	t.Logf("with byway up running: %s", distribution(took))
	if code := up.Stop(); code != 0 && code != 130 {
		t.Errorf("byway up: exit code %d\n%s", code, up.Stderr())
	}
}

// TestFirstSignIn tells how long the first run takes to be ready.
func TestFirstSignIn(t *testing.T) {
	t.Parallel()
	o := stage.Serve(t, "", stage.Loopback...)
	var first, later []time.Duration
	for i := range 4 {
		p := stage.NewPerson(t, fmt.Sprintf("user%d", i), o)
		for _, times := range []*[]time.Duration{&first, &later} {
			began := time.Now()
			s := p.Bot()
			*times = append(*times, time.Since(began))
			s.Kill()
		}
	}
	t.Logf("from start to ready: on an empty home %s; later %s", distribution(first), distribution(later))
}
