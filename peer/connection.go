package peer

import (
	"context"
	"crypto/ed25519"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"time"

	"github.com/libp2p/go-libp2p/core/crypto"
	"github.com/libp2p/go-libp2p/core/event"
	"github.com/libp2p/go-libp2p/core/peer"
	"github.com/libp2p/go-libp2p/core/record"
	"github.com/libp2p/go-libp2p/p2p/host/eventbus"
	ma "github.com/multiformats/go-multiaddr"
	manet "github.com/multiformats/go-multiaddr/net"

	"github.com/byway-chat/byway/peer/delivery"
	"github.com/byway-chat/byway/peer/lan"
	"github.com/byway-chat/byway/rendezvous"
	"github.com/byway-chat/byway/rendezvous/client"
)

// Times of the connection to the rendezvous.
const (
	connectTime  = 10 * time.Second
	minReconnect = 500 * time.Millisecond
	maxReconnect = 5 * time.Second
	refusedPause = time.Minute // after an answer that will be the same next time
	browseTime   = 3 * time.Second
)

// keepConnected holds the connection to the rendezvous for as long as ctx lives. first may be a connection that is already signed in.
func (p *Peer) keepConnected(ctx context.Context, first *client.Conn) {
	failures := 0
	for ctx.Err() == nil {
		conn, err := first, error(nil)
		first = nil
		if conn == nil {
			conn, err = p.connect(ctx)
		}
		if err == nil {
			err = p.converse(ctx, conn)
			failures = 0
		}
		if ctx.Err() != nil {
			return
		}
		p.log.Info("rendezvous is away", slog.Any("error", err))
		p.core.post(func() { p.core.disconnected(time.Now(), reasonOf(err)) })
		p.attempted()
		failures++
		pause(ctx, reconnectPause(err, failures))
	}
}

// reconnectPause spreads the reconnects of many peers over time: full jitter between half a second and an upper end that doubles.
func reconnectPause(err error, failures int) time.Duration {
	switch rendezvous.CodeOf(err) {
	case rendezvous.CodeNotEnrolled, rendezvous.CodeBanned, rendezvous.CodeReplaced:
		return refusedPause
	}
	upper := min(minReconnect<<min(failures, 10), maxReconnect)
	return time.Duration(rand.Int64N(int64(upper)))
}

func pause(ctx context.Context, d time.Duration) {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
	case <-ctx.Done():
	}
}

// connect dials the rendezvous and signs this enrolled device in.
func (p *Peer) connect(ctx context.Context) (*client.Conn, error) {
	ctx, cancel := context.WithTimeout(ctx, connectTime)
	defer cancel()
	conn, err := p.dialRendezvous(ctx)
	if err != nil {
		return nil, err
	}
	if _, err := conn.Resume(ctx, string(p.user)); err != nil {
		return nil, errors.Join(err, conn.Close())
	}
	return conn, nil
}

// dialRendezvous tries the remembered addresses, and where those fail the LAN: the rendezvous may have got a new one.
func (p *Peer) dialRendezvous(ctx context.Context) (*client.Conn, error) {
	dial := func(info peer.AddrInfo) (*client.Conn, error) {
		return client.Dial(ctx, client.Options{Host: p.host, Rendezvous: info, Agent: p.cfg.Agent, Logger: p.log})
	}
	conn, err := dial(p.address.AddrInfo())
	if err == nil || p.cfg.NoMDNS || ctx.Err() != nil || errors.Is(err, client.ErrNotARendezvous) {
		return conn, err
	}
	browse, cancel := context.WithTimeout(ctx, browseTime)
	defer cancel()
	found, stop := lan.Browse(browse, p.host.ID(), p.log)
	defer stop()
	for info := range found {
		if info.ID == p.address.ID {
			return dial(info)
		}
	}
	return nil, err
}

// converse takes a signed-in connection into use and passes on what it brings, until it ends. The error says why.
func (p *Peer) converse(ctx context.Context, conn *client.Conn) error {
	defer func() { _ = conn.Close() }()
	stop := context.AfterFunc(ctx, func() { _ = conn.Close() })
	defer stop()
	p.core.post(func() { p.core.connected(time.Now(), conn) })
	prepared := make(chan error, 1)
	go func() { // beside the pushes: they must flow, or the answers behind them would not
		err := p.prepare(ctx, conn)
		if err == nil {
			err = p.keepPublished(ctx, conn)
		}
		if err != nil {
			_ = conn.Close()
		}
		prepared <- err
	}()
	var goodbye *rendezvous.Goodbye
	for f := range conn.Pushes() {
		if g := f.GetGoodbye(); g != nil {
			goodbye = g
		}
		p.core.post(func() { p.core.push(time.Now(), conn, f) })
	}
	err := <-prepared
	if goodbye != nil {
		after := time.Duration(min(goodbye.GetReconnectAfterMs(), uint64(maxReconnect.Milliseconds()))) * time.Millisecond
		if after > 0 {
			pause(ctx, rand.N(after))
		}
		return rendezvous.Errorf(rendezvous.Code(goodbye.GetCode()), "the rendezvous said goodbye: %s", goodbye.GetCode())
	}
	return errors.Join(err, conn.Err())
}

