package route

import (
	"encoding/hex"
	"net/netip"
	"os"
	"regexp"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/byway-chat/byway/peer/delivery"
)

func networks() *rapid.Generator[Network] {
	return rapid.Custom(func(t *rapid.T) Network {
		return Network{
			UDP:   rapid.SampledFrom([]UDP{UDPUnknown, UDPWorks, UDPBlocked}).Draw(t, "udp"),
			Ports: rapid.SampledFrom([]Ports{PortsUnknown, PortsKept, PortsChanging}).Draw(t, "ports"),
			IPv4:  rapid.Bool().Draw(t, "ipv4"), IPv6: rapid.Bool().Draw(t, "ipv6"),
			Policy: rapid.SampledFrom([]Policy{Auto, LAN, Direct, Relay, 9}).Draw(t, "policy"),
		}
	})
}

// TestTableKeepsItsWord draws events in any order, and looks after each whether the table contradicts itself or a policy.
func TestTableKeepsItsWord(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		table, now := Table{}, epoch
		s := &Surroundings{Here: networks().Draw(t, "here"), Rendezvous: true}
		for range rapid.IntRange(1, 40).Draw(t, "events") {
			now = now.Add(time.Duration(rapid.IntRange(0, 30_000).Draw(t, "ms")) * time.Millisecond)
			event(t, &table, s, now)
			judge(t, &table, s, now)
		}
	})
}

// event lets something happen. What cannot happen in this order does not.
func event(t *rapid.T, table *Table, s *Surroundings, now time.Time) {
	switch rapid.IntRange(0, 10).Draw(t, "event") {
	case 0:
		if table.MayDial(now, s) {
			table.Dialling()
		}
	case 1:
		if table.dial.running {
			table.DialFailed(now)
		}
	case 2:
		if table.MayPunch(now, s) {
			table.Punching()
		}
	case 3:
		if table.punch.running {
			table.PunchFailed(now)
		}
	case 4:
		if w := rapid.SampledFrom(ways[:3]).Draw(t, "way"); forbids(table.Policy, table.There.Policy, w) == "" {
			table.Opened(Open{Way: w, Addr: "somewhere"})
		}
	case 5:
		if table.open.Way != "" {
			table.Closed(now)
		}
	case 6:
		table.Renewed()
	case 7:
		table.Online = rapid.Bool().Draw(t, "online")
		s.Rendezvous = rapid.Bool().Draw(t, "rendezvous")
	case 8:
		table.There = networks().Draw(t, "there")
	case 9:
		table.Policy = rapid.SampledFrom([]Policy{Auto, LAN, Direct, Relay}).Draw(t, "ours")
	case 10:
		table.Addresses = Sort([]netip.Addr{
			netip.MustParseAddr(rapid.SampledFrom([]string{"10.0.0.2", "45.0.0.2", "2a00::1", "192.168.0.3"}).Draw(t, "address")),
		}, []netip.Prefix{netip.MustParsePrefix("192.168.0.2/24")})
	}
}

func judge(t *rapid.T, table *Table, s *Surroundings, now time.Time) {
	used, inUse := table.Use(s), 0
	entries := table.Entries(s)
	for i, e := range entries {
		if e.Way != ways[i] {
			t.Fatalf("way %d is %s", i, e.Way)
		}
		if e.InUse {
			inUse++
			if e.Way != used || e.State != StateOpen || e.Reason != "" {
				t.Fatalf("in use is %s: %+v", used, e)
			}
			if !table.Policy.Allows(e.Way) || !table.There.Policy.Allows(e.Way) {
				t.Fatalf("a policy does not allow %s", e.Way)
			}
		} else if _, ok := explanations[e.Reason]; !ok {
			t.Fatalf("%s is not in use, because %q", e.Way, e.Reason)
		}
		if e.State == StateOpen && i > 0 && used == "" {
			t.Fatalf("%s is open and nothing is in use", e.Way)
		}
	}
	if (inUse == 1) != (used != "") {
		t.Fatalf("%d are in use: %+v", inUse, entries)
	}
	if table.MayPunch(now, s) && (!s.Rendezvous || !table.Policy.Allows(delivery.WayPunched) || !table.There.Policy.Allows(delivery.WayPunched)) {
		t.Fatal("punches that are not possible or not allowed")
	}
	if table.MayDial(now, s) && (table.Policy == Relay || table.There.Policy == Relay) {
		t.Fatal("dials somebody who is not to know our address, or does not want that")
	}
}

