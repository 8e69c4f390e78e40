package natlab

import (
	"strings"
	"testing"

	"github.com/byway-chat/byway/cmd/byway/stage"
)

// finding is one line of `byway doctor --json`.
type finding struct {
	Type   string `json:"type"`
	Name   string `json:"name"`
	State  string `json:"state"`
	Detail string `json:"detail"`
	Hint   string `json:"hint"`
}

// examine runs the doctor, which must exit with a code, and compares what it finds with what is wanted.
func examine(t testing.TB, p *stage.Person, code int, want map[string]string) {
	t.Helper()
	r := p.Must(code, "doctor", "--json")
	found := map[string]finding{}
	for _, f := range stage.ParseLines[finding](t, r.Out) {
		found[f.Name] = f
		if f.State == "warning" && f.Hint == "" {
			t.Errorf("no cure: %+v", f)
		}
		if strings.Contains(f.Detail+f.Hint, "45.0.0.") {
			t.Errorf("a public address is shown: %+v", f)
		}
	}
	for name, state := range want {
		if found[name].State != state {
			t.Errorf("%s is %q, want %q\n%s", name, found[name].State, state, r.Out)
		}
	}
}

// TestDoctorBehindRouters: what a router does to ports and to UDP is found, and a way that is only slower is no failure.
func TestDoctorBehindRouters(t *testing.T) {
	roll.Begin(t, stage.Linking, translating)
	w := newInternet(t)
	place := routers(symmetric, coneWithout)(w)
	w.run()
	c := meet(t, place)
	c.settle(pair{name: "before", want: "relay", because: "symmetric-nat-here"})
	both := map[string]string{"rendezvous-tcp": "ok", "sign-in": "ok", "clock": "ok", "interfaces": "ok", "multicast": "skipped", "contact": "warning", "listening": "ok", "network": "warning"}
	with := func(quic string) map[string]string {
		both["rendezvous-quic"] = quic
		return both
	}
	examine(t, c.people[0], 0, with("ok"))
	examine(t, c.people[1], 0, with("warning"))
}

// TestDoctorOnLAN: with nothing configured the rendezvous is found where multicast passes, and where it is filtered the doctor says that.
func TestDoctorOnLAN(t *testing.T) {
	roll.Begin(t, stage.Linking, translating)
	w := newInternet(t)
	_, place := together(w)
	w.run()
	o := stage.Serve(t, place.rendezvous, multiaddrs(place.listen)...)
	newcomer := stage.NewPerson(t, "carol", o)
	newcomer.Netns, newcomer.Flags = place.alice, nil
	examine(t, newcomer, 0, map[string]string{
		"home": "ok", "multicast": "ok", "rendezvous": "ok", "rendezvous-tcp": "ok", "clock": "ok", "sign-in": "skipped",
	})
	w.deafen(place.rendezvous)
	examine(t, newcomer, 20, map[string]string{"multicast": "warning", "rendezvous": "failed", "clock": "skipped"})
	newcomer.Flags = []string{"--rendezvous", o.Addrs[0]}
	examine(t, newcomer, 0, map[string]string{"multicast": "warning", "rendezvous": "ok", "rendezvous-tcp": "ok"})
	w.rules(place.rendezvous, `
		table inet shut {
			chain input {
				type filter hook input priority filter; policy accept;
				meta l4proto { tcp, udp } drop
			}
		}`)
	examine(t, newcomer, 10, map[string]string{"rendezvous": "ok", "rendezvous-tcp": "failed", "clock": "skipped"})
}
