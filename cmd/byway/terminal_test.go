package main

import (
	"bytes"
	"context"
	"io"
	"os"
	"path/filepath"
	"reflect"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/creack/pty"
	"golang.org/x/term"

	"github.com/byway-chat/byway/peer"
)

// screen is what a person at a pseudo-terminal sees, and types.
type screen struct {
	t    *testing.T
	pty  *os.File
	tty  *os.File
	done chan struct{}

	mu      sync.Mutex
	text    bytes.Buffer
	changed chan struct{}
}

func newScreen(t *testing.T) *screen {
	t.Helper()
	master, slave, err := pty.Open()
	if err != nil {
		t.Skipf("no pseudo-terminal: %v", err)
	}
	if err := pty.Setsize(master, &pty.Winsize{Rows: 24, Cols: 100}); err != nil {
		t.Fatal(err)
	}
	s := &screen{t: t, pty: master, tty: slave, done: make(chan struct{}), changed: make(chan struct{}, 1)}
	go func() {
		defer close(s.done)
		buf := make([]byte, 4096)
		for {
			n, err := master.Read(buf)
			s.mu.Lock()
			s.text.Write(buf[:n])
			s.mu.Unlock()
			select {
			case s.changed <- struct{}{}:
			default:
			}
			if err != nil {
				return
			}
		}
	}()
	t.Cleanup(func() {
		_, _ = io.WriteString(master, "\r\n") // wakes who still reads a line: closing alone does not
		s.abandoned()
		_ = slave.Close()
		<-s.done
		_ = master.Close()
	})
	return s
}

// abandoned waits until nobody reads a password any more: who has read one sets the terminal back by its number, which may soon be that of another test's.
func (s *screen) abandoned() {
	stacks := make([]byte, 1<<20)
	for end := time.Now().Add(5 * time.Second); time.Now().Before(end); {
		if !bytes.Contains(stacks[:runtime.Stack(stacks, true)], []byte("x/term.ReadPassword")) {
			return
		}
		<-time.After(time.Millisecond)
	}
	s.t.Error("a password is still being read")
}

// shows waits until the screen has held text.
func (s *screen) shows(text string) {
	s.t.Helper()
	s.shown(text, 1)
}

// shown waits until the screen has held text n times.
func (s *screen) shown(text string, n int) {
	s.t.Helper()
	limit := time.After(30 * time.Second)
	for {
		s.mu.Lock()
		got := s.text.String()
		s.mu.Unlock()
		if strings.Count(got, text) >= n {
			return
		}
		select {
		case <-s.changed:
		case <-limit:
			s.t.Fatalf("no %q on the screen:\n%q", text, got)
		}
	}
}

func (s *screen) types(text string) {
	s.t.Helper()
	if _, err := io.WriteString(s.pty, text); err != nil {
		s.t.Fatal(err)
	}
}

// silent waits until the terminal has stopped to echo, which is just after the prompt.
func (s *screen) silent(echoing *term.State) {
	s.t.Helper()
	for {
		now, err := term.GetState(int(s.tty.Fd()))
		if err != nil {
			s.t.Fatal(err)
		}
		if !reflect.DeepEqual(now, echoing) {
			return
		}
		<-time.After(time.Millisecond)
	}
}

func (s *screen) program(home string) program {
	return program{stdin: s.tty, stdout: s.tty, stderr: s.tty, getenv: func(name string) string {
		return map[string]string{"BYWAY_HOME": home, "LANG": "C.UTF-8", "TERM": "xterm"}[name]
	}}
}

