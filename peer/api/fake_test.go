package api

import (
	"context"
	"fmt"
	"iter"
	"sync"
	"time"

	"github.com/byway-chat/byway/peer"
	"github.com/byway-chat/byway/peer/trace"
)

// fake is a peer whose answers the test writes.
type fake struct {
	err  error // of every verb, when set
	wait func(ctx context.Context, id string, until peer.State) (peer.Receipt, error)

	mu     sync.Mutex
	calls  []any
	queue  []peer.Event
	final  error
	closed int
	asked  peer.EventOptions
	story  *trace.Log
}

func (f *fake) note(call any) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.calls = append(f.calls, call)
	return f.err
}

type sent struct {
	To, Body string
	O        peer.SendOptions
}

func (f *fake) Send(_ context.Context, to, body string, o peer.SendOptions) (peer.Receipt, error) {
	return peer.Receipt{ID: "m1", To: to, N: 1, State: peer.StateAccepted, Sent: time.Unix(1, 5).UTC()}, f.note(sent{to, body, o})
}

func (f *fake) WaitUnless(ctx context.Context, id string, until peer.State, reason string) (peer.Receipt, error) {
	if reason != "" {
		return peer.Receipt{ID: id, State: peer.StateAccepted, Reason: reason}, f.note("wait " + id + " unless " + reason)
	}
	if f.wait != nil {
		return f.wait(ctx, id, until)
	}
	return peer.Receipt{ID: id, State: until, Way: peer.WayLAN, MS: 1.5}, f.note("wait " + id)
}

func (f *fake) Receipt(_ context.Context, id string) (peer.Receipt, error) {
	return peer.Receipt{ID: id, State: peer.StateAccepted}, f.note("receipt " + id)
}

func (f *fake) History(_ context.Context, q peer.HistoryQuery) ([]peer.HistoryEntry, error) {
	return nil, f.note(q)
}
func (f *fake) Read(_ context.Context, user string) error { return f.note("read " + user) }
func (f *fake) Shown(_ context.Context, ids ...string) error {
	return f.note(ids)
}

func (f *fake) SetReadReceipts(_ context.Context, on bool) error {
	return f.note(fmt.Sprint("receipts ", on))
}

func (f *fake) ShownUpto(_ context.Context, order int64, id string) error {
	return f.note(fmt.Sprint("upto ", order, " ", id))
}

func (f *fake) Who(context.Context) ([]peer.Contact, error) {
	return []peer.Contact{{Name: "bob", Online: true, Way: peer.WayLAN, Key: peer.KeyPinned}}, f.note("who")
}

func (f *fake) Route(_ context.Context, user string) ([]peer.RouteEntry, error) {
	return []peer.RouteEntry{{Way: peer.WayRelay, State: "open", InUse: true}}, f.note("route " + user)
}

func (f *fake) Ping(_ context.Context, user, way string) (peer.Pong, error) {
	rtt := 0.7
	return peer.Pong{Way: peer.WayLAN, RTT: &rtt}, f.note("ping " + user + " " + way)
}

func (f *fake) Probe(_ context.Context, user, way string, size int) (peer.Pong, error) {
	return peer.Pong{Way: peer.WayLAN}, f.note(fmt.Sprint("probe ", user, " ", way, " ", size))
}

func (f *fake) Disturb(_ context.Context, user string, d peer.Disturbance) error {
	return f.note(fmt.Sprint("disturb ", user, " ", d))
}

func (f *fake) Interrupt(_ context.Context, long time.Duration) error {
	return f.note(fmt.Sprint("interrupt ", long))
}

func (f *fake) Verify(_ context.Context, user string, accept bool) (peer.Verification, error) {
	key := peer.KeyPinned
	if accept {
		key = peer.KeyVerified
	}
	return peer.Verification{User: user, SafetyNumber: "00000", Key: key}, f.note("verify " + user)
}

func (f *fake) Connect(_ context.Context, user, address string) (peer.Found, error) {
	return peer.Found{Way: peer.WayLAN}, f.note("connect " + user + " " + address)
}

func (f *fake) Find(_ context.Context, user string, sweep bool) (peer.Found, error) {
	return peer.Found{Way: peer.WayLAN}, f.note(fmt.Sprint("find ", user, " ", sweep))
}

func (f *fake) SetWay(_ context.Context, user, way string) error {
	return f.note("way " + user + " " + way)
}

func (f *fake) Ways(_ context.Context, user string) ([]peer.WayPolicy, error) {
	return []peer.WayPolicy{{User: user, Policy: "relay", Ways: []peer.Way{peer.WayRelay}}}, f.note("ways " + user)
}

func (f *fake) Status(context.Context) (peer.Status, error) {
	return peer.Status{User: "alice", Version: "test", Addrs: []string{"/ip4/127.0.0.1/tcp/1", "/ip4/10.0.0.1/tcp/1"}}, f.note("status")
}

func (f *fake) Checkup(context.Context) (peer.Checkup, error) {
	return peer.Checkup{Seen: []string{}}, f.note("checkup")
}

func (f *fake) subscribe(o peer.EventOptions) (stream, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.asked = o
	return &fakeStream{f}, f.err
}

type fakeStream struct{ f *fake }

// Events yields what is queued, then final; without one it waits for ctx.
func (s *fakeStream) Events(ctx context.Context) iter.Seq2[peer.Event, error] {
	return func(yield func(peer.Event, error) bool) {
		s.f.mu.Lock()
		queue, final := s.f.queue, s.f.final
		s.f.mu.Unlock()
		for _, e := range queue {
			if !yield(e, nil) {
				return
			}
		}
		if final != nil {
			yield(peer.Event{}, final)
			return
		}
		<-ctx.Done()
	}
}

func (s *fakeStream) Close() {
	s.f.mu.Lock()
	defer s.f.mu.Unlock()
	s.f.closed++
}

func (f *fake) follow(o trace.Options) (story, error) {
	if f.err != nil {
		return nil, f.err
	}
	return f.story.Follow(o), nil
}
