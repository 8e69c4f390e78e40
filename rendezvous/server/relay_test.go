package server

import (
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/byway-chat/byway/rendezvous"
)

// signedIn is a raw stream of a registered device.
func (d *device) signedIn(t *testing.T) *raw {
	t.Helper()
	r := d.raw(t)
	r.send(hello())
	r.read()
	r.send(&rendezvous.Frame{Id: 1, Body: &rendezvous.Frame_Resume{Resume: &rendezvous.Resume{Username: string(d.name)}}})
	for {
		if f := r.read(); f.GetSignedIn() != nil {
			return r
		}
	}
}

// TAKEN is told once for many, within 25 ms; STORED and refusals are told at once, for all that became of one frame's worth of submissions.
func TestOutcomesGather(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := start(t, Config{}, true)
		alice, bob := w.registered("alice", 0), w.registered("bob", 1)
		bob.settle()
		if err := alice.conn.Close(); err != nil {
			t.Fatal(err)
		}
		r := alice.signedIn(t)
		device := bob.fingerprint()
		for i := range 50 {
			r.send(&rendezvous.Frame{Id: uint64(100 + i), Body: &rendezvous.Frame_Submit{Submit: &rendezvous.Submit{
				Device: device[:], Envelope: []byte(fmt.Sprint("envelope ", i)),
			}}})
		}
		var last time.Time
		for range 50 {
			if err := bob.conn.Taken(bob.delivery().GetId()); err != nil {
				t.Fatal(err)
			}
			last = time.Now()
		}
		f := r.read()
		o := f.GetOutcome()
		// A link of 5 ms, twice the pause of 25 ms: the client's and the rendezvous's.
		if took := time.Since(last); took > 70*time.Millisecond {
			t.Errorf("TAKEN was told after %v", took)
		}
		if f.GetId() != 0 || o.GetState() != rendezvous.Outcome_TAKEN || len(o.GetSubmits()) != 1 || o.GetSubmits()[0].GetFirst() != 100 ||
			o.GetSubmits()[0].GetMore() != 49 {
			t.Errorf("got %v, want all fifty at once", f)
		}
		if err := bob.conn.Close(); err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		begun := time.Now()
		r.send(&rendezvous.Frame{Id: 200, Body: &rendezvous.Frame_Submit{Submit: &rendezvous.Submit{Device: device[:], Envelope: []byte("live"), LiveOnly: true}}})
		if o := r.read().GetOutcome(); o.GetCode() != string(rendezvous.CodeRecipientAway) || o.GetSubmits()[0].GetFirst() != 200 {
			t.Errorf("got %v, want a refusal", o)
		}
		if took := time.Since(begun); took > 11*time.Millisecond {
			t.Errorf("a refusal was told after %v", took)
		}
	})
}

// What was taken is told before a stream is ended on purpose.
func TestTakenIsToldBeforeGoodbye(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := start(t, Config{}, true)
		alice := w.registered("alice", 0)
		alice.settle()
		id := alice.submit(alice, "to myself")
		d := alice.delivery()
		if err := alice.conn.Taken(d.GetId()); err != nil {
			t.Fatal(err)
		}
		if _, err := alice.conn.Submit(alice.fingerprint(), []byte("carries it along"), false); err != nil {
			t.Fatal(err)
		}
		alice.delivery() // the rendezvous has read both, and waits with TAKEN
		w.stop()
		if o := alice.outcome(id); o.GetState() != rendezvous.Outcome_TAKEN {
			t.Errorf("got %v", o)
		}
	})
}

// A recipient is told what did not fit into the mailbox, until it has said that its person knows.
func TestRefusalsReachTheRecipient(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := start(t, Config{}, true)
		alice, bob := w.registered("alice", 0), w.registered("bob", 1)
		if err := bob.conn.Close(); err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		var ids []uint64
		const refused = 3
		for range 5000 + refused { // what one account may keep for another
			ids = append(ids, alice.submit(bob, "x"))
			if len(ids)%500 == 0 {
				alice.outcome(ids[len(ids)-1])
			}
		}
		if o := alice.outcome(ids[len(ids)-1]); o.GetCode() != string(rendezvous.CodeMailboxFull) {
			t.Fatalf("got %v", o)
		}
		refusals := func() *rendezvous.Refusals {
			return bob.next(func(f *rendezvous.Frame) bool { return f.GetRefusals() != nil }).GetRefusals()
		}
		bob.resume()
		r := refusals()
		if r.GetMessages() != refused || r.GetAccounts() != 1 || r.GetMark() == 0 || r.GetSinceMs() > uint64(time.Now().UnixMilli()) {
			t.Errorf("got %v", r)
		}
		if err := bob.conn.Close(); err != nil {
			t.Fatal(err)
		}
		bob.resume()
		if again := refusals(); again.GetMessages() != refused {
			t.Errorf("nobody has told it: got %v", again)
		} else if err := bob.conn.Told(again.GetMark()); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Second)
		if err := bob.conn.Close(); err != nil {
			t.Fatal(err)
		}
		bob.out = nil
		bob.resume()
		bob.delivery()
		time.Sleep(time.Second)
		for _, f := range bob.out {
			if f.GetRefusals() != nil {
				t.Errorf("told again: %v", f)
			}
		}
	})
}
