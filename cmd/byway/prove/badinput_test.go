package prove_test

import (
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/byway-chat/byway/cmd/byway/stage"
)

// refusal is what a program says when it does not do something: an exit code, an error and a cure.
type refusal struct {
	code int
	says []string // in standard error
}

// refused asserts it, for people and then as JSON.
func (r refusal) check(t *testing.T, got stage.Result) {
	t.Helper()
	if got.Code != r.code {
		t.Errorf("exit code %d, want %d", got.Code, r.code)
	}
	for _, want := range append([]string{": error: ", ": hint: "}, r.says...) {
		if !strings.Contains(got.Errors, want) {
			t.Errorf("standard error does not say %q:\n%s", want, got.Errors)
		}
	}
	if strings.Contains(got.Errors, "panic") || strings.Count(got.Errors, "\n") > 2 {
		t.Errorf("standard error is more than an error and a hint:\n%s", got.Errors)
	}
}

// refuses asserts that a command of theirs is refused, and that it says the same with --json on standard output, and nothing else.
func refuses(t *testing.T, p *stage.Person, want refusal, args ...string) {
	t.Helper()
	want.check(t, stage.Run(t, p.Byway(args...), ""))
	got := stage.Run(t, p.Byway(append(args, "--json")...), "")
	want.check(t, got)
	lines := stage.ParseLines[stage.Event](t, got.Out)
	if len(lines) == 0 {
		t.Fatalf("nothing on standard output with --json")
	}
	e := lines[len(lines)-1]
	if e.Type != "error" || e.Code == "" || e.Message == "" || e.Hint == "" || !strings.Contains(got.Errors, e.Hint) {
		t.Errorf("with --json: %+v", e)
	}
}

func TestBadInput(t *testing.T) {
	t.Parallel()
	o := stage.Serve(t, "", stage.Loopback...)
	alice := stage.NewPerson(t, "alice", o)
	alice.Must(0, "register", "--user", "alice")
	peer := stage.NewPerson(t, "bob", o)
	bob := peer.Bot()
	peerAddress := firstAddr(t, bob)
	_, id, _ := strings.Cut(o.Addrs[0], "/p2p/")

	web := httptest.NewServer(http.NotFoundHandler())
	t.Cleanup(web.Close)                           // after the parallel cases
	quiet, err := net.Listen("tcp", "127.0.0.1:0") // accepts and says nothing
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = quiet.Close() })
	free, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	closed := free.Addr().String()
	free.Close()
	multiaddr := func(hostport string) string {
		_, port, _ := strings.Cut(hostport, ":")
		return "/ip4/127.0.0.1/tcp/" + port
	}
	stranger := "12D3KooWDpJ7As7BWAwRMfu1VU2WCqNjvq387JEYKDBj4kx6nXTN"

	for name, c := range map[string]struct {
		rendezvous string
		user       string
		command    []string
		want       refusal
	}{
		"taken name":                  {user: "alice", command: []string{"register"}, want: refusal{11, []string{"taken"}}},
		"name that looks like one":    {user: "a1ice", command: []string{"register"}, want: refusal{11, nil}},
		"reserved name":               {user: "admin", command: []string{"register"}, want: refusal{11, nil}},
		"mixed scripts":               {user: "аlice", command: []string{"register"}, want: refusal{11, nil}},
		"name with an escape":         {user: "al\x1b[2Jice", command: []string{"register"}, want: refusal{11, nil}},
		"name with a turned-round":    {user: "al\u202eice", command: []string{"register"}, want: refusal{11, nil}},
		"no address":                  {rendezvous: "somewhere", command: []string{"register"}, want: refusal{2, []string{"address"}}},
		"address without a peer id":   {rendezvous: "/ip4/127.0.0.1/tcp/1", command: []string{"register"}, want: refusal{2, []string{"address"}}},
		"nobody listens":              {rendezvous: multiaddr(closed) + "/p2p/" + id, command: []string{"register"}, want: refusal{10, nil}},
		"another identity":            {rendezvous: beforeID(o.Addrs[0]) + "/p2p/" + stranger, command: []string{"register"}, want: refusal{10, nil}},
		"a web server":                {rendezvous: multiaddr(web.Listener.Addr().String()) + "/p2p/" + id, command: []string{"register"}, want: refusal{10, nil}},
		"a server that says nothing":  {rendezvous: multiaddr(quiet.Addr().String()) + "/p2p/" + id, command: []string{"register"}, want: refusal{10, nil}},
		"a peer is not a rendezvous":  {rendezvous: peerAddress, command: []string{"register"}, want: refusal{10, []string{"not a rendezvous"}}},
		"a bot at a wrong address":    {rendezvous: peerAddress, command: []string{"bot"}, want: refusal{10, []string{"not a rendezvous"}}},
		"port in use":                 {command: []string{"register", "--listen", multiaddr(web.Listener.Addr().String())}, want: refusal{1, []string{"in use"}}},
		"listening where nothing can": {command: []string{"register", "--listen", "/ip4/127.0.0.1"}, want: refusal{2, []string{"address"}}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			p := stage.NewPerson(t, "newcomer", o)
			if c.rendezvous != "" {
				p.Flags = []string{"--no-mdns", "--rendezvous", c.rendezvous}
			}
			if c.user == "" {
				c.user = "newcomer"
			}
			refuses(t, p, c.want, append(c.command, "--user", c.user)...)
			if _, err := os.Stat(filepath.Join(p.Home, "keystore.age")); err == nil {
				t.Error("a refused sign-in leaves keys behind")
			}
		})
	}
	for name, c := range map[string]struct {
		args []string
		want refusal
	}{
		"unknown user":         {[]string{"send", "nobody", "hello"}, refusal{6, []string{"nobody"}}},
		"unknown user, route":  {[]string{"route", "nobody"}, refusal{6, nil}},
		"unknown user, verify": {[]string{"verify", "nobody"}, refusal{6, nil}},
		"impossible user":      {[]string{"send", "no body", "hello"}, refusal{6, nil}},
		"user with an escape":  {[]string{"send", "no\x1b]52;c;QQ==\x07body", "hello"}, refusal{6, nil}},
		"wrong way":            {[]string{"send", "bob", "hello", "--way", "pigeon"}, refusal{2, nil}},
		"unknown command":      {[]string{"sned", "bob"}, refusal{2, nil}},
		"unknown flag":         {[]string{"--json", "send", "bob", "hello", "--fast"}, refusal{2, nil}},
		"registered home":      {[]string{"register", "--user", "alice"}, refusal{11, []string{"belongs to alice"}}},
		"somebody else's home": {[]string{"send", "bob", "hello", "--user", "carol"}, refusal{2, []string{"belongs to alice"}}},
	} {
		t.Run(name, func(t *testing.T) { refuses(t, alice, c.want, c.args...) }) // one home: one after the other
	}
	if out := o.Ask("status"); !strings.Contains(out, "2") || o.Cmd.ProcessState != nil {
		t.Errorf("after all this the rendezvous says: %s", out)
	}
}

