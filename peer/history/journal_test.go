package history

import (
	"bytes"
	"context"
	"errors"
	"math/rand/v2"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/byway-chat/byway/crypto/session"
	"github.com/byway-chat/byway/peer/delivery"
	"github.com/byway-chat/byway/peer/journal"
)

// crash copies the files of an open store as a machine that is switched off leaves them, and opens the copy.
func crash(t testing.TB, path string) *Store {
	t.Helper()
	return open(t, image(t, path))
}

// image is the path of the copy.
func image(t testing.TB, path string) string {
	t.Helper()
	files, err := filepath.Glob(path + "*")
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	for _, name := range files {
		b, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(dir, filepath.Base(name)), b, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return filepath.Join(dir, filepath.Base(path))
}

// contents is everything that a store tells.
func contents(t testing.TB, s *Store) map[string]any {
	t.Helper()
	ctx, all := t.Context(), map[string]any{}
	var errs [6]error
	var snap delivery.Snapshot
	snap, errs[0] = s.Snapshot(ctx)
	all["snapshot"] = sorted(snap)
	all["entries"], errs[1] = s.Find(ctx, Query{Limit: 10_000})
	all["contacts"], errs[2] = s.Contacts(ctx)
	all["session"], _, errs[3] = s.Session(ctx, session.ID{1})
	all["blocked"], errs[4] = s.BlockedOf(ctx, "bob", bob2)
	all["gaps"], errs[5] = s.Gaps(ctx, 0)
	if err := errors.Join(errs[:]...); err != nil {
		t.Fatal(err)
	}
	return all
}

// everyOp commits each kind of change, some of them to what an earlier commit has made.
func everyOp(t testing.TB, s *Store) {
	t.Helper()
	fill(t, s)
	commit(t, s, &Batch{
		Ops: []delivery.Op{
			delivery.OpEnqueue{Message: outgoing(2, "second")},
			delivery.OpEnqueue{Message: outgoing(3, "third")},
			delivery.OpCopy{To: "bob", N: 1, Device: bob1, Phase: delivery.Acked},
			delivery.OpProgress{To: "bob", N: 1, Progress: delivery.Progress{Stage: delivery.StageDelivered, Way: delivery.WayLAN, Took: time.Second, Reason: "why"}},
			delivery.OpRead{To: "bob", Upto: 1},
			delivery.OpVoid{To: "bob", N: 2, Expires: t0},
			delivery.OpRenumber{To: "bob", Old: 3, New: 9, Prev: delivery.Link{7}},
			delivery.OpSettle{To: "bob", N: 1},
			delivery.OpStart{To: "bob", Device: bob1, Start: 1},
			delivery.OpReceive{Message: incoming(2, "late")},
			delivery.OpRelease{Device: bob1, N: 3},
			delivery.OpReceive{Message: incoming(6, "held for nothing"), Held: true},
			delivery.OpDrop{Device: bob1, N: 6},
			delivery.OpReceive{Message: incoming(7, "held on"), Held: true},
			delivery.OpGap{From: "bob", Device: bob1, First: 4, Last: 5},
			delivery.OpNext{Device: bob1, Next: 6, Tip: delivery.Link{3}},
		},
		Contacts: []*Contact{{Name: "bob", Verified: true}, {Name: "carol"}},
		Sessions: []Session{{ID: session.ID{1}, Device: bob1, Used: t0.Add(time.Second), State: []byte("moved")}, {ID: session.ID{2}, Device: bob1, Used: t0}},
		Blocked:  []Blocked{{Account: "bob", Device: bob2, Envelope: []byte("another"), Way: delivery.WayRelay}},
		Released: []int64{1},
	})
}

// TestUnknownIsNoRefusal: a write that may have reached the disk is not told as one that found no room there.
func TestUnknownIsNoRefusal(t *testing.T) {
	if err := classify("commit", unknown(syscall.ENOSPC)); errors.Is(err, ErrDiskFull) || errors.Is(err, ErrDamaged) {
		t.Errorf("got %v, which says that nothing was accepted", err)
	}
	if err := classify("commit", syscall.ENOSPC); !errors.Is(err, ErrDiskFull) {
		t.Errorf("got %v, want a full disk", err)
	}
}

// TestCrash switches the machine off when nothing has gone to the file yet, when some has, and when all has: what was committed is there each time.
func TestCrash(t *testing.T) {
	path := filepath.Join(t.TempDir(), "history.db")
	s := open(t, path)
	everyOp(t, s)
	before := image(t, path)
	commit(t, s, ops(delivery.OpEnqueue{Message: outgoing(10, "first after")}))
	settle(t, s)
	commit(t, s, ops(delivery.OpEnqueue{Message: outgoing(11, "last")}, delivery.OpReceive{Message: incoming(8, "theirs")}))
	after := image(t, path)
	want := contents(t, s)
	second := open(t, after)
	if diff := cmp.Diff(contents(t, second), want, cmpopts.EquateEmpty()); diff != "" {
		t.Errorf("after a crash (-got +want):\n%s", diff)
	}
	equal(t, "after all", contents(t, reopen(t, second, after)), want)
	if found, _ := second.Damage(); found != "" {
		t.Errorf("a crash is called damage: %s", found)
	}

	// The same history, all of it by way of the journal.
	first := open(t, before)
	commit(t, first, ops(delivery.OpEnqueue{Message: outgoing(10, "first after")}))
	commit(t, first, ops(delivery.OpEnqueue{Message: outgoing(11, "last")}, delivery.OpReceive{Message: incoming(8, "theirs")}))
	equal(t, "from the journal alone", contents(t, crash(t, before)), want)
}

// TestClosedHasNoJournal wants a home that was left in order to be one file again.
func TestClosedHasNoJournal(t *testing.T) {
	path := filepath.Join(t.TempDir(), "history.db")
	s := open(t, path)
	everyOp(t, s)
	want := contents(t, s)
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(path + ".journal"); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("got %v, want no file", err)
	}
	equal(t, "opened again", contents(t, open(t, path)), want)
}

