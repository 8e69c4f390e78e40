package lab

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
)

func TestRecorder(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := NewRecorder(time.Now, true)
		step := Step{Phase: PhaseTurns, Block: 1, Asked: "lan"}
		for range 4 {
			r.Send(Message, step, 20)
		}
		waiting, changed := r.Waiting()
		if waiting != 4 {
			t.Errorf("got %d waiting, want 4", waiting)
		}
		time.Sleep(2 * time.Millisecond)
		r.Accept(1)
		end := r.BeginFault(FaultDrop, Direct)
		r.ChangeRoute("lan", "relay", "link ended")
		time.Sleep(3 * time.Millisecond)
		r.Show(2, 12)
		r.Show(1, 11)
		r.Show(1, 11)
		r.Show(9, 99) // not one of ours
		r.Arrive(1, Delivered, "lan", 3*time.Millisecond+400*time.Nanosecond)
		r.Arrive(1, Delivered, "relay", time.Second)
		r.GiveUp(3, Failed, "over-quota")
		r.GiveUp(3, Lost, "")
		r.Arrive(4, Delivered, "relay", time.Millisecond)
		end()
		select {
		case <-changed:
		default:
			t.Error("nobody was told that fewer wait")
		}
		if waiting, _ := r.Waiting(); waiting != 1 || r.Unshown() != 1 {
			t.Errorf("got %d waiting and %d not shown, want 1 and 1", waiting, r.Unshown())
		}
		lan := func(w string) bool { return w == "lan" }
		if !r.Arrived(0, lan) || r.Arrived(1, lan) {
			t.Error("what arrived by lan was sent at the beginning")
		}
		base := Row{Kind: Message, Phase: PhaseTurns, Block: 1, Asked: "lan", Size: 20, Accepted: None, Shown: None, Done: None, Latency: None, State: Lost}
		var want [4]Row
		for i := range want {
			want[i] = base
			want[i].N = i + 1
		}
		want[0].State, want[0].Way, want[0].Accepted, want[0].Shown, want[0].Done, want[0].Latency = Delivered, "lan", 2*msec, 5*msec, 5*msec, 3*msec
		want[0].Times, want[0].Disorder = 2, true
		want[1].Shown, want[1].Times = 5*msec, 1
		want[2].State, want[2].Note = Failed, "over-quota"
		want[3].State, want[3].Way, want[3].Done, want[3].Latency = Delivered, "relay", 5*msec, msec
		event := Row{Sent: 2 * msec, Accepted: None, Shown: None, Done: None, Latency: None, Times: -1}
		fault, route := event, event
		fault.Kind, fault.Asked, fault.Note, fault.Done = Fault, Direct, FaultDrop, 5*msec
		route.Kind, route.Asked, route.Way, route.Note = Route, "lan", "relay", "link ended"
		if diff := cmp.Diff(append(want[:], fault, route), r.Rows(false)); diff != "" {
			t.Errorf("(-want +got):\n%s", diff)
		}
		if rows := r.Rows(true); rows[1].State != Pending {
			t.Errorf("after an interruption it is %s", rows[1].State)
		}
	})
}