func beforeID(address string) string {
	before, _, _ := strings.Cut(address, "/p2p/")
	return before
}

// firstAddr is an address of a bot, with its id.
func firstAddr(t *testing.T, s *stage.Stream) string {
	t.Helper()
	type ready struct {
		Addrs []string `json:"addrs"`
	}
	first, _, _ := strings.Cut(s.Stdout(), "\n")
	addrs := stage.ParseLines[ready](t, first)[0].Addrs
	if len(addrs) == 0 {
		t.Fatalf("%s has no address", s.Name)
	}
	return addrs[0]
}

func TestPasswords(t *testing.T) {
	t.Parallel()
	o := stage.Serve(t, "", stage.Loopback...)
	p := stage.NewPerson(t, "alice", o)
	without := p.Byway("register", "--user", "alice")
	without.Args = dropFlag(without.Args, "--password-file")
	refusal{7, []string{"password"}}.check(t, stage.Run(t, without, "")) // no terminal to ask at
	for name, password := range map[string]string{"short": "sesame", "common": "password1234", "the name": "alicealicealice", "empty": ""} {
		p.SetPassword(password)
		if r := p.Run("register", "--user", "alice"); r.Code != 7 || !strings.Contains(r.Errors, ": hint: ") {
			t.Errorf("%s password: exit code %d\n%s", name, r.Code, r.Errors)
		}
	}
	p.SetPassword("a good long passphrase")
	p.Must(0, "register", "--user", "alice")
	p.SetPassword("another long passphrase")
	refuses(t, p, refusal{7, []string{"does not open"}}, "send", "alice", "hello")
	without = p.Byway("who")
	without.Args = dropFlag(without.Args, "--password-file")
	refusal{7, []string{"password"}}.check(t, stage.Run(t, without, ""))
	p.File = filepath.Join(t.TempDir(), "missing")
	refuses(t, p, refusal{7, []string{"password file"}}, "who")
}

func dropFlag(args []string, name string) []string {
	var kept []string
	for i := 0; i < len(args); i++ {
		if args[i] == name {
			i++
			continue
		}
		kept = append(kept, args[i])
	}
	return kept
}

