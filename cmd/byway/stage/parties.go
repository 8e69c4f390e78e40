package stage

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// Operator is a rendezvous that serves, and the person who runs it.
type Operator struct {
	*Process
	Data  string   // directory
	Addrs []string // with /p2p/
	Netns string

	t     testing.TB
	ready string   // file
	args  []string // of serve
}

// Loopback is what a rendezvous listens on that says nothing to anybody else.
var Loopback = []string{"--listen", "/ip4/127.0.0.1/tcp/0", "--no-mdns"}

// Serve starts a rendezvous and waits until it is ready.
func Serve(t testing.TB, netns string, args ...string) *Operator {
	t.Helper()
	dir := t.TempDir()
	o := &Operator{Data: filepath.Join(dir, "data"), Netns: netns, t: t, ready: filepath.Join(dir, "ready")}
	o.args = append([]string{"rendezvous", "serve", "--data", o.Data, "--ready-file", o.ready, "--log-level", "debug"}, args...)
	o.Again()
	return o
}

// Again starts it once more, after it has ended, with the same arguments. It returns when it is ready, on the same addresses where the arguments
// name them.
func (o *Operator) Again() {
	o.t.Helper()
	if err := o.TryAgain(); err != nil {
		o.t.Fatal(err)
	}
}

// TryAgain is Again where it may end instead of being ready; the error is what it said.
func (o *Operator) TryAgain() error {
	o.t.Helper()
	_ = os.Remove(o.ready) // the first time there is none
	o.Process = Start(o.t, Launch{Name: "rendezvous", Netns: o.Netns, Args: o.args})
	var told struct {
		Addrs []string `json:"addrs"`
	}
	var ended error
	Eventually(o.t, "the rendezvous is ready", func() bool {
		select {
		case <-o.Ended:
			ended = fmt.Errorf("the rendezvous has ended: %s", o.Stderr())
			return true
		default:
		}
		content, err := os.ReadFile(o.ready)
		return err == nil && json.Unmarshal(content, &told) == nil
	})
	if ended != nil {
		return ended
	}
	if o.Addrs = told.Addrs; len(o.Addrs) == 0 {
		return fmt.Errorf("the rendezvous has no address")
	}
	return nil
}

