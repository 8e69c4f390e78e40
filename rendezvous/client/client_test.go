package client

import (
	"context"
	"errors"
	"io"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/libp2p/go-libp2p"
	"github.com/libp2p/go-libp2p/core/host"
	"github.com/libp2p/go-libp2p/core/network"
	"github.com/libp2p/go-libp2p/core/peer"
	"github.com/libp2p/go-libp2p/x/simlibp2p"
	"github.com/marcopolo/simnet"
	ma "github.com/multiformats/go-multiaddr"

	"github.com/byway-chat/byway/crypto/identity"
	"github.com/byway-chat/byway/rendezvous"
	"github.com/byway-chat/byway/rendezvous/framing"
)

// pair is a client's host and that of a rendezvous, on a simulated network with 5 ms one way.
type pair struct {
	client, server host.Host
	mu             sync.Mutex
	cut            bool // nothing arrives any more
}

func newPair(t *testing.T) *pair {
	p := new(pair)
	nw := &simnet.Simnet{LatencyFunc: func(*simnet.Packet) time.Duration {
		p.mu.Lock()
		defer p.mu.Unlock()
		if p.cut {
			return 1000 * time.Hour
		}
		return 5 * time.Millisecond
	}}
	link := simnet.NodeBiDiLinkSettings{
		Downlink: simnet.LinkSettings{BitsPerSecond: 100 * simlibp2p.OneMbps},
		Uplink:   simnet.LinkSettings{BitsPerSecond: 100 * simlibp2p.OneMbps},
	}
	newHost := func(addr string) host.Host {
		return simlibp2p.MustNewHost(t, libp2p.ListenAddrStrings(addr), libp2p.DisableIdentifyAddressDiscovery(),
			simlibp2p.QUICSimnet(nw, link))
	}
	p.client, p.server = newHost("/ip4/1.0.0.1/udp/8000/quic-v1"), newHost("/ip4/1.0.0.2/udp/8000/quic-v1")
	nw.Start()
	t.Cleanup(func() {
		_ = p.client.Close()
		_ = p.server.Close()
		nw.Close()
	})
	return p
}

// serve answers each stream's Hello and hands the stream on.
func (p *pair) serve(t *testing.T, f func(s network.Stream, r *framing.Reader)) {
	p.server.SetStreamHandler(rendezvous.ProtocolID, func(s network.Stream) {
		defer s.Close()
		r := framing.NewReader(s)
		hello, err := r.NextFrame()
		if err != nil || hello.GetHello() == nil {
			t.Errorf("got %v and %v, want Hello", hello, err)
			return
		}
		write(t, s, &rendezvous.Frame{Id: hello.GetId(), Body: &rendezvous.Frame_Welcome{Welcome: &rendezvous.Welcome{
			Version: 1, Nonce: make([]byte, 32), Registration: "open",
		}}})
		f(s, r)
	})
}

func write(t *testing.T, s network.Stream, f *rendezvous.Frame) {
	t.Helper()
	buf, err := rendezvous.AppendFrame(nil, f)
	if err != nil {
		t.Errorf("encode: %v", err)
		return
	}
	_, _ = s.Write(buf)
}

func (p *pair) options() Options {
	return Options{Host: p.client, Agent: "test", Rendezvous: peer.AddrInfo{ID: p.server.ID(), Addrs: p.server.Addrs()}}
}

func (p *pair) dial(t *testing.T) *Conn {
	t.Helper()
	c, err := Dial(t.Context(), p.options())
	if err != nil {
		t.Fatalf("dial: %v", err)
	}
	t.Cleanup(func() { _ = c.Close() })
	return c
}

// answering answers pings and, by f, everything else, until the stream ends.
func answering(t *testing.T, f func(*rendezvous.Frame) []*rendezvous.Frame) func(network.Stream, *framing.Reader) {
	return func(s network.Stream, r *framing.Reader) {
		for {
			in, err := r.NextFrame()
			if err != nil {
				return
			}
			if p := in.GetPing(); p != nil {
				write(t, s, &rendezvous.Frame{Body: &rendezvous.Frame_Pong{Pong: &rendezvous.Pong{Token: p.GetToken()}}})
				continue
			}
			for _, out := range f(in) {
				write(t, s, out)
			}
		}
	}
}

