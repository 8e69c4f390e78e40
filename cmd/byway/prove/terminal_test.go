package prove_test

import (
	"bytes"
	"context"
	"io"
	"os"
	"strings"
	"sync"
	"testing"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/creack/pty"

	"github.com/byway-chat/byway/cmd/byway/stage"
)

// screen is a pseudo-terminal with a program on it, and all that the program has written to it.
type screen struct {
	t     testing.TB
	tty   *os.File
	ended chan struct{} // closed when the program has ended and its output is here
	once  sync.Once
	kill  context.CancelFunc

	mu   sync.Mutex // guards the following
	text bytes.Buffer
}

// show starts a program on a terminal.
func show(t testing.TB, l stage.Launch) *screen {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	cmd := l.Command(ctx)
	tty, err := pty.StartWithSize(cmd, &pty.Winsize{Rows: 40, Cols: 200})
	if err != nil {
		cancel()
		t.Skipf("skipped: no pseudo-terminal: %v", err)
	}
	s := &screen{t: t, tty: tty, ended: make(chan struct{}), kill: cancel}
	go func() {
		defer close(s.ended)
		_, _ = io.Copy(s, tty) // ends with an error when the program does
		_ = cmd.Wait()
	}()
	t.Cleanup(s.close)
	return s
}

func (s *screen) close() {
	s.once.Do(func() {
		s.kill()
		<-s.ended
		_ = s.tty.Close()
	})
}

func (s *screen) Write(b []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.text.Write(b)
}

func (s *screen) seen() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.text.String()
}

// shows waits until the terminal has shown a text.
func (s *screen) shows(text string) {
	s.t.Helper()
	for deadline := time.Now().Add(stage.Patience); !strings.Contains(s.seen(), text); <-time.After(10 * time.Millisecond) {
		if time.Now().After(deadline) {
			s.t.Fatalf("the terminal does not show %q:\n%q", text, s.seen())
		}
	}
}

// over waits until the program has ended.
func (s *screen) over() {
	s.t.Helper()
	select {
	case <-s.ended:
	case <-time.After(stage.Patience):
		s.t.Fatalf("does not end; on the terminal:\n%q", s.seen())
	}
}

// tame asserts that nothing was written which a terminal would obey, but for line ends and tabs and the sequences of our own that are allowed.
func tame(t testing.TB, where, text string, allowed ...string) {
	t.Helper()
	text = strings.ReplaceAll(text, "\r\n", "\n")
	for _, a := range allowed {
		text = strings.ReplaceAll(text, a, "")
	}
	for i, r := range text {
		_, size := utf8.DecodeRuneInString(text[i:])
		switch {
		case r == '\n' || r == '\t':
		case r == utf8.RuneError && size == 1, unicode.IsControl(r), unicode.Is(unicode.Bidi_Control, r), unicode.Is(unicode.Cf, r), r == '\u2028', r == '\u2029':
			t.Fatalf("%s: %q reaches the terminal in %q", where, r, text[max(0, i-30):min(len(text), i+30)])
		}
	}
}

// hostile are texts that do something to a terminal that obeys them. Each ends in a word that must be seen.
var hostile = []string{
	"\x1b]52;c;UFdORUQ=\x07 clipboard", "\x1b]0;owned\x1b\\ title", "\x1b]8;;http://evil.test\x07link\x1b]8;;\x07 hyperlink", "\x1b[2J\x1b[1;1H cleared",
	"\x1b[6n report", "\x1bP$qm\x1b\\ decrqss", "\x1bc reset", "\u009b31m c1-csi", "\u009d0;owned\u009c c1-osc", "\u202egnp.exe turned", "\u2066\u2067 isolates",
	"over\rwritten return", "back\b\b\b\b space", "bell\a rings", "nul\x00 byte", "del\x7f ete", "\u200b\u2060\ufeff zero-width", "line\u2028break\u2029 separators",
	"\n\nmallory (lan 1 ms): forged", "\v\f\x0e\x0f\x18\x1a the-other-controls",
}

