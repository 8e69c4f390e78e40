package peer

import (
	"errors"
	"strings"
	"testing"

	"github.com/byway-chat/byway/rendezvous"
)

// Whoever meets trouble of the rendezvous itself reads what the rendezvous tells of it, and whom to ask.
func TestTroubleOfTheRendezvousHasACure(t *testing.T) {
	refusal := rendezvous.Errorf(rendezvous.CodeInternal, "the rendezvous cannot store anything at the moment")
	err := (&Peer{}).signInError(refusal)
	wantCode(t, err, CodeFailed)
	e, ok := errors.AsType[*Error](err)
	if !ok || !strings.Contains(err.Error(), "cannot store anything") || !strings.Contains(e.Hint, "operator") {
		t.Errorf("got %v, hint %q", err, e.Hint)
	}
}
