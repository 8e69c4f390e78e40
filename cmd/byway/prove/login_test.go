package prove_test

import (
	"cmp"
	"context"
	"fmt"
	"log/slog"
	"math"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/libp2p/go-libp2p"

	"github.com/byway-chat/byway/cmd/byway/stage"
	"github.com/byway-chat/byway/rendezvous"
	"github.com/byway-chat/byway/rendezvous/client"
)

func TestWrongPasswordTellsNothing(t *testing.T) {
	t.Parallel()
	o := stage.Serve(t, "", stage.Loopback...)
	bob := stage.NewPerson(t, "bob", o)
	bob.Must(0, "register", "--user", "bob")

	guess := func(user string) stage.Result {
		p := stage.NewPerson(t, user, o)
		p.SetPassword("not the password of " + user)
		return p.Must(7, "login", "--user", user)
	}
	known, unknown := guess("bob"), guess("bib")
	if known.Out != unknown.Out || known.Errors != unknown.Errors {
		t.Errorf("a wrong password is answered %q %q, an unknown name %q %q", known.Out, known.Errors, unknown.Out, unknown.Errors)
	}
	if !strings.HasPrefix(known.Errors, "byway: error: ") {
		t.Errorf("a wrong password is answered %q", known.Errors)
	}
	t.Logf("both: %q", known.Errors)
	if users := o.Users(); len(users) != 1 || len(users["bob"].Devices) != 1 {
		t.Errorf("after the guesses there are the users %v", users)
	}
	compareTimes(t, o, bob)
}

// compareTimes measures the rendezvous's answers alone, one known and one unknown name after the other. It fails only where no statistics are
// needed to see a difference: the exact figures are logged.
func compareTimes(t *testing.T, o *stage.Operator, bob *stage.Person) {
	t.Helper()
	const pairs = 24
	var known, unknown []time.Duration
	messages := map[string]bool{}
	for i := range pairs {
		if i%4 == 0 { // five wrong ones in a row bring a pause
			if _, message := timeLogin(t, o, "bob", bob.Password); message != "" {
				t.Fatalf("the right password is answered %q", message)
			}
		}
		took, message := timeLogin(t, o, "bob", fmt.Sprintf("wrong password number %d", i))
		known, messages[message] = append(known, took), true
		took, message = timeLogin(t, o, fmt.Sprintf("nobody%d", i), fmt.Sprintf("wrong password number %d", i))
		unknown, messages[message] = append(unknown, took), true
	}
	if len(messages) != 1 {
		t.Errorf("a wrong password and an unknown name are told apart: %v", messages)
	}
	a, b := median(known), median(unknown)
	t.Logf("median of %d answers: wrong password %v, unknown name %v; Mann-Whitney p = %.3f", pairs, a, b, mannWhitney(known, unknown))
	if ratio := float64(a) / float64(b); ratio < 0.5 || ratio > 2 {
		t.Errorf("a wrong password takes %v and an unknown name %v", a, b)
	}
}

// timeLogin asks the rendezvous on a new connection and measures from the question to the answer, which it returns.
func timeLogin(t *testing.T, o *stage.Operator, user, password string) (took time.Duration, message string) {
	t.Helper()
	host, err := libp2p.New(libp2p.NoListenAddrs, libp2p.Ping(false))
	if err != nil {
		t.Fatal(err)
	}
	defer host.Close()
	address, err := rendezvous.ParseAddress(o.Addrs[0])
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), stage.Patience)
	defer cancel()
	conn, err := client.Dial(ctx, client.Options{Host: host, Rendezvous: address.AddrInfo(), Agent: "prove", Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	began := time.Now()
	if _, err = conn.Login(ctx, user, password); err != nil {
		message = err.Error()
	}
	return time.Since(began), message
}

func median(d []time.Duration) time.Duration {
	sorted := slices.Sorted(slices.Values(d))
	return sorted[len(sorted)/2]
}

// mannWhitney is the probability of ranks at least as uneven as these where both come from one distribution (normal approximation).
func mannWhitney(a, b []time.Duration) float64 {
	type sample struct {
		took  time.Duration
		first bool
	}
	var all []sample
	for _, d := range a {
		all = append(all, sample{d, true})
	}
	for _, d := range b {
		all = append(all, sample{d, false})
	}
	slices.SortFunc(all, func(x, y sample) int { return cmp.Compare(x.took, y.took) })
	rank := 0.0
	for i, s := range all {
		if s.first {
			rank += float64(i + 1)
		}
	}
	n, m := float64(len(a)), float64(len(b))
	u := rank - n*(n+1)/2
	z := math.Abs(u-n*m/2) / math.Sqrt(n*m*(n+m+1)/12)
	return math.Erfc(z / math.Sqrt2)
}

func TestSecondHome(t *testing.T) {
	t.Parallel()
	o := stage.Serve(t, "", stage.Loopback...)
	alice, bob := stage.NewPerson(t, "alice", o), stage.NewPerson(t, "bob", o)
	a, b := alice.Bot(), bob.Bot()
	exchange(t, a, b, "1", "before", "relay", "relay") // alice pins bob's only device

	phone := stage.NewPerson(t, "bob", o)
	phone.SetPassword(bob.Password)
	if r := phone.Must(0, "login", "--user", "bob"); !strings.Contains(r.Out, "signed in as bob") {
		t.Errorf("login says %q", r.Out)
	}
	if devices := o.Users()["bob"].Devices; len(devices) != 2 {
		t.Fatalf("bob has %d devices, want 2", len(devices))
	}
	added := a.Await("device-added", func(e stage.Event) bool { return e.Type == "key" && e.Change == "device-added" })
	if added.User != "bob" || added.Blocked == nil || !*added.Blocked || len(added.Fingerprint) != 64 {
		t.Errorf("key event: %+v", added)
	}

	second := phone.Bot()
	a.Send("2", "bob", "not for the new device", "auto")
	b.Message("alice", "not for the new device")
	a.State("2", "delivered")
	if r := alice.Must(0, "verify", "bob"); !strings.Contains(r.Out, "not accepted yet: "+added.Fingerprint) {
		t.Errorf("verify does not show the new device: %s", r.Out)
	}
	alice.Must(0, "verify", "bob", "--accept")
	a.Send("3", "bob", "for both", "auto")
	b.Message("alice", "for both")
	second.Message("alice", "for both")
	if out := second.Stdout(); strings.Contains(out, "not for the new device") {
		t.Errorf("the new device got what was sealed before it was accepted:\n%s", out)
	}

	carol := stage.NewPerson(t, "carol", o) // has pinned nothing: trusts both at first contact
	c := carol.Bot()
	c.Send("1", "bob", "from somebody new", "auto")
	b.Message("carol", "from somebody new")
	second.Message("carol", "from somebody new")
	c.State("1", "delivered")

	second.Send("1", "alice", "from the phone", "auto")
	if e := a.Message("bob", "from the phone"); e.Device != added.Fingerprint[:16] {
		t.Errorf("it came from device %s, want %s", e.Device, added.Fingerprint[:16])
	}
	bob.Must(0, "verify", "bob", "--accept") // the old device asks its owner, too, before it believes in the new one
	b.Await("the copy of the other device's message", func(e stage.Event) bool {
		return e.Type == "message" && e.To == "alice" && e.Body != nil && *e.Body == "from the phone"
	})
}
