package link

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/libp2p/go-libp2p"
	"github.com/libp2p/go-libp2p/core/host"
	"github.com/libp2p/go-libp2p/core/network"
	"github.com/libp2p/go-libp2p/core/peer"
	"github.com/libp2p/go-libp2p/x/simlibp2p"
	"github.com/marcopolo/simnet"

	"github.com/byway-chat/byway/crypto/identity"
	"github.com/byway-chat/byway/rendezvous"
)

var (
	aliceHello = Hello{Name: "alice", Fingerprint: identity.Fingerprint{1}}
	bobHello   = Hello{Name: "bob", Fingerprint: identity.Fingerprint{2}}
)

const aliceIP = "1.0.0.1"

// pair is two hosts on a simulated network.
type pair struct {
	alice, bob host.Host
	mu         sync.Mutex    // guards the following
	cut        bool          // nothing arrives any more
	mute       bool          // nothing of alice arrives
	latency    time.Duration // one way; 5 ms at first
}

func newPair(t *testing.T) *pair {
	p := &pair{latency: 5 * time.Millisecond}
	nw := &simnet.Simnet{LatencyFunc: func(packet *simnet.Packet) time.Duration {
		p.mu.Lock()
		defer p.mu.Unlock()
		if p.cut || p.mute && strings.HasPrefix(packet.From.String(), aliceIP) {
			return 1000 * time.Hour
		}
		return p.latency
	}}
	settings := simnet.NodeBiDiLinkSettings{
		Downlink: simnet.LinkSettings{BitsPerSecond: 10 * simlibp2p.OneMbps},
		Uplink:   simnet.LinkSettings{BitsPerSecond: 10 * simlibp2p.OneMbps},
	}
	newHost := func(addr string) host.Host {
		return simlibp2p.MustNewHost(t, libp2p.ListenAddrStrings(addr), libp2p.DisableIdentifyAddressDiscovery(), simlibp2p.QUICSimnet(nw, settings))
	}
	p.alice, p.bob = newHost("/ip4/"+aliceIP+"/udp/8000/quic-v1"), newHost("/ip4/1.0.0.2/udp/8000/quic-v1")
	nw.Start()
	t.Cleanup(func() {
		_ = p.alice.Close()
		_ = p.bob.Close()
		nw.Close()
	})
	return p
}

func (p *pair) muteAlice(on bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.mute = on
}

func (p *pair) sever() { p.weather(true, 5*time.Millisecond) }

func (p *pair) weather(cut bool, latency time.Duration) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.cut, p.latency = cut, latency
}

func (p *pair) stream(t *testing.T) network.Stream {
	t.Helper()
	if err := p.alice.Connect(t.Context(), peer.AddrInfo{ID: p.bob.ID(), Addrs: p.bob.Addrs()}); err != nil {
		t.Fatalf("connect: %v", err)
	}
	s, err := p.alice.NewStream(t.Context(), p.bob.ID(), ProtocolID)
	if err != nil {
		t.Fatalf("open stream: %v", err)
	}
	return s
}

// answered is what came of a stream that bob was offered.
type answered struct {
	link *Link
	err  error
}

// answer lets bob answer streams and returns what comes of them.
func (p *pair) answer(t *testing.T, allow func(Hello) error, handler Handler) <-chan answered {
	out := make(chan answered, 1)
	p.bob.SetStreamHandler(ProtocolID, func(s network.Stream) {
		l, err := Answer(t.Context(), s, bobHello, allow, handler)
		out <- answered{l, err}
	})
	return out
}

func anyone(Hello) error { return nil }

var ignore = Handler{Receive: func(*Link, []byte) {}}

// receiving is a handler that wants envelopes alone.
func receiving(f func(*Link, []byte)) Handler { return Handler{Receive: f} }

// open opens a link between the two, which ends with the test.
func (p *pair) open(t *testing.T, toAlice, toBob Handler) (alice, bob *Link) {
	t.Helper()
	out := p.answer(t, anyone, toBob)
	alice, err := Dial(t.Context(), p.stream(t), aliceHello, toAlice)
	if err != nil {
		t.Fatalf("dial: %v", err)
	}
	got := <-out
	if got.err != nil {
		t.Fatalf("answer: %v", got.err)
	}
	t.Cleanup(alice.Close)
	t.Cleanup(got.link.Close)
	return alice, got.link
}

