package main

import (
	"context"
	"io"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/byway-chat/byway/peer"
)

func TestSendOutcomes(t *testing.T) {
	for _, tc := range []struct {
		name   string
		fate   peer.State
		args   []string
		code   int
		stdout string
		stderr string
	}{
		{"delivered", peer.StateDelivered, nil, 0, "delivered to bob by lan in 2.1 ms\n", ""},
		{"read", peer.StateRead, nil, 0, "delivered to bob by lan in 2.1 ms\n", ""},
		{"stored", peer.StateStored, nil, 4, "stored for bob in 2.1 ms: it is delivered when bob is back\n", ""},
		{"stored is enough", peer.StateStored, []string{"--wait", "stored"}, 0, "stored for bob in 2.1 ms: it is delivered when bob is back\n", ""},
		{"stored is too little", peer.StateStored, []string{"--wait", "delivered"}, 4, "stored for bob in 2.1 ms: it is delivered when bob is back\n", ""},
		{"queued", peer.StateAccepted, nil, 4, "queued for bob: it leaves when byway runs and finds a way\n", ""},
		{"accepted is enough", peer.StateAccepted, []string{"--wait", "accepted"}, 0, "accepted for bob\n", ""},
		{"failed", peer.StateFailed, nil, 5, "", "byway: error: the message to bob was not delivered: unreachable\nbyway: hint: byway route bob\n"},
		{"bad way", peer.StateDelivered, []string{"--way", "owl"}, 2, "", "byway: error: there is no way \"owl\" to choose\nbyway: hint: use --way auto, lan, direct or relay\n"},
		{"bad wait", peer.StateDelivered, []string{"--wait", "owl"}, 2, "", "byway: error: there is no state \"owl\" to wait for\nbyway: hint: use --wait accepted, stored or delivered\n"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			f := startFake(t)
			f.fate = tc.fate
			code, stdout, stderr := f.run(t.Context(), strings.NewReader(""), append([]string{"send", "bob", "hi"}, tc.args...)...)
			if diff := cmp.Diff([]any{tc.code, tc.stdout, tc.stderr}, []any{code, stdout, stderr}); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
}

// TestSendOverQuota: a message that waits because the rendezvous takes no more ends with exit 9, which says so.
func TestSendOverQuota(t *testing.T) {
	const stays = "byway: hint: it stays queued here and leaves by itself while byway runs, as with `byway up`"
	full := "byway: error: the mailbox of bob is full: the message is not stored there\n" + stays + ", when there is room or bob is online\n"
	fast := "byway: error: the rendezvous takes no more from this account for now: the message to bob waits\n" + stays + "\n"
	for _, tc := range []struct {
		name, reason string
		args         []string
		code         int
		stdout       string
		stderr       string
	}{
		{"full", "mailbox-full", nil, 9, "", full},
		{"full, to be stored", "mailbox-full", []string{"--wait", "stored"}, 9, "", full},
		{"full, to be delivered", "mailbox-full", []string{"--wait", "delivered"}, 9, "", full},
		{"full, and accepted is enough", "mailbox-full", []string{"--wait", "accepted"}, 0, "accepted for bob\n", ""},
		{"too fast", "rate-limited", nil, 9, "", fast},
		{"busy", "busy", nil, 4, "queued for bob: it leaves when byway runs and finds a way\n", ""},
	} {
		t.Run(tc.name, func(t *testing.T) {
			f := startFake(t)
			f.fate, f.reason = peer.StateAccepted, tc.reason
			code, stdout, stderr := f.run(t.Context(), strings.NewReader(""), append([]string{"send", "bob", "hi"}, tc.args...)...)
			if diff := cmp.Diff([]any{tc.code, tc.stdout, tc.stderr}, []any{code, stdout, stderr}); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
	f := startFake(t)
	f.fate, f.reason = peer.StateAccepted, "mailbox-full"
	code, stdout, _ := f.run(t.Context(), strings.NewReader(""), "send", "--json", "bob", "hi")
	var told []any
	for _, o := range objects(t, stdout, false) {
		told = append(told, o["type"], o["state"], o["reason"])
	}
	want := []any{"state", "accepted", nil, "state", "accepted", "mailbox-full", "error", nil, "mailbox-full"}
	if diff := cmp.Diff(want, told); diff != "" || code != 9 {
		t.Errorf("exit %d (-want +got):\n%s", code, diff)
	}
}

// A running peer of somebody else must not carry out what was meant for another.
func TestRunningPeerOfAnother(t *testing.T) {
	const here = "12D3KooWD3eckifWpRn9wQpMG9R9hX3sD158z7EqHWmweQAJU5SA"
	for _, tc := range []struct {
		flags  string
		code   int
		stderr string
	}{
		{"--user alice", 0, ""},
		{"--user Alice", 0, ""},
		{"--user carol", 2, "this home belongs to alice"},
		{"--user a/b", 2, "this home belongs to alice"},
		{"--rendezvous /ip4/192.0.2.1/tcp/29929/p2p/" + here, 0, ""},
		{"--rendezvous /ip4/192.0.2.1/tcp/29929/p2p/12D3KooWRBy97UB99e3J6hiPesre1MZeuNQvfan4gBziswrRJsNK", 2, "this home is enrolled at another rendezvous"},
		{"--rendezvous nonsense", 2, "the address of the rendezvous is wrong"},
	} {
		t.Run(tc.flags, func(t *testing.T) {
			f := startFake(t)
			f.rendezvous = here
			code, _, stderr := f.run(t.Context(), strings.NewReader(""), append(strings.Fields(tc.flags), "send", "bob", "hi")...)
			if code != tc.code || !strings.Contains(stderr, tc.stderr) {
				t.Errorf("got %d, %q; want %d, %q", code, stderr, tc.code, tc.stderr)
			}
			if (len(f.sent) > 0) != (tc.code == 0) {
				t.Errorf("sent %q", f.sent)
			}
		})
	}
}

func TestSendText(t *testing.T) {
	for _, tc := range []struct {
		name, input string
		args        []string
		code        int
		sent        []string
	}{
		{"argument", "", []string{"bob", "a\nb"}, 0, []string{"a\nb"}},
		{"dash", "from stdin\n", []string{"bob", "-"}, 0, []string{"from stdin"}},
		{"no argument", "two\nlines\n\n", []string{"bob"}, 0, []string{"two\nlines\n"}},
		{"64 KiB", strings.Repeat("x", maxText) + "\n", []string{"bob"}, 0, []string{strings.Repeat("x", maxText)}},
		{"over 64 KiB", strings.Repeat("x", maxText+1), []string{"bob"}, 2, nil},
		{"far over 64 KiB", strings.Repeat("x", 10*maxText), []string{"bob"}, 2, nil},
		{"empty", "", []string{"bob"}, 2, nil},
		{"not UTF-8", "", []string{"bob", "\xff"}, 2, nil},
		{"unknown user", "", []string{"carol", "hi"}, 6, nil},
		{"no user", "", nil, 2, nil},
		{"too many words", "", []string{"bob", "hello", "there"}, 2, nil},
	} {
		t.Run(tc.name, func(t *testing.T) {
			f := startFake(t)
			code, _, stderr := f.run(t.Context(), strings.NewReader(tc.input), append([]string{"send"}, tc.args...)...)
			if code != tc.code {
				t.Errorf("got exit %d, want %d: %s", code, tc.code, stderr)
			}
			if diff := cmp.Diff(tc.sent, f.sent); diff != "" {
				t.Errorf("sent (-want +got):\n%s", diff)
			}
			if code != 0 && !strings.HasPrefix(stderr, "byway: error: ") || strings.Contains(stderr, "\x1b") {
				t.Errorf("got standard error %q", stderr)
			}
		})
	}
}

func TestSendJSON(t *testing.T) {
	f := startFake(t)
	code, stdout, stderr := f.run(t.Context(), nil, "send", "bob", "hi", "--json")
	list := objects(t, stdout, true)
	if code != 0 || stderr != "" || len(list) != 2 || list[0]["state"] != "accepted" || list[1]["state"] != "delivered" || list[1]["way"] != "lan" {
		t.Errorf("got %d, %v, %q", code, list, stderr)
	}
	code, stdout, _ = f.run(t.Context(), nil, "send", "carol", "hi", "--json")
	list = objects(t, stdout, true)
	if code != 6 || len(list) != 1 || list[0]["type"] != "error" || list[0]["code"] != "no-such-user" || list[0]["hint"] != "byway who" {
		t.Errorf("got %d, %v for an unknown user", code, list)
	}
}

func incoming(id, body string) peer.Event {
	return peer.Event{Type: peer.EventMessage, ID: id, Order: int64(id[0]), From: "bob", Body: &body, Way: peer.WayLAN, MS: ptr(2.0), Key: peer.KeyPinned}
}

func TestListen(t *testing.T) {
	f := startFake(t, incoming("a", "one"), peer.Event{Type: peer.EventPresence, User: "bob", Online: ptr(true)}, incoming("b", "two\nalice (lan 1 ms): forged\x1b]0;x\a"))
	code, stdout, stderr := f.run(t.Context(), nil, "listen", "--count", "2")
	want := "bob (lan 2 ms): one\nbob (lan 2 ms): two␊alice (lan 1 ms): forged␛]0;x␇\n"
	if code != 0 || stdout != want || stderr != "" {
		t.Errorf("got %d, %q, %q; want %q", code, stdout, stderr, want)
	}
	if f.shown != "b" {
		t.Errorf("marked up to %q, want b", f.shown)
	}
}

func TestListenJSON(t *testing.T) {
	f := startFake(t, incoming("a", "\u009b2J\u202e"), peer.Event{Type: peer.EventPresence, User: "bob", Online: ptr(true)}, incoming("b", "two"))
	code, stdout, _ := f.run(t.Context(), nil, "listen", "--count", "2", "--json")
	list := objects(t, stdout, true)
	if code != 0 || len(list) != 4 || list[0]["type"] != "ready" || list[0]["user"] != "alice" || list[1]["body"] != "\u009b2J\u202e" || list[2]["type"] != "presence" {
		t.Errorf("got %d, %v", code, list)
	}
	if strings.ContainsAny(stdout, "\u009b\u202e") {
		t.Errorf("raw controls in %q", stdout)
	}
}

func TestListenTimeout(t *testing.T) {
	f := startFake(t, incoming("a", "one"))
	if code, stdout, stderr := f.run(t.Context(), nil, "listen", "--count", "2", "--timeout", "50ms"); code != 5 || stdout == "" || stderr == "" {
		t.Errorf("got %d, %q, %q; want 5 after one message", code, stdout, stderr)
	}
	if code, _, stderr := f.run(t.Context(), nil, "listen", "--timeout", "10ms"); code != 0 {
		t.Errorf("got %d, %q; want 0 without --count", code, stderr)
	}
}

func TestListenLeaves(t *testing.T) {
	for _, tc := range []struct {
		cause error
		code  int
	}{{leave{drained: true}, 0}, {leave{}, 130}} {
		ctx, cancel := context.WithCancelCause(t.Context())
		f := startFake(t, incoming("a", "one"))
		in, out := io.Pipe()
		ended := make(chan int)
		go func() {
			p := program{stdin: nil, stdout: out, stderr: io.Discard, getenv: func(string) string { return "" }}
			ended <- p.Run(ctx, []string{"listen", "--home", f.home})
		}()
		if _, err := in.Read(make([]byte, 64)); err != nil {
			t.Fatal(err)
		}
		cancel(tc.cause)
		if code := <-ended; code != tc.code {
			t.Errorf("got %d for %+v, want %d", code, tc.cause, tc.code)
		}
	}
}

func TestBot(t *testing.T) {
	f := startFake(t, incoming("a", "hello bot"))
	input := strings.Join([]string{
		`{"v":1,"id":"7","cmd":"send","to":"bob","body":"hi","way":"auto"}`,
		`{"id":8,"cmd":"who"}`,
		`not a command`,
		``,
		`{"id":"9","cmd":"dance"}`,
		`{"id":"10","cmd":"send","to":"carol","body":"hi"}`,
		`{"id":"11","cmd":"send","to":"bob","body":""}`,
		"{\"id\":\"12\",\"cmd\":\"who\"\xff}",
		`{"id":"x","cmd":"` + strings.Repeat("y", maxCommand) + `"}`,
		`{"id":"13","cmd":"ping","to":"bob","count":2}`,
		`{"id":["no"],"cmd":"who"}`,
		`{"id":"14","cmd":"ping","to":"bob","way":"owl"}`,
	}, "\n")
	code, stdout, stderr := f.run(t.Context(), strings.NewReader(input), "bot")
	if code != 0 || stderr != "" {
		t.Errorf("got exit %d, %q", code, stderr)
	}
	got := map[string][]string{}
	for i, o := range objects(t, stdout, true) {
		kind, _ := o["type"].(string)
		if i == 0 && kind != "ready" {
			t.Errorf("the first object is %q", kind)
		}
		re, _ := o["re"].(string)
		if s, ok := o["state"].(string); ok {
			kind += " " + s
		}
		if c, ok := o["code"].(string); ok {
			kind += " " + c
		}
		got[re] = append(got[re], kind)
	}
	want := map[string][]string{
		"":   {"ready", "message"},
		"7":  {"state accepted", "state delivered"},
		"8":  {"contact", "done"},
		"9":  {"error usage"},
		"10": {"error no-such-user"},
		"11": {"error usage"},
		"13": {"pong", "pong", "summary", "done"},
		"14": {"error usage"},
	}
	errs := 0
	for _, kind := range got[""] {
		if kind == "error usage" || kind == "error too-large" {
			errs++
		}
	}
	if errs != 4 {
		t.Errorf("got %d errors without re, want 4: %v", errs, got[""])
	}
	got[""] = got[""][:0:0]
	got[""] = append(got[""], "ready", "message")
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("answers (-want +got):\n%s", diff)
	}
	if f.shown != "a" {
		t.Errorf("marked up to %q, want a", f.shown)
	}
}

func TestBotReadsOnDuringASlowPing(t *testing.T) {
	f := startFake(t)
	f.block = make(chan struct{})
	in, commands := io.Pipe()
	answers, out := io.Pipe()
	ended := make(chan int)
	go func() {
		p := program{stdin: in, stdout: out, stderr: io.Discard, getenv: func(string) string { return "" }}
		code := p.Run(t.Context(), []string{"bot", "--home", f.home})
		_ = out.Close()
		ended <- code
	}()
	read := make(chan string, 100)
	go func() {
		defer close(read)
		buf := make([]byte, 4096)
		for {
			n, err := answers.Read(buf)
			if err != nil {
				return
			}
			read <- string(buf[:n])
		}
	}()
	<-read // ready
	_, _ = io.WriteString(commands, `{"id":"1","cmd":"ping","to":"bob"}`+"\n"+`{"id":"2","cmd":"who"}`+"\n")
	if got := <-read; !strings.Contains(got, `"re":"2"`) {
		t.Errorf("got %q first, want the answer to who", got)
	}
	close(f.block)
	_, _ = io.WriteString(commands, `{"id":"3","cmd":"quit"}`+"\n")
	for range read {
	}
	if code := <-ended; code != 0 {
		t.Errorf("got exit %d", code)
	}
	_ = commands.Close()
}

func TestChat(t *testing.T) {
	f := startFake(t, peer.Event{Type: peer.EventError, Message: "the disk\nfails", Hint: "look at it"},
		peer.Event{Type: peer.EventGap, From: "bob", First: 5, Last: 5}, peer.Event{Type: peer.EventGap, From: "bob", First: 7, Last: 9},
		peer.Event{Type: peer.EventWaiting, From: "bob", First: 10, Last: 10, Held: 1}, peer.Event{Type: peer.EventWaiting, From: "bob", First: 10, Last: 12, Held: 4}, incoming("a", "hello"))
	in, typed := io.Pipe()
	ended := make(chan struct{})
	var code int
	var stdout, stderr string
	go func() {
		defer close(ended)
		code, stdout, stderr = f.run(t.Context(), in, "--plain")
	}()
	_, _ = io.WriteString(typed, "/who\nbob: first\nsecond: with a colon\nhttp://x.test\n@bob third\n/nonsense\ncarol: hi\nq!\n")
	<-ended
	_ = typed.Close()
	if code != 0 || stderr != "" {
		t.Errorf("got exit %d, %q", code, stderr)
	}
	for _, want := range []string{
		"you are alice, device 00112233aabbccdd", "bob (lan 2 ms): hello\n", "NAME  ONLINE  WAY",
		"* message 5 from bob will never come: ", "* messages 7 to 9 from bob will never come: ",
		"* a message from bob waits for an earlier one, still on the way\n", "* 4 messages from bob wait for 3 earlier ones, still on the way\n",
		"error: the disk␊fails\nhint: look at it\n", "error: there is no command /nonsense\n", "error: refused␛[2J\nhint: /who lists the users; @bob carol: … sends it to bob as text\n",
	} {
		if !strings.Contains(stdout, want) {
			t.Errorf("no %q in:\n%s", want, stdout)
		}
	}
	if got := strings.Count(stdout, "✓✓ delivered lan 2.1 ms to bob"); got != 3 { // each with its text where another is under way
		t.Errorf("got %d marks in:\n%s", got, stdout)
	}
	if diff := cmp.Diff([]string{"first", "http://x.test", "third"}, f.sent); diff != "" {
		t.Errorf("sent (-want +got):\n%s", diff)
	}
}

// TestChatMarks sends one message, whose mark need not say which it is for.
func TestChatMarks(t *testing.T) {
	for _, row := range []struct {
		term string
		fate peer.State
		want string
	}{
		{"xterm", peer.StateDelivered, "\n✓✓ delivered lan 2.1 ms to bob\n"},
		{"dumb", peer.StateStored, "\n+ stored 2.1 ms for bob\n"}, // and no UTF-8
	} {
		f := startFake(t)
		f.fate = row.fate
		var out strings.Builder
		p := program{stdin: strings.NewReader("bob: hi\n"), stdout: &out, stderr: io.Discard, getenv: func(name string) string {
			return map[string]string{"BYWAY_HOME": f.home, "LANG": "C.UTF-8", "TERM": row.term, "BYWAY_PLAIN": "1"}[name]
		}}
		if code := p.Run(t.Context(), nil); code != 0 || !strings.Contains(out.String(), row.want) {
			t.Errorf("%s: got %d, %q, want %q", row.term, code, out.String(), row.want)
		}
	}
}

func TestWhoRoutePing(t *testing.T) {
	f := startFake(t)
	code, stdout, _ := f.run(t.Context(), nil, "who", "--json")
	list := objects(t, stdout, false)
	if code != 0 || len(list) != 1 || list[0]["name"] != "bob" || list[0]["online"] != true || list[0]["way"] != "lan" || list[0]["key"] != "pinned" {
		t.Errorf("who: got %d, %v", code, list)
	}
	code, stdout, _ = f.run(t.Context(), nil, "route", "bob", "--json")
	list = objects(t, stdout, false)
	if code != 3 || len(list) != 2 || list[0]["reason"] != "no-answer" || list[1]["in_use"] != true {
		t.Errorf("route: got %d, %v", code, list)
	}
	code, stdout, _ = f.run(t.Context(), nil, "ping", "bob", "-c", "3", "--interval", "0", "--json")
	list = objects(t, stdout, false)
	if code != 3 || len(list) != 4 || list[3]["type"] != "summary" || list[3]["received"] != 3.0 || list[3]["p50"] != 1.5 || list[0]["rtt_ms"] != 1.5 {
		t.Errorf("ping: got %d, %v", code, list)
	}
}
