package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/byway-chat/byway/peer"
	"github.com/byway-chat/byway/peer/api"
)

func TestExitCodes(t *testing.T) {
	left, cancel := context.WithCancelCause(t.Context())
	cancel(leave{})
	for _, tc := range []struct {
		ctx  context.Context
		err  error
		want int
	}{
		{t.Context(), nil, 0},
		{t.Context(), errors.New("x"), 1},
		{t.Context(), usage("x", ""), 2},
		{t.Context(), outcome(3), 3},
		{t.Context(), fmt.Errorf("x: %w", &peer.Error{Code: peer.CodeUnreachable}), 5},
		{t.Context(), &peer.Error{Code: peer.CodeNoSuchUser}, 6},
		{t.Context(), &peer.Error{Code: peer.CodeBadCredentials}, 7},
		{t.Context(), &peer.Error{Code: peer.CodeNotSignedIn}, 7},
		{t.Context(), &peer.Error{Code: peer.CodeKeyChanged}, 8},
		{t.Context(), &peer.Error{Code: peer.CodeOverQuota}, 9},
		{t.Context(), &peer.Error{Code: peer.CodeNotARendezvous}, 10},
		{t.Context(), &peer.Error{Code: peer.CodeNameTaken}, 11},
		{t.Context(), &peer.Error{Code: peer.CodeNoRendezvousFound}, 20},
		{t.Context(), &peer.Error{Code: "a code of a later version"}, 1},
		{left, fmt.Errorf("sending: %w", context.Canceled), 130},
		{left, &peer.Error{Code: peer.CodeNoSuchUser}, 6},
		{t.Context(), context.Canceled, 1},
	} {
		if got := exitCode(tc.ctx, tc.err); got != tc.want {
			t.Errorf("exitCode(%v) = %d, want %d", tc.err, got, tc.want)
		}
	}
}

func TestCommandLine(t *testing.T) {
	home := t.TempDir()
	for _, tc := range []struct {
		name   string
		args   string
		env    string
		code   int
		stderr string
	}{
		{"unknown command", "dance", "", 2, "byway: error: unknown command"},
		{"unknown flag", "who --dance", "", 2, "byway: error: unknown flag: --dance\nbyway: hint: byway who --help"},
		{"bad environment", "who", "BYWAY_JSON=perhaps", 2, `byway: error: the environment variable BYWAY_JSON holds "perhaps"`},
		{"two passwords", "who --password-file a --password-command b", "", 2, "byway: error: a password file and a password command"},
		{"a flag beats the environment of the other", "version --password-file a", "BYWAY_PASSWORD_COMMAND=b", 0, ""},
		{"and the other way round", "version --password-command b", "BYWAY_PASSWORD_FILE=a", 0, ""},
		{"bad level", "who --log-level loud", "", 2, `byway: error: there is no log level "loud"`},
		{"negative limit", "history --limit -1", "", 2, "byway: error: --limit cannot be negative"},
		{"no such way", "ping bob --way owl", "", 2, "byway: error: there is no way \"owl\" to ping by\nbyway: hint: use --way auto, lan, direct, punched or relay"},
		{"the demo is not JSON", "demo --json", "", 2, "byway: error: the demo is not JSON\nbyway: hint: byway lab --json"},
		{"chat is not JSON", "--json", "", 2, "byway: error: a chat is not JSON\nbyway: hint: byway bot"},
		{"version", "version", "", 0, ""},
		{"help", "help send", "", 0, ""},
	} {
		t.Run(tc.name, func(t *testing.T) {
			var out, errs strings.Builder
			p := program{stdin: strings.NewReader(""), stdout: &out, stderr: &errs, getenv: func(name string) string {
				if k, v, _ := strings.Cut(tc.env, "="); k == name {
					return v
				}
				return map[string]string{"BYWAY_HOME": home}[name]
			}}
			code := p.Run(t.Context(), strings.Fields(tc.args))
			if code != tc.code || !strings.HasPrefix(errs.String(), tc.stderr) || (tc.stderr == "" && errs.Len() > 0) {
				t.Errorf("got %d, %q; want %d, %q", code, errs.String(), tc.code, tc.stderr)
			}
		})
	}
}