func TestLinkCarriesBothWays(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newPair(t)
		toAlice, toBob := make(chan string, 600), make(chan string, 600)
		alice, bob := p.open(t, receiving(func(_ *Link, b []byte) { toAlice <- string(b) }), receiving(func(_ *Link, b []byte) { toBob <- string(b) }))
		if alice.Remote() != bobHello || bob.Remote() != aliceHello {
			t.Errorf("got %v and %v, want each the other", alice.Remote(), bob.Remote())
		}
		for i := range 500 {
			if err := errors.Join(alice.Send(fmt.Append(nil, "to bob ", i)), bob.Send(fmt.Append(nil, "to alice ", i))); err != nil {
				t.Fatalf("send: %v", err)
			}
		}
		largest := bytes.Repeat([]byte("x"), rendezvous.MaxEnvelope)
		if err := alice.Send(bytes.Clone(largest)); err != nil {
			t.Fatalf("send: %v", err)
		}
		for i := range 500 {
			if a, b := <-toAlice, <-toBob; a != fmt.Sprint("to alice ", i) || b != fmt.Sprint("to bob ", i) {
				t.Fatalf("got %q and %q in place %d", a, b, i)
			}
		}
		if got := <-toBob; got != string(largest) {
			t.Errorf("got %d bytes, want the largest envelope", len(got))
		}
		time.Sleep(3 * Heartbeat)
		if rtt := alice.RTT(); rtt != 10*time.Millisecond && (rtt < 10*time.Millisecond || rtt > 12*time.Millisecond) {
			t.Errorf("got a round trip of %v, want 10 ms", rtt)
		}
		if time.Since(bob.Heard()) > Heartbeat {
			t.Errorf("heard %v ago, want at most a heartbeat", time.Since(bob.Heard()))
		}
		if alice.Err() != nil || bob.Err() != nil {
			t.Errorf("got %v and %v, want open links", alice.Err(), bob.Err())
		}
	})
}

func TestAnswerRefuses(t *testing.T) {
	for _, row := range refusedHellos {
		t.Run(row.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				p := newPair(t)
				out := p.answer(t, anyone, ignore)
				s := p.stream(t)
				if _, err := s.Write(row.bytes); err != nil {
					t.Fatalf("write: %v", err)
				}
				if got := <-out; got.link != nil || got.err == nil {
					t.Errorf("got %v, want a refusal", got)
				}
				if _, err := s.Read(make([]byte, 1)); err == nil {
					t.Error("the stream was answered, want a reset")
				}
			})
		})
	}
}

func TestDialRefuses(t *testing.T) {
	for _, row := range refusedHellos {
		t.Run(row.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				p := newPair(t)
				p.bob.SetStreamHandler(ProtocolID, func(s network.Stream) {
					if _, err := readHello(bufio.NewReader(s)); err != nil {
						t.Errorf("read hello: %v", err)
					}
					_, _ = s.Write(row.bytes)
				})
				l, err := Dial(t.Context(), p.stream(t), aliceHello, ignore)
				if l != nil || err == nil {
					t.Errorf("got %v and %v, want a refusal", l, err)
				}
			})
		})
	}
}

func TestNotAllowed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newPair(t)
		stranger := errors.New("not on the account")
		out := p.answer(t, func(h Hello) error {
			if h != aliceHello {
				t.Errorf("got %v, want alice", h)
			}
			return stranger
		}, ignore)
		l, err := Dial(t.Context(), p.stream(t), aliceHello, ignore)
		if l != nil || err == nil {
			t.Errorf("got %v and %v, want a refusal", l, err)
		}
		if got := <-out; got.link != nil || !errors.Is(got.err, stranger) {
			t.Errorf("got %v, want what allow has said", got)
		}
	})
}