func TestNetworkGolden(t *testing.T) {
	for _, tt := range []struct {
		name string
		n    Network
		hex  string
	}{
		{"nothing", Network{}, "0000000000"},
		{"home", Network{UDP: UDPWorks, Ports: PortsKept, IPv4: true, Mapping: NotMapped}, "0101010001"},
		{"all else", Network{UDP: UDPBlocked, Ports: PortsChanging, IPv6: true, Policy: Relay, Mapping: Mapped}, "0202020302"},
		{"both families", Network{IPv4: true, IPv6: true, Policy: LAN}, "0000030100"},
	} {
		if got := hex.EncodeToString(tt.n.Append(nil)); got != tt.hex {
			t.Errorf("%s: %s, want %s", tt.name, got, tt.hex)
		}
		longer, _ := hex.DecodeString(tt.hex + "ffff")
		if got, err := ParseNetwork(longer); err != nil || got != tt.n {
			t.Errorf("%s and more: %+v, %v", tt.name, got, err)
		}
	}
	if got, err := ParseNetwork([]byte{1, 1, 1, 0}); err != nil || got != (Network{UDP: UDPWorks, Ports: PortsKept, IPv4: true}) {
		t.Errorf("of an older program: %+v, %v", got, err)
	}
	if got, err := ParseNetwork([]byte{9, 9, 0xff, 9, 9}); err != nil || got != (Network{IPv4: true, IPv6: true, Policy: 9}) {
		t.Errorf("of a newer program: %+v, %v", got, err)
	}
}

func FuzzParseNetwork(f *testing.F) {
	f.Add([]byte{1, 1, 1, 0})
	f.Fuzz(func(t *testing.T, b []byte) {
		n, err := ParseNetwork(b)
		if (err == nil) != (len(b) >= networkSize) {
			t.Fatalf("%x: %v", b, err)
		}
		if again, err := ParseNetwork(n.Append(nil)); len(b) >= networkSize && (err != nil || again != n) {
			t.Fatalf("%+v comes back as %+v, %v", n, again, err)
		}
	})
}

// TestEveryReasonIsExplained reads the codes from the source: one without a sentence would be told as a bare code.
func TestEveryReasonIsExplained(t *testing.T) {
	source, err := os.ReadFile("reason.go")
	if err != nil {
		t.Fatal(err)
	}
	codes := regexp.MustCompile(`Reason = "([a-z0-9-]+)"`).FindAllSubmatch(source, -1)
	if len(codes) != len(explanations) {
		t.Errorf("%d codes and %d explanations", len(codes), len(explanations))
	}
	for _, m := range codes {
		r := Reason(m[1])
		if r.Sentence() == "" || r.Sentence() == string(r) {
			t.Errorf("%s has no sentence", r)
		}
	}
	if got := Reason("of-tomorrow").Sentence(); got != "of-tomorrow" {
		t.Errorf("an unknown code is told as %q", got)
	}
}

func TestPolicies(t *testing.T) {
	for _, name := range []string{"auto", "lan", "direct", "relay"} {
		p, err := ParsePolicy(name)
		if err != nil || p.String() != name {
			t.Errorf("%s: %v, %v", name, p, err)
		}
	}
	if p, err := ParsePolicy(""); p != Auto || err != nil {
		t.Errorf("none: %v, %v", p, err)
	}
	if _, err := ParsePolicy("mailbox"); err == nil {
		t.Error("mailbox is a policy")
	}
}