func TestRequests(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newPair(t)
		p.serve(t, answering(t, func(in *rendezvous.Frame) []*rendezvous.Frame {
			switch body := in.GetBody().(type) {
			case *rendezvous.Frame_Login:
				return []*rendezvous.Frame{{Id: in.GetId(), Body: &rendezvous.Frame_Failure{Failure: &rendezvous.Failure{
					Code: "bad-credentials", Message: "no", RetryAfterMs: 1500,
				}}}}
			case *rendezvous.Frame_Resume:
				return []*rendezvous.Frame{{Id: in.GetId(), Body: &rendezvous.Frame_SignedIn{SignedIn: &rendezvous.SignedIn{Username: body.Resume.GetUsername()}}}}
			case *rendezvous.Frame_Lookup: // two at a time, as if no more fitted
				found := new(rendezvous.Found)
				for _, name := range body.Lookup.GetUsernames()[:min(2, len(body.Lookup.GetUsernames()))] {
					found.Records = append(found.Records, &rendezvous.Record{Username: name})
				}
				return []*rendezvous.Frame{{Id: in.GetId(), Body: &rendezvous.Frame_Found{Found: found}}}
			case *rendezvous.Frame_Submit:
				return []*rendezvous.Frame{{Body: &rendezvous.Frame_Outcome{Outcome: &rendezvous.Outcome{
					State: rendezvous.Outcome_STORED, Submits: []*rendezvous.Run{{First: in.GetId()}},
				}}}}
			case *rendezvous.Frame_Publish:
				return []*rendezvous.Frame{{Id: in.GetId(), Body: &rendezvous.Frame_Welcome{Welcome: new(rendezvous.Welcome)}}}
			case *rendezvous.Frame_Watch:
				return []*rendezvous.Frame{
					{Body: &rendezvous.Frame_Presence{Presence: &rendezvous.Presence{Snapshot: true, Last: true}}},
					{Id: in.GetId(), Body: &rendezvous.Frame_Done{Done: new(rendezvous.Done)}},
				}
			}
			return nil
		}))
		c := p.dial(t)
		ctx := t.Context()
		if got := c.Welcome().GetRegistration(); got != "open" {
			t.Errorf("got registration %q, want open", got)
		}
		_, err := c.Login(ctx, "alice", "a secret")
		if e, ok := errors.AsType[*rendezvous.Error](err); !ok || e.Code != rendezvous.CodeBadCredentials || e.RetryAfter != 1500*time.Millisecond {
			t.Errorf("login: got %v", err)
		}
		if in, err := c.Resume(ctx, "alice"); err != nil || in.GetUsername() != "alice" {
			t.Errorf("resume: got %v, %v", in, err)
		}
		records, err := c.Lookup(ctx, "a", "b", "c", "d", "e")
		if err != nil || len(records) != 5 || records[4].GetUsername() != "e" {
			t.Errorf("lookup: got %v, %v", records, err)
		}
		if err := c.Publish(ctx, new(rendezvous.Publish)); rendezvous.CodeOf(err) != rendezvous.CodeBadRequest {
			t.Errorf("an answer of the wrong kind: got %v", err)
		}
		if err := c.Watch(ctx); err != nil {
			t.Errorf("watch: %v", err)
		}
		if p := <-c.Pushes(); len(p.Presence) != 1 || !p.Presence[0].GetLast() {
			t.Errorf("got %v, want the snapshot", p)
		}
		id, err := c.Submit(identity.Fingerprint{1}, []byte("sealed"), false)
		if err != nil {
			t.Fatalf("submit: %v", err)
		}
		if p := <-c.Pushes(); len(p.Outcomes) != 1 || p.Outcomes[0].ID != id || p.Outcomes[0].State != rendezvous.Outcome_STORED {
			t.Errorf("got %v, want the outcome of %d", p, id)
		}
		if err := c.Taken(1, 2); err != nil {
			t.Errorf("taken: %v", err)
		}
		short, cancel := context.WithTimeout(ctx, time.Second)
		defer cancel()
		if _, err := c.List(short, "", 10); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("a request without an answer: got %v", err)
		}
		time.Sleep(rendezvous.Heartbeat)
		if got := c.RTT(); got != 10*time.Millisecond {
			t.Errorf("got a round trip of %v, want 10ms", got)
		}
	})
}

func TestSilence(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newPair(t)
		p.serve(t, answering(t, func(*rendezvous.Frame) []*rendezvous.Frame { return nil }))
		c := p.dial(t)
		time.Sleep(time.Minute)
		if err := c.Err(); err != nil {
			t.Fatalf("an idle connection has ended: %v", err)
		}
		p.mu.Lock()
		p.cut = true
		p.mu.Unlock()
		cut := time.Now()
		_, err := c.Resume(t.Context(), "alice")
		if !errors.Is(err, ErrSilent) {
			t.Errorf("a request on a cut connection: got %v, want %v", err, ErrSilent)
		}
		if got := time.Since(cut); got > 3*rendezvous.Heartbeat {
			t.Errorf("the cut was noticed after %v", got)
		}
		<-c.Done()
		if _, ok := <-c.Pushes(); ok {
			t.Error("a push after the end")
		}
	})
}