// TestSilence wants neither side to wait longer than the handshake may take for one that says nothing, or says it slowly.
func TestSilence(t *testing.T) {
	rows := []struct {
		name  string
		first func(network.Stream)
	}{
		{"nothing", func(s network.Stream) { _, _ = s.Write([]byte{40}) }}, // a stream is seen by its first byte
		{"a byte a second", func(s network.Stream) {
			for _, b := range aliceHello.frame() {
				if _, err := s.Write([]byte{b}); err != nil {
					return
				}
				time.Sleep(time.Second)
			}
		}},
	}
	for _, row := range rows {
		t.Run("answer/"+row.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				p := newPair(t)
				out := p.answer(t, anyone, ignore)
				s := p.stream(t)
				begun := time.Now()
				row.first(s)
				if got := <-out; got.link != nil || got.err == nil {
					t.Errorf("got %v, want an error", got)
				}
				if took := time.Since(begun); took < handshakeTime || took > handshakeTime+2*time.Second {
					t.Errorf("it took %v, want about %v", took, handshakeTime)
				}
			})
		})
	}
	t.Run("dial", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			p := newPair(t)
			p.bob.SetStreamHandler(ProtocolID, func(network.Stream) {})
			s, begun := p.stream(t), time.Now()
			if l, err := Dial(t.Context(), s, aliceHello, ignore); l != nil || err == nil {
				t.Errorf("got %v and %v, want an error", l, err)
			}
			if took := time.Since(begun); took != handshakeTime {
				t.Errorf("it took %v, want %v", took, handshakeTime)
			}
			ctx, cancel := context.WithTimeout(t.Context(), time.Second)
			defer cancel()
			s, begun = p.stream(t), time.Now()
			if l, err := Dial(ctx, s, aliceHello, ignore); l != nil || err == nil {
				t.Errorf("got %v and %v, want an error", l, err)
			}
			if took := time.Since(begun); took > time.Second+100*time.Millisecond {
				t.Errorf("it took %v, want the second of the context", took)
			}
		})
	})
}

// TestTwoMissedBeats cuts the network without a word: both sides notice by themselves, long before libp2p does.
func TestTwoMissedBeats(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newPair(t)
		alice, bob := p.open(t, ignore, ignore)
		time.Sleep(Heartbeat + Heartbeat/2)
		p.sever()
		begun := time.Now()
		for _, l := range []*Link{alice, bob} {
			<-l.Done()
			if took := time.Since(begun); took < Heartbeat || took > 2*Heartbeat {
				t.Errorf("noticed after %v, want %v to %v", took, Heartbeat, 2*Heartbeat)
			}
			if l.Err() == nil {
				t.Error("the link has ended without a cause")
			}
			if err := l.Send([]byte("x")); !errors.Is(err, ErrClosed) {
				t.Errorf("got %v on an ended link, want ErrClosed", err)
			}
		}
	})
}

func TestSendIsBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		for _, size := range []int{1, 64 << 10} {
			p := newPair(t)
			alice, _ := p.open(t, ignore, ignore)
			synctest.Wait()
			p.sever()
			sent := 0
			most := 10 * min(queueFrames, queueBytes/size) // what the transport buffers before it stands still is left room for
			for ; sent < most; sent++ {
				if err := alice.Send(make([]byte, size)); err != nil {
					if !errors.Is(err, ErrFull) {
						t.Errorf("got %v, want ErrFull", err)
					}
					break
				}
			}
			if sent == 0 || sent == most {
				t.Errorf("%d envelopes of %d bytes were queued on a dead link, want an end before %d", sent, size, most)
			}
			alice.Close()
		}
	})
}

// TestReceiverHoldsBack wants a receiver that is busy to stop the sender, not to fill memory, and the stream to go on after.
func TestReceiverHoldsBack(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newPair(t)
		busy, received := make(chan struct{}), 0
		alice, bob := p.open(t, ignore, receiving(func(*Link, []byte) {
			<-busy
			received++
		}))
		envelope := make([]byte, 64<<10)
		sent, full := 0, false
		for begun := time.Now(); time.Since(begun) < 2*time.Second && !full; time.Sleep(time.Millisecond) {
			switch err := alice.Send(envelope); {
			case errors.Is(err, ErrFull):
				full = true
			case err != nil:
				t.Fatalf("send: %v", err)
			default:
				sent++
			}
		}
		if !full {
			t.Errorf("%d envelopes left without being received", sent)
		}
		close(busy)
		time.Sleep(Heartbeat * 6) // 10 Mbit/s need 14 s for two full queues
		bob.Close()               // waits for the reader: received is ours
		if received != sent {
			t.Errorf("got %d of %d envelopes: %v", received, sent, alice.Err())
		}
	})
}

