package natlab

import (
	"fmt"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/byway-chat/byway/cmd/byway/stage"
)

// Addresses of the internet.
const (
	rendezvous4 = "45.0.0.10"
	rendezvous6 = "2a45::10"
	halfTrip    = 10 * time.Millisecond // between any two places of the internet
)

// internet is what the rendezvous and all routers are plugged into. Its networks end with the test.
type internet struct {
	t      testing.TB
	net    *stage.Network
	fabric *stage.Fabric
	places int // used so far, for addresses
}

func newInternet(t testing.TB) *internet {
	n := stage.NewNetwork(t)
	return &internet{t: t, net: n, fabric: stage.NewFabric(t)}
}

// run carries packets from now on. Nothing may be plugged in afterwards.
func (w *internet) run() {
	w.fabric.All(stage.Weather{Delay: halfTrip})
	w.fabric.Run()
}

// host is a machine with public addresses.
func (w *internet) host(name string, addresses ...string) string {
	w.t.Helper()
	space := w.net.Space(name)
	w.fabric.Plug(w.net, space, addresses...)
	return space
}

// public is a machine with a public address of its own that anybody may dial.
func (w *internet) public(name string) string {
	w.t.Helper()
	space, _ := w.publicAt(name)
	return space
}

// publicAt also returns the address.
func (w *internet) publicAt(name string) (space string, at netip.Addr) {
	w.t.Helper()
	address := w.address()
	return w.host(name, address), netip.MustParseAddr(address)
}

// between returns what loses everything between two addresses, and what ends that.
func (w *internet) between(a, b netip.Addr) func(off bool) {
	return func(off bool) {
		w.fabric.Set(func(from, to netip.Addr) stage.Weather {
			return stage.Weather{Delay: halfTrip, Down: off && (from == a && to == b || from == b && to == a)}
		})
	}
}

// address is a public address that nobody has yet.
func (w *internet) address() string {
	w.places++
	return fmt.Sprintf("45.0.0.%d", 100+w.places)
}

// firewalled is a machine with a public address whose firewall lets in only what answers.
func (w *internet) firewalled(name string) string {
	w.t.Helper()
	return w.shut(w.public(name))
}

// shut has the firewall of a machine let in only what answers, and what IPv6 cannot do without.
func (w *internet) shut(space string) string {
	w.t.Helper()
	w.rules(space, `
		table inet firewall {
			chain input {
				type filter hook input priority filter; policy drop;
				iifname "lo" accept
				icmpv6 type { nd-neighbor-solicit, nd-neighbor-advert, nd-router-advert, packet-too-big } accept
				ct state established,related accept
			}
		}`)
	return space
}

// router says how a router treats what passes.
type router struct {
	symmetric bool // another port for each destination, else the same one for all
	noUDP     bool // drops UDP
	deaf      bool // does not hear that a host has ended a connection of TCP, and so goes on holding it for minutes
	network   string
	maps      string // by which protocol it maps ports for those behind it, "natpmp" or "upnp"; empty: it does not
}

// The routers that people sit behind. Each of the two sides has its own private network, where not said otherwise.
var (
	cone        = router{}
	symmetric   = router{symmetric: true}
	coneWithout = router{noUDP: true}
	coneDeaf    = router{noUDP: true, deaf: true}
	mapsByPMP   = router{symmetric: true, maps: "natpmp"}
	mapsByUPnP  = router{symmetric: true, maps: "upnp"}
)

// site is a private network behind a router.
type site struct {
	w      *internet
	router string // namespace
	public netip.Addr
	prefix string // three octets
	hosts  int
}

// behind makes a site. What comes from outside and answers nothing is dropped, as home routers do: an answer to it would take the place that a punch
// needs in the router's table.
func (w *internet) behind(name string, r router) *site {
	w.t.Helper()
	public := w.address()
	s := &site{w: w, router: w.host("nat"+name, public), public: netip.MustParseAddr(public), prefix: r.network}
	if s.prefix == "" {
		s.prefix = fmt.Sprintf("10.%d.0", w.places)
	}
	w.net.IP("-n", s.router, "link", "add", "br0", "type", "bridge")
	w.net.IP("-n", s.router, "addr", "add", s.prefix+".1/24", "dev", "br0")
	w.net.IP("-n", s.router, "link", "set", "br0", "up")
	masquerade, udp, ends := "masquerade", "", ""
	if r.symmetric {
		masquerade = "masquerade fully-random"
	}
	if r.noUDP {
		udp = "meta l4proto udp drop"
	}
	if r.deaf {
		ends = `iifname "br0" tcp flags & (rst | fin) != 0 drop`
	}
	w.rules(s.router, fmt.Sprintf(`
		table inet router {
			chain hears { # before connections are tracked
				type filter hook prerouting priority raw;
				%s
			}
			chain translate {
				type nat hook postrouting priority srcnat;
				oifname "tun0" %s
			}
			chain leads { # what miniupnpd has been asked for, in this chain and the next two
			}
			chain lets {
			}
			chain sends {
			}
			chain into {
				type nat hook prerouting priority dstnat;
				jump leads
			}
			chain pass {
				type filter hook forward priority filter; policy drop;
				%s
				jump lets
				iifname "br0" accept
				ct state established,related accept
			}
			chain input {
				type filter hook input priority filter;
				iifname "tun0" drop
			}
		}`, ends, masquerade, udp))
	w.forward(s.router)
	if r.maps != "" {
		s.mapPorts(r.maps)
	}
	return s
}

