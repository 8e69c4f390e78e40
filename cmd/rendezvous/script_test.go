package main

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/libp2p/go-libp2p"
	"github.com/libp2p/go-libp2p/core/crypto"
	"github.com/libp2p/go-libp2p/core/host"
	"github.com/rogpeppe/go-internal/testscript"

	"github.com/byway-chat/byway/crypto/identity"
	"github.com/byway-chat/byway/crypto/identity/identitytest"
	"github.com/byway-chat/byway/rendezvous"
	"github.com/byway-chat/byway/rendezvous/client"
)

func TestMain(m *testing.M) {
	testscript.Main(m, map[string]func(){"rendezvous": main})
}

// TestScripts runs the real program, as its operator does. The scripts' peers are made by the commands below.
func TestScripts(t *testing.T) {
	testscript.Run(t, testscript.Params{
		Dir: "testdata",
		Setup: func(env *testscript.Env) error {
			env.Setenv("XDG_DATA_HOME", filepath.Join(env.WorkDir, "xdg"))
			env.Values[peersKey{}] = make(map[string]*scriptPeer)
			return nil
		},
		Cmds: map[string]func(*testscript.TestScript, bool, []string){
			"exits": exits, "waitfile": waitFile, "waitstatus": waitStatus, "take": take, "jsonhas": jsonHas, "signal": sendSignal,
			"register": register, "send": send, "leave": leave,
		},
	})
}

// exits CODE PROGRAM ARG… runs a program that must exit with that code.
func exits(ts *testscript.TestScript, _ bool, args []string) {
	err := ts.Exec(args[1], args[2:]...)
	code := 0
	if exit, ok := errors.AsType[*exec.ExitError](err); ok {
		code = exit.ExitCode()
	} else {
		ts.Check(err)
	}
	if strconv.Itoa(code) != args[0] {
		ts.Fatalf("exit code %d, want %s", code, args[0])
	}
}

// eventually waits for what a process of the script is about to do.
func eventually(ts *testscript.TestScript, what string, done func() bool) {
	for deadline := time.Now().Add(30 * time.Second); !done(); {
		if time.Now().After(deadline) {
			ts.Fatalf("did not happen: %s", what)
		}
		<-time.After(10 * time.Millisecond)
	}
}

// waitfile FILE [TEXT] waits until a file exists and holds a text.
func waitFile(ts *testscript.TestScript, _ bool, args []string) {
	eventually(ts, strings.Join(args, " holds "), func() bool {
		content, err := os.ReadFile(ts.MkAbs(args[0]))
		return err == nil && (len(args) == 1 || strings.Contains(string(content), args[1]))
	})
}

// waitstatus DIR TEXT waits until the status holds a text.
func waitStatus(ts *testscript.TestScript, _ bool, args []string) {
	eventually(ts, args[1]+" in the status", func() bool {
		ts.Check(ts.Exec("rendezvous", "status", "--data", args[0], "--json"))
		return strings.Contains(ts.ReadFile("stdout"), args[1])
	})
}

// signal TERM|HUP sends a signal to the rendezvous that serves in the background; kill of testscript knows neither.
func sendSignal(ts *testscript.TestScript, _ bool, args []string) {
	sig, ok := map[string]syscall.Signal{"TERM": syscall.SIGTERM, "HUP": syscall.SIGHUP}[args[0]]
	if !ok {
		ts.Fatalf("unknown signal %s", args[0])
	}
	for _, cmd := range ts.BackgroundCmds() {
		if slices.Contains(cmd.Args, "serve") {
			ts.Check(cmd.Process.Signal(sig))
			return
		}
	}
	ts.Fatalf("nothing serves")
}

// take NAME FILE REGEXP sets an environment variable to the first group of a match.
func take(ts *testscript.TestScript, _ bool, args []string) {
	match := regexp.MustCompile(args[2]).FindStringSubmatch(ts.ReadFile(args[1]))
	if match == nil {
		ts.Fatalf("%s does not match", args[1])
	}
	ts.Setenv(args[0], match[1])
}

type peersKey struct{}

// scriptPeer is a user of a script: the i-th device of the fixed keys.
type scriptPeer struct {
	keys *identity.Keyring
	host host.Host
	conn *client.Conn
}

func peers(ts *testscript.TestScript) map[string]*scriptPeer {
	return ts.Value(peersKey{}).(map[string]*scriptPeer)
}

