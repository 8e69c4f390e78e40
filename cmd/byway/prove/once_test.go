package prove_test

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"

	"github.com/byway-chat/byway/cmd/byway/stage"
)

// printout is what a person sees, through all lives of the faces that print on it.
type printout struct {
	t   *testing.T
	out *os.File // standard output of the faces

	mu    sync.Mutex
	lines []string // guarded by mu
	done  chan struct{}
}

// newPipe is a screen at the other end of a pipe.
func newPipe(t *testing.T) *printout {
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	s := &printout{t: t, out: w, done: make(chan struct{})}
	go func() {
		defer close(s.done)
		defer r.Close()
		s.read(r)
	}()
	t.Cleanup(func() { _ = w.Close(); <-s.done })
	return s
}

// newFile is a screen that is a file to which all faces append.
func newFile(t *testing.T) *printout {
	f, err := os.OpenFile(filepath.Join(t.TempDir(), "screen"), os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o600)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = f.Close() })
	return &printout{t: t, out: f}
}

func (s *printout) read(r io.Reader) {
	in := bufio.NewScanner(r)
	for in.Scan() {
		s.mu.Lock()
		s.lines = append(s.lines, in.Text())
		s.mu.Unlock()
	}
}

// texts are the messages seen so far.
func (s *printout) texts() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.done == nil {
		content, err := os.ReadFile(s.out.Name())
		if err != nil {
			s.t.Fatal(err)
		}
		s.lines = nil
		for line := range bytes.Lines(content) {
			s.lines = append(s.lines, strings.TrimSuffix(string(line), "\n"))
		}
	}
	out := make([]string, len(s.lines))
	for i, line := range s.lines {
		_, out[i], _ = strings.Cut(line, "): ")
	}
	return out
}

// face is a process that prints on a screen, or a peer without one.
type face struct {
	*exec.Cmd
	errors bytes.Buffer
}

func startFace(t *testing.T, p *stage.Person, out *os.File, args ...string) *face {
	t.Helper()
	f := &face{Cmd: p.Byway(args...).Command(context.Background())}
	if out != nil {
		f.Stdout = out
	}
	f.Stderr = &f.errors
	if err := f.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(f.kill)
	return f
}

func (f *face) kill() {
	if f.ProcessState == nil {
		_ = f.Process.Kill()
		_ = f.Wait() // killed
	}
}

// kills is how often each face is killed; more are asked for with BYWAY_KILLS.
func kills() int {
	if n, err := strconv.Atoi(os.Getenv("BYWAY_KILLS")); err == nil {
		return n
	}
	return 12
}

// TestPrintedOnce kills the face, and the peer beside it where there is one, with -9 while messages stream, just when a line has been seen. In the end each
// message was printed once, in order.
func TestPrintedOnce(t *testing.T) {
	for _, tt := range []struct {
		name string
		open func(*testing.T) *printout
		up   bool // the peer is a process of its own
	}{
		{"pipe", newPipe, false},
		{"appended file", newFile, false},
		{"pipe, beside a peer that is killed too", newPipe, true},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			o := stage.Serve(t, "", stage.Loopback...)
			alice, bob := stage.NewPerson(t, "alice", o), stage.NewPerson(t, "bob", o, "--no-passphrase")
			bob.Must(0, "register", "--user", "bob")
			a := alice.Bot()
			s := tt.open(t)
			sent := 0
			burst := func(n int) {
				for range n {
					sent++
					a.Send(strconv.Itoa(sent), "bob", fmt.Sprint("message ", sent), "auto")
				}
			}
			more := func(what string, n int) {
				have := len(s.texts())
				burst(50)
				stage.Eventually(t, what, func() bool { return len(s.texts()) >= have+n })
			}
			for i := range kills() {
				var up *face
				if tt.up {
					up = startFace(t, bob, nil, "up")
				}
				listen := startFace(t, bob, s.out, "listen")
				more(fmt.Sprint("messages after start ", i), 1+17*i%40)
				if up != nil {
					up.kill()
					more(fmt.Sprint("messages without the peer ", i), 1+11*i%40)
				}
				listen.kill()
			}
			last := startFace(t, bob, s.out, "listen")
			stage.Eventually(t, "the last message", func() bool {
				all := s.texts()
				return len(all) > 0 && all[len(all)-1] == fmt.Sprint("message ", sent)
			})
			if err := last.Process.Signal(os.Interrupt); err != nil {
				t.Fatal(err)
			}
			_ = last.Wait() // interrupted
			for i, got := range s.texts() {
				if want := fmt.Sprint("message ", i+1); got != want {
					t.Fatalf("line %d is %q, want %q: lost or printed twice", i+1, got, want)
				}
			}
			t.Logf("%d messages, %d kills", sent, kills())
		})
	}
}
