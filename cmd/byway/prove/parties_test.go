package prove_test

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// operator is a rendezvous that serves, and the person who runs it.
type operator struct {
	*process
	data  string   // directory
	addrs []string // with /p2p/
	netns string
}

// loopback is what a rendezvous listens on that says nothing to anybody else.
var loopback = []string{"--listen", "/ip4/127.0.0.1/tcp/0", "--no-mdns"}

// serve starts a rendezvous and waits until it is ready.
func serve(t testing.TB, netns string, args ...string) *operator {
	t.Helper()
	dir := t.TempDir()
	o := &operator{data: filepath.Join(dir, "data"), netns: netns}
	ready := filepath.Join(dir, "ready")
	all := append([]string{"rendezvous", "serve", "--data", o.data, "--ready-file", ready, "--log-level", "debug"}, args...)
	o.process = start(t, launch{name: "rendezvous", netns: netns, args: all})
	var told struct {
		Addrs []string `json:"addrs"`
	}
	eventually(t, "the rendezvous is ready", func() bool {
		select {
		case <-o.ended:
			t.Fatalf("the rendezvous has ended: %s", o.stderr())
		default:
		}
		content, err := os.ReadFile(ready)
		return err == nil && json.Unmarshal(content, &told) == nil
	})
	o.addrs = told.Addrs
	if len(o.addrs) == 0 {
		t.Fatal("the rendezvous has no address")
	}
	return o
}

// listedUser is one line of `rendezvous users --json`.
type listedUser struct {
	Name    string    `json:"name"`
	Online  bool      `json:"online"`
	Created time.Time `json:"created"`
	Seen    time.Time `json:"last_seen"`
	Devices []struct {
		ID          string `json:"id"`
		Fingerprint string `json:"fingerprint"`
		Seen        string `json:"last_seen"`
	} `json:"devices"`
	Mailbox struct {
		Messages int `json:"messages"`
		Bytes    int `json:"bytes"`
	} `json:"mailbox"`
	Password string `json:"password"`
}

// connected is one line of `rendezvous active --json`.
type connected struct {
	Name      string    `json:"name"`
	Device    string    `json:"device"`
	PeerID    string    `json:"peer_id"`
	Since     time.Time `json:"since"`
	Transport string    `json:"transport"`
}

// ask runs an operator's command and returns its output.
func (o *operator) ask(args ...string) string {
	o.t.Helper()
	r := run(o.t, launch{netns: o.netns, args: append(append([]string{"rendezvous"}, args...), "--data", o.data)}, "")
	if r.code != 0 {
		o.t.Fatalf("rendezvous %v: exit code %d\n%s", args, r.code, r.errors)
	}
	return r.out
}

// users returns every registered user by name.
func (o *operator) users() map[string]listedUser {
	o.t.Helper()
	all := map[string]listedUser{}
	for _, u := range parseLines[listedUser](o.t, o.ask("users", "--json")) {
		all[u.Name] = u
	}
	return all
}

// active returns who is connected, by name; of several devices of one user the last.
func (o *operator) active() map[string]connected {
	o.t.Helper()
	all := map[string]connected{}
	for _, c := range parseLines[connected](o.t, o.ask("active", "--json")) {
		all[c.Name] = c
	}
	return all
}

// parseLines parses one JSON object a line.
func parseLines[T any](t testing.TB, out string) []T {
	t.Helper()
	var all []T
	for line := range strings.Lines(out) {
		var v T
		if err := json.Unmarshal([]byte(line), &v); err != nil {
			t.Fatalf("not JSON: %v\n%s", err, line)
		}
		all = append(all, v)
	}
	return all
}

// person is somebody with a home on one device and a password.
type person struct {
	t        testing.TB
	user     string
	home     string
	password string
	file     string // of the password
	netns    string
	flags    []string // of every command
}

// newPerson has an empty home. Their commands stay on loopback unless flags say otherwise.
func newPerson(t testing.TB, user string, at *operator, flags ...string) *person {
	t.Helper()
	dir := t.TempDir()
	p := &person{
		t: t, user: user, home: filepath.Join(dir, "home"), file: filepath.Join(dir, "password"),
		password: "correct horse " + user + " staple", netns: at.netns,
		flags: append([]string{"--no-mdns", "--rendezvous", at.addrs[0]}, flags...),
	}
	p.setPassword(p.password)
	return p
}

func (p *person) setPassword(password string) {
	p.t.Helper()
	p.password = password
	if err := os.WriteFile(p.file, []byte(password+"\n"), 0o600); err != nil {
		p.t.Fatal(err)
	}
}

