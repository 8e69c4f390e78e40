package history

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/byway-chat/byway/crypto/session"
	"github.com/byway-chat/byway/peer/delivery"
)

var (
	key  = [32]byte{1, 2, 3}
	t0   = time.UnixMicro(1_700_000_000_123_456).UTC()
	bob1 = delivery.Device{0xb1}
	bob2 = delivery.Device{0xb2}
	own2 = delivery.Device{0xa2} // another device of ours
)

func open(t testing.TB, path string) *Store {
	t.Helper()
	s, err := Open(t.Context(), path, key)
	if err != nil {
		t.Fatalf("open: %v", err)
	}
	t.Cleanup(func() { _ = s.Close() })
	return s
}

func reopen(t testing.TB, s *Store, path string) *Store {
	t.Helper()
	if err := s.Close(); err != nil {
		t.Fatalf("close: %v", err)
	}
	return open(t, path)
}

func commit(t testing.TB, s *Store, b *Batch) {
	t.Helper()
	if err := s.Commit(t.Context(), b); err != nil {
		t.Fatalf("commit: %v", err)
	}
}

// settle brings everything into the file, where a test looks at it.
func settle(t testing.TB, s *Store) {
	t.Helper()
	if err := s.settle(t.Context()); err != nil {
		t.Fatalf("settle: %v", err)
	}
}

func ops(list ...delivery.Op) *Batch { return &Batch{Ops: list} }

func outgoing(n uint64, body string) delivery.Message {
	return delivery.Message{
		To: "bob", N: n, ID: delivery.MessageID{0xee, byte(n), byte(n >> 8)}, Body: body, Sent: t0, Expires: t0.Add(time.Hour), Policy: delivery.RelayOnly,
		Devices: []delivery.Device{bob1, bob2},
	}
}

func incoming(n uint64, body string) delivery.Incoming {
	return delivery.Incoming{
		From: "bob", Device: bob1, N: n, ID: delivery.MessageID{0xcc, byte(n), byte(n >> 8)}, Body: body, Sent: t0, Received: t0.Add(time.Second), Way: delivery.WayLAN,
	}
}

func find(t testing.TB, s *Store, q Query) []Entry {
	t.Helper()
	if q.Limit == 0 {
		q.Limit = 1000
	}
	entries, err := s.Find(t.Context(), q)
	if err != nil {
		t.Fatalf("find: %v", err)
	}
	return entries
}

func bodies(entries []Entry) string {
	var all []string
	for _, e := range entries {
		all = append(all, e.Body)
	}
	return strings.Join(all, " ")
}

func equal(t interface {
	Helper()
	Errorf(format string, args ...any)
}, what string, got, want any,
) {
	t.Helper()
	if diff := cmp.Diff(got, want, cmpopts.EquateEmpty()); diff != "" {
		t.Errorf("%s differs (-got +want):\n%s", what, diff)
	}
}

