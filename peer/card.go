package peer

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/libp2p/go-libp2p/core/peer"
	"golang.org/x/time/rate"

	"github.com/byway-chat/byway/crypto/identity"
	"github.com/byway-chat/byway/peer/delivery"
	"github.com/byway-chat/byway/peer/history"
	"github.com/byway-chat/byway/peer/link"
	"github.com/byway-chat/byway/peer/route"
	"github.com/byway-chat/byway/rendezvous"
)

// card is what two devices show each other on a link: what each has signed for the directory, so that both know it though the rendezvous is away
// (docs/protocol.md, "Cards").
type card struct {
	announces bool   // the device announces itself by mDNS
	entry     []byte // newest directory entry of its account that it knows; may be empty
	bundle    []byte // its newest prekey bundle
	record    []byte // its signed peer record
}

// cardAnnounces is the first bit of a card's flags.
const cardAnnounces = 1

var errCard = errors.New("card is malformed")

// append appends the encoding: flags u8, lp(entry), lp(bundle), lp(record).
func (k *card) append(b []byte) []byte {
	flags := byte(0)
	if k.announces {
		flags |= cardAnnounces
	}
	b = append(b, flags)
	for _, field := range [][]byte{k.entry, k.bundle, k.record} {
		b = binary.BigEndian.AppendUint32(b, uint32(len(field)))
		b = append(b, field...)
	}
	return b
}

// parseCard reads what append wrote. Unknown flags and bytes behind are ignored. The fields are parts of b and have been checked for their length alone.
func parseCard(b []byte) (card, error) {
	var k card
	if len(b) == 0 {
		return k, errCard
	}
	k.announces = b[0]&cardAnnounces != 0
	b = b[1:]
	for _, field := range []struct {
		into *[]byte
		most uint32
	}{{&k.entry, rendezvous.MaxEntry}, {&k.bundle, rendezvous.MaxBundle}, {&k.record, rendezvous.MaxPeerRecord}} {
		if len(b) < 4 {
			return card{}, errCard
		}
		size := binary.BigEndian.Uint32(b)
		if b = b[4:]; size > field.most || uint32(len(b)) < size {
			return card{}, errCard
		}
		*field.into, b = b[:size], b[size:]
	}
	return k, nil
}

// How often a card of one device is looked at: its signatures cost time.
const (
	cardsPerSecond = 1
	cardsBurst     = 8
)

// fromCard takes what the device at the other end of a link shows.
func (c *core) fromCard(l *link.Link, body []byte) {
	c.post(func() { c.shownCard(time.Now(), l.Remote().Fingerprint, l.Stream().Conn().RemotePeer(), body) })
}

// shownCard takes in what a device shows on a link that its PeerID has been proven on. The link need not be in use yet: its reader may be faster than those who open
// it, and what it brings is not shown again. What is shown is checked like anything of the directory.
func (c *core) shownCard(now time.Time, fp delivery.Device, proven peer.ID, body []byte) {
	d := c.devices[fp]
	if d == nil || d.id != proven || d.Trust != history.Accepted {
		return
	}
	if d.cards == nil {
		d.cards = rate.NewLimiter(cardsPerSecond, cardsBurst)
	}
	if !d.cards.AllowN(now, 1) {
		c.log.Info("a device shows too many cards", slog.String("device", d.Fingerprint.Device()))
		return
	}
	k, err := parseCard(body)
	if err == nil {
		err = c.learnCard(now, d, &k)
	}
	if err != nil {
		c.log.Info("card refused", slog.String("device", d.Fingerprint.Device()), slog.Any("error", err))
	}
}

// learnCard takes a card in. An entry that is not newer than all that were shown says nothing, whoever had signed those: who shows it has not heard yet of a
// device that waits for the person here, or that the person has accepted. The rest may be newer all the same.
func (c *core) learnCard(now time.Time, d *device, k *card) error {
	d.announces = k.announces
	shown := &rendezvous.DeviceRecord{Fingerprint: d.Fingerprint[:], Bundle: k.bundle, PeerRecord: k.record}
	if len(k.entry) > 0 {
		entry, err := rendezvous.ParseEntry(k.entry)
		if err != nil {
			return fmt.Errorf("check directory entry: %w", err)
		}
		if entry.Seq > max(d.contact.entrySeq, d.contact.shownSeq) {
			return c.takeIn(now, &rendezvous.Record{Username: string(d.contact.Name), Entry: k.entry, Devices: []*rendezvous.DeviceRecord{shown}})
		}
	}
	if c.learnDevice(now, d.contact, shown) {
		c.batch.Contacts = append(c.batch.Contacts, d.contact.Contact)
	}
	return nil
}

// showCard sends our card over a link.
func (c *core) showCard(d *device) {
	body, err := c.makeCard(c.policy(d.contact.Name).Ways())
	if err == nil {
		err = d.link.SendCard(body)
	}
	if err != nil {
		c.log.Debug("card is not shown", slog.String("device", d.Fingerprint.Device()), slog.Any("error", err))
	}
}

// showCards sends our card over all links, when something on it has changed.
func (c *core) showCards() {
	for _, d := range c.devices {
		if d.link != nil {
			c.showCard(d)
		}
	}
}

// card makes our card for a contact to whom these ways are allowed. It runs in the core.
func (p *Peer) card(allowed route.Ways) ([]byte, error) {
	c := p.core
	k := card{announces: p.announcing.Load()}
	own := c.devices[c.self.Fingerprint]
	if own != nil {
		k.entry = own.contact.Entry
	}
	newest := c.keys.Encryption[0].Public().ID()
	switch {
	case own != nil && own.bundle != nil && own.bundle.Key.ID() == newest:
		k.bundle = own.Bundle
	case c.unpublished.key == newest:
		k.bundle = c.unpublished.bundle
	default:
		bundle, err := p.bundle()
		if err != nil {
			return nil, err
		}
		c.unpublished = unpublished{newest, bundle}
		k.bundle = bundle
	}
	record, err := p.peerRecord(c.onThisMachine(), allowed)
	if err != nil {
		return nil, err
	}
	k.record = record
	return k.append(nil), nil
}

// keepCards renews our key when it is due, and shows our card anew when something on it has changed, whether there is a rendezvous or not. It ends with ctx.
func (p *Peer) keepCards(ctx context.Context) {
	moved := make(chan struct{}, 1)
	var watch sync.WaitGroup
	defer watch.Wait()
	watch.Go(func() {
		p.watchAddresses(ctx, func() {
			for _, told := range []chan struct{}{moved, p.moved} {
				select {
				case told <- struct{}{}:
				default: // it has not been read since the last time
				}
			}
		})
	})
	hourly := time.NewTicker(time.Hour)
	defer hourly.Stop()
	for due := true; ; {
		if due {
			if err := p.rotate(ctx); err != nil && ctx.Err() == nil {
				p.log.Error("encryption key is not rotated", slog.Any("error", err))
			}
		}
		p.core.post(p.core.showCards)
		due = false
		select {
		case <-ctx.Done():
			return
		case <-moved:
		case <-hourly.C:
			due = true
		}
	}
}

// unpublished is a bundle of our newest key that the directory has not shown yet.
type unpublished struct {
	key    identity.KeyID
	bundle []byte
}