// prepare publishes what is ours, begins to watch, and asks for the records of all contacts, which may have changed meanwhile.
func (p *Peer) prepare(ctx context.Context, conn *client.Conn) error {
	ctx, cancel := context.WithTimeout(ctx, connectTime)
	defer cancel()
	if err := p.publish(ctx, conn); err != nil {
		return err
	}
	if err := conn.Watch(ctx); err != nil {
		return fmt.Errorf("watch presence: %w", err)
	}
	p.attempted()
	var names []string
	if err := p.core.do(ctx, func() { names = p.core.names() }); err != nil {
		return err
	}
	for len(names) > 0 {
		page := names[:min(len(names), rendezvous.MaxLookup)]
		names = names[len(page):]
		found, err := conn.Lookup(ctx, page...)
		if err != nil {
			return fmt.Errorf("look contacts up: %w", err)
		}
		p.core.post(func() { p.core.learnAll(time.Now(), conn, found) })
	}
	return nil
}

// keepPublished renews what is published when this device's addresses change, and looks every hour whether the encryption key is due for rotation.
func (p *Peer) keepPublished(ctx context.Context, conn *client.Conn) error {
	moved, err := p.host.EventBus().Subscribe(new(event.EvtLocalAddressesUpdated), eventbus.BufSize(16))
	if err != nil {
		return fmt.Errorf("watch own addresses: %w", err)
	}
	defer moved.Close()
	hourly := time.NewTicker(time.Hour)
	defer hourly.Stop()
	for {
		select {
		case <-conn.Done():
			return nil
		case <-moved.Out():
		case <-hourly.C:
		}
		if err := p.publish(ctx, conn); err != nil {
			return err
		}
	}
}

// publish brings the directory up to date: where this device is, and a bundle of its newest key where the directory has an older one.
func (p *Peer) publish(ctx context.Context, conn *client.Conn) error {
	where := &rendezvous.Publish{HideAddresses: p.cfg.Private}
	if !p.cfg.Private {
		rec, err := p.peerRecord(isLoopback(conn.Remote()))
		if err != nil {
			return err
		}
		where.PeerRecord = rec
	}
	if err := conn.Publish(ctx, where); err != nil && rendezvous.CodeOf(err) != rendezvous.CodeStale {
		return fmt.Errorf("publish addresses: %w", err)
	}
	if err := p.rotate(ctx); err != nil {
		p.log.Error("encryption key is not rotated", slog.Any("error", err))
	}
	var bundle []byte
	var bundleErr error
	if err := p.core.do(ctx, func() {
		if !p.core.published() {
			bundle, bundleErr = p.bundle()
		}
	}); err != nil || bundleErr != nil || bundle == nil {
		return errors.Join(err, bundleErr)
	}
	if err := conn.Publish(ctx, &rendezvous.Publish{Bundle: bundle}); err != nil && rendezvous.CodeOf(err) != rendezvous.CodeStale {
		return fmt.Errorf("publish keys: %w", err)
	}
	return nil
}

// published reports whether the directory is known to have our newest key.
func (c *core) published() bool {
	own := c.devices[c.self.Fingerprint]
	return own != nil && own.bundle != nil && own.bundle.Key.ID() == c.keys.Encryption[0].Public().ID()
}

// peerRecord signs the addresses at which this peer can be dialled. Loopback ones are told only to a rendezvous on this machine.
func (p *Peer) peerRecord(local bool) ([]byte, error) {
	var addrs []ma.Multiaddr
	for _, a := range p.host.Addrs() {
		if dialable(a) && (local || !manet.IsIPLoopback(a)) && len(addrs) < maxContactAddrs {
			addrs = append(addrs, a)
		}
	}
	rec := peer.PeerRecordFromAddrInfo(peer.AddrInfo{ID: p.host.ID(), Addrs: addrs})
	key, err := hostKey(p.keys.Host)
	if err != nil {
		return nil, err
	}
	envelope, err := record.Seal(rec, key)
	if err != nil {
		return nil, fmt.Errorf("sign peer record: %w", err)
	}
	return envelope.Marshal()
}

func hostKey(k ed25519.PrivateKey) (crypto.PrivKey, error) {
	key, err := crypto.UnmarshalEd25519PrivateKey(k)
	if err != nil {
		return nil, fmt.Errorf("read host key: %w", err)
	}
	return key, nil
}