func TestOutboxSurvives(t *testing.T) {
	path := filepath.Join(t.TempDir(), "history.db")
	s := open(t, path)
	copied := outgoing(1, "for my own")
	copied.To, copied.CopyOf, copied.Devices = "alice", "bob", []delivery.Device{own2}
	commit(t, s, ops(
		delivery.OpStart{To: "bob", Device: bob1, Start: 3}, delivery.OpStart{To: "bob", Device: bob2, Start: 3},
		delivery.OpEnqueue{Message: outgoing(3, "three")}, delivery.OpEnqueue{Message: outgoing(4, "four")}, delivery.OpEnqueue{Message: outgoing(5, "five")},
		delivery.OpStart{To: "alice", Device: own2, Start: 1}, delivery.OpEnqueue{Message: copied},
	))
	commit(t, s, ops(
		delivery.OpCopy{To: "bob", N: 4, Device: bob1, Phase: delivery.Acked}, delivery.OpCopy{To: "bob", N: 4, Device: bob2, Phase: delivery.Stored},
		delivery.OpCopy{To: "bob", N: 5, Device: bob2, Phase: delivery.Sent},
		delivery.OpProgress{To: "bob", N: 4, Progress: delivery.Progress{Stage: delivery.StageDelivered, Way: delivery.WayLAN, Took: 2 * time.Second}},
		delivery.OpVoid{To: "bob", N: 5, Expires: t0.Add(2 * time.Hour)},
		delivery.OpProgress{To: "bob", N: 5, Progress: delivery.Progress{Stage: delivery.StageFailed, Reason: "expired"}},
		delivery.OpSettle{To: "bob", N: 3},
	))
	s = reopen(t, s, path)
	got, err := s.Snapshot(t.Context())
	if err != nil {
		t.Fatalf("snapshot: %v", err)
	}
	void := outgoing(5, "")
	void.Void, void.Expires = true, t0.Add(2*time.Hour)
	want := delivery.Snapshot{
		Accounts: []delivery.AccountState{{Name: "alice", Next: 2}, {Name: "bob", Next: 6}},
		Devices:  []delivery.DeviceState{{Device: own2, Start: 1}, {Device: bob1, Start: 3}, {Device: bob2, Start: 3}},
		Outbox: []delivery.OutboxState{
			{Message: copied, Phases: map[delivery.Device]delivery.Phase{own2: delivery.Waiting}},
			{
				Message: outgoing(4, "four"), Progress: delivery.Progress{Stage: delivery.StageDelivered, Way: delivery.WayLAN, Took: 2 * time.Second},
				Phases: map[delivery.Device]delivery.Phase{bob1: delivery.Acked, bob2: delivery.Stored},
			},
			{
				Message: void, Progress: delivery.Progress{Stage: delivery.StageFailed, Reason: "expired"},
				Phases: map[delivery.Device]delivery.Phase{bob1: delivery.Waiting, bob2: delivery.Waiting}, // what was sent may not have left
			},
		},
	}
	want.Accounts[0].Tip, want.Accounts[1].Tip = delivery.Link{}.Next(copied.ID), delivery.Link{}.Next(void.ID)
	equal(t, "snapshot", sorted(got), sorted(want))
	entries := find(t, s, Query{Peer: "bob"})
	equal(t, "history", bodies(entries), "three four five") // what has failed keeps its text there, and copies are no messages of their own
	equal(t, "progress", entries[2].Progress, delivery.Progress{Stage: delivery.StageFailed, Reason: "expired"})
	commit(t, s, ops(delivery.OpRead{To: "bob", Upto: 4}))
	entries = find(t, s, Query{Peer: "bob"})
	if !entries[0].Read || !entries[1].Read || entries[2].Read || !entries[0].Own || !entries[0].Shown {
		t.Errorf("got %+v, want the first two read, and all our own", entries)
	}
}

func TestReceivedSurvives(t *testing.T) {
	path := filepath.Join(t.TempDir(), "history.db")
	s := open(t, path)
	first := ops(delivery.OpNext{Device: bob1, Next: 1}, delivery.OpReceive{Message: incoming(1, "one")}, delivery.OpNext{Device: bob1, Next: 2},
		delivery.OpReceive{Message: incoming(3, "three"), Held: true}, delivery.OpReceive{Message: incoming(5, "five"), Held: true})
	commit(t, s, first)
	equal(t, "orders", first.Orders, map[Ref]int64{{bob1, 1}: 1})
	s = reopen(t, s, path)
	snap, err := s.Snapshot(t.Context())
	if err != nil {
		t.Fatalf("snapshot: %v", err)
	}
	equal(t, "devices", snap.Devices, []delivery.DeviceState{{Device: bob1, Next: 2, Held: []delivery.Incoming{incoming(3, "three"), incoming(5, "five")}}})
	equal(t, "visible", bodies(find(t, s, Query{})), "one")
	later := ops(delivery.OpReceive{Message: incoming(2, "two")}, delivery.OpRelease{Device: bob1, N: 3},
		delivery.OpGap{From: "bob", Device: bob1, First: 4, Last: 4}, delivery.OpRelease{Device: bob1, N: 5}, delivery.OpNext{Device: bob1, Next: 6})
	commit(t, s, later)
	equal(t, "orders", later.Orders, map[Ref]int64{{bob1, 2}: 2, {bob1, 3}: 3, {bob1, 5}: 4})
	s = reopen(t, s, path)
	entries := find(t, s, Query{Unseen: true})
	equal(t, "visible", bodies(entries), "one two three five")
	equal(t, "entry", entries[2], Entry{
		Order: 3, ID: incoming(3, "").ID, Peer: "bob", From: "bob", Device: bob1, N: 3, Body: "three", Sent: t0, Received: t0.Add(time.Second),
		Progress: delivery.Progress{Way: delivery.WayLAN},
	})
	var device []byte
	var first4, last, after int64
	if err := s.read.QueryRow("SELECT device, first, last, after FROM gaps").Scan(&device, &first4, &last, &after); err != nil {
		t.Fatalf("read gap: %v", err)
	}
	equal(t, "gap", []any{device, first4, last, after}, []any{bob1[:], int64(4), int64(4), int64(3)})
	if err := s.MarkShown(t.Context(), []delivery.MessageID{incoming(1, "").ID, incoming(3, "").ID, {9}}); err != nil {
		t.Fatalf("mark shown: %v", err)
	}
	s = reopen(t, s, path)
	equal(t, "not shown", bodies(find(t, s, Query{Unseen: true})), "two five")
}

