package peer

import (
	"encoding/binary"
	"fmt"
	"net/netip"
	"slices"
	"testing"
	"time"

	ma "github.com/multiformats/go-multiaddr"

	"github.com/byway-chat/byway/peer/delivery"
	"github.com/byway-chat/byway/peer/history"
)

// crowd gives a core so many contacts with one device each, which is published at six addresses and has answered at four, none of them in a network of ours.
func crowd(c *core, count int) {
	for i := range count {
		name := delivery.Account(fmt.Sprintf("contact%d", i))
		var fp delivery.Device
		binary.BigEndian.PutUint32(fp[:], uint32(i+1))
		record := &history.Device{Fingerprint: fp, Trust: history.Accepted}
		for n := range 6 {
			record.Addrs = append(record.Addrs, fmt.Sprintf("/ip4/198.18.%d.%d/udp/%d/quic-v1", i%250, 1+n, 20000+i))
		}
		for n := range 4 {
			record.Reached = append(record.Reached, fmt.Sprintf("/ip4/198.19.%d.%d/tcp/%d", i%250, 1+n, 20000+i))
		}
		ct := &contact{Contact: &history.Contact{Name: name, Devices: []*history.Device{record}}, devices: map[delivery.Device]*device{}}
		d := &device{Device: record, contact: ct, inits: newInitLimit(), resets: newResets()}
		ct.devices[fp], c.devices[fp], c.contacts[name] = d, d, ct
	}
}

// TestTargetsFollow changes what is told of where a device is, by each of the three who tell it. What is parsed follows, and whether the device may be in our network
// is the same whoever asks.
func TestTargetsFollow(t *testing.T) {
	c, _ := desk(t)
	crowd(c, 1)
	d := c.devices[delivery.Device{3: 1}]
	now := time.Now()
	c.here.prefixes, c.here.read = []netip.Prefix{netip.MustParsePrefix("192.168.1.5/24")}, now
	near := func(addr string, how string, ago time.Duration) []nearby {
		n, ok := targetOf(ma.StringCast(addr))
		if !ok {
			t.Fatalf("%s is no target", addr)
		}
		return []nearby{{target: n, how: how, at: now.Add(-ago)}}
	}
	for _, row := range []struct {
		name           string
		reached, addrs []string
		nearby         []nearby
		want           []string
		common, local  bool
	}{
		{"nothing", nil, nil, nil, nil, false, false},
		{"elsewhere", []string{"/ip4/192.168.2.9/tcp/1"}, []string{"/ip4/45.0.0.7/tcp/2"}, nil, []string{"/ip4/192.168.2.9/tcp/1", "/ip4/45.0.0.7/tcp/2"}, false, false},
		{"reached here", []string{"/ip4/192.168.1.9/tcp/1"}, []string{"/ip4/45.0.0.7/tcp/2"}, nil, []string{"/ip4/192.168.1.9/tcp/1", "/ip4/45.0.0.7/tcp/2"}, true, false},
		{"published here", nil, []string{"/ip4/192.168.1.9/tcp/2", "nonsense", "/ip4/0.0.0.0/tcp/3"}, nil, []string{"/ip4/192.168.1.9/tcp/2"}, true, false},
		{"our own address", nil, []string{"/ip4/192.168.1.5/tcp/2"}, nil, []string{"/ip4/192.168.1.5/tcp/2"}, false, false},
		{"both the same", []string{"/ip4/192.168.1.9/tcp/1"}, []string{"/ip4/192.168.1.9/tcp/1"}, nil, []string{"/ip4/192.168.1.9/tcp/1"}, true, false},
		{"loopback", nil, []string{"/ip4/127.0.0.1/tcp/1"}, nil, nil, false, false},
		{"loopback, which is here", nil, []string{"/ip4/127.0.0.1/tcp/1"}, nil, []string{"/ip4/127.0.0.1/tcp/1"}, true, true},
		{"heard here", nil, nil, near("/ip4/192.168.1.9/tcp/1", foundByMDNS, 0), []string{"/ip4/192.168.1.9/tcp/1"}, true, false},
		{"heard long ago", nil, nil, near("/ip4/192.168.1.9/tcp/1", foundByMDNS, nearFor), nil, false, false},
		{"named long ago", nil, nil, near("/ip4/192.168.1.9/tcp/1", foundTyped, nearFor), []string{"/ip4/192.168.1.9/tcp/1"}, true, false},
	} {
		d.Reached, d.Addrs, d.nearby, c.local = row.reached, row.addrs, row.nearby, row.local
		if got := texts(c.candidates(d)); !slices.Equal(got, row.want) {
			t.Errorf("%s: got %q, want %q", row.name, got, row.want)
		}
		if got, asked := c.look(d).Addresses.Common, c.sharesNetwork(now, d); got != row.common || asked != row.common {
			t.Errorf("%s: in common %v and %v, want %v", row.name, got, asked, row.common)
		}
	}
}

// BenchmarkAlone is what a core does each second while the rendezvous is away.
func BenchmarkAlone(b *testing.B) {
	for _, count := range []int{10, 1000} {
		b.Run(fmt.Sprint(count, " contacts"), func(b *testing.B) {
			c, _ := desk(b)
			crowd(c, count)
			now := time.Now()
			b.ReportAllocs()
			for b.Loop() {
				now = now.Add(time.Second)
				c.improve(now)
			}
		})
	}
}
