package lan

import (
	"cmp"
	"crypto/sha256"
	"encoding/hex"
	"net/netip"
	"slices"
	"strings"

	"github.com/libp2p/go-libp2p/core/peer"
	ma "github.com/multiformats/go-multiaddr"
)

// PeerService is the DNS-SD service under which peers announce themselves. It is not the rendezvous's, so that neither is taken for the other.
const PeerService = "_byway-peer._udp"

// tagDomain begins what a [Tag] is the hash of.
const tagDomain = "byway/v1 lan announcement\x00"

// Tag stands for a PeerID in an announcement: a nonce of 16 bytes, and the first 16 of SHA-256(domain || nonce || PeerID). Who knows the PeerID, as contacts
// do, recognises it; to everybody else two announcements with different nonces have nothing in common. It proves nothing: it can be copied.
type Tag [32]byte

// NewTag hides id behind a nonce, which must be random.
func NewTag(nonce [16]byte, id peer.ID) Tag {
	var t Tag
	copy(t[:], nonce[:])
	sum := sha256.Sum256(slices.Concat([]byte(tagDomain), nonce[:], []byte(id)))
	copy(t[len(nonce):], sum[:])
	return t
}

// Of reports whether the tag stands for id.
func (t Tag) Of(id peer.ID) bool { return t == NewTag([16]byte(t[:16]), id) }

// Announcement is what a peer says of itself on the LAN. It is a claim: the addresses are worth dialling, and nothing more.
type Announcement struct {
	Tag   Tag
	Addrs []ma.Multiaddr // of our own networks, at most 16, without /p2p/
}

// The keys of the TXT strings of an announcement.
const (
	tagKey     = "tag="
	addressKey = "addr="
)

// texts encodes an announcement.
func (a Announcement) texts() []string {
	out := []string{tagKey + hex.EncodeToString(a.Tag[:])}
	for _, m := range a.Addrs {
		out = append(out, addressKey+m.String())
	}
	return out
}

// parseAnnouncement reads the TXT strings of one answer, which anybody on the LAN may have written. Addresses that lie in none of our networks are left
// out, and without any there is no announcement. Unknown strings are ignored, a second tag too.
func parseAnnouncement(texts []string, networks []netip.Prefix) (a Announcement, ok bool) {
	tagged := false
	for _, text := range texts[:min(len(texts), maxRecords)] {
		if value, is := strings.CutPrefix(text, tagKey); is && !tagged {
			if b, err := hex.DecodeString(value); err == nil && len(b) == len(a.Tag) {
				a.Tag, tagged = Tag(b), true
			}
			continue
		}
		value, is := strings.CutPrefix(text, addressKey)
		if !is || len(text) > maxRecordSize || len(a.Addrs) == maxAddrs {
			continue
		}
		m, err := ma.NewMultiaddr(value)
		if err != nil || !worthDialling(m) || ma.Contains(a.Addrs, m) {
			continue
		}
		host := hostOf(m)
		if slices.ContainsFunc(networks, func(p netip.Prefix) bool { return p.Contains(host) }) {
			a.Addrs = append(a.Addrs, m)
		}
	}
	return a, tagged && len(a.Addrs) > 0
}

// announced returns the addresses to announce, of those that are listened on: on the given interfaces, private ones first.
func announced(listening []ma.Multiaddr, carrying []port) []ma.Multiaddr {
	var out []ma.Multiaddr
	add := func(m ma.Multiaddr) {
		if worthDialling(m) && !ma.Contains(out, m) {
			out = append(out, m)
		}
	}
	for _, l := range listening {
		host := hostOf(l)
		if !host.IsValid() {
			continue
		}
		for _, p := range carrying {
			for _, prefix := range p.prefixes {
				own := prefix.Addr().Unmap()
				switch {
				case host == own:
					add(l)
				case host.IsUnspecified() && host.Is4() == own.Is4():
					add(slices.Concat(ipComponent(own), l[1:]))
				}
			}
		}
	}
	// A host lists what it listens on in no certain order.
	slices.SortFunc(out, func(a, b ma.Multiaddr) int { return cmp.Or(rank(a)-rank(b), strings.Compare(a.String(), b.String())) })
	return out[:min(len(out), maxAddrs)]
}

// rank orders addresses: those of the LAN come first, so that a cut list has them.
func rank(m ma.Multiaddr) int {
	if hostOf(m).IsPrivate() {
		return 0
	}
	return 1
}

func ipComponent(a netip.Addr) ma.Multiaddr {
	if a.Is4() {
		return ma.StringCast("/ip4/" + a.String())
	}
	return ma.StringCast("/ip6/" + a.WithZone("").String())
}
