package lan

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"log/slog"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/libp2p/go-libp2p"
	"github.com/libp2p/go-libp2p/core/peer"
	"github.com/libp2p/go-libp2p/p2p/discovery/mdns"
	ma "github.com/multiformats/go-multiaddr"
	"go.uber.org/goleak"

	"github.com/byway-chat/byway/rendezvous"
)

// The test binary is started again inside network namespaces; roleVariable says as what.
const roleVariable = "BYWAY_LAN_TEST_ROLE"

func TestMain(m *testing.M) {
	switch os.Getenv(roleVariable) {
	case "announce":
		os.Exit(announce())
	case "browse":
		os.Exit(browse())
	case "peer":
		os.Exit(announcePeer())
	case "neighbours":
		os.Exit(neighbours())
	}
	goleak.VerifyTestMain(m)
}

// announce is a rendezvous as far as mDNS can tell. It prints its PeerID and runs until its input ends.
func announce() int {
	h, err := libp2p.New(libp2p.ListenAddrStrings("/ip4/0.0.0.0/tcp/0"))
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	service := mdns.NewMdnsService(h, rendezvous.ServiceTag, ignore{})
	if err := service.Start(); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	fmt.Println(h.ID())
	bufio.NewScanner(os.Stdin).Scan()
	if err := service.Close(); err != nil {
		return 1
	}
	return 0
}

type ignore struct{}

func (ignore) HandlePeerFound(peer.AddrInfo) {}

// browse prints what Browse finds, a candidate a line, until its input ends, and then fails if a goroutine is left over.
func browse() int {
	found, stop := Browse(context.Background(), "", slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: slog.LevelDebug})))
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		bufio.NewScanner(os.Stdin).Scan()
		stop()
		stop()
	}()
	fmt.Println("searching")
	for c := range found {
		fmt.Println(strings.Join(lines([]peer.AddrInfo{c}), ""))
	}
	<-ended
	return leaked()
}

// announcePeer is a peer as far as mDNS can tell. Its PeerID is known to the tests.
func announcePeer() int {
	id, err := peer.Decode(peerA)
	if err != nil {
		return 1
	}
	listening := func() []ma.Multiaddr {
		return []ma.Multiaddr{ma.StringCast("/ip4/0.0.0.0/tcp/4001"), ma.StringCast("/ip4/127.0.0.1/tcp/4002")}
	}
	stop := Announce(id, listening, slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: slog.LevelDebug})))
	fmt.Println("announcing")
	bufio.NewScanner(os.Stdin).Scan()
	stop()
	return leaked()
}

// neighbours prints what Neighbours hears, an announcement a line, until its input ends.
func neighbours() int {
	heard, stop := Neighbours(context.Background(), "", slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: slog.LevelDebug})))
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		bufio.NewScanner(os.Stdin).Scan()
		stop()
	}()
	fmt.Println("searching")
	id, _ := peer.Decode(peerA) // it is well formed
	for a := range heard {
		fmt.Println(a.Tag.Of(id), a.Addrs)
	}
	<-ended
	return leaked()
}

// leaked is the exit code that says whether a goroutine is left over.
func leaked() int {
	if err := goleak.Find(); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	return 0
}

const wantA = "true [/ip4/192.168.77.1/tcp/4001]"

func TestNeighboursHearEachOther(t *testing.T) {
	l := newLAN(t)
	l.attach("a", "192.168.77.1/24")
	l.attach("b", "192.168.77.2/24")
	b := l.start("b", "neighbours")
	b.line()
	l.start("a", "peer").line()
	if got := b.line(); got != wantA {
		t.Errorf("heard %q, want %q", got, wantA)
	}
}

func TestLateInterfaces(t *testing.T) {
	l := newLAN(t)
	l.start("a", "peer").line()
	b := l.start("b", "neighbours")
	b.line()
	l.attach("b", "192.168.77.2/24")
	l.attach("a", "192.168.77.1/24")
	if got := b.line(); got != wantA {
		t.Errorf("heard %q, want %q", got, wantA)
	}
	l.ip("-n", l.prefix+"a", "addr", "del", "192.168.77.1/24", "dev", "eth0")
	l.ip("-n", l.prefix+"a", "addr", "add", "192.168.77.9/24", "dev", "eth0")
	if got, want := b.line(), "true [/ip4/192.168.77.9/tcp/4001]"; got != want {
		t.Errorf("heard %q after the address has changed, want %q", got, want)
	}
}

func TestBrowseFindsAcrossABridge(t *testing.T) {
	l := newLAN(t)
	l.attach("a", "192.168.77.1/24")
	l.attach("b", "192.168.77.2/24")
	id := l.start("a", "announce").line()
	b := l.start("b", "browse")
	b.line()
	if got := b.line(); !strings.HasPrefix(got, id+" /ip4/192.168.77.1/tcp/") || strings.Contains(got, "127.0.0.1") {
		t.Errorf("found %q, want %s at 192.168.77.1 alone", got, id)
	}
}