// An error is one object on standard output also where the command line is wrong before --json, or in it.
func TestErrorsOfTheCommandLineAsJSON(t *testing.T) {
	for _, tc := range []struct {
		args, env string
		json      bool
	}{
		{"ping bob --bogus --json", "", true},
		{"send bob x --timeout banana --json", "", true},
		{"demo --json", "", true},
		{"dance --json=true", "", true},
		{"--bogus", "1", true},
		{"--bogus --json=false", "1", false},
		{"ping bob --bogus -- --json", "", false},
		{"ping bob --bogus", "", false},
	} {
		t.Run(tc.args+tc.env, func(t *testing.T) {
			var out, errs strings.Builder
			p := program{stdin: strings.NewReader(""), stdout: &out, stderr: &errs, getenv: func(name string) string {
				return map[string]string{"BYWAY_HOME": t.TempDir(), "BYWAY_JSON": tc.env}[name]
			}}
			if code := p.Run(t.Context(), strings.Fields(tc.args)); code != exitUsage || !strings.HasPrefix(errs.String(), "byway: error: ") {
				t.Errorf("got %d, %q", code, errs.String())
			}
			if !tc.json {
				if out.Len() > 0 {
					t.Errorf("got %q", out.String())
				}
				return
			}
			list := objects(t, out.String(), false)
			if len(list) != 1 || list[0]["type"] != "error" || list[0]["code"] != "usage" {
				t.Errorf("got %q", out.String())
			}
		})
	}
}

// The hint for a command that a bot does not know names all there are.
func TestVerbsOfBots(t *testing.T) {
	var out strings.Builder
	b := &bot{p: &program{lines: &lines{w: &out}}}
	if _, err := b.take(t.Context(), inputLine{text: []byte(`{"id":"1","cmd":"dance"}`)}); err != nil {
		t.Fatal(err)
	}
	hint, _ := objects(t, out.String(), false)[0]["hint"].(string)
	for verb := range botVerbs {
		if !slices.Contains(strings.Fields(hint), verb) {
			t.Errorf("the hint %q lacks %s", hint, verb)
		}
	}
	if !slices.Contains(strings.Fields(hint), "quit") {
		t.Errorf("the hint %q lacks quit", hint)
	}
}

func TestEveryFlagHasAnEnvironmentForm(t *testing.T) {
	var seen []string
	p := program{stdin: strings.NewReader(""), stdout: io.Discard, stderr: io.Discard, getenv: func(name string) string {
		seen = append(seen, name)
		return ""
	}}
	p.Run(t.Context(), []string{"version"})
	asked := strings.Join(seen, " ")
	for _, name := range []string{
		"BYWAY_HOME", "BYWAY_RENDEZVOUS", "BYWAY_USER", "BYWAY_PASSWORD_FILE", "BYWAY_PASSWORD_COMMAND", "BYWAY_JSON", "BYWAY_PLAIN",
		"BYWAY_NO_MDNS", "BYWAY_LISTEN", "BYWAY_LOG_LEVEL", "BYWAY_LOG", "BYWAY_LOG_FORMAT", "BYWAY_INVITE", "BYWAY_NO_PASSPHRASE",
	} {
		if !strings.Contains(asked, name) {
			t.Errorf("%s is not asked for", name)
		}
	}
}

