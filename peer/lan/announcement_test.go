package lan

import (
	"net"
	"net/netip"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	ma "github.com/multiformats/go-multiaddr"
)

func prefixes(texts ...string) []netip.Prefix {
	var out []netip.Prefix
	for _, s := range texts {
		out = append(out, netip.MustParsePrefix(s))
	}
	return out
}

func TestTag(t *testing.T) {
	a, b := mustID(t, peerA), mustID(t, peerB)
	first, second := NewTag([16]byte{1}, a), NewTag([16]byte{2}, a)
	if !first.Of(a) || !second.Of(a) || first.Of(b) {
		t.Error("a tag stands for its PeerID and no other")
	}
	if string(first[16:]) == string(second[16:]) {
		t.Error("two announcements of one peer can be told to be one's")
	}
	if strings.Contains(string(first[:]), string(a)[:8]) {
		t.Error("the tag shows the PeerID")
	}
	// docs/protocol.md, frozen
	const want = "01000000000000000000000000000000" + "3eac140021f4f3879a0004335af59567"
	if got := (Announcement{Tag: first}).texts()[0]; got != "tag="+want {
		t.Errorf("got %s, want tag=%s", got, want)
	}
}

func TestParseAnnouncement(t *testing.T) {
	tag := Announcement{Tag: NewTag([16]byte{1}, mustID(t, peerA))}.texts()[0]
	ours := prefixes("192.168.1.7/24", "fd00::7/64")
	many := []string{tag}
	for range 3 * maxAddrs {
		many = append(many, "addr=/ip4/192.168.1.5/tcp/"+strings.Repeat("1", 1+len(many)%4))
	}
	for _, tc := range []struct {
		name  string
		texts []string
		want  string // addresses; empty: no announcement
	}{
		{"nothing", nil, ""},
		{"TCP and QUIC", []string{tag, "addr=/ip4/192.168.1.5/tcp/1", "addr=/ip6/fd00::5/udp/1/quic-v1"}, "/ip4/192.168.1.5/tcp/1 /ip6/fd00::5/udp/1/quic-v1"},
		{"unknown strings", []string{"x=1", tag, "future", "addr=/ip4/192.168.1.5/tcp/1"}, "/ip4/192.168.1.5/tcp/1"},
		{"no tag", []string{"addr=/ip4/192.168.1.5/tcp/1"}, ""},
		{"a short tag", []string{"tag=00", "addr=/ip4/192.168.1.5/tcp/1"}, ""},
		{"a long tag", []string{tag + "00", "addr=/ip4/192.168.1.5/tcp/1"}, ""},
		{"no address", []string{tag}, ""},
		{"another network", []string{tag, "addr=/ip4/192.168.2.5/tcp/1", "addr=/ip4/45.0.0.1/tcp/1"}, ""},
		{"loopback", []string{tag, "addr=/ip4/127.0.0.1/tcp/1"}, ""},
		{"a name", []string{tag, "addr=/dns4/example.org/tcp/1"}, ""},
		{"port 0, relayed, the same twice", []string{
			tag, "addr=/ip4/192.168.1.5/tcp/0", "addr=/ip4/192.168.1.5/tcp/1/p2p/" + peerB + "/p2p-circuit", "addr=/ip4/192.168.1.5/tcp/2", "addr=/ip4/192.168.1.5/tcp/2",
		}, "/ip4/192.168.1.5/tcp/2"},
		{"many of one", many, "/ip4/192.168.1.5/tcp/11 /ip4/192.168.1.5/tcp/111 /ip4/192.168.1.5/tcp/1111 /ip4/192.168.1.5/tcp/1"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			a, ok := parseAnnouncement(tc.texts, ours)
			var got []string
			for _, m := range a.Addrs {
				got = append(got, m.String())
			}
			if ok != (tc.want != "") {
				t.Fatalf("taken: %v", ok)
			}
			if diff := cmp.Diff(tc.want, strings.Join(got, " ")); ok && diff != "" {
				t.Error(diff)
			}
			if ok && !a.Tag.Of(mustID(t, peerA)) {
				t.Error("the tag is lost")
			}
		})
	}
}

func FuzzParseAnnouncement(f *testing.F) {
	f.Add("tag="+strings.Repeat("0f", 32), "addr=/ip4/192.168.1.5/tcp/1", "")
	f.Add("addr=/ip6/fd00::5/udp/1/quic-v1", "tag=", "addr=/ip4/192.168.1.255/tcp/1")
	ours := prefixes("192.168.1.7/24", "fd00::7/64")
	f.Fuzz(func(t *testing.T, x, y, z string) {
		a, ok := parseAnnouncement([]string{x, y, z}, ours)
		if !ok {
			return
		}
		for _, m := range a.Addrs {
			if h := hostOf(m); !ours[0].Contains(h) && !ours[1].Contains(h) {
				t.Errorf("%s is in none of our networks", m)
			}
		}
		again, ok := parseAnnouncement(a.texts(), ours)
		if diff := cmp.Diff(a.texts(), again.texts()); !ok || diff != "" {
			t.Error(diff)
		}
	})
}

func TestAnnounced(t *testing.T) {
	eth := port{Interface: net.Interface{Index: 2, Name: "eth0"}, prefixes: prefixes("192.168.1.7/24", "fe80::7/64", "2a45::7/64")}
	tun := port{Interface: net.Interface{Index: 3, Name: "tun0"}, prefixes: prefixes("10.8.0.2/24")}
	for _, tc := range []struct {
		name, listening, want string
	}{
		{"all interfaces", "/ip4/0.0.0.0/tcp/5 /ip6/::/udp/6/quic-v1", "/ip4/10.8.0.2/tcp/5 /ip4/192.168.1.7/tcp/5 /ip6/2a45::7/udp/6/quic-v1"},
		{"one interface", "/ip4/10.8.0.2/tcp/5", "/ip4/10.8.0.2/tcp/5"},
		{"loopback", "/ip4/127.0.0.1/tcp/5 /ip6/::1/tcp/5", ""},
		{"an address that has gone", "/ip4/192.168.9.9/tcp/5", ""},
		{"nothing", "", ""},
	} {
		t.Run(tc.name, func(t *testing.T) {
			var listening []ma.Multiaddr
			for _, s := range strings.Fields(tc.listening) {
				listening = append(listening, ma.StringCast(s))
			}
			var got []string
			for _, m := range announced(listening, []port{eth, tun}) {
				got = append(got, m.String())
			}
			if diff := cmp.Diff(tc.want, strings.Join(got, " ")); diff != "" {
				t.Error(diff)
			}
		})
	}
}
