package measure_test

import (
	"context"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/libp2p/go-libp2p/core/host"

	"github.com/byway-chat/byway/rendezvous"
	"github.com/byway-chat/byway/rendezvous/client"
)

// signInStudies measure how many connections a second sign in, from the first packet to the answer, with the clients on the same machine.
func signInStudies() []study {
	return []study{{name: "with=key", body: signInByKey}, {name: "with=password", body: signInByPassword}}
}

func BenchmarkSignIn(b *testing.B) { run(b, signInStudies()) }

// signInClients is how many sign in at a time.
const signInClients = 8

// signInByKey lets enrolled devices come and go; clients of the hub do the same with their token.
func signInByKey(tb testing.TB, s scale) figures {
	n := s.pick(64, 32, 4)
	hub, node := startHub(tb), serve(tb, n, 0)
	accounts := people.accounts(tb, n)
	var yardDone, ourDone atomic.Uint64
	var yard, ours spent
	for range s.rounds {
		s.gauge(tb, hub.pid(), &yard, yardDone.Load, clients(tb, &yardDone, func(i int) func(context.Context) error {
			name := fmt.Sprint("client", i)
			return func(context.Context) error {
				w, err := hub.dial(name, "nobody", true)
				if err == nil {
					w.close()
				}
				return err
			}
		}), nil)
		s.gauge(tb, node.pid(), &ours, ourDone.Load, clients(tb, &ourDone, func(i int) func(context.Context) error {
			return returning(tb, node.address, accounts[i*n/signInClients:max((i+1)*n/signInClients, i*n/signInClients+1)])
		}), nil)
	}
	var out figures
	out.add("sign-ins/s", ours.perSecond())
	out.add("hub-sign-ins/s", yard.perSecond())
	out.add("us/sign-in", ours.cpuPerMessage())
	out.add("hub-us/sign-in", yard.cpuPerMessage())
	return out
}

// clients returns a load of several clients that do one thing again and again and count it.
func clients(tb testing.TB, done *atomic.Uint64, client func(int) func(context.Context) error) loader {
	return func(ctx context.Context) {
		var all sync.WaitGroup
		for i := range signInClients {
			act := client(i)
			all.Go(func() {
				for ctx.Err() == nil {
					if err := act(ctx); err != nil {
						tb.Errorf("sign in: %v", err)
						return
					}
					done.Add(1)
				}
			})
		}
		all.Wait()
	}
}

// returning signs one account after the other in, each time over a connection of its own. The hosts stay: making one is no part of it.
func returning(tb testing.TB, at rendezvous.Address, accounts []account) func(context.Context) error {
	type visitor struct {
		account
		host.Host
	}
	hosts := make([]visitor, len(accounts))
	for i, a := range accounts {
		h, err := a.host()
		if err != nil {
			tb.Error(err)
			return func(context.Context) error { return err }
		}
		tb.Cleanup(func() { _ = h.Close() })
		hosts[i] = visitor{a, h}
	}
	next := 0
	return func(context.Context) error {
		h := hosts[next%len(hosts)]
		next++
		conn, err := client.Dial(background, client.Options{Host: h.Host, Rendezvous: at.AddrInfo(), Agent: "measure"})
		if err != nil {
			return err
		}
		if _, err := conn.Resume(background, string(h.name)); err != nil {
			return err
		}
		_ = conn.Close()
		return h.Network().ClosePeer(at.ID)
	}
}

// signInByPassword enrols further devices of accounts: the password is checked, and the new device's keys are certified.
func signInByPassword(tb testing.TB, s scale) figures {
	const more = 7 // devices that an account may have beside its first
	n := s.pick(24, 8, 1)
	node := serve(tb, 0, 0)
	// These accounts are made at the rendezvous that is measured: the hashes of the town's are cheap.
	owners := people.strangers(tb, n*(1+more))
	for _, a := range owners[:n] {
		if err := a.register(tb.Context(), node.address); err != nil {
			tb.Fatal(err)
		}
	}
	each := s.pick(more, more, 1)
	var done spent
	before := look(tb, node.pid())
	err := inParallel(2, n, func(i int) error {
		for d := range each {
			a := owners[n+i*more+d]
			a.name = owners[i].name
			if err := a.enrol(background, node.address); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		tb.Fatal(err)
	}
	after := look(tb, node.pid())
	done.messages, done.wall, done.cpu = uint64(n*each), after.at.Sub(before.at), after.cpu-before.cpu
	var out figures
	out.add("sign-ins/s", done.perSecond())
	out.add("us/sign-in", done.cpuPerMessage())
	return out
}