// TestCodec writes a batch of every kind and reads it back; cut short anywhere it is damage.
func TestCodec(t *testing.T) {
	want := &Batch{Released: []int64{1, -5, 1 << 40}}
	for kind := uint8(kindEnqueue); kind <= kindGap; kind++ {
		op := opOf(t, kind)
		if kindOf(op) != kind {
			t.Fatalf("%T has the kind %d, want %d", op, kindOf(op), kind)
		}
		want.Ops = append(want.Ops, op)
	}
	want.Contacts = []*Contact{{Name: "bob", Devices: []*Device{{Fingerprint: bob1, Trust: Accepted}}, FirstSeen: t0, Active: t0}}
	want.Sessions = []Session{{ID: session.ID{1}, Device: bob1, Used: t0, State: []byte{}}, {ID: session.ID{2}, Device: bob2, Used: t0}}
	want.Blocked = []Blocked{{ID: 7, Account: "bob", Device: bob2, Way: delivery.WayLAN, Envelope: []byte("envelope")}}
	b, err := want.encode(nil)
	if err != nil {
		t.Fatal(err)
	}
	got, err := decodeBatch(b)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(got, want); diff != "" {
		t.Errorf("differs (-got +want):\n%s", diff)
	}
	for cut := range b {
		if _, err := decodeBatch(b[:cut]); !errors.Is(err, ErrDamaged) {
			t.Fatalf("cut to %d of %d bytes: got %v, want ErrDamaged", cut, len(b), err)
		}
	}
}

// opOf makes an op of a kind in which no field is zero, so that a field which the codec forgets is missed.
func opOf(t testing.TB, kind uint8) delivery.Op {
	t.Helper()
	all := []delivery.Op{
		delivery.OpEnqueue{},
		delivery.OpCopy{},
		delivery.OpProgress{},
		delivery.OpRead{},
		delivery.OpVoid{},
		delivery.OpRenumber{},
		delivery.OpSettle{},
		delivery.OpStart{},
		delivery.OpReceive{},
		delivery.OpRelease{},
		delivery.OpDrop{},
		delivery.OpNext{},
		delivery.OpGap{},
	}
	v := reflect.New(reflect.TypeOf(all[kind-1])).Elem()
	fillValue(t, v)
	return v.Interface().(delivery.Op)
}