// register READYFILE NAME [INVITE] registers a user and stays connected.
func register(ts *testscript.TestScript, neg bool, args []string) {
	var ready struct{ Addrs []string }
	ts.Check(json.Unmarshal([]byte(ts.ReadFile(args[0])), &ready))
	at, err := rendezvous.ParseAddress(ready.Addrs[0])
	ts.Check(err)
	all := peers(ts)
	p := &scriptPeer{keys: identitytest.Keyring(len(all))}
	key, err := crypto.UnmarshalEd25519PrivateKey(p.keys.Host)
	ts.Check(err)
	p.host, err = libp2p.New(libp2p.Identity(key), libp2p.NoListenAddrs)
	ts.Check(err)
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	p.conn, err = client.Dial(ctx, client.Options{Host: p.host, Rendezvous: at.AddrInfo(), Agent: "script"})
	ts.Check(err)
	all[args[1]] = p
	ts.Defer(func() {
		_ = p.conn.Close()
		_ = p.host.Close()
	})
	r := p.registration(ts, at, rendezvous.Username(args[1]))
	if len(args) > 2 {
		r.Invite = args[2]
	}
	_, err = p.conn.Register(ctx, r)
	if neg != (err != nil) {
		ts.Fatalf("register: %v", err)
	}
}

func (p *scriptPeer) registration(ts *testscript.TestScript, at rendezvous.Address, name rendezvous.Username) *rendezvous.Register {
	now := time.Now().Truncate(time.Millisecond)
	entry := &rendezvous.Entry{
		Rendezvous: at.ID, Username: name, Seq: 1, Issued: now,
		Devices: []rendezvous.EntryDevice{{Key: p.keys.Identity.Public(), PeerID: p.host.ID(), Added: now}},
	}
	signedEntry, err := entry.Sign(p.keys.Identity)
	ts.Check(err)
	bundle := &rendezvous.Bundle{
		Rendezvous: at.ID, Username: name, PeerID: p.host.ID(), Seq: 1, NotBefore: now.Add(-time.Hour), NotAfter: now.Add(time.Hour),
		Key: p.keys.Encryption[0].Public(),
	}
	signedBundle, err := bundle.Sign(p.keys.Identity)
	ts.Check(err)
	proof, err := rendezvous.SignPossession(p.keys.Identity, at.ID, name, p.host.ID(), p.conn.Welcome().GetNonce())
	ts.Check(err)
	return &rendezvous.Register{
		Username: string(name), Password: "correct horse battery staple", Entry: signedEntry, Bundle: signedBundle, Possession: proof,
	}
}

// send FROM TO TEXT submits an envelope, which is not sealed, and waits until it is taken or stored.
func send(ts *testscript.TestScript, neg bool, args []string) {
	from, to := peers(ts)[args[0]], peers(ts)[args[1]]
	id, err := from.conn.Submit(to.keys.Identity.Public().Fingerprint(), []byte(args[2]), false)
	ts.Check(err)
	for pushed := range from.conn.Pushes() {
		for _, o := range pushed.Outcomes {
			if o.ID == id {
				if neg != (o.State == rendezvous.Outcome_REFUSED) {
					ts.Fatalf("got %v", o)
				}
				return
			}
		}
	}
	ts.Check(from.conn.Err())
}

// leave NAME [CODE] closes a user's connection, or waits until the rendezvous has, with that code.
func leave(ts *testscript.TestScript, _ bool, args []string) {
	p := peers(ts)[args[0]]
	if len(args) == 1 {
		ts.Check(p.conn.Close())
		return
	}
	<-p.conn.Done()
	if got := rendezvous.CodeOf(p.conn.Err()); string(got) != args[1] {
		ts.Fatalf("%s's connection ended with %v, want %s", args[0], p.conn.Err(), args[1])
	}
}

// jsonHas FILE KEY… checks that each line of a file (or stdout) is a JSON object with these keys and nothing else is on the line.
func jsonHas(ts *testscript.TestScript, _ bool, args []string) {
	dec := json.NewDecoder(strings.NewReader(ts.ReadFile(args[0])))
	n := 0
	for ; ; n++ {
		var object map[string]any
		err := dec.Decode(&object)
		if errors.Is(err, io.EOF) {
			break
		}
		ts.Check(err)
		for _, key := range args[1:] {
			if _, ok := object[key]; !ok {
				ts.Fatalf("%v has no %q", object, key)
			}
		}
	}
	if n == 0 {
		ts.Fatalf("%s holds no object", args[0])
	}
}
