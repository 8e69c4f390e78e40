package trace

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"
	"unicode/utf8"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"
)

// held is what a reader finds in a log without waiting.
func held(t *testing.T, l *Log, o Options) []string {
	t.Helper()
	o.Held = true
	var out []string
	for e, err := range l.Follow(o).Events(t.Context()) {
		if err != nil {
			t.Fatal(err)
		}
		out = append(out, fmt.Sprintf("%d %s %s %d", e.Seq, e.What, e.User, e.Lost))
	}
	return out
}

func TestFollow(t *testing.T) {
	l := New()
	for _, e := range []Step{{What: Dial, User: "bob"}, {What: Dial, User: "carol"}, {What: Here}, {What: LinkUp, User: "bob"}} {
		l.Add(e)
	}
	for _, tc := range []struct {
		name string
		o    Options
		want []string
	}{
		{"everything", Options{}, []string{"1 dial bob 0", "2 dial carol 0", "3 here  0", "4 link-up bob 0"}},
		{"one contact", Options{User: "bob"}, []string{"1 dial bob 0", "3 here  0", "4 link-up bob 0"}},
		{"somebody unknown", Options{User: "dave"}, []string{"3 here  0"}},
		{"resumed", Options{After: 3}, []string{"4 link-up bob 0"}},
		{"resumed behind the end", Options{After: 9}, []string{"1 dial bob 0", "2 dial carol 0", "3 here  0", "4 link-up bob 0"}},
		{"nothing new", Options{New: true}, nil},
	} {
		t.Run(tc.name, func(t *testing.T) {
			if diff := cmp.Diff(tc.want, held(t, l, tc.o)); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
	if got := held(t, New(), Options{}); got != nil {
		t.Errorf("an empty log holds %q", got)
	}
}

// What falls off is counted, for a reader that comes late as for one that is slow.
func TestLost(t *testing.T) {
	l := New()
	slow := l.Follow(Options{})
	for range Size + 7 {
		l.Add(Step{What: Doubt})
	}
	for name, r := range map[string]*Reader{"slow": slow, "late": l.Follow(Options{Held: true})} {
		var events, lost uint64
		for e, err := range r.Events(t.Context()) {
			if err != nil {
				t.Fatal(err)
			}
			if e.What == Lost {
				lost += e.Lost
			} else if events++; e.Seq != lost+events {
				t.Fatalf("%s: got seq %d as event %d after %d lost", name, e.Seq, events, lost)
			}
			if events == Size {
				r.Close()
			}
		}
		if lost != 7 || events != Size {
			t.Errorf("%s: %d lost and %d read, want 7 and %d", name, lost, events, Size)
		}
	}
}

// Nobody can push the story out of the log by what they cause; what is left out is counted.
func TestCaused(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := New()
		l.Add(Step{What: Dial, User: "bob"})
		for range 10 * Size {
			l.AddCaused(Step{What: LinkRefused, Error: "not allowed"})
		}
		time.Sleep(time.Second)
		l.AddCaused(Step{What: LinkRefused, Error: "last"})
		got := held(t, l, Options{})
		if len(got) != causedBurst+3 || got[0] != "1 dial bob 0" || got[causedBurst+1] != fmt.Sprintf("%d lost  %d", causedBurst+2, 10*Size-causedBurst) {
			t.Errorf("got %d: %q", len(got), got)
		}
	})
	var none *Log
	none.Add(Step{})
	none.AddCaused(Step{})
}

func TestWaits(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := New()
		got, ended := make(chan Step, 1), make(chan error, 1)
		go func() {
			for e, err := range l.Follow(Options{}).Events(t.Context()) {
				if err != nil {
					ended <- err
					return
				}
				got <- e
			}
			ended <- nil
		}()
		time.Sleep(time.Minute)
		l.Add(Step{What: Dial, User: "bob"})
		if e := <-got; e.What != Dial || !e.Time.Equal(time.Now()) || e.V != 1 || e.Type != "trace" {
			t.Errorf("got %+v", e)
		}
		l.Close()
		l.Close()
		l.Add(Step{What: Dial})
		if err := <-ended; err != nil {
			t.Errorf("got %v after Close, want no error", err)
		}
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		for _, err := range New().Follow(Options{}).Events(ctx) {
			if !errors.Is(err, context.Canceled) {
				t.Errorf("got %v, want the context's error", err)
			}
		}
		r := New().Follow(Options{})
		go func() {
			time.Sleep(time.Second)
			r.Close()
		}()
		for e, err := range r.Events(t.Context()) {
			t.Errorf("got %+v, %v from a reader that was closed", e, err)
		}
	})
}

// Whatever is added, what is read is one harmless line of a bounded length.
func TestClean(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		raw := string(rapid.SliceOfN(rapid.Byte(), 0, 700).Draw(t, "bytes")) + rapid.String().Draw(t, "text")
		e := Step{Error: raw, Why: raw, Addr: raw, Addrs: []string{raw}}
		e.clean()
		for _, s := range []string{e.Error, e.Why, e.Addr, e.Addrs[0]} {
			if len(s) > maxText || !utf8.ValidString(s) || strings.ContainsAny(s, "\n\r\t\x1b\x00\u202e\u2028\u009b") {
				t.Fatalf("got %q", s)
			}
			if again := Clean(s); again != s {
				t.Fatalf("%q is cleaned to %q", s, again)
			}
		}
	})
	e := Step{Addrs: make([]string, 2*maxAddrs)}
	e.clean()
	if len(e.Addrs) != maxAddrs {
		t.Errorf("%d addresses are kept", len(e.Addrs))
	}
}

// The fields are a contract.
func TestJSON(t *testing.T) {
	ms, online := 1.5, false
	b, err := json.Marshal(Step{
		V: 1, Seq: 2, Type: Type, Time: time.Unix(1, 5).UTC(), What: There, User: "bob", Device: "d", Way: "lan", Addr: "a", Addrs: []string{"b"}, MS: &ms,
		Error: "e", Old: "o", New: "n", Why: "w", Online: &online, Network: &Network{UDP: "works", Ports: "kept", IPv4: true, Mapping: "mapped", Policy: "auto"}, Lost: 3,
	})
	if err != nil {
		t.Fatal(err)
	}
	const want = `{"v":1,"seq":2,"type":"trace","time":"1970-01-01T00:00:01.000000005Z","what":"there","user":"bob","device":"d","way":"lan","addr":"a",` +
		`"addrs":["b"],"ms":1.5,"error":"e","old":"o","new":"n","why":"w","online":false,"network":{"udp":"works","ports":"kept","ipv4":true,"ipv6":false,"mapping":"mapped","policy":"auto"},"lost":3}`
	if string(b) != want {
		t.Errorf("got  %s\nwant %s", b, want)
	}
}
