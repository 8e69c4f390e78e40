package client

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/libp2p/go-libp2p/core/network"
	"github.com/libp2p/go-libp2p/core/peer"
	"github.com/libp2p/go-libp2p/core/protocol"
	"github.com/libp2p/go-libp2p/core/sec"
	"github.com/libp2p/go-libp2p/p2p/net/swarm"
	ma "github.com/multiformats/go-multiaddr"
	multistream "github.com/multiformats/go-multistream"

	"github.com/byway-chat/byway/rendezvous"
	"github.com/byway-chat/byway/rendezvous/framing"
)

const (
	// tcpHeadStart is how long the TCP addresses are tried alone, and at most half of ConnectTime. TCP notices a killed rendezvous at once, QUIC after half a minute.
	tcpHeadStart = 3 * time.Second
	// helloTimeout bounds the wait for Welcome on a connection that is up.
	helloTimeout = 10 * time.Second
	maxAgent     = 64
)

// Dial connects to the rendezvous, opens the control stream and exchanges Hello and Welcome; the connection is not signed in yet. It
// clears the host's dial back-off for the rendezvous first. It starts goroutines that Close stops. The errors are
// ErrNotARendezvous and ErrWrongIdentity where that is known, ctx's, and those of the network.
func Dial(ctx context.Context, o Options) (*Conn, error) {
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	if err := connect(ctx, o); err != nil {
		return nil, fmt.Errorf("connect to the rendezvous: %w", classify(err))
	}
	stream, err := o.Host.NewStream(ctx, o.Rendezvous.ID, rendezvous.ProtocolID)
	if err != nil {
		return nil, fmt.Errorf("open a control stream: %w", classify(err))
	}
	c := &Conn{
		host:    o.Host,
		others:  o.Rendezvous.Addrs,
		stream:  stream,
		reader:  framing.NewReader(stream),
		writer:  framing.NewWriter(stream, maxQueuedFrames, maxQueuedBytes),
		log:     o.Logger,
		pushes:  make(chan Pushed, maxPushes),
		done:    make(chan struct{}),
		flushed: make(chan struct{}),
		calls:   make(map[uint64]chan *rendezvous.Frame),
		pings:   make(map[uint64]time.Time),
	}
	if err := c.hello(ctx, o.Agent); err != nil {
		_ = stream.Reset()
		return nil, err
	}
	c.start()
	return c, nil
}

// connect makes sure that the host has a connection, over TCP where the rendezvous has a TCP address that answers in time.
func connect(ctx context.Context, o Options) error {
	h, id := o.Host, o.Rendezvous.ID
	headStart := tcpHeadStart
	if o.ConnectTime > 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, o.ConnectTime)
		defer cancel()
		headStart = min(headStart, o.ConnectTime/2)
	}
	if s, ok := h.Network().(interface{ Backoff() *swarm.DialBackoff }); ok {
		s.Backoff().Clear(id)
	}
	if tcp := tcpOnly(o.Rendezvous.Addrs); len(tcp) > 0 && h.Network().Connectedness(id) != network.Connected {
		// What identify has taught about this peer would be dialled beside, QUIC first.
		h.Peerstore().ClearAddrs(id)
		tcpCtx, cancel := context.WithTimeout(ctx, headStart)
		err := h.Connect(tcpCtx, peer.AddrInfo{ID: id, Addrs: tcp})
		cancel()
		if err == nil || len(tcp) == len(o.Rendezvous.Addrs) && tcpCtx.Err() == nil {
			return err
		}
		if s, ok := h.Network().(interface{ Backoff() *swarm.DialBackoff }); ok {
			s.Backoff().Clear(id)
		}
	}
	return h.Connect(ctx, o.Rendezvous)
}

func tcpOnly(addrs []ma.Multiaddr) []ma.Multiaddr {
	var tcp []ma.Multiaddr
	for _, a := range addrs {
		if _, err := a.ValueForProtocol(ma.P_TCP); err == nil {
			tcp = append(tcp, a)
		}
	}
	return tcp
}

// classify adds one of this package's sentinels where libp2p's error shows what is wrong at the other end.
func classify(err error) error {
	if _, ok := errors.AsType[sec.ErrPeerIDMismatch](err); ok {
		return fmt.Errorf("%w: %w", ErrWrongIdentity, err)
	}
	if _, ok := errors.AsType[multistream.ErrNotSupported[protocol.ID]](err); ok {
		return fmt.Errorf("%w: %w", ErrNotARendezvous, err)
	}
	// libp2p's dial errors lose the types of what they wrap, so the two remaining cases can only be read.
	switch text := err.Error(); {
	case strings.Contains(text, "peer id mismatch"):
		return fmt.Errorf("%w: %w", ErrWrongIdentity, err)
	case strings.Contains(text, "failed to negotiate security protocol"):
		return fmt.Errorf("%w: %w", ErrNotARendezvous, err)
	}
	return err
}

// hello exchanges the first two frames on the calling goroutine.
func (c *Conn) hello(ctx context.Context, agent string) error {
	ctx, cancel := context.WithTimeout(ctx, helloTimeout)
	defer cancel()
	stop := context.AfterFunc(ctx, func() { _ = c.stream.Reset() })
	defer stop()
	id, began := c.nextID.Add(1), time.Now()
	buf, err := rendezvous.AppendFrame(nil, &rendezvous.Frame{Id: id, Body: &rendezvous.Frame_Hello{
		Hello: &rendezvous.Hello{Version: rendezvous.Version, Agent: cut(agent, maxAgent)},
	}})
	if err != nil {
		return fmt.Errorf("encode hello: %w", err)
	}
	if _, err := c.stream.Write(buf); err != nil {
		return fmt.Errorf("say hello: %w", classify(err))
	}
	f, err := c.reader.NextFrame()
	if ctx.Err() != nil {
		return fmt.Errorf("wait for welcome: %w", ctx.Err())
	}
	if err != nil {
		return fmt.Errorf("wait for welcome: %w", classify(err))
	}
	switch {
	case f.GetFailure() != nil:
		return fmt.Errorf("say hello: %w", f.GetFailure().Err())
	case f.GetGoodbye() != nil:
		return fmt.Errorf("say hello: %w", goodbye(f.GetGoodbye()))
	case f.GetWelcome() == nil || len(f.GetWelcome().GetNonce()) != rendezvous.NonceSize:
		return fmt.Errorf("say hello: %w", ErrNotARendezvous)
	case f.GetWelcome().GetVersion() != rendezvous.Version:
		return fmt.Errorf("say hello: %w", rendezvous.Errorf(rendezvous.CodeUnsupportedVersion,
			"the rendezvous speaks protocol version %d", f.GetWelcome().GetVersion()))
	}
	c.welcome = f.GetWelcome()
	c.rtt.Store(int64(time.Since(began)))
	return nil
}

// cut shortens s to at most n bytes without splitting a character.
func cut(s string, n int) string {
	if len(s) <= n {
		return s
	}
	for n > 0 && !utf8.RuneStart(s[n]) {
		n--
	}
	return s[:n]
}
