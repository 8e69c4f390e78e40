package peer

import (
	"context"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/byway-chat/byway/rendezvous"
)

// TestPolicyOutlivesItsCaller has who sets a policy go away before it is on the disk. It is in force all the same, and the directory is told of whom it is to keep our
// addresses from.
func TestPolicyOutlivesItsCaller(t *testing.T) {
	c, _ := desk(t)
	contactsOf(c, map[string]string{"bob": ""})
	p := &Peer{core: c, host: c.host, keys: c.keys, log: c.log, publishing: make(chan struct{}, 1), untold: make(chan struct{}, 1)}
	r := &listener{answers: []rendezvous.Code{rendezvous.CodeInternal}} // which ends keepPublished
	c.conn = r.connect(t, c, rendezvous.MaxWithheld)

	ctx, leave := context.WithCancel(t.Context())
	set := make(chan error)
	go func() { set <- p.setPolicy(ctx, "bob", "relay") }()
	work := <-c.inbox
	leave()
	work()
	c.settle(time.Now())
	tended := tend(c)
	if err := <-set; CodeOf(err) != CodeRendezvousUnreachable {
		t.Errorf("whoever set it was told %v, want that the directory has not answered", err)
	}

	kept := make(chan error)
	go func() { kept <- p.keepPublished(t.Context(), c.conn) }()
	select {
	case err := <-kept:
		if diff := cmp.Diff([]string{`told but to "bob"`}, r.published); diff != "" {
			t.Errorf("%v; the directory was told (-want +got):\n%s", err, diff)
		}
	case <-time.After(2 * time.Second):
		t.Error("the directory was told nothing")
		_ = c.conn.Close()
		<-kept
	}
	tended()
	if got := c.contacts["bob"].Policy; got != "relay" {
		t.Errorf("the policy is %q", got)
	}
}

// tend does what a core is handed, as its goroutine would, until it is told to end, and waits for that.
func tend(c *core) (end func()) {
	enough, ended := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(ended)
		for {
			select {
			case f := <-c.inbox:
				f()
			case <-enough:
				return
			}
		}
	}()
	return func() { close(enough); <-ended }
}
