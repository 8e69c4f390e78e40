package storetest

import (
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"pgregory.net/rapid"

	"github.com/byway-chat/byway/rendezvous/relay"
)

func runMailbox(t *testing.T, f Factory) {
	for _, tt := range []struct {
		name string
		test func(t *testing.T, s Store)
	}{
		{"order and pages", orderAndPages},
		{"only the owner deletes", ownerDeletes},
		{"quotas", quotas},
		{"quotas follow every way out", quotaAccounting},
		{"expiry", expiry},
		{"purge", purge},
		{"numbers are never used twice", numbers},
		{"concurrent readers", concurrentReaders},
	} {
		t.Run(tt.name, func(t *testing.T) { tt.test(t, f.start(t)) })
	}
	t.Run("model", func(t *testing.T) { model(t, f) })
}

func apply(t testing.TB, s Store, b relay.Batch) relay.Batch {
	t.Helper()
	if b.Quota == (relay.Quota{}) {
		b.Quota = wide
	}
	if err := s.Apply(t.Context(), &b); err != nil {
		t.Fatalf("apply: %v", err)
	}
	return b
}

func page(t testing.TB, s Store, to relay.Address, after uint64, limit, bytes int) []relay.Held {
	t.Helper()
	held, err := s.Page(t.Context(), to, after, limit, bytes)
	if err != nil {
		t.Fatalf("page: %v", err)
	}
	return held
}

func bodies(held []relay.Held) []string {
	var out []string
	for _, h := range held {
		out = append(out, string(h.Data))
	}
	return out
}

func everything(t testing.TB, s Store, to relay.Address) []string {
	t.Helper()
	return bodies(page(t, s, to, 0, 1<<20, 1<<30))
}

func wantBodies(t testing.TB, what string, got []string, want ...string) {
	t.Helper()
	if diff := cmp.Diff(want, got, cmpopts.EquateEmpty()); diff != "" {
		t.Errorf("%s (-want +got):\n%s", what, diff)
	}
}

func wantUsage(t testing.TB, s Store, to relay.Address, device, account relay.Usage) {
	t.Helper()
	got, err := s.Waiting(t.Context(), to)
	if err != nil || got != device {
		t.Errorf("waiting: got %+v, %v, want %+v", got, err, device)
	}
	if got, err = s.Usage(t.Context(), to.User); err != nil || got != account {
		t.Errorf("usage: got %+v, %v, want %+v", got, err, account)
	}
}

var alice, bob, bob1, carol = address("alice", 0), address("bob", 0), address("bob", 1), address("carol", 0)

func orderAndPages(t *testing.T, s Store) {
	big := strings.Repeat("x", 80<<10)
	b := apply(t, s, relay.Batch{Puts: []*relay.Put{
		put(alice, bob, "1"), put(carol, bob, "2"), put(alice, bob1, "other device"), put(alice, bob, big), put(alice, bob, "4"),
	}})
	apply(t, s, relay.Batch{Puts: []*relay.Put{put(alice, bob, "5")}})
	for _, p := range b.Puts {
		if p.ID == 0 || p.Refused {
			t.Errorf("put %.20q: got %+v", p.Envelope.Data, p)
		}
	}
	all := page(t, s, bob, 0, 100, 1<<20)
	wantBodies(t, "all", bodies(all), "1", "2", big, "4", "5")
	want := relay.Held{ID: b.Puts[1].ID, Envelope: relay.Envelope{From: carol, To: bob, Submitted: epoch, Data: []byte("2")}}
	if diff := cmp.Diff(want, all[1]); diff != "" {
		t.Errorf("held (-want +got):\n%s", diff)
	}
	wantBodies(t, "limit", bodies(page(t, s, bob, 0, 2, 1<<20)), "1", "2")
	wantBodies(t, "after", bodies(page(t, s, bob, all[1].ID, 2, 1<<20)), big, "4")
	wantBodies(t, "bytes", bodies(page(t, s, bob, 0, 100, 100)), "1", "2")
	wantBodies(t, "one at least", bodies(page(t, s, bob, all[1].ID, 100, 100)), big)
	wantBodies(t, "after the last", bodies(page(t, s, bob, all[4].ID, 100, 100)))
	wantBodies(t, "nobody", everything(t, s, carol))
	wantUsage(t, s, bob, relay.Usage{Messages: 5, Bytes: 80<<10 + 4}, relay.Usage{Messages: 6, Bytes: 80<<10 + 16})
}

func ownerDeletes(t *testing.T, s Store) {
	b := apply(t, s, relay.Batch{Puts: []*relay.Put{put(alice, bob, "1"), put(alice, bob1, "2"), put(alice, bob, "3")}})
	id := func(i int) uint64 { return b.Puts[i].ID }
	imposter := relay.Address{User: "carol", Device: bob.Device}
	apply(t, s, relay.Batch{Deletions: []relay.Deletion{
		{To: bob1, ID: id(0)}, {To: carol, ID: id(0)}, {To: imposter, ID: id(0)}, {To: bob, ID: id(1)}, {To: bob, ID: 999_999},
	}})
	wantBodies(t, "after foreign deletions", everything(t, s, bob), "1", "3")
	apply(t, s, relay.Batch{
		Deletions: []relay.Deletion{{To: bob, ID: id(0)}, {To: bob, ID: id(0)}, {To: bob1, ID: id(1)}},
		Puts:      []*relay.Put{put(alice, bob, "4")},
	})
	wantBodies(t, "after their own", everything(t, s, bob), "3", "4")
	wantBodies(t, "after their own", everything(t, s, bob1))
	apply(t, s, relay.Batch{})
}