// TestLogOnATerminal: what is logged while a line is being typed stands on lines of its own, above it.
func TestLogOnATerminal(t *testing.T) {
	s := newScreen(t)
	p := s.program(t.TempDir())
	p.flags.logLevel = "warn"
	log, err := p.logger()
	if err != nil {
		t.Fatal(err)
	}
	c, err := p.newConsole("> ")
	if err != nil {
		t.Fatal(err)
	}
	read := make(chan string)
	go func() {
		line, _ := c.ReadLine()
		read <- line
	}()
	s.types("ty")
	s.shows("> ty")
	log.Error("one")
	log.Error("two")
	s.shows("msg=two\r\n> ty")
	s.types("ped\r")
	if line := <-read; line != "typed" {
		t.Errorf("read %q", line)
	}
	if err := c.Close(); err != nil {
		t.Error(err)
	}
	log.Error("three")
	s.shows("msg=three\r\n")
}

func TestChatOnATerminal(t *testing.T) {
	for _, tc := range []struct {
		name, leave string
		code        int
	}{{"Ctrl-D", "\x04", 0}, {"Ctrl-C", "\x03", 130}, {"q!", "q!\r", 0}} {
		t.Run(tc.name, func(t *testing.T) {
			f := startFake(t)
			s := newScreen(t)
			p := s.program(f.home)
			ended := make(chan int)
			go func() { ended <- p.Run(t.Context(), nil) }()
			s.shows("you are alice")
			s.shows("> ")
			s.types("bob: ty")
			f.events <- incoming("a", "in between\x1b[2J")
			s.shows("bob (lan 2 ms): in between␛[2J")
			s.types("ped\r")
			s.shows("✓✓ delivered lan 2.1 ms to bob")
			s.types(tc.leave)
			if code := <-ended; code != tc.code {
				t.Errorf("got exit %d, want %d", code, tc.code)
			}
			f.mu.Lock()
			defer f.mu.Unlock()
			if len(f.sent) != 1 || f.sent[0] != "typed" {
				t.Errorf("sent %q, want the line that was not torn", f.sent)
			}
		})
	}
}