func TestEnvironmentLists(t *testing.T) {
	p := program{stdin: strings.NewReader(""), stdout: io.Discard, stderr: io.Discard, getenv: func(name string) string {
		return map[string]string{"BYWAY_LISTEN": "/ip4/127.0.0.1/tcp/0,/ip4/127.0.0.1/udp/0/quic-v1", "BYWAY_USER": "env", "XDG_DATA_HOME": "/data"}[name]
	}}
	if code := p.Run(t.Context(), []string{"version", "--user", "flag"}); code != 0 {
		t.Fatalf("got exit %d", code)
	}
	got := []any{p.flags.listen, p.flags.user, p.flags.home}
	want := []any{[]string{"/ip4/127.0.0.1/tcp/0", "/ip4/127.0.0.1/udp/0/quic-v1"}, "flag", "/data/byway"}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

func TestPasswordSources(t *testing.T) {
	file := filepath.Join(t.TempDir(), "password")
	for _, tc := range []struct {
		name, content, command string
		want                   string
		code                   peer.Code
	}{
		{"first line", "correct horse\nsecond\n", "", "correct horse", ""},
		{"carriage return", "correct horse\r\n", "", "correct horse", ""},
		{"no newline", "correct horse", "", "correct horse", ""},
		{"empty line", "\nsecret", "", "", peer.CodeNotSignedIn},
		{"command", "", "printf 'from command\\nmore'", "from command", ""},
		{"command fails", "", "exit 3", "", peer.CodeNotSignedIn},
		{"nothing", "", "", "", peer.CodeNotSignedIn},
	} {
		t.Run(tc.name, func(t *testing.T) {
			p := program{stdin: strings.NewReader(""), flags: flags{passwordCommand: tc.command}}
			if tc.content != "" {
				p.flags.passwordFile = file
				if err := os.WriteFile(file, []byte(tc.content), 0o600); err != nil {
					t.Fatal(err)
				}
			}
			got, err := p.password(true)(t.Context(), peer.PasswordSignIn, "alice")
			if string(got) != tc.want || (err != nil) != (tc.code != "") || (err != nil && peer.CodeOf(err) != tc.code) {
				t.Errorf("got %q, %v; want %q, %v", got, err, tc.want, tc.code)
			}
		})
	}
}

func TestInWords(t *testing.T) {
	for d, want := range map[time.Duration]string{
		-time.Second:            "0 ms",
		400 * time.Microsecond:  "0.4 ms",
		2 * time.Millisecond:    "2 ms",
		2149 * time.Microsecond: "2.1 ms",
		38 * time.Millisecond:   "38 ms",
		9 * time.Second:         "9000 ms",
		11 * time.Second:        "11 s",
		3 * time.Minute:         "3 min",
		5 * time.Hour:           "5 h",
		72 * time.Hour:          "3 days",
	} {
		if got := inWords(d); got != want {
			t.Errorf("inWords(%v) = %q, want %q", d, got, want)
		}
	}
}

func TestMessageLine(t *testing.T) {
	at := time.Unix(100, 0)
	for _, tc := range []struct {
		name string
		e    peer.Event
		want string
	}{
		{"measured", incoming("a", "hi"), "bob (lan 2 ms): hi"},
		{"from the clocks", peer.Event{From: "bob", Body: ptr("hi"), Way: peer.WayMailbox, Sent: &at, Received: ptr(at.Add(3 * time.Minute))}, "bob (mailbox 3 min): hi"},
		{"clocks that disagree", peer.Event{From: "bob", Body: ptr("hi"), Way: peer.WayLAN, Sent: &at, Received: ptr(at.Add(-time.Hour))}, "bob (lan): hi"},
		{"new key", peer.Event{From: "bob", Body: ptr("hi"), Way: peer.WayRelay, Key: peer.KeyNew}, "bob (relay): hi"},
		{"hostile", peer.Event{From: "b\x1b\nob", Body: ptr("a\r\nb\rc\n\n"), Way: "l\x07an"}, "b␛␊ob (l␇an): a\n    b␍c"},
	} {
		if got := messageLine(&tc.e); got != tc.want {
			t.Errorf("%s: got %q, want %q", tc.name, got, tc.want)
		}
	}
}

func TestParseChatLine(t *testing.T) {
	for line, want := range map[string]chatLine{
		"bob: hello there":  {to: "bob", text: "hello there"},
		"bob:":              {to: "bob"},
		"@bob hello: there": {to: "bob", text: "hello: there"},
		"@bob: hello":       {to: "bob", text: "hello"},
		"@bob":              {to: "bob"},
		"hello there":       {text: "hello there"},
		"http://x.test":     {text: "http://x.test"},
		"it is 12:30":       {text: "it is 12:30"},
		"one more: this":    {text: "one more: this"},
		": smile":           {text: ": smile"},
		"q!":                {command: "quit"},
		"/QUIT":             {command: "quit", args: []string{}},
		"/ping bob 3":       {command: "ping", args: []string{"bob", "3"}},
		"/":                 {command: "help"},
		"//etc is a path":   {text: "/etc is a path"},
		"":                  {},
	} {
		want.colon = want.to != "" && line[0] != '@'
		if diff := cmp.Diff(want, parseChatLine(line), cmp.AllowUnexported(chatLine{})); diff != "" {
			t.Errorf("%q (-want +got):\n%s", line, diff)
		}
	}
}

func TestReadLines(t *testing.T) {
	out := make(chan inputLine)
	go readLines(strings.NewReader("one\n\n"+strings.Repeat("x", 100)+"\n"+strings.Repeat("y", 10)+"\nlast"), 10, out, nil)
	var got []string
	for l := range out {
		if l.tooLong {
			got = append(got, "too long")
			continue
		}
		got = append(got, string(l.text))
	}
	if diff := cmp.Diff([]string{"one", "", "too long", "yyyyyyyyyy", "last"}, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

// However a person's name is written, what is sent to the person keeps its order.
func TestLaneOfAName(t *testing.T) {
	for _, name := range []string{"bob", "Bob", "BOB"} {
		if got := lane(name); got != "bob" {
			t.Errorf("%s: got %q", name, got)
		}
	}
	if got := lane("a/b"); got != "a/b" {
		t.Errorf("got %q", got)
	}
}

func TestRouteLine(t *testing.T) {
	e := peer.Event{User: "bob", Old: peer.WayLAN, Why: "closed"}
	if got := routeLine(&e); got != "* the way to bob is now none, was lan (closed)" {
		t.Errorf("got %q", got)
	}
}

func TestNewcomer(t *testing.T) {
	wrong := &peer.Error{Code: peer.CodeBadCredentials, Message: "wrong name or password", Hint: "check both"}
	e, ok := errors.AsType[*peer.Error](newcomer(wrong))
	if !ok || !strings.Contains(e.Hint, "--user") || wrong.Hint != "check both" {
		t.Errorf("got %+v, and changed %+v", e, wrong)
	}
	weak := &peer.Error{Code: peer.CodeBadCredentials, Message: "the password does not sign alice in, and could not register it"}
	for _, other := range []error{errors.New("other"), weak} {
		if !errors.Is(newcomer(other), other) {
			t.Errorf("%v is not left alone", other)
		}
	}
}

func TestLanes(t *testing.T) {
	l := newLanes()
	first, second, other := l.join("bob"), l.join("bob"), l.join("carol")
	<-first.ready
	<-other.ready
	select {
	case <-second.ready:
		t.Error("the second is ready before the first has left")
	default:
	}
	l.leave(first)
	<-second.ready
	l.leave(second)
	l.leave(other)
	if len(l.last) != 0 {
		t.Errorf("%d lanes are kept", len(l.last))
	}
}

func TestOutgoing(t *testing.T) {
	o, other := newOutgoing(), newOutgoing()
	ref := o.begin("7:8")
	e := peer.Event{Re: ref}
	if _, ours := other.claim(&e); ours || e.Re != "" {
		t.Errorf("another face claims %q", ref)
	}
	e.Re = ref
	if got, ours := o.claim(&e); !ours || got != ref || e.Re != "7:8" {
		t.Errorf("got ref %q and re %q, want %q and 7:8", got, e.Re, ref)
	}
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	if left := o.wait(ended); left != 1 {
		t.Errorf("got %d waiting, want 1", left)
	}
	o.end(ref)
	if left := o.wait(t.Context()); left != 0 {
		t.Errorf("got %d waiting, want 0", left)
	}
}

// TestOutgoingOutlivesItsPeer has the peer end that accepted messages. What it did not tell is told once, whether its answer came before or after the next
// peer was followed, and what the next one tells is known by the message's own id.
func TestOutgoingOutlivesItsPeer(t *testing.T) {
	o, first, second := newOutgoing(), new(api.Client), new(api.Client)
	if made := o.follow(first); len(made) != 0 {
		t.Errorf("made up %v", made)
	}
	told, untold, late := o.begin("1"), o.begin("2"), o.begin("3")
	if e := o.accepted(told, peer.Receipt{ID: "a", To: "bob", N: 1}, first); e != nil {
		t.Errorf("made up %v", e)
	}
	_ = o.accepted(untold, peer.Receipt{ID: "b", To: "bob", N: 2}, first)
	_, _ = o.claim(&peer.Event{Type: peer.EventState, State: peer.StateAccepted, Re: told, ID: "a"})
	made := o.follow(second)
	if len(made) != 1 || made[0].Re != untold || made[0].ID != "b" || made[0].N != 2 || made[0].State != peer.StateAccepted {
		t.Errorf("got %+v, want that %q is accepted", made, untold)
	}
	if again := o.follow(second); len(again) != 0 {
		t.Errorf("told again: %v", again)
	}
	if e := o.accepted(late, peer.Receipt{ID: "c", To: "bob", N: 3}, first); e == nil || e.Re != late {
		t.Errorf("got %v, want that %q is accepted", e, late)
	}
	e := peer.Event{Type: peer.EventState, State: peer.StateDelivered, ID: "b"}
	if ref, ours := o.claim(&e); !ours || ref != untold || e.Re != "2" {
		t.Errorf("got ref %q and re %q, want %q and 2", ref, e.Re, untold)
	}
	o.end(untold)
	if len(o.byID) != 2 {
		t.Errorf("%d messages are known by their ids, want 2", len(o.byID))
	}
}

func TestSummary(t *testing.T) {
	var list []peer.Pong
	for i := range 100 {
		list = append(list, peer.Pong{Way: peer.WayRelay, RTT: ptr(float64(100 - i))})
	}
	list[3].Way = peer.WayLAN
	got := summarise(append(list, peer.Pong{Lost: true}))
	want := pingSummary{
		Sent: 101, Received: 100, P50: ptr(50.0), P90: ptr(90.0), P99: ptr(99.0), Ways: map[peer.Way]int{peer.WayRelay: 99, peer.WayLAN: 1}, best: peer.WayLAN,
	}
	if diff := cmp.Diff(want, got, cmp.AllowUnexported(pingSummary{})); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	if words := got.waysInWords(); words != " (1 by lan, 99 by relay)" {
		t.Errorf("got %q", words)
	}
	if got := summarise([]peer.Pong{{Lost: true}}); got.P50 != nil || !errors.Is(reach(got.best), outcome(exitUnreachable)) {
		t.Errorf("nothing came back: got %+v", got)
	}
}

func TestQRCode(t *testing.T) {
	code := qrCode(strings.Repeat("12345", 12))
	lines := strings.Split(strings.TrimRight(code, "\n"), "\n")
	if len(lines) == 0 || len([]rune(lines[0])) > 80 || len(lines) > 24 {
		t.Errorf("the code is %d lines", len(lines))
	}
	if qrCode(strings.Repeat("x", 10_000)) != "" {
		t.Error("a code for a text that no code holds")
	}
}

func FuzzParseCommand(f *testing.F) {
	f.Add([]byte(`{"id":"7","cmd":"send","to":"bob","body":"hi"}`))
	f.Add([]byte(`{"id":7}`))
	f.Add([]byte("\xff"))
	f.Fuzz(func(t *testing.T, line []byte) {
		c, err := parseCommand(inputLine{text: line})
		if c != nil && err == nil && len(c.ID) > maxID {
			t.Errorf("an id of %d bytes", len(c.ID))
		}
	})
}

func FuzzEncodeLine(f *testing.F) {
	f.Add("\x1b[2J\u009b\u202e\x7f\ufeff")
	f.Fuzz(func(t *testing.T, s string) {
		line, err := encodeLine(map[string]string{"s": s})
		if err != nil {
			t.Fatal(err)
		}
		for i, r := range string(line) {
			if r < ' ' && i != len(line)-1 || commands(r) {
				t.Fatalf("%q holds %U", line, r)
			}
		}
	})
}

func FuzzParseChatLine(f *testing.F) {
	f.Add("bob: hi")
	f.Add("/ping bob")
	f.Fuzz(func(_ *testing.T, line string) { parseChatLine(line) })
}

// A field of the wrong kind is told by its name, not by that of our type.
func TestCommandOfTheWrongKind(t *testing.T) {
	_, err := parseCommand(inputLine{text: []byte(`{"id":"1","cmd":"ping","count":"x"}`)})
	if want := `the field "count" cannot be a string`; err == nil || err.Error() != want {
		t.Errorf("got %v, want %q", err, want)
	}
}