// ListedUser is one line of `rendezvous users --json`.
type ListedUser struct {
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

// Connected is one line of `rendezvous active --json`.
type Connected struct {
	Name      string    `json:"name"`
	Device    string    `json:"device"`
	PeerID    string    `json:"peer_id"`
	Since     time.Time `json:"since"`
	Transport string    `json:"transport"`
}

// Ask runs an operator's command and returns its output.
func (o *Operator) Ask(args ...string) string {
	o.T.Helper()
	r := Run(o.T, Launch{Netns: o.Netns, Args: append(append([]string{"rendezvous"}, args...), "--data", o.Data)}, "")
	if r.Code != 0 {
		o.T.Fatalf("rendezvous %v: exit code %d\n%s", args, r.Code, r.Errors)
	}
	return r.Out
}

// Users returns every registered user by name.
func (o *Operator) Users() map[string]ListedUser {
	o.T.Helper()
	all := map[string]ListedUser{}
	for _, u := range ParseLines[ListedUser](o.T, o.Ask("users", "--json")) {
		all[u.Name] = u
	}
	return all
}

// Active returns who is connected, by name; of several devices of one user the last.
func (o *Operator) Active() map[string]Connected {
	o.T.Helper()
	all := map[string]Connected{}
	for _, c := range ParseLines[Connected](o.T, o.Ask("active", "--json")) {
		all[c.Name] = c
	}
	return all
}

// ParseLines parses one JSON object a line.
func ParseLines[T any](t testing.TB, out string) []T {
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

// Person is somebody with a home on one device and a password.
type Person struct {
	t        testing.TB
	User     string
	Home     string
	Password string
	File     string // of the password
	Netns    string
	Flags    []string // of every command
}

// NewPerson has an empty home. Their commands stay on loopback unless flags say otherwise.
func NewPerson(t testing.TB, user string, at *Operator, flags ...string) *Person {
	t.Helper()
	dir := t.TempDir()
	p := &Person{
		t: t, User: user, Home: filepath.Join(dir, "home"), File: filepath.Join(dir, "password"),
		Password: "correct horse " + user + " staple", Netns: at.Netns,
		Flags: append([]string{"--no-mdns", "--rendezvous", at.Addrs[0]}, flags...),
	}
	p.SetPassword(p.Password)
	return p
}

// SetPassword is for every command from now on; it tells the rendezvous nothing.
func (p *Person) SetPassword(password string) {
	p.t.Helper()
	p.Password = password
	if err := os.WriteFile(p.File, []byte(password+"\n"), 0o600); err != nil {
		p.t.Fatal(err)
	}
}

// Byway is one command line of theirs.
func (p *Person) Byway(args ...string) Launch {
	all := append([]string{"byway"}, args...)
	all = append(all, "--home", p.Home, "--password-file", p.File)
	return Launch{Name: p.User, Netns: p.Netns, Args: append(all, p.Flags...)}
}

// Run runs a command of theirs to its end.
func (p *Person) Run(args ...string) Result {
	p.t.Helper()
	return Run(p.t, p.Byway(args...), "")
}

// Must is run that has to exit with code.
func (p *Person) Must(code int, args ...string) Result {
	p.t.Helper()
	r := p.Run(args...)
	if r.Code != code {
		p.t.Fatalf("%s: byway %v: exit code %d, want %d\n%s%s", p.User, args, r.Code, code, r.Out, r.Errors)
	}
	return r
}

// Event is one line of output with --json, with the fields that the tests look at.
type Event struct {
	V           int       `json:"v"`
	Seq         uint64    `json:"seq"`
	Type        string    `json:"type"`
	Re          string    `json:"re"`
	User        string    `json:"user"`
	Device      string    `json:"device"`
	ID          string    `json:"id"`
	From        string    `json:"from"`
	To          string    `json:"to"`
	N           uint64    `json:"n"`
	Body        *string   `json:"body"`
	Way         string    `json:"way"`
	State       string    `json:"state"`
	MS          *float64  `json:"ms"`
	Reason      string    `json:"reason"`
	Online      *bool     `json:"online"`
	Old         string    `json:"old"`
	New         string    `json:"new"`
	Change      string    `json:"change"`
	Fingerprint string    `json:"fingerprint"`
	Blocked     *bool     `json:"blocked"`
	Code        string    `json:"code"`
	Message     string    `json:"message"`
	Hint        string    `json:"hint"`
	First       uint64    `json:"first"`
	Last        uint64    `json:"last"`
	Sent        time.Time `json:"sent"`
	Received    time.Time `json:"received"`
	Rendezvous  struct {
		Connected bool `json:"connected"`
	} `json:"rendezvous"`
}

// Stream reads the events of a process one after the other.
type Stream struct {
	*Process
	Read int // lines
}

// Bot starts `byway bot` and waits until it is ready.
func (p *Person) Bot(args ...string) *Stream {
	p.t.Helper()
	s := p.Open("bot", args...)
	s.Await("ready", func(e Event) bool { return e.Type == "ready" })
	return s
}

// Open starts a command that prints events. On an empty home it signs in.
func (p *Person) Open(command string, args ...string) *Stream {
	p.t.Helper()
	l := p.Byway(append([]string{command, "--json", "--user", p.User}, args...)...)
	return &Stream{Process: Start(p.t, l)}
}

// Await returns the next event that fits and skips those before it.
func (s *Stream) Await(what string, fits func(Event) bool) Event {
	s.T.Helper()
	deadline := time.After(Patience)
	for {
		line, ok := s.Next(s.Read, deadline)
		if !ok {
			s.T.Fatalf("%s: there was no event: %s\n%s\n%s", s.Name, what, s.Stdout(), s.Stderr())
		}
		s.Read++
		var e Event
		if err := json.Unmarshal([]byte(line), &e); err != nil {
			s.T.Fatalf("%s: not JSON: %s", s.Name, line)
		}
		if e.V != 1 {
			s.T.Errorf("%s: without version: %s", s.Name, line)
		}
		if fits(e) {
			return e
		}
	}
}

// Message awaits a message with this text.
func (s *Stream) Message(from, body string) Event {
	s.T.Helper()
	return s.Await("message "+body, func(e Event) bool {
		return e.Type == "message" && e.From == from && e.Body != nil && *e.Body == body
	})
}

// State awaits a state of the message that was sent with this id.
func (s *Stream) State(re, state string) Event {
	s.T.Helper()
	return s.Await(re+" "+state, func(e Event) bool {
		if e.Re == re && (e.Type == "error" || e.State == "failed" && state != "failed") {
			s.T.Fatalf("%s: message %s failed: %+v", s.Name, re, e)
		}
		return e.Type == "state" && e.Re == re && e.State == state
	})
}

// Presence awaits that a user comes or goes.
func (s *Stream) Presence(user string, online bool) Event {
	s.T.Helper()
	return s.Await(fmt.Sprintf("presence of %s: %v", user, online), func(e Event) bool {
		return e.Type == "presence" && e.User == user && e.Online != nil && *e.Online == online
	})
}

// Send gives the bot a message to send; id comes back in its states.
func (s *Stream) Send(id, to, body, way string) {
	s.T.Helper()
	s.Command(map[string]any{"id": id, "cmd": "send", "to": to, "body": body, "way": way})
}

// Command gives the bot a command of these fields.
func (s *Stream) Command(fields map[string]any) {
	s.T.Helper()
	line, err := json.Marshal(fields)
	if err != nil {
		s.T.Fatal(err)
	}
	s.Write(string(line))
}
