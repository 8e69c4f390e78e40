package storetest

import (
	"fmt"
	"math"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"pgregory.net/rapid"

	"github.com/byway-chat/byway/rendezvous"
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
		{"refusals", refusals},
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
	wantBodies(t, "after any", bodies(page(t, s, bob, math.MaxUint64, 100, 100)))
	wantBodies(t, "nobody", everything(t, s, carol))
	wantUsage(t, s, bob, relay.Usage{Messages: 5, Bytes: 80<<10 + 4}, relay.Usage{Messages: 6, Bytes: 80<<10 + 16})
}

func ownerDeletes(t *testing.T, s Store) {
	b := apply(t, s, relay.Batch{Puts: []*relay.Put{put(alice, bob, "1"), put(alice, bob1, "2"), put(alice, bob, "3")}})
	id := func(i int) uint64 { return b.Puts[i].ID }
	imposter := relay.Address{User: "carol", Device: bob.Device}
	apply(t, s, relay.Batch{Deletions: []relay.Deletion{
		{To: bob1, ID: id(2)}, {To: carol, ID: id(0)}, {To: imposter, ID: id(0)}, {To: bob, ID: 999_999}, {To: bob, ID: math.MaxUint64},
	}})
	wantBodies(t, "after foreign deletions", everything(t, s, bob), "1", "3")
	apply(t, s, relay.Batch{
		Deletions: []relay.Deletion{
			{To: bob, ID: id(0), From: "alice", Size: 1}, {To: bob, ID: id(0), From: "alice", Size: 1}, {To: bob1, ID: id(1), From: "alice", Size: 1},
		},
		Puts: []*relay.Put{put(alice, bob, "4")},
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
	apply(t, s, relay.Batch{Deletions: []relay.Deletion{
		{To: bob, ID: first[0].ID, From: "alice", Size: 1}, {To: bob, ID: first[0].ID, From: "alice", Size: 1},
	}})
	fill("one deleted", 1)
	if n, err := s.Expire(t.Context(), relay.Clock{Wall: epoch}, 1, 1); n != 1 || err != nil {
		t.Fatalf("expire: %d, %v", n, err)
	}
	fill("one expired", 1)
	must(t, s.Purge(t.Context(), bob))
	fill("purged", 2)
	// Deletions come before puts in a batch: they make room for them.
	held := page(t, s, bob, 0, 2, 1000)
	b := apply(t, s, relay.Batch{
		Quota:     quota,
		Deletions: []relay.Deletion{deletion(held[0])},
		Puts:      []*relay.Put{put(alice, bob, "z")},
	})
	if b.Puts[0].Refused {
		t.Error("the room that a deletion makes is not used")
	}
}

func expiry(t *testing.T, s Store) {
	if c, err := s.Clock(t.Context()); err != nil || c != (relay.Clock{}) {
		t.Errorf("a new mailbox's clock: got %+v, %v", c, err)
	}
	for i := range 10 {
		to := []relay.Address{bob, carol}[i%2]
		apply(t, s, relay.Batch{Kept: relay.Moment(i), Puts: []*relay.Put{put(alice, to, fmt.Sprint(i))}})
	}
	for i, want := range []int{4, 2, 0} {
		now := relay.Clock{Mailbox: relay.Moment(100 + i), Wall: epoch.Add(time.Duration(-i) * time.Hour)}
		n, err := s.Expire(t.Context(), now, 6, 4)
		if err != nil || n != want {
			t.Errorf("expire: got %d, %v, want %d", n, err, want)
		}
		if c, err := s.Clock(t.Context()); err != nil || c != now {
			t.Errorf("clock: got %+v, %v, want %+v", c, err, now)
		}
	}
	wantBodies(t, "bob", everything(t, s, bob), "6", "8")
	wantBodies(t, "carol", everything(t, s, carol), "7", "9")
}

func wantRefusals(t testing.TB, s Store, to relay.Address, messages, accounts uint64, since time.Time) (mark uint64) {
	t.Helper()
	r, err := s.Refusals(t.Context(), to)
	if err != nil || r.Messages != messages || r.Accounts != accounts || !r.Since.Equal(since) || (r.Mark == 0) != (messages == 0) {
		t.Errorf("refusals: got %+v, %v, want %d of %d accounts since %v", r, err, messages, accounts, since)
	}
	return r.Mark
}

func refusals(t *testing.T, s Store) {
	full := relay.Quota{}
	refuse := func(from, to relay.Address, n int, at time.Duration) {
		t.Helper()
		var b relay.Batch
		for i := range n {
			p := put(from, to, "x")
			p.Envelope.Submitted = epoch.Add(at + time.Duration(i)*time.Second)
			b.Puts = append(b.Puts, p)
		}
		b.Quota = full
		must(t, s.Apply(t.Context(), &b))
	}
	wantRefusals(t, s, bob, 0, 0, time.Time{})
	apply(t, s, relay.Batch{Puts: []*relay.Put{put(alice, bob, "1")}})
	full = relay.Quota{Account: relay.Usage{Messages: 1, Bytes: 1}, Pair: relay.Usage{Messages: 1, Bytes: 1}}
	wantRefusals(t, s, bob, 0, 0, time.Time{})
	refuse(alice, bob, 2, time.Minute)
	refuse(carol, bob, 1, time.Hour)
	refuse(carol, bob1, 1, 2*time.Hour)
	refuse(alice, bob, 1, 3*time.Hour)
	first := wantRefusals(t, s, bob, 4, 2, epoch.Add(time.Minute))
	wantRefusals(t, s, bob1, 1, 1, epoch.Add(2*time.Hour))

	refuse(carol, bob, 1, 4*time.Hour)
	apply(t, s, relay.Batch{Told: []relay.Told{{To: bob, Mark: first}, {To: carol, Mark: math.MaxInt64}}})
	second := wantRefusals(t, s, bob, 2, 1, epoch.Add(time.Hour)) // carol was refused again after that
	if second <= first {
		t.Errorf("mark %d after %d", second, first)
	}
	apply(t, s, relay.Batch{Told: []relay.Told{{To: bob, Mark: second}}})
	wantRefusals(t, s, bob, 0, 0, time.Time{})
	wantRefusals(t, s, bob1, 1, 1, epoch.Add(2*time.Hour))
	must(t, s.Purge(t.Context(), bob1))
	wantRefusals(t, s, bob1, 0, 0, time.Time{})

	for i := range 200 { // however many they are, there is a bound of what is kept of them
		refuse(relay.Address{User: rendezvous.Username(fmt.Sprint("stranger", i))}, bob, 1, 0)
	}
	r, err := s.Refusals(t.Context(), bob)
	if err != nil || r.Messages != 200 || r.Accounts < 50 || r.Accounts > 200 {
		t.Errorf("refusals of many: got %+v, %v", r, err)
	}
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
		apply(t, s, relay.Batch{Deletions: []relay.Deletion{{To: bob, ID: id, From: "alice", Size: 1}}})
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
	if n := rapid.IntRange(0, len(m.held)).Draw(m.rt, "run"); n < 40 { // as a device takes them
		for _, h := range m.held[:n] {
			b.Deletions = append(b.Deletions, deletion(h))
		}
	}
	for range min(len(m.held), rapid.IntRange(0, 40).Draw(m.rt, "deletions")) {
		h := rapid.SampledFrom(m.held).Draw(m.rt, "held")
		d := deletion(h)
		if rapid.IntRange(0, 3).Draw(m.rt, "deleter") == 0 {
			d.To = person.Draw(m.rt, "deleter")
			for _, h := range m.held {
				if h.To == d.To && h.ID == d.ID { // an envelope of theirs has the same number
					d = deletion(h)
				}
			}
		}
		b.Deletions = append(b.Deletions, d)
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

func deletion(h relay.Held) relay.Deletion {
	return relay.Deletion{To: h.To, ID: h.ID, From: h.From.User, Size: uint64(len(h.Data))}
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