// mapPorts has the router map ports for those behind it, by one protocol.
func (s *site) mapPorts(protocol string) {
	t := s.w.t
	t.Helper()
	dir := t.TempDir()
	config := filepath.Join(dir, "miniupnpd.conf")
	yes := map[bool]string{true: "yes", false: "no"}
	text := fmt.Sprintf(`ext_ifname=tun0
listening_ip=br0
enable_natpmp=%s
enable_upnp=%s
upnp_table_name=router
upnp_nat_table_name=router
upnp_forward_chain=lets
upnp_nat_chain=leads
upnp_nat_postrouting_chain=sends
uuid=00000000-0000-4000-8000-000000000001
allow 1024-65535 %s.0/24 1024-65535
`, yes[protocol == "natpmp"], yes[protocol == "upnp"], s.prefix)
	if err := os.WriteFile(config, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	stage.Daemon(t, s.router, "miniupnpd", "-d", "-f", config, "-P", filepath.Join(dir, "pid"))
}

// host is a machine of the site.
func (s *site) host(name string) string {
	s.w.t.Helper()
	space := s.w.net.Space(name)
	s.hosts++
	s.w.net.Join(s.router, space, name, fmt.Sprintf("%s.%d/24", s.prefix, 1+s.hosts))
	s.w.net.IP("-n", space, "route", "add", "default", "via", s.prefix+".1")
	return space
}

// rules loads a table of nftables.
func (w *internet) rules(space, table string) {
	w.t.Helper()
	if err := load(space, table); err != nil {
		w.t.Fatal(err)
	}
}

func load(space, table string) error {
	cmd := exec.Command("ip", "netns", "exec", space, "nft", "-f", "-")
	cmd.Stdin = strings.NewReader(table)
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("nft: %w %s", err, out)
	}
	return nil
}

// probeRules loads one rule of each kind that the laboratory uses.
func probeRules(t testing.TB) error {
	return load(stage.NewNetwork(t).Space("probe"), `
		table inet probe {
			chain translate {
				type nat hook postrouting priority srcnat;
				oifname "lo" masquerade fully-random
			}
			chain pass {
				type filter hook forward priority filter; policy drop;
				meta l4proto udp drop
				ct state established,related accept
			}
		}`)
}

// forward makes a router of a machine.
func (w *internet) forward(space string) {
	w.t.Helper()
	stage.Inside(w.t, space, func() error { return os.WriteFile("/proc/sys/net/ipv4/ip_forward", []byte("1"), 0) })
}

// lan is one private network without a way out, as a bridge.
type lan struct {
	w      *internet
	bridge string
	hosts  int
}

func (w *internet) lan() *lan { return &lan{w: w, bridge: w.net.Bridge()} }

// host is a machine on the LAN.
func (l *lan) host(name string) string {
	l.w.t.Helper()
	space := l.w.net.Space(name)
	l.hosts++
	l.w.net.Join(l.bridge, space, name, fmt.Sprintf("192.168.77.%d/24", l.hosts))
	return space
}

// isolate keeps a machine from all others that are isolated too, as an access point does with its clients, or ends that.
func (l *lan) isolate(name string, on bool) {
	l.w.t.Helper()
	isolated := map[bool]string{true: "on", false: "off"}[on]
	l.w.net.IP("-n", l.bridge, "link", "set", name, "type", "bridge_slave", "isolated", isolated)
}

// deafen drops multicast that a machine sends.
func (w *internet) deafen(space string) {
	w.t.Helper()
	w.rules(space, `
		table inet multicast {
			chain output {
				type filter hook output priority filter;
				ip daddr 224.0.0.0/4 drop
				ip6 daddr ff00::/8 udp dport 5353 drop
			}
		}`)
}