// byway is one command line of theirs.
func (p *person) byway(args ...string) launch {
	all := append([]string{"byway"}, args...)
	all = append(all, "--home", p.home, "--password-file", p.file)
	return launch{name: p.user, netns: p.netns, args: append(all, p.flags...)}
}

// run runs a command of theirs to its end.
func (p *person) run(args ...string) result {
	p.t.Helper()
	return run(p.t, p.byway(args...), "")
}

// must is run that has to exit with code.
func (p *person) must(code int, args ...string) result {
	p.t.Helper()
	r := p.run(args...)
	if r.code != code {
		p.t.Fatalf("%s: byway %v: exit code %d, want %d\n%s%s", p.user, args, r.code, code, r.out, r.errors)
	}
	return r
}

// event is one line of output with --json, with the fields that the tests look at.
type event struct {
	V           int      `json:"v"`
	Seq         uint64   `json:"seq"`
	Type        string   `json:"type"`
	Re          string   `json:"re"`
	User        string   `json:"user"`
	Device      string   `json:"device"`
	ID          string   `json:"id"`
	From        string   `json:"from"`
	To          string   `json:"to"`
	N           uint64   `json:"n"`
	Body        *string  `json:"body"`
	Way         string   `json:"way"`
	State       string   `json:"state"`
	MS          *float64 `json:"ms"`
	Reason      string   `json:"reason"`
	Online      *bool    `json:"online"`
	Change      string   `json:"change"`
	Fingerprint string   `json:"fingerprint"`
	Blocked     *bool    `json:"blocked"`
	Code        string   `json:"code"`
	Message     string   `json:"message"`
	Hint        string   `json:"hint"`
	Rendezvous  struct {
		Connected bool `json:"connected"`
	} `json:"rendezvous"`
}

// stream reads the events of a process one after the other.
type stream struct {
	*process
	read int // lines
}

// bot starts `byway bot` and waits until it is ready.
func (p *person) bot(args ...string) *stream {
	p.t.Helper()
	s := p.open("bot", args...)
	s.await("ready", func(e event) bool { return e.Type == "ready" })
	return s
}

// open starts a command that prints events. On an empty home it signs in.
func (p *person) open(command string, args ...string) *stream {
	p.t.Helper()
	l := p.byway(append([]string{command, "--json", "--user", p.user}, args...)...)
	return &stream{process: start(p.t, l)}
}

// await returns the next event that fits and skips those before it.
func (s *stream) await(what string, fits func(event) bool) event {
	s.t.Helper()
	deadline := time.After(patience)
	for {
		line, ok := s.next(s.read, deadline)
		if !ok {
			s.t.Fatalf("%s: there was no event: %s\n%s\n%s", s.name, what, s.stdout(), s.stderr())
		}
		s.read++
		var e event
		if err := json.Unmarshal([]byte(line), &e); err != nil {
			s.t.Fatalf("%s: not JSON: %s", s.name, line)
		}
		if e.V != 1 {
			s.t.Errorf("%s: without version: %s", s.name, line)
		}
		if fits(e) {
			return e
		}
	}
}

// message awaits a message with this text.
func (s *stream) message(from, body string) event {
	s.t.Helper()
	return s.await("message "+body, func(e event) bool {
		return e.Type == "message" && e.From == from && e.Body != nil && *e.Body == body
	})
}

// state awaits a state of the message that was sent with this id.
func (s *stream) state(re, state string) event {
	s.t.Helper()
	return s.await(re+" "+state, func(e event) bool {
		if e.Re == re && (e.Type == "error" || e.State == "failed" && state != "failed") {
			s.t.Fatalf("%s: message %s failed: %+v", s.name, re, e)
		}
		return e.Type == "state" && e.Re == re && e.State == state
	})
}

// presence awaits that a user comes or goes.
func (s *stream) presence(user string, online bool) event {
	s.t.Helper()
	return s.await(fmt.Sprintf("presence of %s: %v", user, online), func(e event) bool {
		return e.Type == "presence" && e.User == user && e.Online != nil && *e.Online == online
	})
}

// send gives the bot a message to send; id comes back in its states.
func (s *stream) send(id, to, body, way string) {
	s.t.Helper()
	s.command(map[string]any{"id": id, "cmd": "send", "to": to, "body": body, "way": way})
}

func (s *stream) command(fields map[string]any) {
	s.t.Helper()
	line, err := json.Marshal(fields)
	if err != nil {
		s.t.Fatal(err)
	}
	s.write(string(line))
}
