package route

import (
	"strings"
	"testing"

	"github.com/byway-chat/byway/peer/delivery"
)

func TestRemedyFor(t *testing.T) {
	if got := PolicyHere.RemedyFor("bob"); !strings.Contains(got, "`byway way bob auto`") || strings.Contains(got, "USER") {
		t.Errorf("got %q", got)
	}
	if got := SameLANUnreachable.Remedy(); !strings.Contains(got, "Check that byway runs there") {
		t.Errorf("got %q", got)
	}
}

// A way that was tried in vain does not become one that was never tried when it is to be tried again.
func TestTriedStaysTried(t *testing.T) {
	table := &Table{Online: true, Addresses: addresses(t, "10.1.0.2/24", "10.1.0.3")}
	s := &Surroundings{Rendezvous: true}
	want := func(when string, reason Reason) {
		t.Helper()
		for _, e := range table.Entries(s) {
			if e.Way == delivery.WayLAN && e.Reason != reason {
				t.Errorf("%s: got %s %q, want %q", when, e.State, e.Reason, reason)
			}
		}
	}
	table.Dialling()
	want("first try", NotTriedYet)
	table.DialFailed(epoch)
	table.Renewed()
	table.Dialling()
	want("tried again", SameLANUnreachable)
}
