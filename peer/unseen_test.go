package peer

import (
	"strings"
	"testing"

	"github.com/byway-chat/byway/peer/delivery"
	"github.com/byway-chat/byway/peer/history"
)

// TestReplayedKeys wants a replayed message to tell what is known of its sender's keys.
func TestReplayedKeys(t *testing.T) {
	c, _ := desk(t)
	if err := c.learn(now(t), records(t, c, 1, 1)); err != nil {
		t.Fatal(err)
	}
	fp := fingerprint(1)
	m := delivery.Incoming{From: "bob", Device: fp, N: 1, ID: delivery.MessageID{1}, Body: "hello", Sent: now(t), Received: now(t)}
	batch := history.Batch{Ops: []delivery.Op{delivery.OpReceive{Message: m}}}
	if err := c.store.Commit(t.Context(), &batch); err != nil {
		t.Fatal(err)
	}
	for _, verified := range []bool{false, true} {
		c.contacts["bob"].Verified = verified
		served := make(chan struct{})
		go func() {
			defer close(served)
			(<-c.inbox)()
		}()
		events, err := c.unseenEvents(t.Context(), 0)
		<-served
		want := KeyPinned
		if verified {
			want = KeyVerified
		}
		if err != nil || len(events) != 1 || events[0].Key != want {
			t.Errorf("got %+v and %v, want one message with key %s", events, err, want)
		}
	}
}

// TestFirstContactIsToldWithItsMessage wants the key of a stranger to be told before the first message, also where a reader comes after the key was told, or
// after a restart, and once.
func TestFirstContactIsToldWithItsMessage(t *testing.T) {
	c, early := desk(t)
	at := now(t)
	c.strangers.add("bob", inbound{name: "bob"})
	if err := c.learn(at, records(t, c, 1, 1)); err != nil {
		t.Fatal(err)
	}
	late := c.hub.subscribe(EventOptions{})
	late.told = true
	m := delivery.Incoming{From: "bob", Device: fingerprint(1), N: 1, ID: delivery.MessageID{1}, Body: "hello", Sent: at, Received: at}
	second := m
	second.N, second.ID = 2, delivery.MessageID{2}
	c.acquaint(&m)
	c.acquaint(&second)
	c.batch.Ops = []delivery.Op{delivery.OpReceive{Message: m}, delivery.OpReceive{Message: second}}
	if err := c.store.Commit(t.Context(), &c.batch); err != nil {
		t.Fatal(err)
	}
	c.tellAll(at, []delivery.Notice{delivery.NoticeMessage{Message: m}, delivery.NoticeMessage{Message: second}}, c.batch.Orders)
	want := "key first-seen, message new, message pinned"
	for name, s := range map[string]*Subscription{"early": early, "late": late} {
		if got := keysTold(told(t, s)); got != want {
			t.Errorf("%s: told %q, want %q", name, got, want)
		}
	}
	resumed := c.hub.subscribe(EventOptions{After: 1})
	if got, want := keysTold(told(t, resumed)), "message new, message pinned"; got != want {
		t.Errorf("resumed behind the key: told %q, want %q", got, want)
	}

	if err := c.load(t.Context()); err != nil { // as after a restart
		t.Fatal(err)
	}
	served := make(chan struct{})
	go func() {
		defer close(served)
		(<-c.inbox)()
	}()
	c.hub.open(c.unseenEvents)
	again := c.hub.subscribe(EventOptions{Unshown: true})
	again.told = true
	if _, ok, _, err := again.take(t.Context()); ok || err != nil { // it loads what no face has shown
		t.Errorf("got an event or %v", err)
	}
	<-served
	got := keysTold(told(t, again))
	if got != want {
		t.Errorf("after a restart: told %q, want %q", got, want)
	}
}

func keysTold(events []Event) string {
	var list []string
	for _, e := range events {
		list = append(list, strings.TrimSpace(string(e.Type)+" "+string(e.Key)+string(e.Change)))
	}
	return strings.Join(list, ", ")
}