// Whoever talks and is answered needs no heartbeat, but for the measurement; whoever is silent, or is not answered, has one every 5 s.
func TestHeartbeatIsWhereNothingElseIs(t *testing.T) {
	tests := []struct {
		name     string
		talk     bool // a frame a second
		answered bool // each of them
		least    int  // pings in a minute
		most     int
	}{
		{"silent", false, false, 11, 12},
		{"talks and is answered", true, true, 1, 2},
		{"talks to no answer", true, false, 11, 12},
	}
	for _, tc := range tests {
		t.Run(tc.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				p := newPair(t)
				var pings atomic.Int64
				p.serve(t, func(s network.Stream, r *framing.Reader) {
					for {
						in, err := r.NextFrame()
						switch {
						case err != nil:
							return
						case in.GetPing() != nil:
							pings.Add(1)
							write(t, s, &rendezvous.Frame{Body: &rendezvous.Frame_Pong{Pong: &rendezvous.Pong{Token: in.GetPing().GetToken()}}})
						case tc.answered:
							write(t, s, &rendezvous.Frame{Body: &rendezvous.Frame_Deliver{Deliver: &rendezvous.Deliver{Id: 1}}})
						}
					}
				})
				c := p.dial(t)
				go func() {
					for range c.Pushes() {
					}
				}()
				for range 60 {
					time.Sleep(time.Second)
					if tc.talk {
						if err := c.Taken(1); err != nil {
							t.Fatal(err)
						}
					}
				}
				if got := int(pings.Load()); got < tc.least || got > tc.most {
					t.Errorf("got %d pings in a minute, want %d to %d", got, tc.least, tc.most)
				}
			})
		})
	}
}

func TestBackPressureIsNotSilence(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newPair(t)
		const deliveries = 4 * maxPushes
		p.serve(t, func(s network.Stream, r *framing.Reader) {
			for i := range deliveries {
				write(t, s, &rendezvous.Frame{Body: &rendezvous.Frame_Deliver{Deliver: &rendezvous.Deliver{Id: uint64(i) + 1}}})
				time.Sleep(100 * time.Millisecond)
			}
			answering(t, func(*rendezvous.Frame) []*rendezvous.Frame { return nil })(s, r)
		})
		c := p.dial(t)
		time.Sleep(time.Minute) // nobody reads
		if err := c.Err(); err != nil {
			t.Fatalf("the connection has ended: %v", err)
		}
		for next := uint64(1); next <= deliveries; {
			for _, d := range (<-c.Pushes()).Deliveries {
				if d.ID != next {
					t.Fatalf("got %v as delivery %d", d, next)
				}
				next++
			}
		}
	})
}

func TestGoodbye(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newPair(t)
		p.serve(t, func(s network.Stream, _ *framing.Reader) {
			write(t, s, &rendezvous.Frame{Body: &rendezvous.Frame_Goodbye{Goodbye: &rendezvous.Goodbye{Code: "kicked"}}})
		})
		c := p.dial(t)
		if p := <-c.Pushes(); p.Goodbye.GetCode() != "kicked" {
			t.Errorf("got %v, want Goodbye", p)
		}
		<-c.Done()
		if got := rendezvous.CodeOf(c.Err()); got != rendezvous.CodeKicked {
			t.Errorf("got %v, want %v", c.Err(), rendezvous.CodeKicked)
		}
		if _, err := c.Submit(identity.Fingerprint{}, nil, false); rendezvous.CodeOf(err) != rendezvous.CodeKicked {
			t.Errorf("submit after the end: got %v", err)
		}
	})
}

func TestClose(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newPair(t)
		got := make(chan uint64, 1)
		p.serve(t, answering(t, func(in *rendezvous.Frame) []*rendezvous.Frame {
			got <- in.GetTaken().GetDeliveries()[0].GetFirst()
			return nil
		}))
		c := p.dial(t)
		if err := c.Taken(42); err != nil {
			t.Fatal(err)
		}
		for range 2 {
			if err := c.Close(); err != nil {
				t.Errorf("close: %v", err)
			}
		}
		if id := <-got; id != 42 {
			t.Errorf("what was queued before Close arrived as %d", id)
		}
		if !errors.Is(c.Err(), ErrClosed) {
			t.Errorf("got %v, want %v", c.Err(), ErrClosed)
		}
	})
}

