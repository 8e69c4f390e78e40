package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"
)

// scriptWait is how long a script waits for what another process is about to do.
const scriptWait = 60 * time.Second

// TestScripts runs the two real programs against one another, on loopback.
func TestScripts(t *testing.T) {
	if testing.Short() {
		t.Skip("builds and runs the programs")
	}
	bin := t.TempDir()
	// As they are shipped: with the race detector, making keys on a busy machine takes longer than a rendezvous waits for a sign-in.
	build := exec.CommandContext(t.Context(), "go", "build", "-o", bin+string(filepath.Separator), "../rendezvous", ".")
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("building the programs: %v\n%s", err, out)
	}
	testscript.Run(t, testscript.Params{
		Dir: "testdata",
		Setup: func(env *testscript.Env) error {
			env.Setenv("PATH", bin+string(filepath.ListSeparator)+env.Getenv("PATH"))
			env.Values[processesKey{}] = processes{}
			for name, value := range map[string]string{
				"LANG": "C.UTF-8", "TERM": "xterm", "BYWAY_NO_MDNS": "1", "BYWAY_PASSWORD_FILE": filepath.Join(env.WorkDir, "password"),
				"XDG_DATA_HOME": filepath.Join(env.WorkDir, "xdg"),
			} {
				env.Setenv(name, value)
			}
			return os.WriteFile(filepath.Join(env.WorkDir, "password"), []byte("correct horse battery\n"), 0o600)
		},
		Cmds: map[string]func(*testscript.TestScript, bool, []string){
			"exits": exits, "until": until, "addressof": addressOf, "serve": serve, "background": background, "type": typeInto, "waitfor": waitFor, "waitsocket": waitSocket,
			"end": end, "jsonlines": jsonLines, "resume": resume, "agrees": agrees, "opens": opens,
		},
	})
}

// exits CODE PROGRAM ARG… runs a program that must exit with that code.
func exits(ts *testscript.TestScript, _ bool, args []string) {
	err := ts.Exec(args[1], args[2:]...)
	if got := exitOfProcess(ts, err); strconv.Itoa(got) != args[0] {
		ts.Fatalf("exit code %d, want %s", got, args[0])
	}
}

// until REGEXP PROGRAM ARG… runs a program again and again until its standard output has a match: what somebody else has done may not be told yet.
func until(ts *testscript.TestScript, _ bool, args []string) {
	re := regexp.MustCompile("(?m)" + args[0])
	eventually(ts, strings.Join(args[1:], " ")+" says "+args[0], func() bool {
		ts.Check(ts.Exec(args[1], args[2:]...))
		return re.MatchString(ts.ReadFile("stdout"))
	})
}

// addressof FILE NAME sets a variable to the last address that `byway address --json` has printed there.
func addressOf(ts *testscript.TestScript, _ bool, args []string) {
	for line := range strings.Lines(ts.ReadFile(args[0])) {
		var shown struct{ Addr string }
		ts.Check(json.Unmarshal([]byte(line), &shown))
		ts.Setenv(args[1], shown.Addr)
	}
}

func exitOfProcess(ts *testscript.TestScript, err error) int {
	exit, ok := errors.AsType[*exec.ExitError](err)
	if !ok {
		ts.Check(err)
		return 0
	}
	return exit.ExitCode()
}

// eventually waits for what another process is about to do.
func eventually(ts *testscript.TestScript, what string, done func() bool) {
	for deadline := time.Now().Add(scriptWait); !done(); <-time.After(10 * time.Millisecond) {
		if time.Now().After(deadline) {
			ts.Fatalf("did not happen: %s", what)
		}
	}
}

// processes are those in the background, by the name that the script gave them.
type processes map[string]*process

type process struct {
	cmd   *exec.Cmd
	input *os.File
	log   *os.File
	ended chan error
}

type processesKey struct{}

func running(ts *testscript.TestScript, name string) *process {
	p := ts.Value(processesKey{}).(processes)[name]
	if p == nil {
		ts.Fatalf("no process %s", name)
	}
	return p
}

// start runs a program whose standard output goes to NAME.out and standard error to NAME.err, until end or the end of the script.
func start(ts *testscript.TestScript, name string, args []string) {
	out, err := os.Create(ts.MkAbs(name + ".out"))
	ts.Check(err)
	errs, err := os.Create(ts.MkAbs(name + ".err"))
	ts.Check(err)
	read, write, err := os.Pipe()
	ts.Check(err)
	path := args[0]
	for _, dir := range filepath.SplitList(ts.Getenv("PATH")) {
		if _, err := os.Stat(filepath.Join(dir, args[0])); err == nil {
			path = filepath.Join(dir, args[0])
			break
		}
	}
	cmd := exec.Command(path, args[1:]...)
	cmd.Dir, cmd.Stdin, cmd.Stdout, cmd.Stderr = ts.MkAbs("."), read, out, errs
	cmd.Env = scriptEnvironment(ts)
	ts.Check(cmd.Start())
	_ = read.Close()
	_ = errs.Close()
	p := &process{cmd: cmd, input: write, log: out, ended: make(chan error, 1)}
	go func() { p.ended <- cmd.Wait() }()
	ts.Value(processesKey{}).(processes)[name] = p
	ts.Defer(func() {
		_ = cmd.Process.Kill()
		p.ended <- <-p.ended
		_ = write.Close()
		_ = out.Close()
	})
}