func fillValue(t testing.TB, v reflect.Value) {
	t.Helper()
	switch {
	case v.Type() == reflect.TypeFor[time.Time]():
		v.Set(reflect.ValueOf(t0))
	case v.Type() == reflect.TypeFor[time.Duration]():
		v.SetInt(int64(1500 * time.Microsecond))
	case v.Kind() == reflect.Struct:
		for i := range v.NumField() {
			fillValue(t, v.Field(i))
		}
	case v.Kind() == reflect.Array:
		for i := range v.Len() {
			v.Index(i).SetUint(uint64(i + 1))
		}
	case v.Kind() == reflect.Slice:
		v.Set(reflect.MakeSlice(v.Type(), 2, 2))
		for i := range v.Len() {
			fillValue(t, v.Index(i))
		}
	case v.Kind() == reflect.String:
		v.SetString("some text")
	case v.Kind() == reflect.Bool:
		v.SetBool(true)
	case v.CanUint():
		v.SetUint(3)
	default:
		t.Fatalf("no value for %s", v.Type())
	}
}

func FuzzDecodeBatch(f *testing.F) {
	for kind := uint8(kindEnqueue); kind <= kindGap; kind++ {
		b, err := ops(opOf(f, kind)).encode(nil)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(b)
	}
	f.Fuzz(func(t *testing.T, record []byte) {
		b, err := decodeBatch(record)
		if err != nil {
			return
		}
		again, err := b.encode(nil)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := decodeBatch(again); err != nil {
			t.Fatalf("what was written does not read: %v", err)
		}
	})
}

// TestDamagedJournal flips a bit of a journal: it is turned back, said, and the damaged journal kept.
func TestDamagedJournal(t *testing.T) {
	path := filepath.Join(t.TempDir(), "history.db")
	s := open(t, path)
	everyOp(t, s)
	broken := image(t, path)
	want := contents(t, s)
	b, err := os.ReadFile(broken + ".journal")
	if err != nil {
		t.Fatal(err)
	}
	b[40] ^= 4
	if err := os.WriteFile(broken+".journal", b, 0o600); err != nil {
		t.Fatal(err)
	}
	mended := open(t, broken)
	equal(t, "with a flipped bit", contents(t, mended), want)
	found, aside := mended.Damage()
	kept, err := os.ReadFile(aside)
	if !strings.Contains(found, "turned back") || err != nil || !bytes.Equal(kept, b) {
		t.Errorf("said %q, kept %q, %v", found, aside, err)
	}
}