func TestQueueFull(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newPair(t)
		p.serve(t, func(s network.Stream, _ *framing.Reader) { time.Sleep(time.Second) })
		c := p.dial(t)
		envelope := make([]byte, rendezvous.MaxEnvelope)
		var err error
		for range 1000 {
			if _, err = c.Submit(identity.Fingerprint{}, envelope, false); err != nil {
				break
			}
		}
		if !errors.Is(err, ErrQueueFull) {
			t.Errorf("got %v, want %v", err, ErrQueueFull)
		}
	})
}

func TestNotARendezvous(t *testing.T) {
	for _, tt := range []struct {
		name  string
		setup func(*testing.T, *pair, *Options)
		want  error
	}{
		{"another program", func(*testing.T, *pair, *Options) {}, ErrNotARendezvous},
		{"an answer that is no Welcome", func(t *testing.T, p *pair, _ *Options) {
			p.server.SetStreamHandler(rendezvous.ProtocolID, func(s network.Stream) {
				defer s.Close()
				write(t, s, &rendezvous.Frame{Id: 1, Body: &rendezvous.Frame_Done{Done: new(rendezvous.Done)}})
			})
		}, ErrNotARendezvous},
		{"another key", func(_ *testing.T, p *pair, o *Options) {
			o.Rendezvous = peer.AddrInfo{ID: p.client.ID()[:len(p.client.ID())-1] + "x", Addrs: p.server.Addrs()}
		}, ErrWrongIdentity},
		{"a refusal", func(t *testing.T, p *pair, _ *Options) {
			p.server.SetStreamHandler(rendezvous.ProtocolID, func(s network.Stream) {
				defer s.Close()
				write(t, s, &rendezvous.Frame{Id: 1, Body: &rendezvous.Frame_Failure{
					Failure: &rendezvous.Failure{Code: string(rendezvous.CodeUnsupportedVersion)},
				}})
			})
		}, nil},
		{"silence", func(_ *testing.T, p *pair, _ *Options) {
			p.server.SetStreamHandler(rendezvous.ProtocolID, func(s network.Stream) {
				_, _ = io.Copy(io.Discard, s)
			})
		}, context.DeadlineExceeded},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				p := newPair(t)
				o := p.options()
				tt.setup(t, p, &o)
				c, err := Dial(t.Context(), o)
				if err == nil {
					_ = c.Close()
					t.Fatal("dial has succeeded")
				}
				if tt.want != nil && !errors.Is(err, tt.want) {
					t.Errorf("got %v, want %v", err, tt.want)
				}
				if tt.want == nil && rendezvous.CodeOf(err) != rendezvous.CodeUnsupportedVersion {
					t.Errorf("got %v, want the refusal", err)
				}
			})
		})
	}
}

func TestPrefersTCP(t *testing.T) {
	server, err := libp2p.New(libp2p.ListenAddrStrings("/ip4/127.0.0.1/udp/0/quic-v1", "/ip4/127.0.0.1/tcp/0"))
	if err != nil {
		t.Fatal(err)
	}
	defer server.Close()
	client, err := libp2p.New(libp2p.NoListenAddrs)
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	p := &pair{client: client, server: server}
	p.serve(t, answering(t, func(*rendezvous.Frame) []*rendezvous.Frame { return nil }))
	c := p.dial(t)
	remote, err := ma.NewMultiaddr(c.Remote())
	if err != nil {
		t.Fatal(err)
	}
	if _, err := remote.ValueForProtocol(ma.P_TCP); err != nil {
		t.Errorf("connected over %s, want TCP", remote)
	}
	if err := c.Close(); err != nil {
		t.Error(err)
	}
}

func TestCut(t *testing.T) {
	for _, tt := range []struct{ in, want string }{{"", ""}, {"abc", "abc"}, {"abcdef", "abcd"}, {"abcé", "abc"}, {"ééé", "éé"}, {"a\xffbcdef", "a\xffbc"}} {
		if got := cut(tt.in, 4); got != tt.want {
			t.Errorf("cut(%q): got %q, want %q", tt.in, got, tt.want)
		}
	}
}

// TestAnswerBeforeTheEnd: a rendezvous that answers and hangs up has answered.
func TestAnswerBeforeTheEnd(t *testing.T) {
	c := &Conn{done: make(chan struct{})}
	close(c.done)
	answer := make(chan *rendezvous.Frame, 1)
	for range 64 { // select takes either
		answer <- &rendezvous.Frame{Id: 7}
		if got, err := c.await(t.Context(), answer); err != nil || got.GetId() != 7 {
			t.Fatalf("got %v and %v", got, err)
		}
	}
	if _, err := c.await(t.Context(), answer); err == nil {
		t.Error("an answer that never came")
	}
}