// scriptEnvironment is what the programs ask the environment for.
func scriptEnvironment(ts *testscript.TestScript) []string {
	var env []string
	for _, name := range []string{
		"PATH", "HOME", "TMPDIR", "LANG", "TERM", "XDG_DATA_HOME", "BYWAY_NO_MDNS", "BYWAY_PASSWORD_FILE", "BYWAY_RENDEZVOUS", "BYWAY_NO_PASSPHRASE",
	} {
		if value := ts.Getenv(name); value != "" {
			env = append(env, name+"="+value)
		}
	}
	return env
}

// serve starts a rendezvous in the background under the name rendezvous and sets BYWAY_RENDEZVOUS.
func serve(ts *testscript.TestScript, _ bool, _ []string) {
	_ = os.Remove(ts.MkAbs("ready"))
	start(ts, "rendezvous", []string{
		"rendezvous", "serve", "--data", "rv", "--listen", "/ip4/127.0.0.1/tcp/0", "--ready-file", "ready", "--no-mdns", "--log-level", "debug",
	})
	var ready struct{ Addrs []string }
	eventually(ts, "the rendezvous is ready", func() bool {
		text, err := os.ReadFile(ts.MkAbs("ready"))
		return err == nil && json.Unmarshal(text, &ready) == nil
	})
	ts.Setenv("BYWAY_RENDEZVOUS", ready.Addrs[0])
}

// background NAME PROGRAM ARG… starts a program.
func background(ts *testscript.TestScript, _ bool, args []string) {
	start(ts, args[0], args[1:])
}

// type NAME TEXT writes a line to a program's standard input.
func typeInto(ts *testscript.TestScript, _ bool, args []string) {
	_, err := fmt.Fprintln(running(ts, args[0]).input, args[1])
	ts.Check(err)
}

// waitfor FILE REGEXP waits until a file has a match.
func waitFor(ts *testscript.TestScript, _ bool, args []string) {
	re := regexp.MustCompile("(?m)" + args[1])
	var text []byte
	defer func() {
		if !re.Match(text) {
			ts.Logf("%s holds:\n%s", args[0], text)
		}
	}()
	eventually(ts, args[0]+" matches "+args[1], func() bool {
		text, _ = os.ReadFile(ts.MkAbs(args[0]))
		return re.Match(text)
	})
}

// waitsocket HOME waits until a peer answers there.
func waitSocket(ts *testscript.TestScript, _ bool, args []string) {
	eventually(ts, "a peer answers in "+args[0], func() bool {
		_, err := os.Stat(filepath.Join(ts.MkAbs(args[0]), "byway.sock"))
		return err == nil
	})
}

// end NAME eof|TERM|INT|KILL [CODE] ends a program and checks its exit code.
func end(ts *testscript.TestScript, _ bool, args []string) {
	p := running(ts, args[0])
	switch args[1] {
	case "eof":
		ts.Check(p.input.Close())
	case "TERM":
		ts.Check(p.cmd.Process.Signal(syscall.SIGTERM))
	case "INT":
		ts.Check(p.cmd.Process.Signal(os.Interrupt))
	case "KILL":
		ts.Check(p.cmd.Process.Kill())
	}
	select {
	case err := <-p.ended:
		p.ended <- err
		if len(args) < 3 {
			return
		}
		if got := exitOfProcess(ts, err); strconv.Itoa(got) != args[2] {
			text, _ := os.ReadFile(ts.MkAbs(args[0] + ".err"))
			ts.Fatalf("%s exits with %d, want %s:\n%s", args[0], got, args[2], text)
		}
	case <-time.After(scriptWait):
		ts.Fatalf("%s does not end", args[0])
	}
}

// resume HOME ID REGEXP NAME reads the local API's event stream from behind the event with that id (-: from now on, with what nobody has shown) until it has
// a match, and sets a variable to the last id.
func resume(ts *testscript.TestScript, _ bool, args []string) {
	ctx, cancel := context.WithTimeout(context.Background(), scriptWait)
	defer cancel()
	socket := filepath.Join(ts.MkAbs(args[0]), "byway.sock")
	client := http.Client{Transport: &http.Transport{DisableKeepAlives: true, DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, "unix", socket)
	}}}
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://byway/v1/events", nil)
	ts.Check(err)
	if args[1] == "-" {
		req.URL.RawQuery = "unshown=true"
	} else {
		req.Header.Set("Last-Event-ID", args[1])
	}
	resp, err := client.Do(req)
	ts.Check(err)
	defer func() { _ = resp.Body.Close() }()
	text, re := "", regexp.MustCompile("(?m)"+args[2])
	for lines := bufio.NewScanner(resp.Body); !re.MatchString(text); {
		if !lines.Scan() {
			ts.Fatalf("the stream ends without %s: %v\n%s", args[2], lines.Err(), text)
		}
		text += lines.Text() + "\n"
		if id, ok := strings.CutPrefix(lines.Text(), "id: "); ok {
			ts.Setenv(args[3], id)
		}
	}
}

// jsonlines FILE [numbered] KEY… checks that each line is an object of version 1 with the keys; numbered also that seq rises by one.
func jsonLines(ts *testscript.TestScript, _ bool, args []string) {
	keys := args[1:]
	numbered := len(keys) > 0 && keys[0] == "numbered"
	if numbered {
		keys = keys[1:]
	}
	n := 0
	for line := range strings.Lines(ts.ReadFile(args[0])) {
		n++
		var object map[string]any
		ts.Check(json.Unmarshal([]byte(line), &object))
		if object["v"] != 1.0 || (numbered && object["seq"] != float64(n)) {
			ts.Fatalf("line %d: %s", n, line)
		}
		for _, key := range keys {
			if _, ok := object[key]; !ok {
				ts.Fatalf("line %d has no %s: %s", n, key, line)
			}
		}
	}
	if n == 0 {
		ts.Fatalf("%s holds nothing", args[0])
	}
}
