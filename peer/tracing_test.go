package peer

import (
	"slices"
	"testing"

	"github.com/byway-chat/byway/peer/history"
	"github.com/byway-chat/byway/peer/trace"
)

// A device that opens links and closes them all the time does not push out what happened with others, and what is left out is counted.
func TestOneDeviceDoesNotFillTheStory(t *testing.T) {
	c := &core{trace: trace.New()}
	defer c.trace.Close()
	ct := &contact{Contact: &history.Contact{Name: "mallory"}}
	d := &device{Device: &history.Device{}, contact: ct}
	c.trace.Add(trace.Step{What: trace.RendezvousUp})
	for range trace.Size {
		c.note(d, trace.Step{What: trace.LinkUp})
		c.note(d, trace.Step{What: trace.LinkDown})
	}
	c.note(&device{Device: &history.Device{}, contact: ct}, trace.Step{What: trace.Dial})
	var got []trace.What
	for e, err := range c.trace.Follow(trace.Options{Held: true}).Events(t.Context()) {
		if err != nil {
			t.Fatal(err)
		}
		got = append(got, e.What)
	}
	if got[0] != trace.RendezvousUp || !slices.Contains(got, trace.Lost) || got[len(got)-1] != trace.Dial {
		t.Errorf("got %d events, from %s to %s", len(got), got[0], got[len(got)-1])
	}
}