func TestBrowseWaitsForTheNetwork(t *testing.T) {
	l := newLAN(t)
	l.attach("a", "192.168.77.1/24")
	id := l.start("a", "announce").line()
	b := l.start("b", "browse")
	b.line()
	l.attach("b", "192.168.77.2/24")
	if got := b.line(); !strings.HasPrefix(got, id+" ") {
		t.Errorf("found %q, want %s", got, id)
	}
}

func TestBrowseFindsALatecomer(t *testing.T) {
	l := newLAN(t)
	l.attach("a", "192.168.77.1/24")
	l.attach("b", "192.168.77.2/24")
	b := l.start("b", "browse")
	b.line()
	id := l.start("a", "announce").line()
	if got := b.line(); !strings.HasPrefix(got, id+" ") {
		t.Errorf("found %q, want %s", got, id)
	}
}

// lan is a bridge in a network namespace of its own, without a way out, with namespaces around it.
type lan struct {
	t      *testing.T
	prefix string
}

// newLAN makes the bridge and two bare namespaces, a and b. It skips the test where that is not allowed.
func newLAN(t *testing.T) *lan {
	t.Helper()
	l := &lan{t: t, prefix: fmt.Sprintf("bw-lan%d-", os.Getpid())}
	if os.Geteuid() != 0 {
		t.Skip("skipped: network namespaces need root")
	}
	if out, err := exec.Command("ip", "netns", "add", l.prefix+"br").CombinedOutput(); err != nil {
		t.Skipf("skipped: no network namespaces here (apt-get install iproute2): %v %s", err, out)
	}
	t.Cleanup(func() { l.ip("netns", "del", l.prefix+"br") })
	l.ip("-n", l.prefix+"br", "link", "add", "br0", "type", "bridge")
	l.ip("-n", l.prefix+"br", "link", "set", "br0", "up")
	for _, n := range []string{"a", "b"} {
		l.ip("netns", "add", l.prefix+n)
		t.Cleanup(func() { l.ip("netns", "del", l.prefix+n) })
		l.ip("-n", l.prefix+n, "link", "set", "lo", "up")
	}
	return l
}

// attach plugs a namespace into the bridge.
func (l *lan) attach(n, prefix string) {
	l.t.Helper()
	l.ip("link", "add", "v-"+n, "netns", l.prefix+"br", "type", "veth", "peer", "name", "eth0", "netns", l.prefix+n)
	l.ip("-n", l.prefix+"br", "link", "set", "v-"+n, "master", "br0", "up")
	l.ip("-n", l.prefix+n, "addr", "add", prefix, "dev", "eth0")
	l.ip("-n", l.prefix+n, "link", "set", "eth0", "up")
}

func (l *lan) ip(args ...string) {
	l.t.Helper()
	if out, err := exec.Command("ip", args...).CombinedOutput(); err != nil {
		l.t.Errorf("ip %s: %v: %s", strings.Join(args, " "), err, out)
	}
}

// process is this test binary in another role. The goroutine that reads its output owns nothing else and ends with it.
type process struct {
	t     *testing.T
	lines chan string
	log   *bytes.Buffer // complete once the process has ended
}

// start runs this test binary in a namespace until the test ends.
func (l *lan) start(n, role string) *process {
	l.t.Helper()
	p := &process{t: l.t, lines: make(chan string, 64), log: new(bytes.Buffer)}
	self, err := os.Executable()
	if err != nil {
		l.t.Fatal(err)
	}
	cmd := exec.Command("ip", "netns", "exec", l.prefix+n, self)
	cmd.Env = append(os.Environ(), roleVariable+"="+role)
	cmd.Stderr = p.log
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	in, err := cmd.StdinPipe()
	if err != nil {
		l.t.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		l.t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		l.t.Fatal(err)
	}
	read := make(chan struct{})
	go func() {
		defer close(read)
		defer close(p.lines)
		for s := bufio.NewScanner(out); s.Scan(); {
			p.lines <- s.Text()
		}
	}()
	l.t.Cleanup(func() {
		in.Close()
		<-read
		if err := cmd.Wait(); err != nil || l.t.Failed() {
			l.t.Errorf("%s ended: %v\n%s", role, err, p.log)
		}
	})
	return p
}

// line returns the next line that the process prints, within 20 s.
func (p *process) line() string {
	p.t.Helper()
	select {
	case l, open := <-p.lines:
		if !open {
			p.t.Fatal("the process ended")
		}
		return l
	case <-time.After(20 * time.Second):
		p.t.Fatal("the process printed nothing for 20 s")
	}
	return ""
}
