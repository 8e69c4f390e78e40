package relay_test

import (
	"fmt"
	"path/filepath"
	"sync"
	"testing"

	"github.com/byway-chat/byway/crypto/identity"
	"github.com/byway-chat/byway/rendezvous"
	"github.com/byway-chat/byway/rendezvous/relay"
	"github.com/byway-chat/byway/rendezvous/sqlite"
)

// What was acknowledged to many senders at once is in the file after a restart, in each sender's order.
func TestStoredSurvivesARestart(t *testing.T) {
	path := filepath.Join(t.TempDir(), "test.db")
	db, err := sqlite.Open(t.Context(), path, nil)
	if err != nil {
		t.Fatal(err)
	}
	s := relay.New(db, everybody(), relay.Options{})
	var senders sync.WaitGroup
	for _, from := range []relay.Address{alice, carol} {
		senders.Go(func() {
			sender := s.Sender(from, &funcs{settle: func(_ uint64, o relay.Outcome) {
				if o.State != rendezvous.Outcome_STORED {
					t.Errorf("outcome: %+v", o)
				}
			}})
			for i := range 500 {
				sender.Submit(t.Context(), relay.Submission{Device: bob.Device[:], Envelope: []byte(fmt.Sprint(from.User, i))})
			}
		})
	}
	senders.Wait()
	for _, step := range []func() error{func() error { return s.Drain(t.Context()) }, s.Close, db.Close} {
		if err := step(); err != nil {
			t.Fatal(err)
		}
	}

	if db, err = sqlite.Open(t.Context(), path, nil); err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	held, err := db.Page(t.Context(), bob, 0, 10_000, 1<<30)
	if err != nil {
		t.Fatal(err)
	}
	next := make(map[rendezvous.Username]int)
	for _, h := range held {
		if want := fmt.Sprint(h.From.User, next[h.From.User]); string(h.Data) != want {
			t.Fatalf("got %q, want %q", h.Data, want)
		}
		next[h.From.User]++
	}
	if next["alice"] != 500 || next["carol"] != 500 {
		t.Errorf("held: %v", next)
	}
}

// The whole way into the mailbox: submissions from several goroutines, committed in groups as they gather, answered STORED.
func BenchmarkStored(b *testing.B) {
	db, err := sqlite.Open(b.Context(), filepath.Join(b.TempDir(), "bench.db"), nil)
	if err != nil {
		b.Fatal(err)
	}
	defer db.Close()
	directory := make(people)
	for i := range 16 {
		to := address(fmt.Sprint("user", i), byte(100+i))
		directory[to.Device] = to.User
	}
	plenty := relay.Usage{Messages: 1 << 40, Bytes: 1 << 50}
	s := relay.New(db, directory, relay.Options{Quota: relay.Quota{Account: plenty, Pair: plenty}})
	defer s.Close()
	var senders sync.WaitGroup
	const parallel = 8
	for k := range parallel {
		from := address(fmt.Sprint("sender", k), byte(k+1))
		device := identity.Fingerprint{byte(100 + k)}
		senders.Go(func() {
			window := make(chan struct{}, 1000) // unanswered
			sender := s.Sender(from, &funcs{settle: func(_ uint64, o relay.Outcome) {
				if o.State != rendezvous.Outcome_STORED {
					b.Errorf("outcome: %+v", o)
				}
				<-window
			}})
			for range b.N/parallel + 1 {
				window <- struct{}{}
				sender.Submit(b.Context(), relay.Submission{Device: device[:], Envelope: make([]byte, 154)})
			}
			for range cap(window) { // all are answered
				window <- struct{}{}
			}
		})
	}
	senders.Wait()
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "envelopes/s")
	b.ReportMetric(float64(b.N)/float64(s.Counters().Commits), "envelopes/commit")
}
