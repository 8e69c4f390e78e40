package presence_test

import (
	"encoding/binary"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"go.uber.org/goleak"
	"google.golang.org/protobuf/proto"
	"pgregory.net/rapid"

	"github.com/byway-chat/byway/crypto/identity"
	"github.com/byway-chat/byway/rendezvous"
	"github.com/byway-chat/byway/rendezvous/presence"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func connection(user string, device int) presence.Connection {
	c := presence.Connection{User: rendezvous.Username(user), Transport: "tcp"}
	binary.BigEndian.PutUint64(c.Device[:], uint64(device))
	return c
}

// view is what a watcher believes.
type view struct {
	w        *presence.Watcher
	online   map[identity.Fingerprint]string
	fresh    map[identity.Fingerprint]string // of a snapshot that is not complete
	keys     int
	messages int
}

func watch(t *presence.Tracker) *view {
	return &view{w: t.Watch(), online: make(map[identity.Fingerprint]string)}
}

// read takes one message and reports whether there was one.
func (v *view) read(t testing.TB) bool {
	p := v.w.Next()
	if p == nil {
		return false
	}
	v.messages++
	if size := proto.Size(p); size > rendezvous.MaxFrame-64 {
		t.Fatalf("presence message of %d bytes", size)
	}
	into := v.online
	if p.GetSnapshot() {
		if v.fresh == nil {
			v.fresh = make(map[identity.Fingerprint]string)
		}
		into = v.fresh
	}
	for _, c := range p.GetChanges() {
		device, err := identity.FingerprintFromBytes(c.GetDevice())
		if err != nil {
			t.Fatal(err)
		}
		switch c.GetKind() {
		case rendezvous.Change_JOIN:
			into[device] = c.GetUsername()
		case rendezvous.Change_LEAVE:
			delete(into, device)
		case rendezvous.Change_KEYS:
			v.keys++
		default:
			t.Fatalf("change %v", c)
		}
	}
	if p.GetLast() {
		v.online, v.fresh = v.fresh, nil
	}
	return true
}

func (v *view) readAll(t testing.TB) {
	for v.read(t) {
	}
}

func closed(c <-chan struct{}) bool {
	select {
	case <-c:
		return true
	default:
		return false
	}
}

func truth(t *presence.Tracker) map[identity.Fingerprint]string {
	online := make(map[identity.Fingerprint]string)
	for _, c := range t.Active() {
		online[c.Device] = string(c.User)
	}
	return online
}

func TestTracker(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		tracker := presence.New()
		leaveOld := tracker.Join(connection("alice", 1))
		leaveSecond := tracker.Join(connection("alice", 2))
		leaveBob := tracker.Join(connection("bob", 3))
		if d, u := tracker.Count(); d != 3 || u != 2 {
			t.Errorf("count: got %d devices and %d users", d, u)
		}
		var names []string
		for _, c := range tracker.Active() {
			names = append(names, fmt.Sprint(c.User, " ", c.Device.Device()[15:]))
		}
		if diff := cmp.Diff([]string{"alice 1", "alice 2", "bob 3"}, names); diff != "" {
			t.Error(diff)
		}

		leaveNew := tracker.Join(connection("alice", 1)) // the same device anew
		leaveOld()
		if !tracker.DeviceOnline(connection("alice", 1).Device) {
			t.Error("the old connection's end took the new one away")
		}
		leaveNew()
		leaveNew()
		if !tracker.Online("alice") {
			t.Error("alice has a second device")
		}
		leaveSecond()
		leaveBob()
		if tracker.Online("alice") || tracker.Online("bob") {
			t.Error("nobody is left")
		}
	})
}

func TestWatcher(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		tracker := presence.New()
		tracker.Join(connection("alice", 1))
		time.Sleep(presence.Gather)
		synctest.Wait()

		v := watch(tracker)
		v.readAll(t)
		if diff := cmp.Diff(truth(tracker), v.online); diff != "" || v.messages != 1 {
			t.Errorf("snapshot in %d messages: %s", v.messages, diff)
		}

		start, changed := time.Now(), tracker.Changed()
		leave := tracker.Join(connection("bob", 2))
		tracker.KeysChanged("bob", connection("bob", 2).Device)
		tracker.KeysChanged("bob", connection("bob", 2).Device)
		if closed(changed) || v.read(t) {
			t.Error("changes are gathered first")
		}
		<-changed
		if waited := time.Since(start); waited != presence.Gather {
			t.Errorf("told after %v, want %v", waited, presence.Gather)
		}
		v.readAll(t)
		if diff := cmp.Diff(truth(tracker), v.online); diff != "" || v.messages != 2 || v.keys != 1 {
			t.Errorf("%d messages, %d changes of keys: %s", v.messages, v.keys, diff)
		}

		changed = tracker.Changed()
		leave()
		tracker.Join(connection("bob", 2))() // it comes and goes within the time of gathering
		<-changed
		v.readAll(t)
		if diff := cmp.Diff(truth(tracker), v.online); diff != "" {
			t.Error(diff)
		}
	})
}