func TestPasswordIsNotEchoed(t *testing.T) {
	s := newScreen(t)
	p := s.program(t.TempDir())
	type result struct {
		secret []byte
		err    error
	}
	got := make(chan result)
	echoing, err := term.GetState(int(s.tty.Fd())) // before anybody turns it off
	if err != nil {
		t.Fatal(err)
	}
	go func() {
		secret, err := p.password(true)(t.Context(), peer.PasswordSignIn, "ali\x1bce")
		got <- result{secret, err}
	}()
	for _, prompt := range []string{"Password for ali␛ce (12 characters or more): ", "The same again: "} {
		s.shows(prompt)
		s.silent(echoing)
		s.types("open sesame open\r")
	}
	if r := <-got; string(r.secret) != "open sesame open" || r.err != nil {
		t.Errorf("got %q, %v", r.secret, r.err)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if strings.Contains(s.text.String(), "sesame") {
		t.Error("the password is on the screen")
	}
}

// Whoever chooses a password may mistype it: the program asks again instead of leaving.
func TestPasswordIsAskedAgain(t *testing.T) {
	const (
		choose = "alice (12 characters or more): "
		again  = "The same again: "
		good   = "open sesame open\r"
	)
	for _, tc := range []struct {
		name  string
		typed [][2]string // prompt, answer
		shown []string
		code  peer.Code
	}{
		{
			"until it is good",
			[][2]string{{choose, "\r"}, {choose, "short\r"}, {choose, good}, {again, good}},
			[]string{"no password was typed", "use at least 12 characters. Again."},
			"",
		},
		{
			"different",
			[][2]string{{choose, good}, {again, "another sesame\r"}, {choose, good}, {again, good}},
			[]string{"the two passwords differ. Again."},
			"",
		},
		{"three times", [][2]string{{choose, "short\r"}, {choose, "short\r"}, {choose, "short\r"}}, nil, peer.CodePasswordTooWeak},
	} {
		t.Run(tc.name, func(t *testing.T) {
			s := newScreen(t)
			p := s.program(t.TempDir())
			echoing, err := term.GetState(int(s.tty.Fd()))
			if err != nil {
				t.Fatal(err)
			}
			got := make(chan error)
			go func() {
				_, err := p.password(true)(t.Context(), peer.PasswordSignIn, "alice")
				got <- err
			}()
			asked := map[string]int{}
			for _, step := range tc.typed {
				asked[step[0]]++
				s.shown(step[0], asked[step[0]])
				s.silent(echoing)
				s.types(step[1])
			}
			err = <-got
			if (err != nil) != (tc.code != "") || err != nil && peer.CodeOf(err) != tc.code {
				t.Errorf("got %v, want code %q", err, tc.code)
			}
			for _, text := range tc.shown {
				s.shows(text)
			}
		})
	}
}

// Ctrl-D at the question is a person who has thought better of it.
func TestNameIsNotGiven(t *testing.T) {
	s := newScreen(t)
	p := s.program(t.TempDir())
	ended := make(chan int)
	go func() { ended <- p.Run(t.Context(), nil) }()
	s.shows("Choose a name")
	s.types("\x04")
	if code := <-ended; code != exitInterrupted {
		t.Errorf("got exit %d", code)
	}
}

func TestOfferedName(t *testing.T) {
	for system, want := range map[string]string{"root": "", "Carol": "carol", "DOMAIN\\carol": "", "": ""} {
		if got := offered(system); got != want {
			t.Errorf("%q: got %q, want %q", system, got, want)
		}
	}
}

func TestInterruptedPasswordGivesTheEchoBack(t *testing.T) {
	s := newScreen(t)
	p := s.program(t.TempDir())
	echoing, err := term.GetState(int(s.tty.Fd()))
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancelCause(t.Context())
	got := make(chan error)
	go func() {
		_, err := p.password(false)(ctx, peer.PasswordOpen, "alice")
		got <- err
	}()
	s.silent(echoing)
	cancel(leave{})
	if err := <-got; exitCode(ctx, err) != exitInterrupted {
		t.Errorf("got %v", err)
	}
	if now, err := term.GetState(int(s.tty.Fd())); err != nil || !reflect.DeepEqual(now, echoing) {
		t.Errorf("the terminal is not as it was: %v", err)
	}
}

func TestNameIsAsked(t *testing.T) {
	s := newScreen(t)
	p := s.program(t.TempDir())
	got := make(chan string)
	go func() {
		name, err := p.newName(t.Context())
		if err != nil {
			t.Error(err)
		}
		got <- name
	}()
	s.shows("Choose a name")
	s.types("a/b\r")
	s.shown("Choose a name", 2)
	s.types("carol\r")
	if name := <-got; name != "carol" {
		t.Errorf("got %q", name)
	}
}

func TestVerifyShowsAQRCode(t *testing.T) {
	s := newScreen(t)
	p := s.program(filepath.Join(t.TempDir(), "none"))
	v := peer.Verification{User: "bob", SafetyNumber: strings.TrimSpace(strings.Repeat("12345 ", 12)), Key: peer.KeyPinned}
	if text := p.verification(&v); !strings.Contains(text, "█▀") || !strings.HasPrefix(text, "12345 12345") {
		t.Errorf("got %q", text)
	}
	environment := p.getenv
	for name, tc := range map[string]struct {
		set    map[string]string
		plain  bool
		blocks bool
		hashes bool
	}{
		"without UTF-8": {set: map[string]string{"LC_ALL": "C"}, hashes: true},
		"no colours":    {set: map[string]string{"NO_COLOR": "1"}, blocks: true},
		"dumb":          {set: map[string]string{"TERM": "dumb"}},
		"plain":         {plain: true},
	} {
		p.flags.plain = tc.plain
		p.getenv = func(name string) string {
			if value, ok := tc.set[name]; ok {
				return value
			}
			return environment(name)
		}
		if text := p.verification(&v); strings.Contains(text, "█▀") != tc.blocks || strings.Contains(text, "####") != tc.hashes {
			t.Errorf("%s: got %q", name, text)
		}
	}
}