func quotas(t *testing.T, s Store) {
	quota := relay.Quota{Account: relay.Usage{Messages: 5, Bytes: 100}, Pair: relay.Usage{Messages: 3, Bytes: 60}}
	try := func(from, to relay.Address, size int, admitted bool) {
		t.Helper()
		b := apply(t, s, relay.Batch{Quota: quota, Puts: []*relay.Put{put(from, to, strings.Repeat("x", size))}})
		if p := b.Puts[0]; p.Refused == admitted || (p.ID != 0) != admitted {
			t.Errorf("put of %d bytes: got %+v, want admitted %v", size, p, admitted)
		}
	}
	try(alice, bob, 61, false) // over the pair's bytes
	try(alice, bob, 40, true)
	try(alice, bob1, 21, false)
	try(alice, bob1, 20, true)
	try(alice, bob, 0, true)
	try(alice, bob, 0, false) // over the pair's messages, on all devices
	try(carol, bob, 41, false)
	try(carol, bob, 39, true)
	try(bob, bob1, 1, true)
	try(bob, bob1, 0, false) // over the account's messages
	try(alice, carol, 60, true)
}

func quotaAccounting(t *testing.T, s Store) {
	quota := relay.Quota{Account: relay.Usage{Messages: 2, Bytes: 1000}, Pair: relay.Usage{Messages: 2, Bytes: 1000}}
	fill := func(step string, want int) []*relay.Put {
		t.Helper()
		b := relay.Batch{Quota: quota, Puts: []*relay.Put{put(alice, bob, "a"), put(alice, bob, "b"), put(alice, bob, "c")}}
		apply(t, s, b)
		admitted := slices.DeleteFunc(b.Puts, func(p *relay.Put) bool { return p.Refused })
		if len(admitted) != want {
			t.Fatalf("%s: %d were admitted, want %d", step, len(admitted), want)
		}
		return admitted
	}
	first := fill("empty", 2)
	fill("full", 0)
	apply(t, s, relay.Batch{Deletions: []relay.Deletion{{To: bob, ID: first[0].ID}, {To: bob, ID: first[0].ID}}})
	fill("one deleted", 1)
	if n, err := s.Expire(t.Context(), epoch.Add(time.Second), 1); n != 1 || err != nil {
		t.Fatalf("expire: %d, %v", n, err)
	}
	fill("one expired", 1)
	must(t, s.Purge(t.Context(), bob))
	fill("purged", 2)
	// Deletions come before puts in a batch: they make room for them.
	held := page(t, s, bob, 0, 2, 1000)
	b := apply(t, s, relay.Batch{
		Quota:     quota,
		Deletions: []relay.Deletion{{To: bob, ID: held[0].ID}},
		Puts:      []*relay.Put{put(alice, bob, "z")},
	})
	if b.Puts[0].Refused {
		t.Error("the room that a deletion makes is not used")
	}
}

func expiry(t *testing.T, s Store) {
	var puts []*relay.Put
	for i := range 10 {
		p := put(alice, []relay.Address{bob, carol}[i%2], fmt.Sprint(i))
		p.Envelope.Submitted = epoch.Add(time.Duration(i) * time.Hour)
		puts = append(puts, p)
	}
	apply(t, s, relay.Batch{Puts: puts})
	before := epoch.Add(6 * time.Hour)
	for _, want := range []int{4, 2, 0} {
		n, err := s.Expire(t.Context(), before, 4)
		if err != nil || n != want {
			t.Errorf("expire: got %d, %v, want %d", n, err, want)
		}
	}
	wantBodies(t, "bob", everything(t, s, bob), "6", "8")
	wantBodies(t, "carol", everything(t, s, carol), "7", "9")
}

func purge(t *testing.T, s Store) {
	apply(t, s, relay.Batch{Puts: []*relay.Put{put(alice, bob, "1"), put(alice, bob1, "2"), put(alice, carol, "3")}})
	must(t, s.Purge(t.Context(), bob))
	must(t, s.Purge(t.Context(), alice))
	wantBodies(t, "bob", everything(t, s, bob))
	wantBodies(t, "bob's other device", everything(t, s, bob1), "2")
	wantUsage(t, s, bob, relay.Usage{}, relay.Usage{Messages: 1, Bytes: 1})
}

func numbers(t *testing.T, s Store) {
	var last uint64
	for range 5 {
		b := apply(t, s, relay.Batch{Puts: []*relay.Put{put(alice, bob, "x")}})
		id := b.Puts[0].ID
		if id <= last {
			t.Fatalf("number %d after %d, which was deleted", id, last)
		}
		last = id
		apply(t, s, relay.Batch{Deletions: []relay.Deletion{{To: bob, ID: id}}})
	}
}

