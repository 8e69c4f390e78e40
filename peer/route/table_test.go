package route

import (
	"net/netip"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/byway-chat/byway/peer/delivery"
)

var epoch = time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)

func addresses(t *testing.T, ours string, theirs ...string) Addresses {
	t.Helper()
	var list []netip.Addr
	for _, a := range theirs {
		list = append(list, netip.MustParseAddr(a))
	}
	return Sort(list, []netip.Prefix{netip.MustParsePrefix(ours)})
}

func TestReasons(t *testing.T) {
	both := Network{UDP: UDPWorks, Ports: PortsKept, IPv4: true}
	with := func(n Network, change func(*Network)) Network { change(&n); return n }
	changing := with(both, func(n *Network) { n.Ports = PortsChanging })
	noUDP := with(both, func(n *Network) { n.UDP = UDPBlocked })
	six := with(both, func(n *Network) { n.IPv4, n.IPv6 = false, true })
	dialled := func(t *Table) { t.Dialling(); t.DialFailed(epoch) }
	punched := func(t *Table) { dialled(t); t.Punching(); t.PunchFailed(epoch) }
	far, near := addresses(t, "10.1.0.2/24", "10.2.0.2"), addresses(t, "10.1.0.2/24", "10.1.0.3")
	public := addresses(t, "10.1.0.2/24", "45.0.0.7")

	for _, tt := range []struct {
		name    string
		here    Network
		there   Network
		at      Addresses
		ours    Policy
		off     bool // the rendezvous
		away    bool
		hidden  bool
		happens func(*Table)
		want    map[delivery.Way]Reason // of the ways that are not in use
	}{
		{
			name: "nothing tried", here: both, there: both, at: near,
			want: map[delivery.Way]Reason{"lan": NotTriedYet, "direct": NoPublicAddress, "punched": NotTriedYet, "mailbox": BetterWayOpen},
		},
		{
			name: "nothing known", here: both,
			want: map[delivery.Way]Reason{"lan": NoAddressKnown, "direct": NoAddressKnown, "punched": NotTriedYet, "mailbox": BetterWayOpen},
		},
		{
			name: "isolated on one LAN", here: both, there: both, at: near, happens: punched,
			want: map[delivery.Way]Reason{"lan": SameLANUnreachable, "direct": NoPublicAddress, "punched": PunchFailed, "mailbox": BetterWayOpen},
		},
		{
			name: "symmetric here", here: changing, there: both, at: far, happens: punched,
			want: map[delivery.Way]Reason{"lan": NoCommonNetwork, "direct": NoPublicAddress, "punched": SymmetricNATHere, "mailbox": BetterWayOpen},
		},
		{
			name: "symmetric there", here: both, there: changing, at: far, happens: punched,
			want: map[delivery.Way]Reason{"lan": NoCommonNetwork, "direct": NoPublicAddress, "punched": SymmetricNATThere, "mailbox": BetterWayOpen},
		},
		{
			name: "symmetric on both sides", here: changing, there: changing, at: far, happens: punched,
			want: map[delivery.Way]Reason{"lan": NoCommonNetwork, "direct": NoPublicAddress, "punched": SymmetricNATBoth, "mailbox": BetterWayOpen},
		},
		{
			name: "no UDP here", here: noUDP, there: both, at: far, happens: punched,
			want: map[delivery.Way]Reason{"lan": NoCommonNetwork, "direct": NoPublicAddress, "punched": UDPBlockedHere, "mailbox": BetterWayOpen},
		},
		{
			name: "no UDP there", here: both, there: noUDP, at: far, happens: punched,
			want: map[delivery.Way]Reason{"lan": NoCommonNetwork, "direct": NoPublicAddress, "punched": UDPBlockedThere, "mailbox": BetterWayOpen},
		},
		{
			name: "no reason to be seen", here: both, there: both, at: far, happens: punched,
			want: map[delivery.Way]Reason{"lan": NoCommonNetwork, "direct": NoPublicAddress, "punched": PunchFailed, "mailbox": BetterWayOpen},
		},
		{
			name: "families", here: six, there: both, at: public, happens: dialled,
			want: map[delivery.Way]Reason{"lan": NoCommonNetwork, "direct": IPv6OneSide, "punched": IPv6OneSide, "mailbox": BetterWayOpen},
		},
		{
			name: "firewall there", here: both, there: both, at: public, happens: punched,
			want: map[delivery.Way]Reason{"lan": NoCommonNetwork, "direct": InboundBlocked, "punched": PunchFailed, "mailbox": BetterWayOpen},
		},
		{
			name: "policy here", here: both, there: both, at: near, ours: Direct,
			want: map[delivery.Way]Reason{
				"lan": NotTriedYet, "direct": NoPublicAddress, "punched": NotTriedYet, "relay": PolicyHere, "mailbox": PolicyHere,
			},
		},
		{
			name: "policy there", here: both, there: with(both, func(n *Network) { n.Policy = Relay }), at: near,
			want: map[delivery.Way]Reason{"lan": PolicyThere, "direct": PolicyThere, "punched": PolicyThere, "mailbox": BetterWayOpen},
		},
		{
			name: "policies that exclude each other", here: both, there: with(both, func(n *Network) { n.Policy = Relay }), at: near, ours: LAN,
			want: map[delivery.Way]Reason{
				"lan": PolicyThere, "direct": PolicyHere, "punched": PolicyHere, "relay": PolicyHere, "mailbox": PolicyHere,
			},
		},
		{
			name: "policy of a newer program", here: both, there: with(both, func(n *Network) { n.Policy = 77 }), at: near,
			want: map[delivery.Way]Reason{
				"lan": PolicyThere, "direct": PolicyThere, "punched": PolicyThere, "relay": PolicyThere, "mailbox": PolicyThere,
			},
		},
		{
			name: "hidden", here: both, there: both, at: near, hidden: true,
			want: map[delivery.Way]Reason{"lan": PolicyHere, "direct": PolicyHere, "punched": PolicyHere, "mailbox": BetterWayOpen},
		},
		{
			name: "away", here: both, there: both, at: near, away: true,
			want: map[delivery.Way]Reason{"lan": PeerOffline, "direct": PeerOffline, "punched": PeerOffline, "relay": PeerOffline},
		},
		{
			name: "no rendezvous", here: both, there: both, at: near, off: true, happens: dialled,
			want: map[delivery.Way]Reason{
				"lan": SameLANUnreachable, "direct": NoPublicAddress, "punched": RendezvousUnreachable,
				"relay": RendezvousUnreachable, "mailbox": RendezvousUnreachable,
			},
		},
		{
			name: "open", here: both, there: both, at: near, happens: func(t *Table) { t.Opened(Open{Way: "lan"}) },
			want: map[delivery.Way]Reason{"direct": NoPublicAddress, "punched": BetterWayOpen, "relay": BetterWayOpen, "mailbox": BetterWayOpen},
		},
		{
			name: "lost", here: both, there: both, at: far, happens: func(t *Table) { punched(t); t.Opened(Open{Way: "punched"}); t.Closed(epoch) },
			want: map[delivery.Way]Reason{"lan": NoCommonNetwork, "direct": NoPublicAddress, "punched": LinkLost, "mailbox": BetterWayOpen},
		},
	} {
		t.Run(tt.name, func(t *testing.T) {
			table := Table{Addresses: tt.at, There: tt.there, Policy: tt.ours, Online: !tt.away}
			if tt.happens != nil {
				tt.happens(&table)
			}
			got := map[delivery.Way]Reason{}
			for _, e := range table.Entries(&Surroundings{Here: tt.here, Rendezvous: !tt.off, Hidden: tt.hidden}) {
				if !e.InUse {
					got[e.Way] = e.Reason
				}
			}
			if diff := cmp.Diff(tt.want, got); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestSort(t *testing.T) {
	for _, tt := range []struct {
		name, ours, theirs string
		public, common     bool
	}{
		{"neighbour", "192.168.1.2/24", "192.168.1.3", false, true},
		{"our own address, on another network", "192.168.1.2/24", "192.168.1.2", false, false},
		{"elsewhere", "192.168.1.2/24", "10.0.0.3", false, false},
		{"public", "192.168.1.2/24", "45.0.0.3", true, false},
		{"a carrier's", "192.168.1.2/24", "100.64.0.3", false, false},
		{"loopback", "192.168.1.2/24", "127.0.0.1", false, true},
		{"mapped", "192.168.1.2/24", "::ffff:192.168.1.3", false, true},
		{"local IPv6", "fd00::2/64", "fd00::3", false, true},
		{"public IPv6", "192.168.1.2/24", "2a00::3", true, false},
	} {
		got := addresses(t, tt.ours, tt.theirs)
		if (len(got.Public) == 1) != tt.public || (len(got.Private) == 1) == tt.public || got.Common != tt.common {
			t.Errorf("%s: %+v", tt.name, got)
		}
	}
}

// TestTries goes through an outage of a punched way.
func TestTries(t *testing.T) {
	s := &Surroundings{Here: Network{IPv4: true}, Rendezvous: true}
	table := Table{Addresses: addresses(t, "10.1.0.2/24", "10.2.0.2"), There: Network{IPv4: true}, Online: true}
	at := func(after time.Duration) (dial, punch bool) {
		return table.MayDial(epoch.Add(after), s), table.MayPunch(epoch.Add(after), s)
	}
	check := func(what string, after time.Duration, dial, punch bool) {
		t.Helper()
		if d, p := at(after); d != dial || p != punch {
			t.Errorf("%s: dial %v, punch %v; want %v, %v", what, d, p, dial, punch)
		}
	}
	check("at first", 0, true, true)
	table.Dialling()
	check("while dialling", 0, false, true)
	table.DialFailed(epoch)
	check("after a dial", dialPause-1, false, true)
	check("after the pause", dialPause, true, true)
	table.Punching()
	table.PunchFailed(epoch)
	check("after a punch", punchPause-1, true, false)
	check("after its pause", punchPause, true, true)
	table.There.Ports = PortsChanging
	check("in vain", punchPause, true, false)
	check("in vain, much later", vainPause, true, true)
	table.There.Ports = PortsKept
	table.Opened(Open{Way: delivery.WayPunched})
	check("open", time.Hour, false, false)
	table.Closed(epoch)
	check("just lost", lostPause-1, true, false)
	check("lost", lostPause, true, true)
	for range 5 {
		table.Punching()
		table.PunchFailed(epoch)
	}
	check("lost for long", punchPause-1, true, false)
	check("and tried all the same", punchPause, true, true)
	table.Opened(Open{Way: delivery.WayPunched})
	table.Closed(epoch)
	table.Policy = Relay
	check("not allowed", lostPause, false, false)
	table.Policy, table.Online = Auto, false
	check("away", lostPause, true, false)
	table.Online, table.Addresses.Common = true, true
	table.Want(epoch.Add(lostPause))
	check("a dial has its start", lostPause+dialStart-1, true, false)
	check("and has had it", lostPause+dialStart, true, true)
	s.Exposed = true
	check("the other side has its start", lostPause+exposedStart-1, true, false)
	if !table.Busy(epoch.Add(lostPause+exposedStart-1), s) || table.Busy(epoch.Add(lostPause+exposedStart), s) {
		t.Error("a search does not last until a punch may be tried")
	}
	check("and has had it", lostPause+exposedStart, true, true)
	table.Online = false
	table.Addresses = Addresses{}
	check("nowhere", lostPause, false, false)
}

// TestLostDial goes through a long outage of a way that was found by dialling.
func TestLostDial(t *testing.T) {
	for _, way := range []delivery.Way{delivery.WayLAN, delivery.WayDirect} {
		s := &Surroundings{Here: Network{IPv4: true}, Rendezvous: true}
		table := Table{Addresses: addresses(t, "10.1.0.2/24", "10.1.0.3", "45.0.0.1"), There: Network{IPv4: true}, Online: true}
		table.Opened(Open{Way: way})
		table.Closed(epoch)
		if !table.MayDial(epoch, s) {
			t.Errorf("%s: a way that was just lost is not dialled", way)
		}
		for range 9 {
			table.Dialling()
			table.DialFailed(epoch)
		}
		if table.MayDial(epoch.Add(maxLostPause-1), s) || !table.MayDial(epoch.Add(maxLostPause), s) {
			t.Errorf("%s: the pause is not the one for a way that was lost", way)
		}
	}
}

// TestAlone has messages wait while nothing can carry them: then dials follow each other quickly.
func TestAlone(t *testing.T) {
	table := Table{Addresses: addresses(t, "10.1.0.2/24", "10.1.0.3"), Urgent: true}
	for range 5 {
		table.Dialling()
		table.DialFailed(epoch)
	}
	if s := (&Surroundings{}); table.MayDial(epoch.Add(alonePause-1), s) || !table.MayDial(epoch.Add(alonePause), s) {
		t.Error("the pause is not the one for those who have nothing else")
	}
	if s := (&Surroundings{Rendezvous: true}); table.MayDial(epoch.Add(alonePause), s) || !table.MayDial(epoch.Add(maxDialPause), s) {
		t.Error("the pause is not the one for those who have the relay")
	}
}

func TestMostTelling(t *testing.T) {
	for r := range explanations {
		if !slices.Contains(telling, r) {
			t.Errorf("%s has no place", r)
		}
		if got := MostTelling([]Reason{r, PeerOffline, BetterWayOpen}); got != r && r != BetterWayOpen {
			t.Errorf("%s tells more than that the peer is away, got %s", r, got)
		}
	}
	for _, tt := range []struct {
		want    Reason
		reasons []Reason
	}{
		{"", nil},
		{SymmetricNATThere, []Reason{PeerOffline, SymmetricNATThere, NotTriedYet}},
		{SymmetricNATThere, []Reason{NotTriedYet, SymmetricNATThere, PeerOffline}},
		{PolicyHere, []Reason{PolicyThere, PolicyHere}},
		{"an-unknown-one", []Reason{"an-unknown-one", "one-more"}},
	} {
		if got := MostTelling(tt.reasons); got != tt.want {
			t.Errorf("of %v: %q, want %q", tt.reasons, got, tt.want)
		}
	}
}

// TestOneWayOfLAN has a contact in another private network: what keeps to the LAN is not sent there, though it could be dialled.
func TestOneWayOfLAN(t *testing.T) {
	s := &Surroundings{Here: Network{IPv4: true}, Rendezvous: true}
	for _, tt := range []struct {
		name  string
		ours  Policy
		there Policy
		at    string
		dial  bool
		why   Reason
	}{
		{"on the LAN", LAN, Auto, "10.1.0.3", true, NotTriedYet},
		{"elsewhere", LAN, Auto, "10.2.0.3", false, NoCommonNetwork},
		{"elsewhere, and they keep to it", Auto, LAN, "10.2.0.3", false, NoCommonNetwork},
		{"elsewhere, directly", Direct, Auto, "10.2.0.3", true, NotTriedYet},
		{"with a public address", LAN, Direct, "45.0.0.3", false, NoCommonNetwork},
		{"nowhere", LAN, Relay, "10.1.0.3", false, PolicyThere},
		{"nowhere here", Relay, LAN, "10.1.0.3", false, PolicyHere},
		{"a newer program", Auto, 9, "10.1.0.3", false, PolicyThere},
	} {
		table := Table{Addresses: addresses(t, "10.1.0.2/24", tt.at), There: Network{IPv4: true, Policy: tt.there}, Policy: tt.ours, Online: true}
		wanted, _ := (Direct.Ways() & tt.ours.Ways()).Policy()
		if got := table.MayDial(epoch, s); got != tt.dial {
			t.Errorf("%s: dials %v", tt.name, got)
		}
		if got := table.Why(s, wanted); got != tt.why {
			t.Errorf("%s: because %q, want %q", tt.name, got, tt.why)
		}
	}
}

func TestWays(t *testing.T) {
	all := []Policy{Auto, LAN, Direct, Relay}
	for _, p := range all {
		if q, none := p.Ways().Policy(); q != p || none {
			t.Errorf("the ways of %s are those of %s", p, q)
		}
		for _, q := range all {
			both := p.Ways() & q.Ways()
			r, none := both.Policy()
			if none != (len(both.List()) == 0) || none != (Excludes(Auto, p, q) != "") || !none && r.Ways() != both {
				t.Errorf("%s and %s allow %v, which is %s, none %v", p, q, both.List(), r, none)
			}
		}
	}
	if _, none := Policy(9).Ways().Policy(); !none {
		t.Error("a policy that is not known allows something")
	}
	for _, tt := range []struct {
		wanted, here, there Policy
		want                Reason
	}{
		{Auto, Auto, Auto, ""},
		{Auto, LAN, Relay, PolicyThere},
		{Auto, Relay, LAN, PolicyThere},
		{Direct, Relay, Auto, PolicyHere},
		{Relay, Direct, Relay, PolicyHere},
		{LAN, Direct, Auto, ""},
		{Auto, 9, Auto, PolicyHere},
	} {
		if got := Excludes(tt.wanted, tt.here, tt.there); got != tt.want {
			t.Errorf("%s of %s and %s: %q, want %q", tt.wanted, tt.here, tt.there, got, tt.want)
		}
	}
}