// reasonOf is the stable code for why the rendezvous is not connected.
func reasonOf(err error) string {
	switch {
	case errors.Is(err, client.ErrNotARendezvous):
		return "not-a-rendezvous"
	case errors.Is(err, client.ErrWrongIdentity):
		return "wrong-identity"
	case errors.Is(err, client.ErrSilent):
		return "silent"
	}
	if e, ok := errors.AsType[*rendezvous.Error](err); ok {
		return string(e.Code)
	}
	return "unreachable"
}

// connected takes a signed-in connection into use.
func (c *core) connected(now time.Time, conn *client.Conn) {
	c.conn, c.reason = conn, ""
	c.connNo++
	c.tellRendezvous(true, "")
	c.engine.RelayUp(now)
}

// learnAll takes in the records that a connection has brought, unless it is not the one in use any more.
func (c *core) learnAll(now time.Time, conn *client.Conn, records []*rendezvous.Record) {
	if c.conn != conn {
		return
	}
	for _, rec := range records {
		if rec.GetUnknown() {
			continue
		}
		if err := c.learn(now, rec); err != nil {
			c.log.Warn("directory record refused", slog.Any("error", err))
		}
	}
}

// disconnected is told each time that there is no connection, also after an attempt that has failed.
func (c *core) disconnected(now time.Time, reason string) {
	was := c.conn != nil
	c.conn, c.reason = nil, reason
	c.taken = nil
	clear(c.submits)
	c.engine.RelayDown(now)
	if was {
		clear(c.online)
		c.tellRendezvous(false, reason)
	}
}

func (c *core) tellRendezvous(connected bool, reason string) {
	c.hub.publish(Event{Type: EventRendezvous, Connected: &connected, Reason: reason})
}

// names returns whom to ask the directory about after connecting: ourselves and everybody we know.
func (c *core) names() []string {
	names := []string{c.self.Name}
	for name := range c.contacts {
		if string(name) != c.self.Name {
			names = append(names, string(name))
		}
	}
	return names
}

// push handles what the rendezvous sends of its own accord. What an older connection still brings is of no use any more.
func (c *core) push(now time.Time, conn *client.Conn, f *rendezvous.Frame) {
	if c.conn != conn {
		return
	}
	switch {
	case f.GetDeliver() != nil:
		c.delivered(f.GetDeliver())
	case f.GetOutcome() != nil:
		c.outcome(now, f.GetId(), f.GetOutcome())
	case f.GetPresence() != nil:
		c.presence(now, f.GetPresence())
	}
}

func (c *core) delivered(d *rendezvous.Deliver) {
	id, conn := d.GetId(), c.conn
	in := inbound{name: delivery.Account(d.GetUsername()), way: WayRelay, envelope: d.GetEnvelope()}
	in.taken = func() {
		if c.conn == conn {
			c.taken = append(c.taken, id)
		}
	}
	if d.GetStored() {
		in.way = WayMailbox
	}
	if copy(in.device[:], d.GetDevice()) != len(in.device) {
		c.discard(in, "sender's fingerprint is malformed")
		return
	}
	c.receive(in)
}

func (c *core) outcome(now time.Time, id uint64, o *rendezvous.Outcome) {
	s, ok := c.submits[id]
	if !ok {
		return
	}
	delete(c.submits, id)
	if s.N == 0 {
		return
	}
	switch o.GetState() {
	case rendezvous.Outcome_STORED:
		c.engine.Stored(now, s.To, s.Device, s.N)
	case rendezvous.Outcome_REFUSED:
		wait := time.Duration(min(o.GetRetryAfterMs(), uint64(time.Hour.Milliseconds()))) * time.Millisecond
		c.engine.Refused(now, s.To, s.Device, s.N, o.GetCode(), wait)
	default: // taken: the device's own acknowledgement says more
	}
}

// ask looks a name up beside the core and calls then in the core, whatever came of it.
func (c *core) ask(name string, then func()) {
	conn := c.conn
	parsed, err := rendezvous.ParseUsername(name)
	if conn == nil || err != nil || string(parsed) != name {
		then()
		return
	}
	c.spawn(func() {
		ctx, cancel := context.WithTimeout(c.dialCtx, lookupWait)
		defer cancel()
		records, err := conn.Lookup(ctx, name)
		if err != nil {
			c.log.Info("look-up failed", slog.Any("error", err))
		}
		c.post(func() {
			c.learnAll(time.Now(), conn, records)
			then()
		})
	})
}

// refresh asks the directory about a contact again, once at a time.
func (c *core) refresh(ct *contact) {
	if ct.asking {
		return
	}
	ct.asking = true
	c.ask(string(ct.Name), func() { ct.asking = false })
}