// concurrentReaders: a page read while others write is always a part of what was written, in order.
func concurrentReaders(t *testing.T, s Store) {
	const total = 400
	var running sync.WaitGroup
	for range 4 {
		running.Go(func() {
			for n := 0; n < total; {
				held, err := s.Page(t.Context(), bob, 0, total, 1<<20)
				if err != nil {
					t.Error(err)
					return
				}
				for i, h := range held {
					if string(h.Data) != fmt.Sprint(i) {
						t.Errorf("place %d holds %q", i, h.Data)
						return
					}
				}
				n = len(held)
			}
		})
	}
	for i := 0; i < total; i += 4 {
		var puts []*relay.Put
		for k := range 4 {
			puts = append(puts, put(alice, bob, fmt.Sprint(i+k)))
		}
		apply(t, s, relay.Batch{Puts: puts})
	}
	running.Wait()
}

// model compares a store with a list under random batches.
func model(t *testing.T, f Factory) {
	dir := t.TempDir()
	s := f.Open(t, dir)
	defer func() { must(t, s.Close()) }()
	check := 0
	rapid.Check(t, func(rt *rapid.T) {
		check++ // one store serves all checks, each with people of its own: opening it is what takes long
		name := func(name string, i int) relay.Address { return address(fmt.Sprint(name, check), i) }
		m := &mailboxModel{t: t, rt: rt, s: s, people: []relay.Address{name("alice", 0), name("bob", 0), name("bob", 1), name("carol", 0)}}
		for range rapid.IntRange(1, 6).Draw(rt, "steps") {
			if rapid.IntRange(0, 19).Draw(rt, "kind") == 0 {
				must(t, s.Close())
				s = f.Open(t, dir)
				m.s = s
			} else {
				m.apply()
			}
			m.check()
		}
	})
}

// mailboxModel is what a mailbox should hold.
type mailboxModel struct {
	t      *testing.T
	rt     *rapid.T
	s      Store
	people []relay.Address
	held   []relay.Held
}

var modelQuota = relay.Quota{
	Account: relay.Usage{Messages: 60, Bytes: 3000},
	Pair:    relay.Usage{Messages: 40, Bytes: 2000},
}

// apply does a random batch on both.
func (m *mailboxModel) apply() {
	person := rapid.SampledFrom(m.people)
	size := rapid.IntRange(0, 100)
	b := relay.Batch{Quota: modelQuota}
	for range min(len(m.held), rapid.IntRange(0, 40).Draw(m.rt, "deletions")) {
		h := rapid.SampledFrom(m.held).Draw(m.rt, "held")
		b.Deletions = append(b.Deletions, relay.Deletion{To: person.Draw(m.rt, "deleter"), ID: h.ID})
	}
	for range rapid.IntRange(0, 70).Draw(m.rt, "puts") {
		b.Puts = append(b.Puts, put(person.Draw(m.rt, "from"), person.Draw(m.rt, "to"), strings.Repeat("x", size.Draw(m.rt, "size"))))
	}
	must(m.t, m.s.Apply(m.t.Context(), &b))
	for _, d := range b.Deletions {
		m.held = slices.DeleteFunc(m.held, func(h relay.Held) bool { return h.ID == d.ID && h.To == d.To })
	}
	for i, p := range b.Puts {
		admitted := m.admits(p.Envelope)
		if p.Refused == admitted {
			m.rt.Fatalf("put %d refused: %v, want %v", i, p.Refused, !admitted)
		}
		if admitted {
			m.held = append(m.held, relay.Held{Envelope: *p.Envelope, ID: p.ID})
		}
	}
}

func (m *mailboxModel) admits(e *relay.Envelope) bool {
	var account, pair relay.Usage
	count := func(u *relay.Usage, h relay.Held) {
		u.Messages++
		u.Bytes += uint64(len(h.Data))
	}
	for _, h := range m.held {
		if h.To.User != e.To.User {
			continue
		}
		count(&account, h)
		if h.From.User == e.From.User {
			count(&pair, h)
		}
	}
	within := func(u, bound relay.Usage) bool {
		return u.Messages < bound.Messages && u.Bytes+uint64(len(e.Data)) <= bound.Bytes
	}
	return within(account, modelQuota.Account) && within(pair, modelQuota.Pair)
}

func (m *mailboxModel) check() {
	for _, to := range m.people {
		var want []relay.Held
		for _, h := range m.held {
			if h.To == to {
				want = append(want, h)
			}
		}
		got, err := m.s.Page(m.t.Context(), to, 0, 1000, 1<<20)
		same := slices.EqualFunc(want, got, func(a, b relay.Held) bool {
			return a.ID == b.ID && a.From == b.From && a.To == b.To && a.Submitted.Equal(b.Submitted) && string(a.Data) == string(b.Data)
		})
		if !same || err != nil {
			m.rt.Fatalf("mailbox of %s: %v\n%s", to.User, err, cmp.Diff(want, got, cmpopts.EquateEmpty()))
		}
	}
}
