package framing

import (
	"bytes"
	"errors"
	"io"
	"math"
	"runtime"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"
	"pgregory.net/rapid"

	"github.com/byway-chat/byway/rendezvous"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// sink is a stream in memory. While stuck, writes wait for their deadline.
type sink struct {
	mu       sync.Mutex // guards the following
	content  bytes.Buffer
	writes   int
	deadline time.Time
	stuck    bool
	fail     error
}

func (s *sink) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.stuck {
		time.Sleep(time.Until(s.deadline))
		return 0, errors.New("deadline exceeded")
	}
	if s.fail != nil {
		return 0, s.fail
	}
	s.writes++
	return s.content.Write(p)
}

func (s *sink) SetWriteDeadline(t time.Time) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.deadline = t
	return nil
}

func ping(token uint64) *rendezvous.Frame {
	return &rendezvous.Frame{Body: &rendezvous.Frame_Ping{Ping: &rendezvous.Ping{Token: token}}}
}

func submit(size int) *rendezvous.Frame {
	return &rendezvous.Frame{Body: &rendezvous.Frame_Submit{Submit: &rendezvous.Submit{Envelope: make([]byte, size)}}}
}

func TestWriterCoalesces(t *testing.T) {
	s := new(sink)
	w := NewWriter(s, 1000, 1<<20)
	for i := range 1000 {
		if err := w.Hold(ping(uint64(i) + 1)); err != nil {
			t.Fatalf("frame %d: %v", i, err)
		}
	}
	if err := w.Add(ping(0)); !errors.Is(err, ErrQueueFull) {
		t.Errorf("frame over the bound: got %v, want %v", err, ErrQueueFull)
	}
	w.Close()
	if err := w.Run(); err != nil {
		t.Fatalf("run: %v", err)
	}
	if s.writes != 1 {
		t.Errorf("got %d writes, want 1", s.writes)
	}
	r := NewReader(&s.content)
	for i := range 1000 {
		f, err := r.NextFrame()
		if err != nil {
			t.Fatalf("read frame %d: %v", i, err)
		}
		if got, want := f.GetPing().GetToken(), uint64(i)+1; got != want {
			t.Fatalf("got token %d, want %d", got, want)
		}
	}
	if _, err := r.NextFrame(); !errors.Is(err, io.EOF) {
		t.Errorf("at the end: got %v, want EOF", err)
	}
	if err := w.Add(ping(0)); !errors.Is(err, ErrClosed) {
		t.Errorf("frame after Close: got %v, want %v", err, ErrClosed)
	}
}

func TestWriterBoundsBytes(t *testing.T) {
	s := new(sink)
	w := NewWriter(s, 1000, 300<<10)
	var got []error
	for range 4 {
		got = append(got, w.Hold(submit(rendezvous.MaxEnvelope)))
	}
	for i, want := range []error{nil, nil, nil, ErrQueueFull} {
		if !errors.Is(got[i], want) {
			t.Errorf("envelope %d: got %v, want %v", i, got[i], want)
		}
	}
	if err := w.Hold(submit(rendezvous.MaxFrame)); !errors.Is(err, rendezvous.ErrFrameTooLarge) {
		t.Errorf("an oversized frame: got %v, want %v", err, rendezvous.ErrFrameTooLarge)
	}
	if err := w.Hold(ping(7)); err != nil {
		t.Errorf("a small frame beside it: %v", err)
	}
	if frames, bytes := w.Queued(); frames != 4 || bytes < 3*rendezvous.MaxEnvelope {
		t.Errorf("queued %d frames and %d bytes", frames, bytes)
	}
	w.Close()
	if err := w.Run(); err != nil {
		t.Fatalf("run: %v", err)
	}
	r := NewReader(&s.content)
	n := 0
	for ; ; n++ {
		if _, err := r.NextFrame(); err != nil {
			break
		}
	}
	if n != 4 {
		t.Errorf("read %d frames, want 4", n)
	}
}

func TestWriterGivesUpOnAReaderThatSleeps(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := NewWriter(&sink{stuck: true}, 10, 1<<20)
		began := time.Now()
		if err := w.Add(ping(1)); err != nil {
			t.Fatal(err)
		}
		if err := w.Run(); err == nil {
			t.Error("a write that never ended has succeeded")
		}
		if got := time.Since(began); got != writeTimeout {
			t.Errorf("gave up after %v, want %v", got, writeTimeout)
		}
		if err := w.Add(ping(2)); !errors.Is(err, ErrClosed) {
			t.Errorf("frame after a failed write: got %v, want %v", err, ErrClosed)
		}
	})
}

func TestWriterHolds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := new(sink)
		w := NewWriter(s, 10, 1<<20)
		if err := w.Hold(ping(1)); err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		if s.writes != 0 {
			t.Error("a held frame was written")
		}
		w.Flush()
		synctest.Wait()
		if s.writes != 1 {
			t.Error("a flushed frame was not written")
		}
		w.Close()
		if err := w.Run(); err != nil {
			t.Error(err)
		}
	})
}

