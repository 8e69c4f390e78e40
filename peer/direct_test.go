package peer

import (
	"testing"
	"time"

	"github.com/byway-chat/byway/peer/route"
)

// TestDirectToNobody: a contact may go while a direct way to it is looked for, where the core begins again from a disk that has lost it.
func TestDirectToNobody(t *testing.T) {
	c, d := outside(t)
	name := d.contact.Name
	delete(c.contacts, name)
	c.spawn(func() {
		for {
			select {
			case f := <-c.inbox:
				f()
			case <-c.quit:
				return
			}
		}
	})
	if err := c.needDirect(t.Context(), name, route.Direct, time.Time{}); CodeOf(err) != CodeNoSuchUser {
		t.Errorf("got %v, want that there is no such user", err)
	}
}