// TestSlowWay wants a way that moves slowly to be used for as long as it moves: a full queue may take much longer than one write.
func TestSlowWay(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newPair(t)
		received := 0
		alice, bob := p.open(t, ignore, receiving(func(*Link, []byte) { received++ }))
		const count = 120 // 7.7 MB: 6 s at 10 Mbit/s
		for range count {
			if err := alice.Send(make([]byte, 64<<10)); err != nil {
				t.Fatalf("send: %v", err)
			}
		}
		time.Sleep(20 * time.Second)
		if err := alice.Err(); err != nil {
			t.Errorf("the link ended: %v", err)
		}
		bob.Close()
		if received != count {
			t.Errorf("got %d of %d envelopes", received, count)
		}
	})
}

func TestCloseWaits(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newPair(t)
		inside, leave, left := make(chan struct{}), make(chan struct{}), false
		alice, bob := p.open(t, ignore, receiving(func(*Link, []byte) {
			close(inside)
			<-leave
			left = true
		}))
		if err := alice.Send([]byte("x")); err != nil {
			t.Fatalf("send: %v", err)
		}
		<-inside
		time.AfterFunc(time.Second, func() { close(leave) })
		bob.Close()
		if !left {
			t.Error("Close returned while receive was running")
		}
		bob.Close() // twice is allowed
		if !errors.Is(bob.Err(), net.ErrClosed) {
			t.Errorf("got %v, want net.ErrClosed", bob.Err())
		}
		<-alice.Done() // the other side hears of it at once
		cause := errors.New("replaced")
		alice.End(cause) // and its first cause stands
		if errors.Is(alice.Err(), cause) {
			t.Error("the cause of an ended link was replaced")
		}
	})
}

// stubborn is a stream whose Reset waits, as one over a dead TCP connection does.
type stubborn struct {
	network.Stream
	dead chan struct{} // closed when the connection is given up
}

func (s stubborn) Reset() error {
	<-s.dead
	return s.Stream.Reset()
}

// TestEndDoesNotWait ends a link on a dead connection: the owner has other things to do.
func TestEndDoesNotWait(t *testing.T) {
	for _, silent := range []bool{false, true} {
		t.Run(fmt.Sprintf("silent=%v", silent), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				p := newPair(t)
				answered := p.answer(t, anyone, ignore)
				s := stubborn{p.stream(t), make(chan struct{})}
				l, err := Dial(t.Context(), s, aliceHello, ignore)
				if err != nil {
					t.Fatal(err)
				}
				got := <-answered
				defer got.link.Close()
				if silent {
					p.sever()
					<-l.Done()
				}
				ended := make(chan struct{})
				go func() {
					l.End(errors.New("not wanted any more"))
					close(ended)
				}()
				synctest.Wait()
				select {
				case <-ended:
				default:
					t.Error("End waits for the stream")
				}
				close(s.dead)
				l.Close()
			})
		})
	}
}

// TestForeignFrames wants unknown kinds to be skipped and a malformed frame to end the link, with what came before delivered.
func TestForeignFrames(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newPair(t)
		toBob := make(chan string, 10)
		out := p.answer(t, anyone, receiving(func(_ *Link, b []byte) { toBob <- string(b) }))
		s := p.stream(t)
		var b []byte
		b = append(b, aliceHello.frame()...)
		b = appendFrame(b, 77, []byte("from a newer peer"))
		b = appendFrame(b, kindHello, []byte("again"))
		b = appendFrame(b, kindPing, []byte("short"))
		b = appendFrame(b, kindPong, []byte("nobody asked"))
		b = appendFrame(b, kindPong, make([]byte, 8))
		b = appendFrame(b, kindEnvelope, []byte("one"))
		b = append(b, 0)
		if _, err := s.Write(b); err != nil {
			t.Fatalf("write: %v", err)
		}
		got := <-out
		if got.err != nil {
			t.Fatalf("answer: %v", got.err)
		}
		<-got.link.Done()
		if !errors.Is(got.link.Err(), ErrFrame) || <-toBob != "one" || got.link.RTT() != 0 {
			t.Errorf("got %v and a round trip of %v, want ErrFrame, one envelope and none", got.link.Err(), got.link.RTT())
		}
		got.link.Close()
	})
}