// TestWriterLingers adds frames at any moment of the end of what writes them, and after it: each is written at once.
func TestWriterLingers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		before := runtime.NumGoroutine()
		s := new(sink)
		w := NewWriter(s, 10, 1<<20)
		for i, pause := range []time.Duration{0, lingering / 2, lingering - 1, lingering, lingering + 1, lingering, 0} {
			time.Sleep(pause)
			if err := w.Add(submit(1)); err != nil {
				t.Fatal(err)
			}
			if got := runtime.NumGoroutine(); got > before+2 {
				t.Errorf("frame %d: got %d goroutines more", i, got-before)
			}
			synctest.Wait()
			if s.writes != i+1 || w.pending != nil {
				t.Fatalf("frame %d: got %d writes, buffer %v", i, s.writes, w.pending)
			}
		}
		w.Close()
		if err := w.Run(); err != nil {
			t.Error(err)
		}
	})
}

// An idle connection is to cost nothing here: neither a goroutine nor a buffer.
func TestWriterIsNothingWhileIdle(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		before := runtime.NumGoroutine()
		s := new(sink)
		w := NewWriter(s, 10, 1<<20)
		ends := 0
		w.After(func(err error) {
			if ends++; err != nil {
				t.Errorf("ended with %v", err)
			}
		})
		for i := range 3 {
			if err := w.Add(submit(1 << i)); err != nil {
				t.Fatal(err)
			}
			if got := runtime.NumGoroutine(); got != before+1 {
				t.Errorf("with something to write: got %d goroutines more, want 1", got-before)
			}
			synctest.Wait()
			if got := runtime.NumGoroutine(); got != before+1 {
				t.Errorf("just after: got %d goroutines more, want 1", got-before)
			}
			time.Sleep(lingering)
			synctest.Wait()
			if got := runtime.NumGoroutine(); got != before {
				t.Errorf("with nothing to write: got %d goroutines more", got-before)
			}
			if s.writes != i+1 || w.pending != nil || ends != 0 {
				t.Errorf("round %d: got %d writes, buffer %v, ended %d times", i, s.writes, w.pending, ends)
			}
		}
		w.Close()
		w.Close()
		if err := w.Run(); err != nil || ends != 1 {
			t.Errorf("ended %d times with %v", ends, err)
		}
	})
}

func TestWriterTakesWhatIsEncoded(t *testing.T) {
	s := new(sink)
	w := NewWriter(s, 3, 40)
	frame, err := rendezvous.AppendFrame(nil, ping(7))
	if err != nil {
		t.Fatal(err)
	}
	if err := w.Hold(ping(6)); err != nil {
		t.Fatal(err)
	}
	if err := w.AddEncoded(make([]byte, 40)); !errors.Is(err, ErrQueueFull) {
		t.Errorf("a frame over the bound: got %v, want %v", err, ErrQueueFull)
	}
	if err := w.AddEncoded(frame); err != nil {
		t.Fatal(err)
	}
	w.Close()
	if err := w.AddEncoded(frame); !errors.Is(err, ErrClosed) {
		t.Errorf("after Close: got %v, want %v", err, ErrClosed)
	}
	if err := w.Run(); err != nil {
		t.Fatal(err)
	}
	r := NewReader(&s.content)
	for _, want := range []uint64{6, 7} {
		f, err := r.NextFrame()
		if err != nil || f.GetPing().GetToken() != want {
			t.Errorf("got %v and %v, want ping %d", f, err, want)
		}
	}
}

// TestWriterKeepsOrder adds from one goroutine while another writes.
func TestWriterKeepsOrder(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		sizes := rapid.SliceOfN(rapid.IntRange(0, 3000), 1, 200).Draw(t, "sizes")
		s := new(sink)
		w := NewWriter(s, len(sizes), 4<<20)
		for _, n := range sizes {
			if err := w.Add(submit(n)); err != nil {
				t.Fatalf("add: %v", err)
			}
		}
		w.Close()
		if err := w.Run(); err != nil {
			t.Fatalf("run: %v", err)
		}
		r := NewReader(&s.content)
		for i, want := range sizes {
			f, err := r.NextFrame()
			if err != nil {
				t.Fatalf("read frame %d: %v", i, err)
			}
			if got := len(f.GetSubmit().GetEnvelope()); got != want {
				t.Fatalf("frame %d: got %d bytes, want %d", i, got, want)
			}
		}
	})
}

func BenchmarkWriter(b *testing.B) {
	w := NewWriter(discard{}, math.MaxInt, math.MaxInt)
	f := submit(64)
	b.ReportAllocs()
	for b.Loop() {
		_ = w.Add(f)
	}
	w.Close()
	_ = w.Run()
}

type discard struct{}

func (discard) Write(p []byte) (int, error)      { return len(p), nil }
func (discard) SetWriteDeadline(time.Time) error { return nil }
