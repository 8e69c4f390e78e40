package doctor

import (
	"errors"
	"fmt"
	"io/fs"
	"net/netip"
	"os"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/byway-chat/byway/peer"
)

func TestHide(t *testing.T) {
	t.Setenv("HOME", "/home/maria")
	m := newMask(Config{Home: "/home/maria/.local/share/byway"})
	m.forgetPaths(&peer.Error{Err: fmt.Errorf("why: %w", errors.Join(&fs.PathError{Path: "notes of maria"}, &os.LinkError{Old: "/srv/old one", New: "rel"}))})
	m.forget("bob")
	m.forget("al")
	m.forget("")
	m.wrong = `https://join.example.org/?i=TOKEN chat.example.org:29929`
	for _, tc := range []struct{ text, want string }{
		{"open /home/maria/.local/share/byway/keystore.age: no", "open <home>/keystore.age: no"},
		{"open /home/maria/x: no", "open (path): no"},
		{"open /home/maria/.local/share/byway/secretfile: no", "open (path): no"},
		{"open /some/secretfile: no", "open (path): no"},
		{"open /proc/.doctor-17: no, (/srv/a,b). file:/x/y ~/z", "open (path): no, ((path)). file:(path) (path)"},
		{`open "/srv/with a space": no, "/ip4/10.0.0.1/tcp/1" may`, `open "(path)": no, "/ip4/10.0.0.1/tcp/1" may`},
		{"open notes of maria: no; rename /srv/old one rel: relative", "open (path): no; rename (path) (path): relative"},
		{"dial unix /run/user/7/byway.sock: connect: refused", "dial unix (path): connect: refused"},
		{"/ip4/10.0.0.1/tcp/1/srv/x /ip4/10.0.0.1/udp/1/quic-v1/p2p-circuit", "(path) /ip4/10.0.0.1/udp/1/quic-v1/p2p-circuit"},
		{"linux/amd64, and/or, fe80::/10, fd00::1/64", "linux/amd64, and/or, fe80::/10, fd00::1/64"},
		{"bob: lan; bobby, al-x and al. Also (al)", "…: lan; bobby, al-x and …. Also (…)"},
		{"/ip4/45.1.2.3/tcp/1/p2p/12D3KooWSBZxr6USzYw1AXtwUu8JccnFeawVZqECy9jUn9qFapws", "/ip4/(public IPv4)/tcp/1/p2p/12D3KooW…"},
		{"dial tcp4 45.1.2.3:29929: refused", "dial tcp4 (public IPv4):29929: refused"},
		{"dial tcp6 [2a45::10]:29929: refused", "dial tcp6 [(public IPv6)]:29929: refused"},
		{"/ip6/2a45::10/udp/1/quic-v1 /ip6/fd00::1/tcp/1 /ip6/::1/tcp/1", "/ip6/(public IPv6)/udp/1/quic-v1 /ip6/fd00::1/tcp/1 /ip6/::1/tcp/1"},
		{"192.168.1.5/24, 10.0.0.1, 127.0.0.1:80 and 12:30:45", "192.168.1.5/24, 10.0.0.1, 127.0.0.1:80 and 12:30:45"},
		{"/dns4/chat.example.org/tcp/1 /dns/a.b /dnsaddr/c", "/dns4/…/tcp/1 /dns/… /dnsaddr/…"},
		{"bob bob bob and Bob", "… … … and …"},
		{"/ip6/2a45:1:2::/tcp/1 [2a45:1:2::]:1 2a45:1:2::: no", "/ip6/(public IPv6)/tcp/1 [(public IPv6)]:1 (public IPv6): no"},
		{"failed:2a45::10: no; code:2a45:1:2:3:4:5:6:7", "fail(public IPv6): no; co(public IPv6)"},
		{`"https://join.example.org/?i=TOKEN" is not an address, "chat.example.org:29929" neither, but "z" is`, `"…" is not an address, "…" neither, but "z" is`},
		{"byway://chat.example.org:29929/12D3KooWx?i=TOKEN is wrong", "byway://… is wrong"},
		{"a\x1b[2Jb\nc", "a\uFFFD[2Jb c"},
	} {
		if got := m.hide(tc.text); got != tc.want {
			t.Errorf("%q\n got %q\nwant %q", tc.text, got, tc.want)
		}
	}
	full := newMask(Config{Home: "/home/maria/b", Full: true})
	full.forget("bob")
	full.wrong = "h?i=TOKEN"
	if got := full.hide("bob at 45.1.2.3 in /home/maria/b by byway://h:1/x?i=TOKEN \x1b not \"h?i=TOKEN\""); got != "bob at 45.1.2.3 in /home/maria/b by byway://… \uFFFD not \"…\"" {
		t.Errorf("full: got %q", got)
	}
}

// No public address gets through, whatever stands around it.
func TestNoPublicAddressIsShown(t *testing.T) {
	m := newMask(Config{Home: "/h"})
	bytes := func(n int) *rapid.Generator[[]byte] { return rapid.SliceOfN(rapid.Byte(), n, n) }
	public := rapid.OneOf(
		rapid.Map(bytes(4), func(raw []byte) netip.Addr { return netip.AddrFrom4([4]byte(raw)) }),
		rapid.Map(bytes(16), func(raw []byte) netip.Addr { return netip.AddrFrom16([16]byte(raw)) }),
	).Filter(func(a netip.Addr) bool {
		return !a.Is4In6() && !a.IsPrivate() && !a.IsLoopback() && !a.IsUnspecified() && !a.IsLinkLocalUnicast() && !a.IsMulticast()
	})
	rapid.Check(t, func(t *rapid.T) {
		a := public.Draw(t, "address")
		form := rapid.SampledFrom([]string{"/ip4/%s/tcp/1", "[%s]:80", "dial %s", "%s", "%s, x", "(%s)", "/ip6/%s/udp/9/quic-v1", "%s: no", "%s.", "error:%s", "code:%s"}).Draw(t, "form")
		if got := m.hide(fmt.Sprintf(form, a)); strings.Contains(got, a.String()) {
			t.Fatalf("%s is shown in %q", a, got)
		}
	})
}

// No part of a path gets through, whatever names it and stands around it.
func TestNoPathIsShown(t *testing.T) {
	m := newMask(Config{Home: "/h"})
	rapid.Check(t, func(t *rapid.T) {
		part := rapid.StringMatching(`needle[a-zA-Z0-9._,:é-]{0,8}needle`)
		path := "/" + strings.Join(rapid.SliceOfN(part, 1, 4).Draw(t, "parts"), "/")
		form := rapid.SampledFrom([]string{"open %s: no", "(%s)", "%q", "%s", "a %s, %s.", "in:%s", "dial unix %s: no", "=%s", "~%s", "/h%s", "'%s'", "[%s]", "<%s>"}).Draw(t, "form")
		text := strings.ReplaceAll(strings.ReplaceAll(form, "%q", fmt.Sprintf("%q", path)), "%s", path)
		if got := m.hide(text); strings.Contains(got, "needle") {
			t.Fatalf("%q is shown as %q", text, got)
		}
	})
}
