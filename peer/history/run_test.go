package history

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/byway-chat/byway/peer/delivery"
)

func exampleRun() *run {
	r := &run{ord: 7, tag: [16]byte{1}, peer: "bob", devices: []delivery.Device{bob1, bob2}, unshown: 0, open: 1}
	r.add(message{n: 300, id: delivery.MessageID{1}, sent: micros(t0), expires: micros(t0), policy: delivery.RelayOnly, body: "grüße", renamed: true, state: &state{
		progress: delivery.Progress{Stage: delivery.StageStored, Way: delivery.WayMailbox, Took: 5_000_000, Reason: "x"},
		void:     true, expires: t0, phases: []delivery.Phase{delivery.Stored, delivery.Acked},
	}})
	r.add(message{n: 301, id: delivery.MessageID{2}, sent: micros(t0), state: &state{settled: true}})
	return r
}

func TestRunSurvivesItsEncoding(t *testing.T) {
	want := exampleRun()
	got := &run{ord: 7, tag: want.tag, open: 1}
	if err := got.decode(want.encode(), 2); err != nil {
		t.Fatalf("decode: %v", err)
	}
	if err := got.decodeStates(want.encodeStates()); err != nil {
		t.Fatalf("decode states: %v", err)
	}
	if diff := cmp.Diff(got, want, cmp.AllowUnexported(run{}, message{}, state{})); diff != "" {
		t.Errorf("it came back different (-got +want):\n%s", diff)
	}
	for cut := range want.encode() {
		if err := new(run).decode(want.encode()[:cut], 2); !errors.Is(err, ErrDamaged) {
			t.Errorf("cut to %d bytes: got %v, want ErrDamaged", cut, err)
		}
	}
}

// FuzzDecodeRun wants no bytes to panic, or to become more messages than the row says.
func FuzzDecodeRun(f *testing.F) {
	f.Add(exampleRun().encode(), exampleRun().encodeStates(), 2)
	f.Add([]byte{1}, []byte{}, 64)
	f.Fuzz(func(t *testing.T, sealed, states []byte, count int) {
		r := new(run)
		if err := r.decode(sealed, count); err == nil && len(r.msgs) != count {
			t.Fatalf("got %d messages, want %d", len(r.msgs), count)
		}
		_ = r.decodeStates(states)
	})
}

// TestRunsAreFilled wants a burst to cost a row for every 64 messages, whatever stands between the commits, and long texts to have rows of their own.
func TestRunsAreFilled(t *testing.T) {
	s := open(t, filepath.Join(t.TempDir(), "history.db"))
	rows := func() (n int) {
		settle(t, s)
		if err := s.read.QueryRow("SELECT COUNT(*) FROM runs").Scan(&n); err != nil {
			t.Fatalf("count: %v", err)
		}
		return n
	}
	var b Batch
	want := make([]string, 0, 200)
	for i := range uint64(200) {
		b.Ops = append(b.Ops, delivery.OpReceive{Message: incoming(i+1, fmt.Sprint(i))})
		want = append(want, fmt.Sprint(i))
	}
	commit(t, s, &b)
	equal(t, "rows of 200 messages", rows(), 4)
	equal(t, "text", bodies(find(t, s, Query{Limit: 1000})), strings.Join(want, " "))
	long := strings.Repeat("x", maxRunSize)
	commit(t, s, ops(delivery.OpReceive{Message: incoming(300, long)}, delivery.OpReceive{Message: incoming(301, "short")}))
	equal(t, "rows with a long text", rows(), 6)
	entries := find(t, s, Query{Limit: 1})
	equal(t, "place of the last", entries[0].Order, int64(202))
}

// TestOldFormatIsRefused wants a file from before the first release to be left as it is.
func TestOldFormatIsRefused(t *testing.T) {
	path := filepath.Join(t.TempDir(), "history.db")
	db, err := sql.Open("sqlite", path)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := db.Exec("CREATE TABLE outbox (n INTEGER)"); err != nil {
		t.Fatal(err)
	}
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
	if s, err := Open(context.Background(), path, key); s != nil || !errors.Is(err, ErrOldFormat) {
		t.Errorf("got %v and %v, want ErrOldFormat", s, err)
	}
}

// TestRenumber wants a message under its new number, in its old place, with the state that it had.
func TestRenumber(t *testing.T) {
	path := filepath.Join(t.TempDir(), "history.db")
	s := open(t, path)
	commit(t, s, ops(delivery.OpEnqueue{Message: outgoing(1, "one")}, delivery.OpEnqueue{Message: outgoing(2, "two")}, delivery.OpEnqueue{Message: outgoing(3, "three")}))
	commit(t, s, ops(delivery.OpSettle{To: "bob", N: 1}, delivery.OpCopy{To: "bob", N: 3, Device: bob1, Phase: delivery.Acked}))
	link := delivery.Link{5}
	commit(t, s, ops(delivery.OpRenumber{To: "bob", Old: 2, New: 9, Prev: link}, delivery.OpRenumber{To: "bob", Old: 3, New: 10, Prev: link.Next(outgoing(2, "").ID)}))
	s = reopen(t, s, path)
	equal(t, "history", bodies(find(t, s, Query{})), "one two three")
	snap, err := s.Snapshot(t.Context())
	if err != nil {
		t.Fatalf("snapshot: %v", err)
	}
	equal(t, "account", snap.Accounts, []delivery.AccountState{{Name: "bob", Next: 11, Tip: link.Next(outgoing(2, "").ID).Next(outgoing(3, "").ID)}})
	box := sorted(snap).Outbox
	equal(t, "numbers", []uint64{box[0].Message.N, box[1].Message.N}, []uint64{9, 10})
	equal(t, "state", box[1].Phases[bob1], delivery.Acked)
	if !box[0].Message.Renumbered || box[0].Message.Prev != link {
		t.Errorf("got %+v, want it to say that its number is new", box[0].Message)
	}
	if err := s.Commit(t.Context(), ops(delivery.OpRenumber{To: "bob", Old: 9, New: 10})); err == nil {
		t.Error("a number was given twice")
	}
}

// TestHas wants the ids of what a device has sent, those of a failed batch aside.
func TestHas(t *testing.T) {
	s := open(t, filepath.Join(t.TempDir(), "history.db"))
	has := func(n uint64) bool {
		ok, err := s.Has(t.Context(), bob1, incoming(n, "").ID)
		if err != nil {
			t.Fatalf("has: %v", err)
		}
		return ok
	}
	commit(t, s, ops(delivery.OpReceive{Message: incoming(1, "one")}))
	if !has(1) || has(2) {
		t.Errorf("got %v and %v, want the first alone", has(1), has(2))
	}
	if err := s.Commit(t.Context(), ops(delivery.OpReceive{Message: incoming(2, "two")}, delivery.OpReceive{Message: incoming(1, "one")})); err == nil {
		t.Fatal("a message was shown twice")
	}
	if has(2) {
		t.Error("it has what was not committed")
	}
	commit(t, s, ops(delivery.OpReceive{Message: incoming(3, "three")}))
	if !has(1) || !has(3) {
		t.Error("it lacks what was committed")
	}
}
