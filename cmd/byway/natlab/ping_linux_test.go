package natlab

import (
	"strings"
	"testing"

	"github.com/byway-chat/byway/cmd/byway/stage"
)

// TestPing asks by each way from behind a router: the exit code and the answers say which there are, also where a way has to be found first.
func TestPing(t *testing.T) {
	roll.Begin(t, stage.Linking, translating)
	w := newInternet(t)
	place := routers(cone, cone)(w)
	w.run()
	c := meet(t, place)
	alice := c.people[0]
	for _, tc := range []struct {
		way  string
		code int
	}{{"punched", 0}, {"direct", 0}, {"auto", 0}, {"relay", 3}, {"lan", 5}} {
		r := alice.Must(tc.code, "ping", "bob", "-c", "2", "--way", tc.way, "--json")
		lines := strings.Split(strings.TrimSpace(r.Out), "\n")
		if len(lines) != 3 || !strings.Contains(lines[2], `"type":"summary","sent":2,`) {
			t.Errorf("%s: got %s", tc.way, r.Out)
		}
		want := `"way":"punched","rtt_ms":`
		switch tc.code {
		case 3:
			want = `"way":"relay","rtt_ms":`
		case 5:
			want = `"rtt_ms":null,"lost":true,"reason":"`
		}
		if !strings.Contains(lines[0], want) {
			t.Errorf("%s: got %s, want %s", tc.way, lines[0], want)
		}
	}
	alice.Must(6, "ping", "nemo", "-c", "1")
	c.o.Stop()
	alice.Must(10, "ping", "nemo", "-c", "1")
	alice.Must(0, "ping", "bob", "-c", "1") // the way that is open needs no rendezvous
}