// TestMarkShownUpto: everything up to a message is marked where it stands in its place; elsewhere it alone is, and what is not there marks nothing.
func TestMarkShownUpto(t *testing.T) {
	for _, tt := range []struct {
		name  string
		place int64 // from that of the message
		id    delivery.MessageID
		left  string
	}{
		{"a higher place than there is", 1000, incoming(2, "").ID, "one three"},
		{"the place of another", 1, incoming(2, "").ID, "one three"},
		{"no place", -2, incoming(2, "").ID, "one three"},
		{"an id that is nobody's", 0, delivery.MessageID{9}, "one two three"},
		{"its own", 0, incoming(2, "").ID, "three"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			s := open(t, filepath.Join(t.TempDir(), "history.db"))
			commit(t, s, ops(delivery.OpReceive{Message: incoming(1, "one")}))
			commit(t, s, ops(delivery.OpReceive{Message: incoming(2, "two")}, delivery.OpReceive{Message: incoming(3, "three")}))
			second := find(t, s, Query{Unseen: true})[1]
			for range 2 {
				if err := s.MarkShownUpto(t.Context(), second.Order+tt.place, tt.id); err != nil {
					t.Fatal(err)
				}
				equal(t, "left", bodies(find(t, s, Query{Unseen: true})), tt.left)
			}
		})
	}
}

// TestNothingIsShownTwice wants the file to refuse a second copy whatever the engine says, with all that came with it.
func TestNothingIsShownTwice(t *testing.T) {
	s := open(t, filepath.Join(t.TempDir(), "history.db"))
	commit(t, s, ops(delivery.OpReceive{Message: incoming(1, "one")}))
	err := s.Commit(t.Context(), ops(delivery.OpReceive{Message: incoming(2, "two")}, delivery.OpReceive{Message: incoming(1, "one again")}))
	if err == nil || errors.Is(err, ErrDamaged) || errors.Is(err, ErrDiskFull) {
		t.Errorf("got %v, want a refusal of its own", err)
	}
	if err := s.Commit(t.Context(), ops(delivery.OpEnqueue{Message: outgoing(1, "mine")}, delivery.OpEnqueue{Message: outgoing(1, "mine")})); err == nil {
		t.Error("a number of ours was used twice")
	}
	equal(t, "visible", bodies(find(t, s, Query{})), "one")
	commit(t, s, ops(delivery.OpReceive{Message: incoming(2, "two")})) // the store goes on after a refusal
	equal(t, "visible", bodies(find(t, s, Query{})), "one two")
}