// TestLostRecord loses one record of a journal. What the others hold is carried over as far as it fits, and the loss is said.
func TestLostRecord(t *testing.T) {
	path := filepath.Join(t.TempDir(), "history.db")
	s := open(t, path)
	for n := uint64(1); n <= 3; n++ {
		commit(t, s, ops(delivery.OpReceive{Message: incoming(n, "text")}, delivery.OpNext{Device: bob1, Next: n + 1}, delivery.OpEnqueue{Message: outgoing(n, "mine")}))
	}
	commit(t, s, ops(delivery.OpSettle{To: "bob", N: 2}, delivery.OpSettle{To: "bob", N: 3}))
	broken := image(t, path)
	b, err := os.ReadFile(broken + ".journal")
	if err != nil {
		t.Fatal(err)
	}
	found, err := journal.Read(broken+".journal", 0)
	if err != nil {
		t.Fatal(err)
	}
	at := bytes.Index(b, found.Records[1].Payload)
	clear(b[at : at+len(found.Records[1].Payload)])
	if err := os.WriteFile(broken+".journal", b, 0o600); err != nil {
		t.Fatal(err)
	}
	rest := open(t, broken)
	snap, err := rest.Snapshot(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if len(snap.Outbox) != 1 || snap.Outbox[0].Message.N != 1 || snap.Accounts[0].Next != 4 || snap.Devices[0].Next != 4 {
		t.Errorf("got %+v", snap)
	}
	equal(t, "entries", len(find(t, rest, Query{})), 4)
	if said, _ := rest.Damage(); !strings.Contains(said, "records 2 to 2 are lost") || !strings.Contains(said, "1 of 2 changes do not fit") {
		t.Errorf("said %q", said)
	}
	commit(t, rest, ops(delivery.OpReceive{Message: incoming(4, "goes on")}, delivery.OpEnqueue{Message: outgoing(4, "goes on")}))
}

// TestLostPlace loses the row that says how far the journal was carried over. What the file has is not taken in again, and what it has not is.
func TestLostPlace(t *testing.T) {
	path := filepath.Join(t.TempDir(), "history.db")
	s := open(t, path)
	everyOp(t, s)
	settle(t, s)
	commit(t, s, ops(delivery.OpReceive{Message: incoming(8, "theirs")}, delivery.OpNext{Device: bob1, Next: 9}))
	if _, err := s.write.Exec("DELETE FROM journal"); err != nil {
		t.Fatal(err)
	}
	after := image(t, path)
	want := contents(t, s)
	equal(t, "without the place", contents(t, open(t, after)), want)
}

// TestLongBatch commits more at once than a journal holds, and crashes.
func TestLongBatch(t *testing.T) {
	path := filepath.Join(t.TempDir(), "history.db")
	s := open(t, path)
	body := strings.Repeat("x", 60<<10)
	var n uint64
	for _, count := range []int{1, 40, 1, 10, 10} {
		b := ops()
		for range count {
			n++
			b.Ops = append(b.Ops, delivery.OpReceive{Message: incoming(n, body)})
		}
		commit(t, s, b)
		equal(t, "messages", len(find(t, crash(t, path), Query{})), int(n))
	}
}

// TestFailedJournal breaks the journal under the store: that commit fails with nothing of it left, what was committed before stays, and the next goes on.
func TestFailedJournal(t *testing.T) {
	path := filepath.Join(t.TempDir(), "history.db")
	s := open(t, path)
	everyOp(t, s)
	want := contents(t, s)
	commit(t, s, ops(delivery.OpReceive{Message: incoming(8, "in the journal alone")}))
	if err := s.journal.Close(); err != nil { // every write to it fails from now on
		t.Fatal(err)
	}
	if err := s.Commit(t.Context(), ops(delivery.OpReceive{Message: incoming(9, "lost")})); !errors.Is(err, os.ErrClosed) {
		t.Fatalf("got %v", err)
	}
	commit(t, s, ops(delivery.OpReceive{Message: incoming(9, "again")}))
	commit(t, s, ops(delivery.OpReceive{Message: incoming(10, "and on")}))
	entries := find(t, s, Query{})
	equal(t, "entries", bodies(entries[len(entries)-3:]), "in the journal alone again and on")
	equal(t, "before", len(entries)-3, len(want["entries"].([]Entry)))
	equal(t, "after a crash", contents(t, crash(t, path)), contents(t, s))
	if s.journal == nil {
		t.Error("there is no new journal")
	}
}

// TestReaderWhoLeaves gives a question up while something is pending: that goes into the file all the same, and commits go on by the journal.
func TestReaderWhoLeaves(t *testing.T) {
	s := open(t, filepath.Join(t.TempDir(), "history.db"))
	everyOp(t, s)
	ctx, leave := context.WithCancel(t.Context())
	leave()
	if _, err := s.Find(ctx, Query{Limit: 1}); !errors.Is(err, context.Canceled) {
		t.Errorf("got %v, want that it was given up", err)
	}
	if s.failed != nil {
		t.Errorf("the reader has failed the writer: %v", s.failed)
	}
}

// TestCrashAnywhere commits random batches, some of them settled, and compares what a crash leaves with what the store tells.
func TestCrashAnywhere(t *testing.T) {
	for seed := range uint64(16) {
		random := rand.New(rand.NewPCG(seed, 1))
		path := filepath.Join(t.TempDir(), "history.db")
		s := open(t, path)
		var in, out uint64
		for range 1 + random.IntN(12) {
			b := ops()
			for range 1 + random.IntN(100) {
				if random.IntN(2) == 0 {
					in++
					b.Ops = append(b.Ops, delivery.OpReceive{Message: incoming(in, "theirs")}, delivery.OpNext{Device: bob1, Next: in + 1})
					continue
				}
				out++
				b.Ops = append(b.Ops, delivery.OpEnqueue{Message: outgoing(out, "mine")})
				if random.IntN(2) == 0 {
					b.Ops = append(b.Ops, delivery.OpSettle{To: "bob", N: out})
				}
			}
			commit(t, s, b)
			if random.IntN(4) == 0 {
				settle(t, s)
			}
		}
		got := crash(t, path)
		if diff := cmp.Diff(contents(t, got), contents(t, s), cmpopts.EquateEmpty()); diff != "" {
			t.Fatalf("seed %d, after a crash (-got +want):\n%s", seed, diff)
		}
		if err := errors.Join(got.Close(), s.Close()); err != nil {
			t.Fatal(err)
		}
	}
}