func TestTerminal(t *testing.T) {
	t.Parallel()
	o := stage.Serve(t, "", stage.Loopback...)
	alice, mallory := stage.NewPerson(t, "alice", o, "--no-passphrase"), stage.NewPerson(t, "mallory", o)
	alice.Must(0, "register", "--user", "alice")
	m := mallory.Bot()
	last := func(text string) string { f := strings.Fields(text); return f[len(f)-1] }
	sendAll := func() {
		for i, text := range hostile {
			m.Send(string(rune('a'+i)), "alice", text, "auto")
		}
	}

	for _, face := range []struct {
		name    string
		args    []string
		allowed []string // what the line editor writes of its own
		leave   string
	}{
		{"chat", nil, []string{"\x1b[?2004h", "\x1b[?2004l", "\x1b[K", "\x1b[D", "\x1b[C", "\x1b[A", "\x1b[2D", "\x1b[3D", "\x1b[2K", "\x1b[J", "\x1b[0K", "\r"}, "q!\r"},
		{"plain", []string{"--plain"}, nil, "q!\r"},
		{"listen", []string{"listen"}, nil, "\x03"},
		{"listen --json", []string{"listen", "--json"}, nil, "\x03"},
	} {
		l := alice.Byway(face.args...)
		if face.name == "plain" {
			l.Env = []string{"TERM=dumb"}
		}
		s := show(t, l)
		stage.Eventually(t, "alice is there", func() bool { _, there := o.Active()["alice"]; return there })
		sendAll()
		for _, text := range hostile {
			s.shows(last(text))
		}
		if _, err := io.WriteString(s.tty, face.leave); err != nil {
			t.Fatal(err)
		}
		s.over()
		tame(t, face.name, s.seen(), face.allowed...)
		if strings.Contains(s.seen(), "\nmallory (lan 1 ms): forged") {
			t.Errorf("%s: a message of several lines passes for two:\n%q", face.name, s.seen())
		}
	}

	for _, args := range [][]string{{"history"}, {"history", "mallory", "--json"}, {"history", "--search", "\x1b["}} {
		s := show(t, alice.Byway(args...))
		s.over()
		if !strings.Contains(s.seen(), "report") {
			t.Errorf("byway %v shows no history: %q", args, s.seen())
		}
		tame(t, strings.Join(args, " "), s.seen())
	}
	checkJSON(t, alice)
	checkErrors(t, o, alice)
}

// checkJSON asserts that JSON carries every text unharmed.
func checkJSON(t *testing.T, p *stage.Person) {
	t.Helper()
	got := map[string]bool{}
	for _, e := range stage.ParseLines[stage.Event](t, p.Must(0, "history", "--json", "--limit", "1000").Out) {
		if e.Body != nil {
			got[*e.Body] = true
		}
	}
	for _, want := range hostile {
		if !got[want] {
			t.Errorf("JSON does not carry %q", want)
		}
	}
}

// checkErrors asserts that what is wrong with a command line is told without obeying it.
func checkErrors(t *testing.T, o *stage.Operator, p *stage.Person) {
	t.Helper()
	text := strings.ReplaceAll(strings.Join(hostile, " "), "\x00", "") // which no argument can hold
	for _, args := range [][]string{
		{"send", text, "hello"},
		{"verify", text},
		{text},
		{"who", "--" + text},
		{"who", "--log-level", text},
		{"who", "--rendezvous", text},
		{"who", "--password-file", text, "--home", p.Home + "y", "--user", "somebody"},
		{"send", "mallory", "x", "--way", text},
		{"send", "mallory", "x", "--timeout", text},
		{"register", "--user", text, "--home", p.Home + "x"},
		{"who", "--home", "/dev/null/" + text},
	} {
		l := p.Byway()
		l.Args = append(l.Args, args...)
		s := show(t, l)
		s.over()
		if !strings.Contains(s.seen(), "byway: error: ") {
			t.Errorf("byway %q says %q", args, s.seen())
		}
		tame(t, strings.Join(args, " "), s.seen())
	}
	for _, args := range [][]string{{text}, {"kick", text}, {"users", "--data", "/dev/null/" + text}, {"serve", "--listen", text, "--data", o.Data + "x"}} {
		s := show(t, stage.Launch{Args: append([]string{"rendezvous"}, args...)})
		s.over()
		if !strings.Contains(s.seen(), "rendezvous: error: ") {
			t.Errorf("rendezvous %q says %q", args, s.seen())
		}
		tame(t, strings.Join(args, " "), s.seen())
	}
}