func TestKeyFile(t *testing.T) {
	t.Parallel()
	o := stage.Serve(t, "", stage.Loopback...)
	p := stage.NewPerson(t, "alice", o)
	p.Must(0, "register", "--user", "alice")
	path := filepath.Join(p.Home, "keystore.age")
	good, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	replace := func(content []byte) {
		t.Helper()
		if err := os.WriteFile(path, content, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	flipped := []byte(string(good))
	flipped[len(flipped)/2] ^= 1
	for name, bad := range map[string][]byte{
		"bit flipped": flipped, "cut": good[:len(good)/2], "empty": {}, "something else": []byte("hello\n"), "longer": append(good[:len(good):len(good)], 'x'),
	} {
		replace(bad)
		t.Run(name, func(t *testing.T) { refuses(t, p, refusal{1, []string{"key file is damaged"}}, "who") })
	}
	replace(good)
	for _, mode := range []os.FileMode{0o640, 0o604, 0o660} {
		if err := os.Chmod(path, mode); err != nil {
			t.Fatal(err)
		}
		t.Run(mode.String(), func(t *testing.T) { refuses(t, p, refusal{1, []string{"open to other users", "chmod 600"}}, "who") })
	}
	if err := os.Chmod(path, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(p.Home, 0o755); err != nil {
		t.Fatal(err)
	}
	t.Run("open home", func(t *testing.T) { refuses(t, p, refusal{1, []string{"open to other users", "chmod 700"}}, "who") })
	if err := os.Chmod(p.Home, 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	t.Run("missing", func(t *testing.T) { refuses(t, p, refusal{1, []string{"key file"}}, "who") })
	replace(good)
	p.Must(0, "who")
}

func TestTooLong(t *testing.T) {
	t.Parallel()
	o := stage.Serve(t, "", stage.Loopback...)
	alice, bob := stage.NewPerson(t, "alice", o), stage.NewPerson(t, "bob", o)
	b := bob.Bot()
	alice.Must(0, "register", "--user", "alice")
	const limit = 64 << 10
	refusal{2, []string{"64 KiB"}}.check(t, stage.Run(t, alice.Byway("send", "bob", "-"), strings.Repeat("x", limit+1)))
	longest := strings.Repeat("é", limit/2)
	if r := stage.Run(t, alice.Byway("send", "bob", "-"), longest); r.Code != 0 {
		t.Errorf("a message of 64 KiB: exit code %d\n%s", r.Code, r.Errors)
	}
	b.Message("alice", longest)

	b.Send("long", "alice", longest+"x", "auto")
	b.Await("too-large", func(e stage.Event) bool { return e.Type == "error" && e.Re == "long" && e.Code == "too-large" })
	for _, line := range []string{
		strings.Repeat("x", 1<<20+1), "not JSON", "", `{"cmd":"dance","id":"d"}`, `[]`, `{"cmd":17}`, "{\"cmd\":\"who\"\x00}", "\xff\xfe",
		`{"id":"` + strings.Repeat("9", 200) + `","cmd":"who"}`, strings.Repeat(`[`, 100_000),
	} {
		b.Write(line)
	}
	b.Await("the unknown command", func(e stage.Event) bool { return e.Type == "error" && e.Re == "d" && e.Code == "usage" })
	b.Command(map[string]any{"id": "s", "cmd": "status"})
	b.Await("an answer after all that", func(e stage.Event) bool { return e.Type == "done" && e.Re == "s" })
}

func TestHomeInUse(t *testing.T) {
	t.Parallel()
	o := stage.Serve(t, "", stage.Loopback...)
	alice := stage.NewPerson(t, "alice", o)
	alice.Must(0, "register", "--user", "alice")
	lock, err := os.OpenFile(filepath.Join(alice.Home, "lock"), os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	if err := syscall.Flock(int(lock.Fd()), syscall.LOCK_EX); err != nil {
		t.Fatal(err)
	}
	r := alice.Run("who")
	refusal{1, []string{"another process uses this home"}}.check(t, r)
	t.Logf("told after %v", r.Took)
	if err := lock.Close(); err != nil {
		t.Fatal(err)
	}
	alice.Must(0, "who")
}

func TestRendezvousRefusesToStart(t *testing.T) {
	t.Parallel()
	o := stage.Serve(t, "", stage.Loopback...)
	start := func(data string, args ...string) stage.Result {
		return stage.Run(t, stage.Launch{Args: append([]string{"rendezvous", "serve", "--no-mdns", "--data", data}, args...)}, "")
	}
	port := beforeID(o.Addrs[0])
	refusal{1, []string{"in use"}}.check(t, start(filepath.Join(t.TempDir(), "data"), "--listen", port))
	refusal{1, nil}.check(t, start(o.Data, "--listen", "/ip4/127.0.0.1/tcp/0"))
	refusal{2, nil}.check(t, start(filepath.Join(t.TempDir(), "data"), "--listen", "nowhere"))
	damaged := t.TempDir()
	if err := os.Chmod(damaged, 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(damaged, "rendezvous.db"), []byte(strings.Repeat("no database ", 1000)), 0o600); err != nil {
		t.Fatal(err)
	}
	refusal{1, nil}.check(t, start(damaged, "--listen", "/ip4/127.0.0.1/tcp/0"))
	refusal{10, nil}.check(t, stage.Run(t, stage.Launch{Args: []string{"rendezvous", "users", "--data", t.TempDir()}}, ""))
	if len(o.Users()) != 0 {
		t.Error("the rendezvous that serves was disturbed")
	}
}
