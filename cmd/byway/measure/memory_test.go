package measure_test

import (
	"fmt"
	"testing"
	"time"

	libcrypto "github.com/libp2p/go-libp2p/core/crypto"
	libpeer "github.com/libp2p/go-libp2p/core/peer"
	"github.com/libp2p/go-libp2p/core/record"
	ma "github.com/multiformats/go-multiaddr"

	"github.com/byway-chat/byway/rendezvous"
)

// memoryStudies measure what a connected, silent peer costs the rendezvous in resident memory, and the hub.
func memoryStudies() []study { return []study{{name: "idle", body: idleMemory}} }

func BenchmarkMemory(b *testing.B) { run(b, memoryStudies()) }

// idleMemory takes the slope between few peers and many, so that what a process needs for itself is not counted. The peers do what
// peers do after signing in: they publish an address and watch who is online.
func idleMemory(tb testing.TB, s scale) figures {
	few, many := s.pick(200, 50, 2), s.pick(1000, 250, 4)
	rest := time.Duration(s.pick(10_000, 5_000, 10)) * time.Millisecond
	hub, node := startHub(tb), serve(tb, many, 0)
	accounts := people.accounts(tb, many)
	var ours, yard [2]int64
	for step, upTo := range []int{few, many} {
		from := 0
		if step > 0 {
			from = few
		}
		err := inParallel(8, upTo-from, func(i int) error {
			d, err := accounts[from+i].arrive(tb.Context(), node.address)
			if err != nil {
				return err
			}
			tb.Cleanup(d.close)
			d.take(func([]byte) {})
			return d.settleIn(tb)
		})
		for i := from; i < upTo && err == nil; i++ {
			var w *hubWire
			if w, err = hub.dial(fmt.Sprint("idle", i), "nobody", true); err == nil {
				w.take(func([]byte) {})
				tb.Cleanup(w.close)
			}
		}
		if err != nil {
			tb.Fatal(err)
		}
		<-time.After(rest)
		ours[step], yard[step] = resident(tb, node.pid()), resident(tb, hub.pid())
	}
	slope := func(rss [2]int64) float64 { return float64(max(rss[1]-rss[0], 0)) / float64(many-few) / 1024 }
	var out figures
	out.add("KiB/peer", slope(ours))
	out.add("hub-KiB/peer", slope(yard))
	out.add("rss-MiB", float64(ours[1])/(1<<20))
	out.add("hub-rss-MiB", float64(yard[1])/(1<<20))
	return out
}

// settleIn publishes an address at which nobody will call, and watches.
func (d *device) settleIn(tb testing.TB) error {
	key, err := libcrypto.UnmarshalEd25519PrivateKey(d.keys.Host)
	if err != nil {
		return err
	}
	rec := libpeer.PeerRecordFromAddrInfo(libpeer.AddrInfo{ID: d.peerID(), Addrs: []ma.Multiaddr{ma.StringCast("/ip4/127.0.0.1/tcp/9")}})
	sealed, err := record.Seal(rec, key)
	if err != nil {
		return err
	}
	encoded, err := sealed.Marshal()
	if err != nil {
		return err
	}
	if err := d.conn.Publish(tb.Context(), &rendezvous.Publish{PeerRecord: encoded}); err != nil {
		return err
	}
	return d.conn.Watch(tb.Context())
}