func TestEmptySnapshotIsToldToo(t *testing.T) {
	p := presence.New().Watch().Next()
	if !p.GetSnapshot() || !p.GetLast() || len(p.GetChanges()) != 0 {
		t.Errorf("got %v", p)
	}
}

func TestWatchersShareMessages(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		tracker := presence.New()
		tracker.Join(connection("alice", 1))
		a, b := tracker.Watch(), tracker.Watch()
		if a.Next() != b.Next() {
			t.Error("each watcher has a snapshot of its own")
		}
		tracker.Join(connection("bob", 2))
		time.Sleep(presence.Gather)
		synctest.Wait()
		if a.Next() != b.Next() {
			t.Error("each watcher has changes of its own")
		}
		if late := tracker.Watch().Next(); !late.GetSnapshot() || len(late.GetChanges()) != 2 {
			t.Errorf("a late watcher got %v", late)
		}
		if a.Next() != nil || b.Next() != nil {
			t.Error("there is nothing new")
		}
	})
}

func TestSnapshotInPieces(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		tracker := presence.New()
		name := strings.Repeat("😀", 32) // longer in bytes than any name that is allowed
		for i := range 2*presence.MaxChanges + 10 {
			tracker.Join(connection(name, i))
		}
		time.Sleep(presence.Gather)
		synctest.Wait()
		v := watch(tracker)
		v.readAll(t)
		if diff := cmp.Diff(truth(tracker), v.online); diff != "" || v.messages != 3 {
			t.Errorf("snapshot in %d messages: %s", v.messages, diff)
		}
	})
}

func TestSlowWatcherGetsAFreshSnapshot(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		tracker := presence.New()
		v := watch(tracker)
		v.readAll(t)
		tracker.Join(connection("bob", 7))
		for range presence.Ring {
			tracker.Join(connection("alice", 1))()
		}
		time.Sleep(presence.Gather)
		synctest.Wait()
		v.messages = 0
		v.readAll(t)
		if diff := cmp.Diff(truth(tracker), v.online); diff != "" {
			t.Error(diff)
		}
		if v.messages > 1+presence.Ring/presence.MaxChanges+1 {
			t.Errorf("caught up with %d messages", v.messages)
		}
	})
}

// Whatever happens, a watcher that has read everything believes what is true.
func TestWatchersAreNeverWrong(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		type event struct{ kind, device, n int }
		events := rapid.SliceOfN(rapid.Custom(func(t *rapid.T) event {
			return event{rapid.IntRange(0, 6).Draw(t, "kind"), rapid.IntRange(0, 5).Draw(t, "device"), rapid.IntRange(1, 4000).Draw(t, "n")}
		}), 0, 60).Draw(rt, "events")
		synctest.Test(t, func(t *testing.T) {
			tracker := presence.New()
			views := []*view{watch(tracker)}
			leaves := make(map[int]func())
			for _, e := range events {
				user := fmt.Sprint("user", e.device/2)
				switch e.kind {
				case 0, 1:
					leaves[e.device] = tracker.Join(connection(user, e.device))
				case 2:
					if leave := leaves[e.device]; leave != nil {
						leave()
					}
				case 3:
					tracker.KeysChanged(rendezvous.Username(user), connection(user, e.device).Device)
				case 4:
					time.Sleep(presence.Gather)
					synctest.Wait()
				case 5:
					if len(views) < 4 {
						views = append(views, watch(tracker))
					}
					views[e.device%len(views)].read(t)
				case 6: // a storm
					for i := range e.n {
						tracker.Join(connection("storm", 100+i))()
					}
				}
			}
			time.Sleep(presence.Gather)
			synctest.Wait()
			for _, v := range views {
				v.readAll(t)
				if diff := cmp.Diff(truth(tracker), v.online); diff != "" {
					t.Fatalf("a watcher is wrong (-true +believed):\n%s\nafter %v", diff, events)
				}
			}
			if got, want := len(slices.Collect(maps.Keys(truth(tracker)))), len(tracker.Active()); got != want {
				t.Fatalf("%d devices, %d connections", got, want)
			}
		})
	})
}

func BenchmarkJoinLeave(b *testing.B) {
	tracker := presence.New()
	for i := 0; b.Loop(); i++ {
		tracker.Join(connection("alice", i%1000))()
	}
}