func TestFind(t *testing.T) {
	s := open(t, filepath.Join(t.TempDir(), "history.db"))
	copied := delivery.Incoming{From: "alice", CopyOf: "bob", Device: own2, N: 1, ID: delivery.MessageID{7}, Body: "from my Phone", Sent: t0, Received: t0, Way: delivery.WayRelay}
	carol := incoming(1, "STRASSE")
	carol.From, carol.Device, carol.ID = "carol", delivery.Device{0xc1}, delivery.MessageID{8}
	commit(t, s, ops(
		delivery.OpReceive{Message: incoming(1, "Grüße aus der Straße")}, delivery.OpEnqueue{Message: outgoing(1, "100 % sure_thing")},
		delivery.OpReceive{Message: copied}, delivery.OpReceive{Message: carol}, delivery.OpReceive{Message: incoming(2, "last")},
	))
	if err := s.MarkShown(t.Context(), []delivery.MessageID{carol.ID}); err != nil {
		t.Fatalf("mark shown: %v", err)
	}
	id := delivery.MessageID{7}
	rows := []struct {
		name  string
		query Query
		want  string
	}{
		{"all", Query{Limit: 9}, "Grüße aus der Straße|100 % sure_thing|from my Phone|STRASSE|last"},
		{"the newest", Query{Limit: 2}, "STRASSE|last"},
		{"none", Query{}, ""},
		{"one conversation", Query{Limit: 9, Peer: "bob"}, "Grüße aus der Straße|100 % sure_thing|from my Phone|last"},
		{"the newest of one", Query{Limit: 1, Peer: "carol"}, "STRASSE"},
		{"unknown conversation", Query{Limit: 9, Peer: "dave"}, ""},
		{"search folds case", Query{Limit: 9, Search: "strasse"}, "Grüße aus der Straße|STRASSE"},
		{"search in one", Query{Limit: 9, Search: "PHONE", Peer: "bob"}, "from my Phone"},
		{"search is no pattern", Query{Limit: 9, Search: "%"}, "100 % sure_thing"},
		{"search is no pattern", Query{Limit: 9, Search: "_"}, "100 % sure_thing"},
		{"search finds the newest", Query{Limit: 1, Search: "s"}, "last"},
		{"after", Query{Limit: 9, After: 3}, "STRASSE|last"},
		{"unseen", Query{Limit: 9, Unseen: true}, "Grüße aus der Straße|from my Phone|last"},
		{"unseen begins with the oldest", Query{Limit: 1, Unseen: true}, "Grüße aus der Straße"},
		{"unseen after", Query{Limit: 9, Unseen: true, After: 1}, "from my Phone|last"},
		{"one message", Query{Limit: 9, ID: &id}, "from my Phone"},
	}
	for _, row := range rows {
		t.Run(row.name, func(t *testing.T) {
			entries, err := s.Find(t.Context(), row.query)
			if err != nil {
				t.Fatalf("find: %v", err)
			}
			equal(t, "found", strings.ReplaceAll(bodies(entries), " ", "·"), strings.ReplaceAll(strings.ReplaceAll(row.want, " ", "·"), "|", "·"))
		})
	}
	entries := find(t, s, Query{ID: &id})
	equal(t, "a copy", []any{entries[0].Peer, entries[0].From, entries[0].CopyOf, entries[0].Own}, []any{delivery.Account("bob"), delivery.Account("alice"), delivery.Account("bob"), false})
}

func TestContactsSurvive(t *testing.T) {
	path := filepath.Join(t.TempDir(), "history.db")
	s := open(t, path)
	bob := &Contact{
		Name: "bob", Entry: []byte{1, 2}, Verified: true, FirstSeen: t0, Active: t0.Add(time.Minute),
		Devices: []*Device{{Fingerprint: bob1, SPKI: []byte{3}, PeerID: "12D3", Trust: Accepted, Bundle: []byte{4}, Addrs: []string{"/ip4/10.0.0.1/tcp/1"}, FirstSeen: t0}},
	}
	commit(t, s, &Batch{Contacts: []*Contact{{Name: "bob"}, {Name: "carol"}}})
	commit(t, s, &Batch{Contacts: []*Contact{bob}}) // replaces
	s = reopen(t, s, path)
	got, err := s.Contacts(t.Context())
	if err != nil {
		t.Fatalf("contacts: %v", err)
	}
	slices.SortFunc(got, func(a, b *Contact) int { return strings.Compare(string(a.Name), string(b.Name)) })
	equal(t, "contacts", got, []*Contact{bob, {Name: "carol"}})
}

func TestSessions(t *testing.T) {
	path := filepath.Join(t.TempDir(), "history.db")
	s := open(t, path)
	id := func(i int) session.ID { return session.ID{byte(i), byte(i >> 8), 1} }
	state := func(i int) (open, known bool) {
		x, known, err := s.Session(t.Context(), id(i))
		if err != nil {
			t.Fatalf("session: %v", err)
		}
		if known && x.State != nil && string(x.State) != fmt.Sprint("state ", i) {
			t.Errorf("got %q for session %d", x.State, i)
		}
		return x.State != nil, known
	}
	var b Batch
	for i := range openSessions + 4 {
		b.Sessions = append(b.Sessions, Session{ID: id(i), Device: bob1, Used: t0.Add(time.Duration(i) * time.Hour), State: []byte(fmt.Sprint("state ", i))})
	}
	b.Sessions = append(b.Sessions, Session{ID: id(100), Device: bob2, Used: t0, State: []byte("state 100")}, Session{ID: id(101), Device: bob2, Used: t0})
	commit(t, s, &b)
	s = reopen(t, s, path)
	for i := range openSessions + 4 { // the oldest of a device are closed, and all are remembered
		if open, known := state(i); open != (i >= 4) || !known {
			t.Errorf("session %d: got open %v, known %v", i, open, known)
		}
	}
	if open, known := state(100); !open || !known {
		t.Error("one device closed a session of another")
	}
	if open, known := state(101); open || !known {
		t.Error("a closed session is not remembered as closed")
	}
	if _, known := state(102); known {
		t.Error("a session is known that never was")
	}
	if err := s.Sweep(t.Context(), t0.Add(sessionMaxAge+12*time.Hour+time.Minute)); err != nil {
		t.Fatalf("sweep: %v", err)
	}
	if open, known := state(12); open || !known {
		t.Errorf("an idle session: got open %v, known %v", open, known)
	}
	if open, _ := state(13); !open {
		t.Error("a session was closed before its week was over")
	}
	if err := s.Sweep(t.Context(), t0.Add(seenFor+time.Minute)); err != nil {
		t.Fatalf("sweep: %v", err)
	}
	if _, known := state(0); known {
		t.Error("a session is remembered for ever")
	}
}

