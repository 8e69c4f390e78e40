package peer

import (
	"context"
	"crypto/ed25519"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"time"

	"github.com/libp2p/go-libp2p/core/crypto"
	"github.com/libp2p/go-libp2p/core/event"
	"github.com/libp2p/go-libp2p/core/peer"
	"github.com/libp2p/go-libp2p/core/record"
	"github.com/libp2p/go-libp2p/p2p/host/eventbus"
	ma "github.com/multiformats/go-multiaddr"
	manet "github.com/multiformats/go-multiaddr/net"

	"github.com/byway-chat/byway/crypto/identity"
	"github.com/byway-chat/byway/peer/route"
	"github.com/byway-chat/byway/peer/trace"
	"github.com/byway-chat/byway/rendezvous"
	"github.com/byway-chat/byway/rendezvous/client"
)

// keepPublished renews what is published when this device's addresses or those of its router change, and looks every hour whether the encryption key is due for rotation.
func (p *Peer) keepPublished(ctx context.Context, conn *client.Conn) error {
	moved, err := p.host.EventBus().Subscribe(new(event.EvtLocalAddressesUpdated), eventbus.BufSize(16))
	if err != nil {
		return fmt.Errorf("watch own addresses: %w", err)
	}
	defer moved.Close()
	hourly := time.NewTicker(time.Hour)
	defer hourly.Stop()
	var again <-chan time.Time // after a refusal; nil: none
	for {
		select {
		case <-conn.Done():
			return nil
		case <-moved.Out():
			p.trace.Add(trace.Step{What: trace.Listening, Addrs: texts(p.addresses())})
		case <-p.remapped:
		case <-p.untold:
		case <-p.moved:
			p.trace.Add(trace.Step{What: trace.Listening, Addrs: texts(p.addresses())})
		case <-hourly.C:
		case <-again:
		}
		again = nil
		err := p.publish(ctx, conn)
		if wait, ok := rateLimited(err); ok {
			again = time.After(wait)
		} else if err != nil {
			return err
		}
	}
}

// rateLimited reports whether the rendezvous has refused what came too fast, and how long to wait.
func rateLimited(err error) (time.Duration, bool) {
	refused, ok := errors.AsType[*rendezvous.Error](err)
	if !ok || refused.Code != rendezvous.CodeRateLimited {
		return 0, false
	}
	return max(refused.RetryAfter, time.Second), true
}

// publish brings the directory up to date: where this device is, and a bundle of its newest key where the directory has an older one.
func (p *Peer) publish(ctx context.Context, conn *client.Conn) error {
	if err := p.publishAddresses(ctx, conn); err != nil {
		return err
	}
	if err := p.rotate(ctx); err != nil && ctx.Err() == nil {
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

// publishAddresses tells the directory where this device is, and no more than the policy for all lets everybody know: under relay nothing, under lan no public
// address. Contacts that it is kept from are named with it. What it told before is forgotten there.
func (p *Peer) publishAddresses(ctx context.Context, conn *client.Conn) error {
	select {
	case p.publishing <- struct{}{}:
		defer func() { <-p.publishing }()
	case <-ctx.Done():
		return ctx.Err()
	}
	where, err := p.where(ctx, conn)
	if err != nil {
		return err
	}
	if err := p.tellWhere(ctx, conn, where); err != nil {
		return fmt.Errorf("publish addresses: %w", err)
	}
	return nil
}

// published reports whether the directory is known to have our newest key.
func (c *core) published() bool {
	own := c.devices[c.self.Fingerprint]
	return own != nil && own.bundle != nil && own.bundle.Key.ID() == c.keys.Encryption[0].Public().ID()
}

// republish publishes our newest bundle again where the directory has shown none of this device or an older one: it may have been damaged, or
// restored from a backup.
func (p *Peer) republish(ctx context.Context, conn *client.Conn, shown []*rendezvous.Record) error {
	var bundle []byte
	var bundleErr error
	if err := p.core.do(ctx, func() {
		if !p.core.shown(shown) {
			bundle, bundleErr = p.bundle()
		}
	}); err != nil || bundleErr != nil || bundle == nil {
		return errors.Join(err, bundleErr)
	}
	p.log.Warn("the directory does not have this device's newest key; it is published again")
	if err := conn.Publish(ctx, &rendezvous.Publish{Bundle: bundle}); err != nil && rendezvous.CodeOf(err) != rendezvous.CodeStale {
		return fmt.Errorf("publish keys: %w", err)
	}
	return nil
}

// shown reports whether our own record among these, where there is one, has our newest key.
func (c *core) shown(records []*rendezvous.Record) bool {
	for _, rec := range records {
		if rec.GetUsername() != c.self.Name {
			continue
		}
		for _, d := range rec.GetDevices() {
			if fp, err := identity.FingerprintFromBytes(d.GetFingerprint()); err != nil || fp != c.self.Fingerprint {
				continue
			}
			b, err := rendezvous.ParseBundle(d.GetBundle(), c.keys.Identity.Public())
			return err == nil && b.Key.ID() == c.keys.Encryption[0].Public().ID()
		}
	}
	return true // this device is not on it: that is for others to say
}

// peerRecord signs the addresses at which this peer can be dialled for one of the allowed ways. Loopback ones are told only to a rendezvous on this machine.
func (p *Peer) peerRecord(local bool, allowed route.Ways) ([]byte, error) {
	var addrs []ma.Multiaddr
	for _, a := range slices.Concat(mappedAddrs(p.mapper.Status()), p.addresses()) {
		if dialable(a) && allowed.Has(wayOver(a)) && (local || !manet.IsIPLoopback(a)) && len(addrs) < maxContactAddrs {
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
