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
