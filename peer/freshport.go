package peer

import (
	"context"
	"crypto/rand"
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"sync"

	"github.com/libp2p/go-libp2p/core/network"
	"github.com/libp2p/go-libp2p/core/peer"
	"github.com/libp2p/go-libp2p/core/transport"
	"github.com/libp2p/go-libp2p/p2p/transport/tcp"
	"github.com/libp2p/go-libp2p/p2p/transport/tcpreuse"
	"github.com/libp2p/go-reuseport"
	ma "github.com/multiformats/go-multiaddr"
)

// freshPorts has the ports of this machine from which devices are dialled over TCP in the punches of now.
//
// A router follows each connection of TCP, and drops a SYN between two ports whose connection it takes for alive. It hears nothing of an end that comes while
// nothing passes, and a reset that does not meet the number that it expects is no end for it (RFC 5961, section 3). So what was punched between the
// ports that two peers listen on could, once cut, not be punched there again for minutes: each punch has a port of its own, drawn at random (decision 0014).
type freshPorts struct {
	mu sync.Mutex
	of map[peer.ID]int // guarded by mu
}

// use has a punch to a device dial from a port, until done is called.
func (f *freshPorts) use(id peer.ID, port int) (done func()) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.of == nil {
		f.of = map[peer.ID]int{}
	}
	f.of[id] = port
	return func() {
		f.mu.Lock()
		defer f.mu.Unlock()
		if f.of[id] == port { // else the next punch has begun
			delete(f.of, id)
		}
	}
}

func (f *freshPorts) port(id peer.ID) int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.of[id]
}

// freshPort draws one of the ports that devices listen on: most systems take none of them for outgoing connections, so few are in use. Where this one is, the
// dial fails, and the next punch has another.
func freshPort() int {
	var b [8]byte
	_, _ = rand.Read(b[:]) // never fails (crypto/rand)
	return int(firstPort + binary.BigEndian.Uint64(b[:])%ports)
}

// withPort returns an address of TCP with another port; any other address as it is.
func withPort(a ma.Multiaddr, port int) ma.Multiaddr {
	if len(a) != 2 || a[1].Protocol().Code != ma.P_TCP {
		return a
	}
	c, err := ma.NewComponent("tcp", fmt.Sprint(port))
	if err != nil {
		return a
	}
	return ma.Multiaddr{a[0], *c}
}

// punchTCP is libp2p's transport of TCP, which dials from the port that it listens on; a punch dials from its own.
type punchTCP struct {
	*tcp.TcpTransport
	fresh *tcp.TcpTransport // dials from the port that the context names
	ports *freshPorts
}

// newTCP returns what libp2p builds the transport with.
func newTCP(ports *freshPorts) func(transport.Upgrader, network.ResourceManager, *tcpreuse.ConnMgr) (*punchTCP, error) {
	return func(upgrader transport.Upgrader, limits network.ResourceManager, shared *tcpreuse.ConnMgr) (*punchTCP, error) {
		usual, err := tcp.NewTCPTransport(upgrader, limits, shared)
		if err != nil {
			return nil, err
		}
		from := func(ma.Multiaddr) (tcp.ContextDialer, error) { return fromFresh{}, nil }
		fresh, err := tcp.NewTCPTransport(upgrader, limits, shared, tcp.WithDialerForAddr(from))
		if err != nil {
			return nil, err
		}
		return &punchTCP{TcpTransport: usual, fresh: fresh, ports: ports}, nil
	}
}

// Dial is libp2p's, see [transport.Transport].
func (t *punchTCP) Dial(ctx context.Context, to ma.Multiaddr, id peer.ID) (transport.CapableConn, error) {
	return t.DialWithUpdates(ctx, to, id, nil)
}

// DialWithUpdates is libp2p's, see [transport.DialUpdater].
func (t *punchTCP) DialWithUpdates(ctx context.Context, to ma.Multiaddr, id peer.ID, updates chan<- transport.DialUpdate) (transport.CapableConn, error) {
	if together, _, _ := network.GetSimultaneousConnect(ctx); together {
		if port := t.ports.port(id); port != 0 {
			return t.fresh.DialWithUpdates(context.WithValue(ctx, portKey{}, port), to, id, updates)
		}
	}
	return t.TcpTransport.DialWithUpdates(ctx, to, id, updates)
}

// portKey is the key of a port in a context: libp2p's dialer is given nothing else.
type portKey struct{}

// fromFresh dials from the port that the context names. It shares it, as a device may be dialled at several addresses at once.
type fromFresh struct{}

func (fromFresh) DialContext(ctx context.Context, network, to string) (net.Conn, error) {
	port, ok := ctx.Value(portKey{}).(int)
	if !ok {
		return nil, errors.New("no port is named")
	}
	d := net.Dialer{LocalAddr: &net.TCPAddr{Port: port}, Control: reuseport.Control}
	return d.DialContext(ctx, network, to)
}