func TestBlockedIsBounded(t *testing.T) {
	path := filepath.Join(t.TempDir(), "history.db")
	s := open(t, path)
	var b Batch
	for i := range maxBlocked + 2 {
		b.Blocked = append(b.Blocked, Blocked{Account: "bob", Device: bob1, Way: delivery.WayRelay, Envelope: []byte(fmt.Sprint("envelope ", i))})
	}
	b.Blocked = append(b.Blocked, Blocked{Account: "bob", Device: bob2, Way: delivery.WayLAN, Envelope: []byte("other")})
	b.Ops = []delivery.Op{delivery.OpReceive{Message: incoming(1, "one")}}
	commit(t, s, &b) // a stranger who sends too much must not keep anything else from the disk
	equal(t, "refused", b.Refused, 2)
	equal(t, "visible", bodies(find(t, s, Query{})), "one")
	s = reopen(t, s, path)
	got, err := s.BlockedOf(t.Context(), "bob", bob1)
	if err != nil {
		t.Fatalf("blocked: %v", err)
	}
	equal(t, "kept", len(got), maxBlocked)
	equal(t, "first", got[0], Blocked{ID: got[0].ID, Account: "bob", Device: bob1, Way: delivery.WayRelay, Envelope: []byte("envelope 0")})
	release := &Batch{}
	for _, x := range got {
		release.Released = append(release.Released, x.ID)
	}
	commit(t, s, release)
	for device, want := range map[delivery.Device]int{bob1: 0, bob2: 1} {
		got, err := s.BlockedOf(t.Context(), "bob", device)
		if err != nil || len(got) != want {
			t.Errorf("got %d of %s and %v, want %d", len(got), device.Device(), err, want)
		}
	}
}

// TestFilesTellNothing looks for the words of a conversation in the files, while the store is open and after.
func TestFilesTellNothing(t *testing.T) {
	dir := t.TempDir()
	s := open(t, filepath.Join(dir, "history.db"))
	m := outgoing(1, "CanaryBodyOut")
	m.To = "canaryname"
	received := incoming(2, "CanaryBodyIn")
	received.From = "canaryfriend"
	held := incoming(4, "CanaryBodyHeld")
	commit(t, s, &Batch{
		Ops:      []delivery.Op{delivery.OpEnqueue{Message: m}, delivery.OpReceive{Message: received}, delivery.OpReceive{Message: held, Held: true}},
		Contacts: []*Contact{{Name: "canaryname", Devices: []*Device{{PeerID: "CanaryPeer", Addrs: []string{"CanaryAddr"}}}}},
		Sessions: []Session{{ID: session.ID{1}, Device: bob1, Used: t0, State: []byte("CanaryState")}},
		Blocked:  []Blocked{{Account: "canaryname", Device: bob2, Envelope: []byte("CanaryEnvelope")}},
	})
	grep := func() {
		t.Helper()
		files, err := filepath.Glob(filepath.Join(dir, "*"))
		if err != nil || len(files) == 0 {
			t.Fatalf("no files: %v", err)
		}
		for _, file := range files {
			b, err := os.ReadFile(file)
			if err != nil {
				t.Fatalf("read: %v", err)
			}
			for _, word := range []string{"canarybody", "canaryname", "canaryfriend", "canarypeer", "canaryaddr", "canarystate", "canaryenvelope"} {
				if bytes.Contains(bytes.ToLower(b), []byte(word)) {
					t.Errorf("%s holds %q in the open", filepath.Base(file), word)
				}
			}
			info, err := os.Stat(file)
			if err != nil {
				t.Fatalf("stat: %v", err)
			}
			if info.Mode() != fs.FileMode(0o600) {
				t.Errorf("%s has mode %v, want 0600", filepath.Base(file), info.Mode())
			}
		}
	}
	grep()
	if err := s.Close(); err != nil {
		t.Fatalf("close: %v", err)
	}
	if err := s.Close(); err != nil {
		t.Errorf("second close: %v", err)
	}
	grep()
}
